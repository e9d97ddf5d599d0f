"""What the answers look like: one marshmallow schema per resource.

No answer is made by these: dumping the rows of a list costs more than reading them. They describe
answers to the OpenAPI document, and the contract tests load every answer with its schema.
"""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from observatory.timestamps import FIRST, LAST

CONVERSATION_KINDS = ("session", "subagent")
ROLES = ("user", "assistant", "system")
MESSAGE_KINDS = (
    "prompt", "queued_prompt", "answer", "thinking", "tool_use", "tool_result", "summary",
    "injected", "command", "command_output", "context", "notification", "interruption", "warmup",
    "compaction", "api_error", "retry", "notice",
)  # fmt: skip
TOOL_USE_STATUSES = ("success", "error", "rejected", "interrupted", "running")
USAGE_QUALITIES = ("exact", "undercounted")
VISIBILITIES = ("everyone", "listed")
FILE_ROLES = ("session", "subagent", "workflow_subagent", "workflow_journal")
FILE_STATUSES = ("pending", "processing", "completed", "error")
ERROR_CODES = (
    "VALIDATION_ERROR", "UNAUTHORIZED", "FORBIDDEN", "NOT_FOUND",
    "METHOD_NOT_ALLOWED", "CONFLICT", "PRECONDITION_FAILED", "PAYLOAD_TOO_LARGE",
    "UNSUPPORTED_MEDIA_TYPE", "RATE_LIMITED", "URI_TOO_LONG", "HEADERS_TOO_LARGE",
    "UPGRADE_REQUIRED", "NOT_IMPLEMENTED",
    "DATABASE_BUSY", "NOT_READY", "REQUEST_TIMEOUT", "TOO_MANY_STREAMS", "DISK_FULL",
    "INTERNAL_ERROR",
)  # fmt: skip


class Time(fields.String):
    """A time in UTC with milliseconds: ``2026-01-02T03:04:05.678Z``."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            validate=[
                validate.Regexp(r"[0-9]{4}(-[0-9]{2}){2}T([0-9]{2}:){2}[0-9]{2}\.[0-9]{3}Z\Z"),
                validate.Range(FIRST, LAST),
            ],
            metadata={"format": "date-time"},
            **kwargs,
        )


class Flag(fields.Boolean):
    """``true`` or ``false`` and nothing that stands for them."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Count(fields.Integer):
    """A whole number that is not negative."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strict=True, validate=validate.Range(min=0), **kwargs)


def text(**kwargs: Any) -> fields.String:
    """Return a field for a text that is always there."""
    return fields.String(required=True, **kwargs)


def text_or_null() -> fields.String:
    """Return a field for a text, or null."""
    return fields.String(required=True, allow_none=True)


def one_of(choices: tuple[str, ...]) -> fields.String:
    """Return a field for one of some words."""
    return fields.String(required=True, validate=validate.OneOf(choices))


def _usage_quality() -> fields.String:
    """Say whether a client wrote the final numbers of every response, or only first ones."""
    return one_of(USAGE_QUALITIES)


class Pagination(Schema):
    """Where a page stands in its list; ``next_cursor`` is null where a list has no cursors."""

    total = Count(required=True)
    limit = Count(required=True)
    offset = Count(required=True)
    has_more = Flag(required=True)
    next_cursor = text_or_null()


class FieldErrors(fields.Field[Any]):
    """What is wrong with one field: a list of sentences, or the same for what is inside it."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, dict) and value:
            for inner in value.values():
                self._deserialize(inner, attr, data)
        elif not (value and isinstance(value, list) and all(isinstance(v, str) for v in value)):
            raise ValidationError("Takes sentences, or the same by field.")
        return value


class ErrorDetails(Schema):
    """What is wrong with each field of the request."""

    fields_ = fields.Dict(keys=fields.String(), values=FieldErrors(), data_key="fields")


class Error(Schema):
    """The whole answer when something went wrong."""

    success = Flag(required=True, validate=validate.Equal(False))
    error = text(validate=validate.Length(min=1))
    code = one_of(ERROR_CODES)
    details = fields.Nested(ErrorDetails, required=True)
    timestamp = Time(required=True)
    request_id = text(validate=validate.Length(1, 64))


class Tokens(Schema):
    """The four kinds of tokens, as the API reports them."""

    input_tokens = Count(required=True)
    output_tokens = Count(required=True)
    cache_creation_input_tokens = Count(required=True)
    cache_read_input_tokens = Count(required=True)


class Cost(Schema):
    """A cost in millionths of a US dollar; null when nothing of it has a known price."""

    cost_microdollars = Count(required=True, allow_none=True)
    cost_complete = Flag(required=True)


class ConversationMetadata(Schema):
    """What is known of the client that wrote a conversation."""

    version = text_or_null()
    client = text_or_null()
    os = text_or_null()
    model = text_or_null()
    project_type = text_or_null()
    tags = fields.List(fields.String(), required=True)
    custom = fields.Dict(keys=fields.String(), allow_none=True, required=True)


class Conversation(Cost):
    """One session, or one run of a subagent."""

    id = text()
    kind = one_of(CONVERSATION_KINDS)
    parent_id = text_or_null()
    title = text(validate=validate.Length(min=1))
    project_path = text_or_null()
    created_at = Time(required=True)
    updated_at = Time(required=True)
    message_count = Count(required=True)
    tool_use_count = Count(required=True)
    error_count = Count(required=True)
    total_tokens = Count(required=True)
    usage = fields.Nested(Tokens, required=True)
    usage_quality = _usage_quality()
    models = fields.List(fields.String(), required=True)
    git_branch = text_or_null()
    metadata = fields.Nested(ConversationMetadata, required=True)


class ModelUsage(Cost, Tokens):
    """The model calls of one conversation to one model."""

    model = text()
    api_calls = Count(required=True)
    cache_creation_5m_input_tokens = Count(required=True)
    cache_creation_1h_input_tokens = Count(required=True)
    web_search_requests = Count(required=True)
    usage_quality = _usage_quality()


class Subagent(Cost):
    """A run of a subagent, as its parent lists it; ``tool_use_id`` is the use that started it."""

    id = text()
    title = text()
    agent_id = text_or_null()
    agent_type = text_or_null()
    workflow_run_id = text_or_null()
    created_at = Time(required=True)
    updated_at = Time(required=True)
    message_count = Count(required=True)
    tool_use_count = Count(required=True)
    error_count = Count(required=True)
    total_tokens = Count(required=True)
    tool_use_id = text_or_null()


class ConversationDetail(Conversation):
    """One conversation with its usage by model and its subagents."""

    prompt_count = Count(required=True)
    copied_from = text_or_null()
    copied_message_count = Count(required=True)
    agent_id = text_or_null()
    agent_type = text_or_null()
    workflow_run_id = text_or_null()
    api_call_count = Count(required=True)
    unpriced_call_count = Count(required=True)
    undercounted_call_count = Count(required=True)
    usage_by_model = fields.List(fields.Nested(ModelUsage), required=True)
    subagents = fields.List(fields.Nested(Subagent), required=True)


class ToolCallFunction(Schema):
    """The name of a tool and what it was given."""

    name = text()
    arguments = fields.Raw(required=True, allow_none=True)


class ToolCall(Schema):
    """A tool use as its message shows it."""

    id = text()
    type = one_of(("function",))
    function = fields.Nested(ToolCallFunction, required=True)
    result = text_or_null()
    result_length = Count(required=True, allow_none=True)
    execution_time_ms = Count(required=True, allow_none=True)
    status = one_of(TOOL_USE_STATUSES)


class MessageUsage(Tokens):
    """The tokens of a response, on the message that counts them."""

    prompt_tokens = Count(required=True)
    completion_tokens = Count(required=True)
    total_tokens = Count(required=True)
    cost_microdollars = Count(required=True, allow_none=True)
    usage_quality = _usage_quality()


class MessageMetadata(Schema):
    """How a message came to be; ``notes`` is what the client noted beside it."""

    model = text_or_null()
    temperature = fields.Float(required=True, allow_none=True)
    max_tokens = Count(required=True, allow_none=True)
    stop_reason = text_or_null()
    api_call_id = text_or_null()
    usage = fields.Nested(MessageUsage, required=True, allow_none=True)
    cwd = text_or_null()
    git_branch = text_or_null()
    version = text_or_null()
    notes = fields.Dict(keys=fields.String(), required=True, allow_none=True)


class Message(Schema):
    """One thing said. In lists ``blocks`` is null where ``content`` and ``kind`` tell all.

    ``content_length``, and ``result_length`` of tool calls, are those of the whole texts.
    """

    id = text()
    conversation_id = text()
    position = Count(required=True)
    role = one_of(ROLES)
    kind = one_of(MESSAGE_KINDS)
    content = text()
    content_length = Count(required=True)
    blocks = fields.List(fields.Dict(keys=fields.String()), required=True, allow_none=True)
    timestamp = Time(required=True)
    token_count = Count(required=True)
    tool_calls = fields.List(fields.Nested(ToolCall), required=True)
    parent_id = text_or_null()
    copied_from = text_or_null()
    is_on_main_branch = Flag(required=True)
    is_superseded = Flag(required=True)
    metadata = fields.Nested(MessageMetadata, required=True)


class Turn(Cost):
    """A prompt and all that followed until the next; ``offset`` messages stand before it.

    ``message_id``, ``kind`` and ``text``, its first characters, are those of its first message.
    """

    message_id = text()
    offset = Count(required=True)
    kind = one_of(MESSAGE_KINDS)
    text = text()
    is_on_main_branch = Flag(required=True)
    message_count = Count(required=True)
    started_at = Time(required=True)
    finished_at = Time(required=True)
    api_call_count = Count(required=True)
    usage = fields.Nested(Tokens, required=True)
    total_tokens = Count(required=True)
    tool_use_count = Count(required=True)
    error_count = Count(required=True)


class ToolUse(Schema):
    """One call of a tool with its result."""

    id = text()
    conversation_id = text()
    message_id = text()
    result_message_id = text_or_null()
    name = text()
    server = text_or_null()
    status = one_of(TOOL_USE_STATUSES)
    is_error = Flag(required=True)
    error_category = text_or_null()
    parameters = fields.Raw(required=True, allow_none=True)
    result = text_or_null()
    started_at = Time(required=True, allow_none=True)
    finished_at = Time(required=True, allow_none=True)
    execution_time_ms = Count(required=True, allow_none=True)
    reported_duration_ms = Count(required=True, allow_none=True)
    subagent_id = text_or_null()


class Project(Cost):
    """One working directory with the sums over its conversations."""

    id = Count(required=True)
    path = text()
    name = text()
    conversation_count = Count(required=True)
    session_count = Count(required=True)
    message_count = Count(required=True)
    tool_use_count = Count(required=True)
    error_count = Count(required=True)
    total_tokens = Count(required=True)
    usage = fields.Nested(Tokens, required=True)
    first_activity_at = Time(required=True, allow_none=True)
    last_activity_at = Time(required=True, allow_none=True)
    visibility = one_of(VISIBILITIES)


class ProjectWindow(Cost):
    """What was done in a project in a while that ends now."""

    active_conversations = Count(required=True)
    messages = Count(required=True)
    prompts = Count(required=True)
    tool_uses = Count(required=True)
    errors = Count(required=True)
    total_tokens = Count(required=True)
    unpriced_calls = Count(required=True)
    unpriced_tokens = Count(required=True)


class ProjectStatistics(Schema):
    """What was done in a project lately; each while is of whole hours."""

    last_24_hours = fields.Nested(ProjectWindow, required=True)
    last_7_days = fields.Nested(ProjectWindow, required=True)
    last_30_days = fields.Nested(ProjectWindow, required=True)


class UsedTool(Schema):
    """A tool that was used in the last 30 days."""

    tool = text()
    uses = Count(required=True)
    errors = Count(required=True)


class PeakHour(Schema):
    """An hour of the day in which much was said in the last 30 days, by the zone asked for."""

    hour = fields.Integer(required=True, strict=True, validate=validate.Range(0, 23))
    messages = Count(required=True)


class ProjectDetail(Project):
    """One project; its users are told to administrators, what was done lately when it is asked."""

    user_ids = fields.List(Count())
    statistics = fields.Nested(ProjectStatistics)
    most_used_tools = fields.List(fields.Nested(UsedTool))
    peak_hours = fields.List(fields.Nested(PeakHour))


class File(Schema):
    """One transcript file and how far it was read."""

    id = Count(required=True)
    filename = text()
    file_path = text()
    role = one_of(FILE_ROLES)
    conversation_id = text_or_null()
    size = Count(required=True)
    last_modified = Time(required=True, allow_none=True)
    processed_at = Time(required=True, allow_none=True)
    status = one_of(FILE_STATUSES)
    error_message = text_or_null()
    line_count = Count(required=True)
    bad_line_count = Count(required=True)
    byte_offset = Count(required=True)
    created_at = Time(required=True)


class BadLine(Schema):
    """A line that could not be read, and why."""

    line = Count(required=True)
    byte_start = Count(required=True)
    byte_end = Count(required=True)
    reason = text()


class FileDetail(File):
    """One file with its numbers of records by type and its first bad lines."""

    record_counts = fields.Dict(keys=fields.String(), values=Count(), required=True)
    bad_lines = fields.List(fields.Nested(BadLine), required=True)


class Upload(FileDetail):
    """An uploaded file with what the archive has from it: up to 100 conversations."""

    message_count = Count(required=True)
    conversations = fields.List(fields.String(), required=True)


class DeletedFile(Schema):
    """A file that was forgotten; one that was uploaded is gone from the disk too."""

    id = Count(required=True)
    file_path = text()
    is_removed_from_disk = Flag(required=True)


class SecretFinding(Schema):
    """A place where a secret was found. ``hash`` is keyed: equal secrets have the same.

    ``count`` is how often it stands in that place, ``message_count`` how many messages hold it.
    What was found in a title or in metadata has no message.
    """

    id = Count(required=True)
    kind = text()
    hash = text()
    conversation_id = text()
    message_id = text_or_null()
    where = text()
    count = Count(required=True)
    created_at = Time(required=True)
    message_count = Count(required=True)


class Status(Schema):
    """What the server says of itself."""

    status = one_of(("ok", "ready"))
    version = text()


class DeletedConversation(Schema):
    """A conversation that was moved to the trash, or removed for good (``deleted_at`` null)."""

    id = text()
    deleted_at = Time(required=True, allow_none=True)
    permanent = Flag(required=True)


class Tagged(Schema):
    """A conversation and the tags it is filed under."""

    id = text()
    tags = fields.List(fields.String(), required=True)


class Tag(Schema):
    """A tag, and how many conversations that are not in the trash are filed under it."""

    tag = text()
    conversation_count = Count(required=True)


class Tags(Schema):
    """The tags that are used most."""

    tags = fields.List(fields.Nested(Tag), required=True)


class WrittenMessages(Schema):
    """The ids of a batch of messages, in its order."""

    message_ids = fields.List(fields.String(), required=True)

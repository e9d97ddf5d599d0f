"""The tables as peewee models; the migrations create them, a test keeps the two alike."""

from __future__ import annotations

import peewee as pw

from observatory.store import rollup_tables
from observatory.store.database import database


class Table(pw.Model):
    """Base of all tables."""

    class Meta:
        database = database
        legacy_table_names = False


class Project(Table):
    """One working directory."""

    key = pw.AutoField()
    path = pw.TextField(unique=True)
    name = pw.TextField()
    visibility = pw.TextField(default="everyone")
    conversation_count = pw.IntegerField(default=0)
    session_count = pw.IntegerField(default=0)
    message_count = pw.IntegerField(default=0)
    tool_use_count = pw.IntegerField(default=0)
    error_count = pw.IntegerField(default=0)
    api_call_count = pw.IntegerField(default=0)
    unpriced_call_count = pw.IntegerField(default=0)
    input_tokens = pw.IntegerField(default=0)
    output_tokens = pw.IntegerField(default=0)
    cache_creation_input_tokens = pw.IntegerField(default=0)
    cache_read_input_tokens = pw.IntegerField(default=0)
    total_tokens = pw.IntegerField(default=0)
    cost_nanodollars = pw.IntegerField(default=0)

    class Meta:
        table_name = "projects"


class Conversation(Table):
    """One session, or one run of a subagent."""

    key = pw.AutoField()
    id = pw.TextField(unique=True)
    kind = pw.TextField()
    parent = pw.ForeignKeyField("self", column_name="parent_key", null=True, backref="subagents")
    project = pw.ForeignKeyField(Project, column_name="project_key", null=True)
    agent_id = pw.TextField(null=True)
    agent_type = pw.TextField(null=True)
    workflow_run_id = pw.TextField(null=True)
    title = pw.TextField(default="")
    title_rank = pw.IntegerField(default=9)
    cjk = pw.TextField(default="")
    created_at = pw.TextField()
    updated_at = pw.TextField()
    cwd = pw.TextField(null=True)
    git_branch = pw.TextField(null=True)
    client_version = pw.TextField(null=True)
    entrypoint = pw.TextField(null=True)
    copied_from = pw.ForeignKeyField(
        "self", column_name="copied_from_key", null=True, backref="copies"
    )
    place = pw.DeferredForeignKey("Place", column_name="place_key", null=True)
    message_count = pw.IntegerField(default=0)
    prompt_count = pw.IntegerField(default=0)
    copied_message_count = pw.IntegerField(default=0)
    tool_use_count = pw.IntegerField(default=0)
    error_count = pw.IntegerField(default=0)
    api_call_count = pw.IntegerField(default=0)
    unpriced_call_count = pw.IntegerField(default=0)
    undercounted_call_count = pw.IntegerField(default=0)
    input_tokens = pw.BigIntegerField(default=0)
    output_tokens = pw.BigIntegerField(default=0)
    cache_creation_input_tokens = pw.BigIntegerField(default=0)
    cache_read_input_tokens = pw.BigIntegerField(default=0)
    total_tokens = pw.BigIntegerField(default=0)
    cost_nanodollars = pw.BigIntegerField(default=0)
    models = pw.TextField(default="[]")
    metadata = pw.TextField(default="{}")
    deleted_at = pw.TextField(null=True)
    source = pw.TextField(default="transcript")
    revision = pw.IntegerField(default=0)
    document = pw.TextField(default="{}")
    details = pw.TextField(default="{}")

    class Meta:
        table_name = "conversations"


class TranscriptFile(Table):
    """One ``.jsonl`` file and how far it was read."""

    key = pw.AutoField()
    path = pw.TextField(unique=True)
    filename = pw.TextField()
    role = pw.TextField()
    conversation = pw.ForeignKeyField(Conversation, column_name="conversation_key", null=True)
    device = pw.BigIntegerField(default=0)
    inode = pw.BigIntegerField(default=0)
    size = pw.BigIntegerField(default=0)
    modified_ns = pw.BigIntegerField(default=0)
    changed_ns = pw.BigIntegerField(default=0)
    byte_offset = pw.BigIntegerField(default=0)
    tail_hash = pw.BlobField(null=True)
    line_count = pw.IntegerField(default=0)
    has_open_line = pw.BooleanField(default=False)
    bad_line_count = pw.IntegerField(default=0)
    record_counts = pw.TextField(default="{}")
    generation = pw.IntegerField(default=1)
    status = pw.TextField(default="pending")
    is_reread = pw.BooleanField(default=False)
    error_message = pw.TextField(null=True)
    last_modified = pw.TextField(null=True)
    processed_at = pw.TextField(null=True)
    created_at = pw.TextField()

    class Meta:
        table_name = "transcript_files"


class TranscriptError(Table):
    """One line of a transcript that could not be read."""

    key = pw.AutoField()
    file = pw.ForeignKeyField(TranscriptFile, column_name="file_key")
    line = pw.IntegerField()
    byte_start = pw.BigIntegerField()
    byte_end = pw.BigIntegerField()
    reason = pw.TextField()

    class Meta:
        table_name = "transcript_errors"


class ApiCall(Table):
    """One model response: the only place where tokens are counted."""

    key = pw.AutoField()
    id = pw.TextField(unique=True)
    conversation = pw.ForeignKeyField(Conversation, column_name="conversation_key")
    file = pw.ForeignKeyField(TranscriptFile, column_name="file_key", null=True)
    position = pw.IntegerField()
    message = pw.DeferredForeignKey("Message", column_name="message_key", null=True)
    is_sidechain = pw.BooleanField(default=False)
    usage_file = pw.ForeignKeyField(
        TranscriptFile, column_name="usage_file_key", null=True, backref="+"
    )
    request_id = pw.TextField(null=True)
    model = pw.TextField()
    created_at = pw.TextField()
    stop_reason = pw.TextField(null=True)
    input_tokens = pw.BigIntegerField()
    output_tokens = pw.BigIntegerField()
    cache_creation_input_tokens = pw.BigIntegerField()
    cache_read_input_tokens = pw.BigIntegerField()
    cache_creation_5m_input_tokens = pw.BigIntegerField()
    cache_creation_1h_input_tokens = pw.BigIntegerField()
    web_search_requests = pw.IntegerField()
    is_fast = pw.BooleanField(default=False)
    cost_nanodollars = pw.BigIntegerField(null=True)
    usage_quality = pw.TextField()
    input_cost_nanodollars = pw.BigIntegerField(null=True)
    output_cost_nanodollars = pw.BigIntegerField(null=True)
    cache_write_cost_nanodollars = pw.BigIntegerField(null=True)
    cache_read_cost_nanodollars = pw.BigIntegerField(null=True)
    uncached_cost_nanodollars = pw.BigIntegerField(null=True)
    is_cost_reported = pw.BooleanField(default=False)

    class Meta:
        table_name = "api_calls"


class Message(Table):
    """One thing said."""

    key = pw.AutoField()
    id = pw.TextField(unique=True)
    conversation = pw.ForeignKeyField(Conversation, column_name="conversation_key")
    position = pw.IntegerField()
    file = pw.ForeignKeyField(TranscriptFile, column_name="file_key", null=True)
    generation = pw.IntegerField(default=1)
    role = pw.TextField()
    kind = pw.TextField()
    parent_id = pw.TextField(null=True)
    copy_of = pw.ForeignKeyField("self", column_name="copy_of_key", null=True)
    api_call = pw.ForeignKeyField(ApiCall, column_name="api_call_key", null=True)
    created_at = pw.TextField()
    model = pw.TextField(null=True)
    is_on_main_branch = pw.BooleanField(default=True)
    is_superseded = pw.BooleanField(default=False)
    cwd = pw.TextField(null=True)
    git_branch = pw.TextField(null=True)
    client_version = pw.TextField(null=True)
    notes = pw.TextField(null=True)
    blocks = pw.TextField(null=True)
    content = pw.TextField()

    class Meta:
        table_name = "messages"


class ToolUse(Table):
    """One call of a tool with its result; without a message only the result was seen."""

    key = pw.AutoField()
    conversation = pw.ForeignKeyField(Conversation, column_name="conversation_key")
    tool_use_id = pw.TextField()
    message = pw.ForeignKeyField(Message, column_name="message_key", null=True)
    result_message = pw.ForeignKeyField(
        Message, column_name="result_message_key", null=True, backref="tool_results"
    )
    name = pw.TextField(default="")
    server = pw.TextField(null=True)
    status = pw.TextField()
    is_error = pw.BooleanField(default=False)
    error_category = pw.TextField(null=True)
    started_at = pw.TextField(null=True)
    finished_at = pw.TextField(null=True)
    execution_time_ms = pw.IntegerField(null=True)
    reported_duration_ms = pw.IntegerField(null=True)
    subagent_id = pw.TextField(null=True)
    parameters = pw.TextField(null=True)
    result = pw.TextField(null=True)
    details = pw.BlobField(null=True)

    class Meta:
        table_name = "tool_uses"


class MessageCjk(Table):
    """The words of a message with Chinese, Japanese or Korean, taken apart for the search index."""

    message = pw.ForeignKeyField(Message, column_name="message_key", primary_key=True)
    spaced = pw.TextField()

    class Meta:
        table_name = "message_cjk"


class SearchPart(Table):
    """From which message on a part of the search index has all, until the next part begins."""

    number = pw.IntegerField(primary_key=True)
    first_key = pw.IntegerField()

    class Meta:
        table_name = "search_parts"


class Summary(Table):
    """A title for the conversation that holds a message."""

    leaf_id = pw.TextField(primary_key=True)
    summary = pw.TextField()

    class Meta:
        table_name = "summaries"


class ConversationTag(Table):
    """A word that a user filed a conversation under."""

    tag = pw.TextField()
    conversation = pw.ForeignKeyField(Conversation, column_name="conversation_key")

    class Meta:
        table_name = "conversation_tags"
        primary_key = pw.CompositeKey("tag", "conversation")


class DeletedConversation(Table):
    """A conversation that was removed for good: transcripts do not bring it back."""

    id = pw.TextField(primary_key=True)
    deleted_at = pw.TextField()
    kind = pw.TextField(default="")

    class Meta:
        table_name = "deleted_conversations"


class DeletedMessage(Table):
    """A message that was removed for good: transcripts bring back neither it nor its title."""

    id = pw.TextField()
    conversation_id = pw.TextField()

    class Meta:
        table_name = "deleted_messages"
        primary_key = pw.CompositeKey("id", "conversation_id")


class IdempotencyKey(Table):
    """The first answer to a request that a client may send again."""

    id = pw.TextField()
    path = pw.TextField()
    body_hash = pw.BlobField()
    status = pw.IntegerField()
    data = pw.TextField()
    created_at = pw.TextField()

    class Meta:
        table_name = "idempotency_keys"
        primary_key = pw.CompositeKey("id", "path")


class SecretFinding(Table):
    """Where a secret was found: in a message, or else in what is said of a conversation."""

    key = pw.AutoField()
    message = pw.ForeignKeyField(Message, column_name="message_key", null=True)
    conversation = pw.ForeignKeyField(Conversation, column_name="conversation_key", null=True)
    kind = pw.TextField()
    place = pw.TextField()
    hash = pw.TextField()
    count = pw.IntegerField()
    created_at = pw.TextField()

    class Meta:
        table_name = "secret_findings"


class User(Table):
    """One account."""

    key = pw.AutoField()
    email = pw.TextField(unique=True)
    name = pw.TextField(default="")
    role = pw.TextField()
    password_hash = pw.TextField()
    is_disabled = pw.BooleanField(default=False)
    created_at = pw.TextField()
    updated_at = pw.TextField()
    last_login_at = pw.TextField(null=True)

    class Meta:
        table_name = "users"


class Session(Table):
    """One sign-in that holds: a line of refresh tokens, or a cookie."""

    key = pw.AutoField()
    user = pw.ForeignKeyField(User, column_name="user_key", null=True)
    kind = pw.TextField()
    selector = pw.TextField(unique=True)
    secret_hash = pw.BlobField()
    created_at = pw.TextField()
    expires_at = pw.TextField()

    class Meta:
        table_name = "sessions"


class ApiKey(Table):
    """One key of a program."""

    key = pw.AutoField()
    user = pw.ForeignKeyField(User, column_name="user_key", null=True)
    name = pw.TextField()
    hash = pw.BlobField(unique=True)
    prefix = pw.TextField()
    scopes = pw.TextField()
    is_limited = pw.BooleanField(default=False)
    created_at = pw.TextField()
    expires_at = pw.TextField(null=True)
    last_used_at = pw.TextField(null=True)
    revoked_at = pw.TextField(null=True)

    class Meta:
        table_name = "api_keys"


class ApiKeyProject(Table):
    """A project that a limited key may see."""

    api_key = pw.ForeignKeyField(ApiKey, column_name="api_key_key")
    project = pw.ForeignKeyField(Project, column_name="project_key")

    class Meta:
        table_name = "api_key_projects"
        primary_key = pw.CompositeKey("api_key", "project")


class ProjectUser(Table):
    """An account that may see a project which is not for everyone."""

    project = pw.ForeignKeyField(Project, column_name="project_key")
    user = pw.ForeignKeyField(User, column_name="user_key")

    class Meta:
        table_name = "project_users"
        primary_key = pw.CompositeKey("project", "user")


class OneTimeToken(Table):
    """What lets somebody in once: to make the first account, or to sign in on this machine."""

    hash = pw.BlobField(primary_key=True)
    purpose = pw.TextField()
    expires_at = pw.TextField()

    class Meta:
        table_name = "one_time_tokens"


class AuditEntry(Table):
    """What somebody did that others may want to know of later."""

    key = pw.AutoField()
    created_at = pw.TextField()
    action = pw.TextField()
    actor = pw.TextField(null=True)
    actor_name = pw.TextField(null=True)
    target = pw.TextField(null=True)
    address = pw.TextField(null=True)
    request_id = pw.TextField(null=True)
    details = pw.TextField(default="{}")

    class Meta:
        table_name = "audit_log"


class Event(Table):
    """Something that changed: a pointer at it, and never a copy."""

    id = pw.AutoField()
    created_at = pw.TextField()
    type = pw.TextField()
    conversation_key = pw.IntegerField(null=True)
    subject_key = pw.IntegerField(null=True)
    subject_id = pw.TextField(null=True)
    data = pw.TextField(null=True)

    class Meta:
        table_name = "events"


class LiveConversation(Table):
    """A conversation in which something was said a short while ago."""

    conversation = pw.ForeignKeyField(
        Conversation, column_name="conversation_key", primary_key=True
    )
    active_at = pw.TextField()

    class Meta:
        table_name = "live_conversations"


class StreamTicket(Table):
    """What stands for somebody's credentials in the address of one stream."""

    hash = pw.BlobField(primary_key=True)
    session = pw.ForeignKeyField(Session, column_name="session_key", null=True)
    api_key = pw.ForeignKeyField(ApiKey, column_name="api_key_key", null=True)
    expires_at = pw.TextField()

    class Meta:
        table_name = "stream_tickets"


class Webhook(Table):
    """An address that is told of events."""

    key = pw.AutoField()
    url = pw.TextField()
    description = pw.TextField(default="")
    events = pw.TextField(default="[]")
    project_path = pw.TextField(null=True)
    conversation_id = pw.TextField(null=True)
    role = pw.TextField(null=True)
    tool = pw.TextField(null=True)
    secret = pw.TextField()
    is_active = pw.BooleanField(default=True)
    is_limited = pw.BooleanField(default=False)
    created_at = pw.TextField()
    updated_at = pw.TextField()
    position = pw.IntegerField()
    dead_in_a_row = pw.IntegerField(default=0)
    switched_off = pw.TextField(null=True)
    switched_off_at = pw.TextField(null=True)
    last_delivered_at = pw.TextField(null=True)
    missed_events_at = pw.TextField(null=True)

    class Meta:
        table_name = "webhooks"


class WebhookProject(Table):
    """A project that a limited webhook is told of."""

    webhook = pw.ForeignKeyField(Webhook, column_name="webhook_key")
    project = pw.ForeignKeyField(Project, column_name="project_key")

    class Meta:
        table_name = "webhook_projects"
        primary_key = pw.CompositeKey("webhook", "project")


class WebhookDelivery(Table):
    """An event that a webhook is to be told of, and how far that is."""

    key = pw.AutoField()
    id = pw.TextField(unique=True)
    webhook = pw.ForeignKeyField(Webhook, column_name="webhook_key")
    event_id = pw.IntegerField(null=True)
    event_type = pw.TextField()
    status = pw.TextField()
    attempts = pw.IntegerField(default=0)
    created_at = pw.TextField()
    next_attempt_at = pw.TextField(null=True)
    last_attempt_at = pw.TextField(null=True)
    last_status = pw.IntegerField(null=True)
    last_error = pw.TextField(null=True)
    finished_at = pw.TextField(null=True)

    class Meta:
        table_name = "webhook_deliveries"


class OwnPrice(Table):
    """What a model costs from a day on, as the operator says; picodollars per token."""

    model = pw.TextField()
    valid_from = pw.TextField()
    input = pw.BigIntegerField()
    output = pw.BigIntegerField()
    cache_write_5m = pw.BigIntegerField()
    cache_write_1h = pw.BigIntegerField()
    cache_read = pw.BigIntegerField()
    fast_multiplier = pw.IntegerField(default=1)
    source = pw.TextField()
    created_at = pw.TextField()

    class Meta:
        table_name = "prices"
        primary_key = pw.CompositeKey("model", "valid_from")


class Place(Table):
    """Where conversations stand for who may see them."""

    key = pw.AutoField()
    project_key = pw.IntegerField()
    above = pw.TextField()

    class Meta:
        table_name = "places"


class ConversationUsage(Table):
    """What a conversation adds to sums by model, in a quarter of an hour."""

    conversation = pw.ForeignKeyField(Conversation, column_name="conversation_key")
    start = pw.BigIntegerField()
    model = pw.TextField()
    place_key = pw.IntegerField()

    class Meta:
        table_name = "conversation_usage"
        primary_key = pw.CompositeKey("conversation", "start", "model")


class ConversationTool(Table):
    """What a conversation adds to sums by tool, in a quarter of an hour."""

    conversation = pw.ForeignKeyField(Conversation, column_name="conversation_key")
    start = pw.BigIntegerField()
    tool = pw.TextField()
    status = pw.TextField()
    category = pw.TextField()
    place_key = pw.IntegerField()

    class Meta:
        table_name = "conversation_tools"
        primary_key = pw.CompositeKey("conversation", "start", "tool", "status", "category")


class UsageRollup(Table):
    """A sum by model over conversations of a place, or of all, in an hour, day or month."""

    level = pw.IntegerField()
    place_key = pw.IntegerField()
    start = pw.BigIntegerField()
    model = pw.TextField()

    class Meta:
        table_name = "usage_rollups"
        primary_key = pw.CompositeKey("level", "place_key", "start", "model")


class ToolRollup(Table):
    """A sum by tool over conversations of a place, or of all, in an hour, day or month."""

    level = pw.IntegerField()
    place_key = pw.IntegerField()
    start = pw.BigIntegerField()
    tool = pw.TextField()
    status = pw.TextField()
    category = pw.TextField()

    class Meta:
        table_name = "tool_rollups"
        primary_key = pw.CompositeKey("level", "place_key", "start", "tool", "status", "category")


class FilePath(Table):
    """A file that a tool read or edited."""

    key = pw.AutoField()
    path = pw.TextField(unique=True)

    class Meta:
        table_name = "file_paths"


class ConversationFile(Table):
    """What a conversation adds to sums by file, in a quarter of an hour."""

    conversation = pw.ForeignKeyField(Conversation, column_name="conversation_key")
    start = pw.BigIntegerField()
    path_key = pw.IntegerField()
    place_key = pw.IntegerField()

    class Meta:
        table_name = "conversation_files"
        primary_key = pw.CompositeKey("conversation", "start", "path_key")


class FileRollup(Table):
    """A sum by file over conversations of a place, or of all, in an hour, day or month."""

    level = pw.IntegerField()
    place_key = pw.IntegerField()
    start = pw.BigIntegerField()
    path_key = pw.IntegerField()

    class Meta:
        table_name = "file_rollups"
        primary_key = pw.CompositeKey("level", "place_key", "start", "path_key")


for _models, _sums in (
    ((ConversationFile, FileRollup), rollup_tables.FILES),
    ((ConversationUsage, UsageRollup), rollup_tables.USAGE),
    ((ConversationTool, ToolRollup), rollup_tables.TOOLS),
):
    for _model in _models:
        for _measure in _sums.measures:
            _model._meta.add_field(_measure, pw.BigIntegerField())


class LabelName(Table):
    """A model or a tool, and as which of its kind it came."""

    kind = pw.TextField()
    name = pw.TextField()
    number = pw.IntegerField()

    class Meta:
        table_name = "label_names"
        primary_key = pw.CompositeKey("kind", "name")


class Budget(Table):
    """A limit of what may be spent in a period."""

    key = pw.AutoField()
    name = pw.TextField()
    period = pw.TextField()
    timezone = pw.TextField()
    project_path = pw.TextField(null=True)
    model = pw.TextField(null=True)
    limit_nanodollars = pw.IntegerField(null=True)
    limit_tokens = pw.IntegerField(null=True)
    created_at = pw.TextField()
    updated_at = pw.TextField()
    noted_period = pw.TextField(null=True)
    noted_percent = pw.IntegerField(default=0)

    class Meta:
        table_name = "budgets"


class MaintenanceRun(Table):
    """How one kind of upkeep went the last time."""

    name = pw.TextField(primary_key=True)
    last_run_at = pw.TextField()
    duration_ms = pw.IntegerField()
    result = pw.TextField()
    is_good = pw.BooleanField()
    next_at = pw.TextField(null=True)

    class Meta:
        table_name = "maintenance"


class ProjectRetention(Table):
    """For how long the conversations of a project are kept; without days for ever."""

    project = pw.ForeignKeyField(Project, column_name="project_key", primary_key=True)
    days = pw.IntegerField(null=True)
    action = pw.TextField(default="trash")
    updated_at = pw.TextField()

    class Meta:
        table_name = "project_retention"


class RestoredConversation(Table):
    """A conversation that somebody took out of the trash."""

    conversation = pw.ForeignKeyField(
        Conversation, column_name="conversation_key", primary_key=True
    )
    restored_at = pw.TextField()

    class Meta:
        table_name = "restored_conversations"


class Total(Table):
    """A number over the whole archive."""

    name = pw.TextField(primary_key=True)
    value = pw.IntegerField()

    class Meta:
        table_name = "totals"


TABLES = (
    Project,
    Conversation,
    TranscriptFile,
    TranscriptError,
    ApiCall,
    Message,
    ToolUse,
    MessageCjk,
    SearchPart,
    Summary,
    ConversationTag,
    DeletedConversation,
    DeletedMessage,
    IdempotencyKey,
    SecretFinding,
    User,
    Session,
    ApiKey,
    ApiKeyProject,
    ProjectUser,
    OneTimeToken,
    AuditEntry,
    Event,
    LiveConversation,
    StreamTicket,
    Webhook,
    WebhookProject,
    WebhookDelivery,
    OwnPrice,
    Place,
    ConversationUsage,
    ConversationTool,
    UsageRollup,
    ToolRollup,
    FilePath,
    ConversationFile,
    FileRollup,
    LabelName,
    Budget,
    MaintenanceRun,
    ProjectRetention,
    RestoredConversation,
    Total,
)

"""Bodies and answers of changes: to conversations, their tags and their messages."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import falcon
import orjson
from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from observatory.api.answers import answer
from observatory.api.auth import identity_of
from observatory.api.bodies import JsonInteger, check_depth
from observatory.api.etags import find_revision
from observatory.api.params import Text
from observatory.errors import PreconditionFailed
from observatory.redaction.masking import Findings, Listed, listed, redact, redact_json
from observatory.store import idempotency
from observatory.store.conversation_changes import MAX_TAGS
from observatory.store.message_changes import TOOL_STATUSES, NewMessage, NewToolCall
from observatory.store.together import write_together
from observatory.timestamps import parse_moment

TITLE_CHARACTERS = 200
TAG_CHARACTERS = 50
MAX_CONTENT_CHARACTERS = 2_000_000
MAX_MESSAGES = 1000
MAX_TOOL_CALLS = 100
MAX_JSON_BYTES = 256 * 1024
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class Trimmed(Text):
    """Text without white space around it."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        return super()._deserialize(value, attr, data, **kwargs).strip()


class Tag(Trimmed):
    """A short word or two: what can be one of a list with commas, and one part of a path."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            validate=validate.Regexp(
                rf"(?!\.{{1,2}}\Z)[^,/\x00-\x1f]{{1,{TAG_CHARACTERS}}}\Z",
                error=f"Takes 1 to {TAG_CHARACTERS} characters without commas and slashes.",
            ),
            **kwargs,
        )


class SmallJson(fields.Field[Any]):
    """Any JSON, bounded in size and depth."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        check_depth(value)
        if len(orjson.dumps(value)) > MAX_JSON_BYTES:
            raise ValidationError(f"Takes at most {MAX_JSON_BYTES // 1024} KiB of JSON.")
        return value


class SmallObject(SmallJson):
    """A JSON object, bounded in size and depth."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, dict):
            raise ValidationError("Takes an object.")
        return super()._deserialize(value, attr, data, **kwargs)


def _short(**kwargs: Any) -> Trimmed:
    return Trimmed(validate=validate.Length(max=200), allow_none=True, **kwargs)


class ConversationMetadata(Schema):
    """What users say of a conversation; ``custom`` is theirs to shape."""

    version = _short()
    client = _short()
    os = _short()
    model = _short()
    project_type = _short()
    tags = fields.List(Tag(), validate=validate.Length(max=MAX_TAGS), allow_none=True)
    custom = SmallObject(allow_none=True)

    @post_load
    def name_tags_once(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Leave out what is said twice."""
        return {**data, "tags": list(dict.fromkeys(data["tags"]))} if data.get("tags") else data


_TITLE = validate.Length(1, TITLE_CHARACTERS)


class CreateConversation(Schema):
    """The body of ``POST /api/conversations``."""

    title = Trimmed(required=True, validate=_TITLE)
    project_path = Trimmed(load_default=None, allow_none=True, validate=validate.Length(1, 4096))
    metadata = fields.Nested(ConversationMetadata, load_default=dict)


class ReplaceConversation(Schema):
    """The body of ``PUT``: all that a user may say of a conversation."""

    title = Trimmed(required=True, validate=_TITLE)
    metadata = fields.Nested(ConversationMetadata, load_default=dict)


class ChangeConversation(Schema):
    """The body of ``PATCH``: what is to be other than it is; ``null`` in ``metadata`` removes."""

    title = Trimmed(load_default=None, allow_none=False, validate=_TITLE)
    metadata = fields.Nested(ConversationMetadata, load_default=None, allow_none=False)

    @validates_schema
    def check_not_empty(self, data: dict[str, Any], **kwargs: Any) -> None:
        """Refuse a change of nothing."""
        if data["title"] is None and data["metadata"] is None:
            raise ValidationError("Takes title, metadata or both.", "body")


def redact_conversation(body: dict[str, Any]) -> dict[str, Any]:
    """Return a loaded body of a conversation as it is stored, with what was ``found`` in it."""
    found = Findings()
    stored = dict(body)
    for name in ("title", "project_path"):
        if stored.get(name) is not None:
            stored[name] = redact(stored[name], name, found)
    stored["metadata"] = redact_json(stored["metadata"], "metadata", found)
    return {**stored, "found": listed(found)}


def redact_tag(tag: str) -> tuple[str, Listed]:
    """Return a tag as it is stored, and what was found in it."""
    found = Findings()
    return redact(tag, "metadata", found), listed(found)


class DeleteParams(Schema):
    """``DELETE``: to the trash, or for good."""

    permanent = fields.Boolean(
        load_default=False, truthy={"true", "1"}, falsy={"false", "0"},
        error_messages={"invalid": "Takes true or false."},
    )  # fmt: skip


def _count(**kwargs: Any) -> JsonInteger:
    return JsonInteger(validate=validate.Range(0, 2**40), **kwargs)


class Usage(Schema):
    """Tokens of a response: the four kinds, or what other clients call them."""

    input_tokens = _count()
    output_tokens = _count()
    cache_creation_input_tokens = _count(load_default=0)
    cache_read_input_tokens = _count(load_default=0)
    prompt_tokens = _count()
    completion_tokens = _count()
    total_tokens = _count()

    @post_load
    def name_kinds(self, data: dict[str, Any], **kwargs: Any) -> dict[str, int]:
        """Return the four kinds."""
        cached = data["cache_creation_input_tokens"] + data["cache_read_input_tokens"]
        prompt = data.get("prompt_tokens", 0)
        return {
            "input_tokens": data.get("input_tokens", max(0, prompt - cached)),
            "output_tokens": data.get("output_tokens", data.get("completion_tokens", 0)),
            "cache_creation_input_tokens": data["cache_creation_input_tokens"],
            "cache_read_input_tokens": data["cache_read_input_tokens"],
        }


class MessageMetadata(Schema):
    """How a message came to be."""

    model = _short(load_default=None)
    temperature = fields.Float(load_default=None, allow_none=True, validate=validate.Range(0, 10))
    max_tokens = _count(load_default=None, allow_none=True)
    stop_reason = _short(load_default=None)
    usage = fields.Nested(Usage, load_default=None, allow_none=True)


class CalledFunction(Schema):
    """Name and arguments of a tool call; arguments are JSON, or its text."""

    name = Trimmed(required=True, validate=validate.Length(1, 200))
    arguments = SmallJson(load_default=dict, allow_none=True)


class ToolCallBody(Schema):
    """A tool call with its result."""

    id = Trimmed(load_default=None, allow_none=True, validate=validate.Length(1, 200))
    type = Text(load_default="function", validate=validate.OneOf(("function",)))
    function = fields.Nested(CalledFunction, required=True)
    result = Text(
        load_default=None, allow_none=True, validate=validate.Length(max=MAX_CONTENT_CHARACTERS)
    )
    execution_time_ms = _count(load_default=None, allow_none=True)
    status = Text(load_default="success", validate=validate.OneOf(TOOL_STATUSES))


class TimeField(Text):
    """A time in ISO 8601."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        moment = parse_moment(super()._deserialize(value, attr, data, **kwargs))
        if moment is None:
            raise ValidationError("Takes a time such as 2026-01-31T12:00:00Z.")
        return moment


class MessageBody(Schema):
    """A message to write; only the assistant calls tools."""

    role = Text(required=True, validate=validate.OneOf(("user", "assistant", "system")))
    content = Text(required=True, validate=validate.Length(max=MAX_CONTENT_CHARACTERS))
    timestamp = TimeField(load_default=None)
    tool_calls = fields.List(
        fields.Nested(ToolCallBody), load_default=list, validate=validate.Length(max=MAX_TOOL_CALLS)
    )
    metadata = fields.Nested(MessageMetadata, load_default=None, allow_none=True)

    @validates_schema
    def check_not_empty(self, data: dict[str, Any], **kwargs: Any) -> None:
        """Refuse a message that says nothing."""
        if not data.get("content", "").strip() and not data.get("tool_calls"):
            raise ValidationError("Takes text, or tool_calls beside it.", "content")

    @validates_schema
    def check_caller(self, data: dict[str, Any], **kwargs: Any) -> None:
        """Refuse tool calls of anyone but the assistant."""
        if data["tool_calls"] and data["role"] != "assistant":
            raise ValidationError("Only a message of role assistant has tool calls.", "tool_calls")


class MessageBatch(Schema):
    """The body of a batch: up to 1,000 messages, written together or not at all."""

    messages = fields.List(
        fields.Nested(MessageBody), required=True, validate=validate.Length(1, MAX_MESSAGES)
    )


def new_message(body: dict[str, Any]) -> NewMessage:
    """Return a message to write, as it is stored, from its body as MessageBody loads it."""
    found = Findings()
    metadata = redact_json(body["metadata"] or {}, "metadata", found)
    kept = ("temperature", "max_tokens", "stop_reason")
    notes = {name: metadata[name] for name in kept if metadata.get(name) is not None}
    content = redact(body["content"], "content", found)
    tool_calls = tuple(_tool_call(call, found) for call in body["tool_calls"])
    return NewMessage(
        role=body["role"],
        content=content,
        timestamp=body["timestamp"],
        model=metadata.get("model"),
        stop_reason=metadata.get("stop_reason"),
        notes=notes or None,
        tokens=metadata.get("usage"),
        tool_calls=tool_calls,
        found=listed(found),
    )


def _tool_call(body: dict[str, Any], found: Findings) -> NewToolCall:
    arguments = body["function"]["arguments"]
    if isinstance(arguments, str):
        # What is nested too deeply stays the text that it came as.
        with suppress(orjson.JSONDecodeError, ValidationError):
            parsed = orjson.loads(arguments)
            check_depth(parsed)
            arguments = parsed
    result = body["result"]
    return NewToolCall(
        name=redact(body["function"]["name"], "name", found),
        parameters=orjson.dumps(redact_json(arguments, "parameters", found)).decode(),
        id=redact(body["id"], "id", found) if body["id"] is not None else None,
        result=redact(result, "result", found) if result is not None else None,
        status=body["status"],
        execution_time_ms=body["execution_time_ms"],
    )


def read_wanted_revision(req: falcon.Request) -> int | None:
    """Return the archive's revision that ``If-Match`` speaks of, or ``None`` when it asks nothing.

    Raises:
        PreconditionFailed: It is no tag of ours.
    """
    header = req.get_header("If-Match")
    if header is None or header.strip() == "*":
        return None
    revisions = [find_revision(tag.strip()) for tag in header.split(",")]
    known = [revision for revision in revisions if revision is not None]
    if not known:
        raise PreconditionFailed
    return max(known)


def answer_once(
    req: falcon.Request,
    resp: falcon.Response,
    body: bytes,
    *,
    status: int,
    act: Callable[[], Any],
    read: Callable[[Any], Any] = lambda done: done,
) -> bool:
    """Act and answer with what comes back; with an Idempotency-Key act on the first request only.

    Args:
        req: The request.
        resp: Its answer.
        body: By which another request of the same key is told.
        status: Of the answer, where it acts.
        act: Changes something.
        read: Returns what to answer from what that returned; without a key behind the
            transaction, for which others wait.

    Returns:
        Whether it acted.

    Raises:
        ValidationError: The key is malformed.
        Conflict: The key came before with another body.
    """
    key = req.get_header("Idempotency-Key")
    if key is None:
        resp.status = falcon.code_to_http_status(status)
        answer(req, resp, read(act()))
        return True
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise ValidationError("Takes 1 to 255 visible characters.", "Idempotency-Key")
    body_hash = hashlib.sha256(body).digest()
    path = f"{req.method} {req.path}"
    identity = identity_of(req)
    sender = identity.name

    def act_once() -> tuple[tuple[int, str] | None, Any]:
        first = idempotency.find_answer(
            key, sender=sender, path=path, body_hash=body_hash, scope=identity.scope
        )
        return first, act() if first is None else None

    def keep(acted: tuple[tuple[int, str] | None, Any]) -> tuple[bool, int, str]:
        first, done = acted
        if first is not None:
            return False, *first
        data = orjson.dumps(read(done)).decode()
        idempotency.insert_answer(
            key, sender=sender, path=path, body_hash=body_hash, status=status, data=data
        )
        return True, status, data

    has_acted, status, data = write_together(act_once, keep)
    if not has_acted:
        resp.set_header("Idempotency-Replayed", "true")
    resp.status = falcon.code_to_http_status(status)
    answer(req, resp, orjson.Fragment(data))
    return has_acted

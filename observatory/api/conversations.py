"""Conversations, their messages and their tool uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import falcon
from marshmallow import ValidationError, fields, post_load, validate, validates_schema
from orjson import Fragment

from observatory.api import schemas
from observatory.api.answers import answer, answer_page
from observatory.api.auth import actor_of, scope_of
from observatory.api.bodies import loader, read_json, read_object
from observatory.api.columns import FieldNames
from observatory.api.conversation_changes import (
    ChangeConversation,
    CreateConversation,
    DeleteParams,
    MessageBatch,
    MessageBody,
    ReplaceConversation,
    Tag,
    answer_once,
    new_message,
    read_wanted_revision,
    redact_conversation,
    redact_tag,
)
from observatory.api.params import (
    CursorParams,
    Moment,
    NoParams,
    PageParams,
    Text,
    WholeNumber,
    read_params,
)
from observatory.api.schemas import CONVERSATION_KINDS, TOOL_USE_STATUSES
from observatory.ingest.pricing import price_call, read_book
from observatory.ingest.removing import remove_conversation
from observatory.store import audit
from observatory.store.archive import ApiCallRow
from observatory.store.conversation_changes import (
    restore_conversation,
    set_tag,
    trash_conversation,
    update_conversation,
)
from observatory.store.conversations import (
    SORT_COLUMNS,
    ConversationFilter,
    get_conversation,
    list_conversations,
)
from observatory.store.message_changes import insert_messages
from observatory.store.message_pages import CAN_WRITE, write_messages
from observatory.store.messages import get_message, list_messages
from observatory.store.new_conversations import insert_conversation
from observatory.store.time_limits import check_time_limit
from observatory.store.tool_uses import list_tool_uses
from observatory.store.turns import list_turns
from observatory.transcripts.layout import normalise_project_path, project_name

_FILTERS = tuple(ConversationFilter.__dataclass_fields__)


class ConversationParams(CursorParams):
    """Which conversations to list, and in what order."""

    search = Text(load_default=None, validate=validate.Length(1, 200))
    project_path = Text(load_default=None, validate=validate.Length(1, 4096))
    date_from = Moment(load_default=None)
    date_to = Moment(load_default=None, is_end=True)
    model = Text(load_default=None, validate=validate.Length(1, 200))
    has_errors = fields.Boolean(
        load_default=None, truthy={"true", "1"}, falsy={"false", "0"},
        error_messages={"invalid": "Takes true or false."},
    )  # fmt: skip
    kind = Text(load_default=None, validate=validate.OneOf(CONVERSATION_KINDS))
    parent_id = Text(load_default=None, validate=validate.Length(1, 500))
    tag = Text(load_default=None, validate=validate.Length(1, 50))
    deleted = fields.Boolean(
        load_default=None,
        truthy={"true", "1"},
        falsy={"false", "0"},
        error_messages={"invalid": "Takes true or false."},
    )
    sort_by = Text(load_default="updated_at", validate=validate.OneOf(tuple(SORT_COLUMNS)))
    sort_order = Text(load_default="desc", validate=validate.OneOf(("asc", "desc")))
    columns = FieldNames(schemas.Conversation)

    @post_load
    def freeze(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return the arguments of ``list_conversations``."""
        return {
            "wanted": ConversationFilter(**{name: data[name] for name in _FILTERS}),
            "sort_by": data["sort_by"],
            "descending": data["sort_order"] == "desc",
            "limit": data["limit"],
            "offset": data["offset"],
            "cursor": data["cursor"],
        }


class OneConversationParams(NoParams):
    """Which fields of one conversation."""

    columns = FieldNames(schemas.ConversationDetail)


class MessageParams(CursorParams):
    """Which page of messages."""

    limit = WholeNumber(load_default=100, validate=validate.Range(1, 500))
    around = Text(load_default=None, validate=validate.Length(1, 500))
    max_characters = WholeNumber(load_default=None, validate=validate.Range(1, 1_000_000))
    columns = FieldNames(schemas.Message)

    @validates_schema
    def check_around(self, data: dict[str, Any], **kwargs: Any) -> None:
        """Refuse two places to begin at."""
        if data.get("around") and (data.get("cursor") or data.get("offset")):
            raise ValidationError("Give a message, a cursor or an offset, only one.", "around")


class TurnParams(PageParams):
    """Which page of turns."""

    limit = WholeNumber(load_default=1000, validate=validate.Range(1, 1000))
    since = Text(load_default=None, validate=validate.Length(1, 500))
    columns = FieldNames(schemas.Turn)


class ToolUseParams(CursorParams):
    """Which tool uses to list."""

    name = Text(load_default=None, validate=validate.Length(1, 200))
    status = Text(load_default=None, validate=validate.OneOf(TOOL_USE_STATUSES))
    columns = FieldNames(schemas.ToolUse)


class Conversations:
    """``/api/conversations``: newest first, filtered and sorted as asked."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page of conversations."""
        page = list_conversations(**read_params(req, ConversationParams), scope=scope_of(req))
        answer_page(req, resp, "conversations", page)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make a conversation that messages can be added to."""
        read_params(req, NoParams)
        raw, loaded = read_json(req, CreateConversation)
        body = redact_conversation(loaded)
        path, scope = body["project_path"], scope_of(req)
        if path:
            path = normalise_project_path(path)

        def create() -> Fragment:
            return insert_conversation(
                title=body["title"],
                project_path=path,
                project_name=project_name(path) if path else None,
                metadata=body["metadata"],
                scope=scope,
                found=body["found"],
            )

        answer_once(req, resp, raw, status=201, act=create)


class Conversation:
    """``/api/conversations/{id}``: one, with usage by model and subagents; and changes to it."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        """Answer with the conversation."""
        read_params(req, OneConversationParams)
        answer(req, resp, get_conversation(conversation_id, scope=scope_of(req)))

    def on_put(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        """Say anew what a user may say of it: title and metadata."""
        read_params(req, NoParams)
        _, body = read_json(req, ReplaceConversation)
        revision = read_wanted_revision(req)
        stored, scope = redact_conversation(body), scope_of(req)
        update_conversation(conversation_id, **stored, scope=scope, replace=True, revision=revision)
        answer(req, resp, get_conversation(conversation_id, scope=scope))

    def on_patch(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        """Change title or metadata; ``null`` removes a field of the metadata."""
        read_params(req, NoParams)
        _, body = read_json(req, ChangeConversation)
        revision = read_wanted_revision(req)
        stored, scope = redact_conversation(body), scope_of(req)
        update_conversation(conversation_id, **stored, scope=scope, revision=revision)
        answer(req, resp, get_conversation(conversation_id, scope=scope))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        """Move it and its subagents to the trash, or remove them for good."""
        is_permanent = read_params(req, DeleteParams)["permanent"]
        revision, scope = read_wanted_revision(req), scope_of(req)
        deleted_at = None
        if is_permanent:
            remove_conversation(conversation_id, scope=scope, revision=revision)
            target = f"conversation:{conversation_id}"
            audit.note(actor_of(req), "conversation.delete_permanently", target=target)
        else:
            deleted_at = trash_conversation(conversation_id, scope=scope, revision=revision)
        data = {"id": conversation_id, "deleted_at": deleted_at, "permanent": is_permanent}
        answer(req, resp, data)


class RestoredConversation:
    """``/api/conversations/{id}/restore``: out of the trash."""

    def on_post(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        """Take it and its subagents out of the trash."""
        read_params(req, NoParams)
        scope = scope_of(req)

        def restore() -> Fragment:
            restore_conversation(conversation_id, scope=scope)
            return get_conversation(conversation_id, scope=scope)

        answer_once(req, resp, b"", status=200, act=restore)


class ConversationTag:
    """``/api/conversations/{id}/tags/{tag}``: whether it is filed under a tag."""

    def on_put(
        self, req: falcon.Request, resp: falcon.Response, conversation_id: str, tag: str
    ) -> None:
        """File it under the tag."""
        self._set(req, resp, conversation_id, tag, is_set=True)

    def on_delete(
        self, req: falcon.Request, resp: falcon.Response, conversation_id: str, tag: str
    ) -> None:
        """File it under the tag no longer."""
        self._set(req, resp, conversation_id, tag, is_set=False)

    def _set(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        conversation_id: str,
        tag: str,
        *,
        is_set: bool,
    ) -> None:
        read_params(req, NoParams)
        try:
            name = Tag().deserialize(tag)
        except ValidationError as error:
            raise ValidationError(error.messages, "tag") from error
        name, found = redact_tag(name)
        revision = read_wanted_revision(req)
        tags = set_tag(
            conversation_id,
            name,
            scope=scope_of(req),
            is_set=is_set,
            revision=revision,
            found=found,
        )
        answer(req, resp, {"id": conversation_id, "tags": tags})


class ConversationMessages:
    """``/api/conversations/{id}/messages``: in transcript order."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        """Answer with a page of messages."""
        params, scope = read_params(req, MessageParams), scope_of(req)
        is_whole = params["max_characters"] is None and not hasattr(req.context, "columns")
        if is_whole and CAN_WRITE:
            place = {name: params[name] for name in ("limit", "offset", "cursor", "around")}
            page = write_messages(conversation_id, **place, scope=scope)
        else:
            page = list_messages(conversation_id, **params, scope=scope)
        answer_page(req, resp, "messages", page)

    def on_post(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        """Write one message, or under ``messages`` up to 1,000 together or not at all."""
        read_params(req, NoParams)
        raw, body = read_object(req)
        is_batch = "messages" in body
        if is_batch:
            loaded = loader(MessageBatch).load(body)["messages"]
        else:
            loaded = [loader(MessageBody).load(body)]
        messages = []
        for message in loaded:
            # Looking for secrets can take long, and no query ends it.
            check_time_limit()
            messages.append(new_message(message))
        scope = scope_of(req)

        def write() -> list[str]:
            return insert_messages(conversation_id, messages, scope=scope, price=_price)

        def read(ids: list[str]) -> dict[str, Any]:
            if is_batch:
                return {"message_ids": ids}
            # It is kept, whatever somebody else has done with the conversation since.
            return get_message(ids[0], scope=scope, in_trash=True)

        answer_once(req, resp, raw, status=201, act=write, read=read)


def _price(calls: Sequence[ApiCallRow]) -> None:
    if calls:
        book = read_book()
        for call in calls:
            price_call(call, book)


class ConversationTurns:
    """``/api/conversations/{id}/turns``: its prompts with sums of what followed each."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        """Answer with a page of turns."""
        params = read_params(req, TurnParams)
        answer_page(req, resp, "turns", list_turns(conversation_id, **params, scope=scope_of(req)))


class ConversationToolUses:
    """``/api/conversations/{id}/tool-uses``: in transcript order."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        """Answer with a page of tool uses."""
        params = read_params(req, ToolUseParams)
        page = list_tool_uses(conversation_id, **params, scope=scope_of(req))
        answer_page(req, resp, "tool_uses", page)

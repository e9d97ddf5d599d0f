"""Conversations, their messages and their tool uses."""

from __future__ import annotations

from typing import Any

import falcon
from marshmallow import fields, post_load, validate

from observatory.api.answers import answer, answer_page
from observatory.api.params import CursorParams, Moment, NoParams, Text, WholeNumber, read_params
from observatory.api.schemas import CONVERSATION_KINDS, TOOL_USE_STATUSES
from observatory.store.conversations import (
    SORT_COLUMNS,
    ConversationFilter,
    get_conversation,
    list_conversations,
)
from observatory.store.messages import list_messages
from observatory.store.tool_uses import list_tool_uses

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
    sort_by = Text(load_default="updated_at", validate=validate.OneOf(tuple(SORT_COLUMNS)))
    sort_order = Text(load_default="desc", validate=validate.OneOf(("asc", "desc")))

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


class MessageParams(CursorParams):
    """Which page of messages."""

    limit = WholeNumber(load_default=100, validate=validate.Range(1, 500))


class ToolUseParams(CursorParams):
    """Which tool uses to list."""

    name = Text(load_default=None, validate=validate.Length(1, 200))
    status = Text(load_default=None, validate=validate.OneOf(TOOL_USE_STATUSES))


class Conversations:
    """``/api/conversations``: newest first, filtered and sorted as asked."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page of conversations."""
        page = list_conversations(**read_params(req, ConversationParams))
        answer_page(req, resp, "conversations", page)


class Conversation:
    """``/api/conversations/{id}``: one, with usage by model and subagents."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        """Answer with the conversation."""
        read_params(req, NoParams)
        answer(req, resp, get_conversation(conversation_id))


class ConversationMessages:
    """``/api/conversations/{id}/messages``: in transcript order."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        """Answer with a page of messages."""
        page = list_messages(conversation_id, **read_params(req, MessageParams))
        answer_page(req, resp, "messages", page)


class ConversationToolUses:
    """``/api/conversations/{id}/tool-uses``: in transcript order."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        """Answer with a page of tool uses."""
        page = list_tool_uses(conversation_id, **read_params(req, ToolUseParams))
        answer_page(req, resp, "tool_uses", page)

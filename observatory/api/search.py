"""Full-text search over messages, and over conversations by their messages."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import falcon
from marshmallow import Schema, ValidationError, fields, post_load, validate

from observatory.api.answers import answer, answer_rows
from observatory.api.auth import scope_of
from observatory.api.bodies import JsonInteger, read_json
from observatory.api.columns import FieldNames, choose
from observatory.api.params import CursorParams, Moment, NoParams, Text, WholeNumber, read_params
from observatory.api.schemas import Flag
from observatory.api.search_schemas import FoundConversation, Hit
from observatory.metrics import SEARCH_DURATION, timed
from observatory.store.database import Reading
from observatory.store.search_language import MAX_CHARACTERS
from observatory.store.search_matches import ROLES, SearchRequest
from observatory.store.searching import SearchPage, search_conversations, search_messages

SORTS = ("relevance", "time")
_FILTERS = tuple(SearchRequest.__dataclass_fields__)
_IS = {"truthy": {"true", "1", True}, "falsy": {"false", "0", False}}
_TRUTH = {"invalid": "Takes true or false."}


def _flag() -> fields.Boolean:
    return fields.Boolean(load_default=None, error_messages=_TRUTH, **_IS)  # type: ignore[arg-type]


class _Filters(Schema):
    """What both kinds of search take."""

    q = Text(load_default=None, validate=validate.Length(1, MAX_CHARACTERS))
    project = Text(load_default=None, validate=validate.Length(1, 4096))
    role = Text(load_default=None, validate=validate.OneOf(ROLES))
    kind = Text(load_default=None, validate=validate.Length(1, 50))
    tool = Text(load_default=None, validate=validate.Length(1, 200))
    model = Text(load_default=None, validate=validate.Length(1, 200))
    is_error = _flag()
    before = Moment(load_default=None)
    after = Moment(load_default=None)
    conversation_id = Text(load_default=None, validate=validate.Length(1, 500))
    sort = Text(load_default="relevance", validate=validate.OneOf(SORTS))

    def _arguments(self, data: dict[str, Any]) -> dict[str, Any]:
        return {
            "request": SearchRequest(**{name: data[name] for name in _FILTERS}),
            "newest_first": data["sort"] == "time",
            "limit": data["limit"],
            "offset": data["offset"],
            "cursor": data["cursor"],
            "with_facets": bool(data["facets"]),
        }


def _cursor(description: str) -> Text:
    return Text(
        load_default=None,
        validate=validate.Length(1, 2000),
        metadata={"description": f"A next_cursor. {description}"},
    )


class SearchParams(_Filters, CursorParams):
    """``GET /api/search``."""

    cursor = _cursor(
        "With sort=time the pages have each hit once; with sort=relevance each is cut from the"
        " ranking at the time of its request: hits may be repeated or skipped when it changes."
    )
    limit = WholeNumber(load_default=20, validate=validate.Range(1, 100))
    facets = _flag()
    columns = FieldNames(Hit)

    @post_load
    def freeze(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return the arguments of ``search_messages``."""
        return self._arguments(data)


class ConversationSearch(_Filters, CursorParams):
    """The body of ``POST /api/conversations/search``; ``fields`` names those of each row."""

    cursor = _cursor(
        "Each page is cut from the ranking at the time of its request: conversations may be"
        " repeated or skipped when it changes."
    )
    is_error = Flag(load_default=None)
    limit = JsonInteger(load_default=20, validate=validate.Range(1, 100))
    offset = JsonInteger(load_default=0, validate=validate.Range(0, 10_000))
    facets = Flag(load_default=None)
    columns = FieldNames(FoundConversation)

    @post_load
    def freeze(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return the arguments of ``search_conversations``, and ``columns`` beside them."""
        return {**self._arguments(data), "columns": data["columns"]}


class Search:
    """``/api/search``: messages that match, best or latest first."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page of hits."""
        arguments = _check(read_params(req, SearchParams))
        with timed(SEARCH_DURATION, "messages"):
            page = search_messages(**arguments, scope=scope_of(req))
        answer_rows(req, resp, "hits", page.hits, page.pagination, **_others(page))


class SearchedConversations:
    """``/api/conversations/search``: conversations that match, with their best messages."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page of conversations."""
        read_params(req, NoParams)
        arguments = _check(read_json(req, ConversationSearch)[1])
        columns = arguments.pop("columns")
        # As all reads are that come by GET: of one moment.
        with closing(Reading()), timed(SEARCH_DURATION, "conversations"):
            page = search_conversations(**arguments, scope=scope_of(req))
        rows = page.hits if columns is None else choose(page.hits, columns)
        others = {**_others(page), "pagination": page.pagination}
        answer(req, resp, {"conversations": rows, **others})


def _others(page: SearchPage) -> dict[str, Any]:
    """Return what stands beside the rows; facets only when they were asked for."""
    return {"titles": page.titles} | ({} if page.facets is None else {"facets": page.facets})


def _check(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments when there is something to search for.

    Raises:
        ValidationError: There is neither a query nor a filter.
    """
    if arguments["request"] == SearchRequest():
        raise ValidationError("Takes words to find; or give a filter.", "q")
    return arguments

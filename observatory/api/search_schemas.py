"""What the answers of searches look like."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from observatory.api.schemas import (
    MESSAGE_KINDS,
    ROLES,
    Conversation,
    Count,
    Flag,
    Time,
    one_of,
    text,
    text_or_null,
)


class Hit(Schema):
    """A message that matches; ``snippet`` is HTML: text escaped, matches in ``<mark>``."""

    message_id = text()
    conversation_id = text()
    conversation_title = text()
    project_path = text_or_null()
    role = one_of(ROLES)
    kind = one_of(MESSAGE_KINDS)
    timestamp = Time(required=True)
    model = text_or_null()
    rank = fields.Float(required=True)
    snippet = text()


class TitleHit(Schema):
    """A conversation whose title matches; ``title`` is HTML as in snippets."""

    conversation_id = text()
    title = text()
    project_path = text_or_null()
    updated_at = Time(required=True)


class FacetValue(Schema):
    """How many of the messages that match have a value."""

    value = text()
    count = Count(required=True)


def _facet() -> fields.List[Any]:
    return fields.List(fields.Nested(FacetValue), required=True)


class Facets(Schema):
    """The messages that match, counted by what they have."""

    project = _facet()
    role = _facet()
    tool = _facet()
    model = _facet()
    month = _facet()


class SearchPagination(Schema):
    """Where a page of hits stands; ``total`` is a least number when it is ``at_least``."""

    total = Count(required=True)
    total_relation = one_of(("exact", "at_least"))
    limit = Count(required=True)
    offset = Count(required=True)
    has_more = Flag(required=True)
    next_cursor = text_or_null()


class Hits(Schema):
    """A page of messages that match; ``facets`` when they were asked for."""

    hits = fields.List(fields.Nested(Hit), required=True)
    titles = fields.List(fields.Nested(TitleHit), required=True)
    facets = fields.Nested(Facets)
    pagination = fields.Nested(SearchPagination, required=True)


class FoundConversation(Schema):
    """A conversation with how many of its messages match, and the best three of them."""

    conversation = fields.Nested(Conversation, required=True)
    matches = Count(required=True)
    messages = fields.List(fields.Nested(Hit), required=True)


class FoundConversations(Schema):
    """A page of conversations with messages that match; ``facets`` when they were asked for."""

    conversations = fields.List(fields.Nested(FoundConversation), required=True)
    titles = fields.List(fields.Nested(TitleHit), required=True)
    facets = fields.Nested(Facets)
    pagination = fields.Nested(SearchPagination, required=True)

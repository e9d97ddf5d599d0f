"""What the numbers of a conversation are made of, so that anyone can check them."""

from __future__ import annotations

import falcon
from marshmallow import Schema, fields, validate

from observatory.api.answers import answer_rows
from observatory.api.auth import scope_of
from observatory.api.columns import FieldNames
from observatory.api.params import CursorParams, Text, read_params
from observatory.api.schemas import (
    MESSAGE_KINDS,
    USAGE_QUALITIES,
    Cost,
    Count,
    Flag,
    Pagination,
    Time,
    Tokens,
    one_of,
    text,
    text_or_null,
)
from observatory.store.reconciling import OMISSIONS, OWNERS, REASONS, reconcile_conversation


class _Place(Schema):
    """A line of a transcript; without a file when it was written here, or the file forgotten."""

    message_id = text()
    file_id = Count(required=True, allow_none=True)
    file = text_or_null()
    line = Count(required=True, allow_none=True)
    kind = one_of(MESSAGE_KINDS)


class CountedLine(_Place):
    """A line that told of a response.

    ``is_counted`` says whether its numbers are the response's: null when it may be this line or
    another, which is not kept.
    """

    conversation_id = text()
    is_counted = Flag(required=True, allow_none=True)
    is_copy = Flag(required=True)
    is_superseded = Flag(required=True)


class _AllTokens(Tokens):
    cache_creation_5m_input_tokens = Count(required=True)
    cache_creation_1h_input_tokens = Count(required=True)
    web_search_requests = Count(required=True)


class CountedCall(_AllTokens, Cost):
    """A response with its counted numbers, why it has these, and the lines that told of it.

    ``hidden_lines`` is how many more are in conversations that are not there for who asks.
    """

    id = text()
    request_id = text_or_null()
    model = text()
    created_at = Time(required=True)
    stop_reason = text_or_null()
    is_fast = Flag(required=True)
    cost_nanodollars = Count(required=True, allow_none=True)
    usage_quality = one_of(USAGE_QUALITIES)
    reason = one_of(tuple(REASONS))
    explanation = text()
    owner = one_of(tuple(OWNERS))
    owner_explanation = text()
    lines = fields.List(fields.Nested(CountedLine), required=True)
    hidden_lines = Count(required=True)


class ConversationCounters(Tokens, Cost):
    """The counters that a conversation is shown with."""

    api_call_count = Count(required=True)
    unpriced_call_count = Count(required=True)
    undercounted_call_count = Count(required=True)
    total_tokens = Count(required=True)
    cost_nanodollars = Count(required=True)


class ReconciledTotals(ConversationCounters, _AllTokens):
    """The same, counted anew from all responses of the conversation."""


class UncountedLine(_Place):
    """A line that looks like a response and is none here; ``counted_in`` where it is one."""

    model = text_or_null()
    reason = one_of(tuple(OMISSIONS))
    counted_in = text_or_null()
    api_call_id = text_or_null()


class UncountedReason(Schema):
    """How many lines are not counted for a reason."""

    reason = one_of(tuple(OMISSIONS))
    explanation = text()
    count = Count(required=True)


class UncountedLines(Schema):
    """The lines that are not counted: all by reason, and some of them."""

    total = Count(required=True)
    reasons = fields.List(fields.Nested(UncountedReason), required=True)
    lines = fields.List(fields.Nested(UncountedLine), required=True)
    next_cursor = text_or_null()


class Reconciliation(Schema):
    """What the numbers of a conversation are made of.

    ``totals`` are of all responses, not of a page's; ``matches_conversation`` says whether they
    equal the counters in ``conversation``.
    """

    calls = fields.List(fields.Nested(CountedCall), required=True)
    conversation_id = text()
    matches_conversation = Flag(required=True)
    totals = fields.Nested(ReconciledTotals, required=True)
    conversation = fields.Nested(ConversationCounters, required=True)
    not_counted = fields.Nested(UncountedLines, required=True)
    pagination = fields.Nested(Pagination, required=True)


class ReconcileParams(CursorParams):
    """Which conversation, and which page of its responses."""

    conversation = Text(required=True, validate=validate.Length(1, 500))
    not_counted_cursor = Text(
        load_default=None,
        validate=validate.Length(1, 2000),
        metadata={"description": "A next_cursor of the lines that are not counted."},
    )
    columns = FieldNames(CountedCall)


class Reconcile:
    """``/api/analytics/reconcile``: each response of a conversation, its lines, and the sums."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page of responses."""
        params = dict(read_params(req, ReconcileParams))
        conversation_id = params.pop("conversation")
        found = reconcile_conversation(conversation_id, **params, scope=scope_of(req))
        answer_rows(req, resp, "calls", found.page.rows, found.page.pagination(), **found.others)

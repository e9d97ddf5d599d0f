"""What reports look like."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from observatory.api.schemas import (
    TOOL_USE_STATUSES,
    Cost,
    Count,
    Flag,
    Time,
    text,
    text_or_null,
)


def _number_or_null() -> fields.Float:
    return fields.Float(required=True, allow_none=True)


def _count_or_null() -> Count:
    return Count(required=True, allow_none=True)


def _whole() -> fields.Integer:
    """Return a field for a whole number that may be negative; null is unknown."""
    return fields.Integer(required=True, strict=True, allow_none=True)


def _list_of(schema: type[Schema]) -> fields.List[Any]:
    return fields.List(fields.Nested(schema), required=True)


class ReportPeriod(Schema):
    """From when to just before when, and in whose days."""

    from_ = Time(required=True, data_key="from")
    to = Time(required=True)
    timezone = text()


class OfTime(Schema):
    """An hour, day, week or month: ``date`` is its name in the zone, a week's its Monday."""

    date = fields.String()
    from_ = Time(data_key="from")
    to = Time()


class OfProject(Schema):
    """A project; null is what belongs to none."""

    project_id = Count(allow_none=True)
    project_path = fields.String(allow_none=True)
    project_name = fields.String(allow_none=True)


class OfAny(OfTime, OfProject):
    """What a row is of, as ``group_by`` says; titles are for those who may read conversations."""

    model = fields.String()
    conversation_id = fields.String()
    kind = fields.String()
    title = fields.String(allow_none=True)


class Priced(Cost):
    """A cost, whether it is all of it, and of how much no price is known."""

    unpriced_calls = Count(required=True)
    unpriced_tokens = Count(required=True)


class UsageFigures(Priced):
    """Tokens.

    ``cache_hit_rate`` is the share of what was read from the cache in all that was sent;
    ``usage_quality`` tells whether some clients wrote only first estimates of output.
    """

    api_calls = Count(required=True)
    input_tokens = Count(required=True)
    output_tokens = Count(required=True)
    cache_creation_input_tokens = Count(required=True)
    cache_creation_5m_input_tokens = Count(required=True)
    cache_creation_1h_input_tokens = Count(required=True)
    cache_read_input_tokens = Count(required=True)
    total_tokens = Count(required=True)
    cache_hit_rate = _number_or_null()
    web_search_requests = Count(required=True)
    usage_quality = fields.String(required=True, validate=validate.OneOf(("exact", "undercounted")))
    undercounted_calls = Count(required=True)
    undercounted_output_tokens = Count(required=True)


class CostFigures(Priced):
    """Costs by what they are for, in millionths of a US dollar; null is unknown.

    ``other`` is web searches, and what a client reported without saying what for;
    ``cache_savings`` is what the same would have cost more if nothing had been cached.
    """

    api_calls = Count(required=True)
    total_tokens = Count(required=True)
    input_cost_microdollars = _whole()
    output_cost_microdollars = _whole()
    cache_write_cost_microdollars = _whole()
    cache_read_cost_microdollars = _whole()
    other_cost_microdollars = _whole()
    uncached_cost_microdollars = _whole()
    cache_savings_microdollars = _whole()
    cache_savings_rate = _number_or_null()


class ActivityFigures(Schema):
    """How much happened; what is active said something in the period, what started began in it."""

    active_conversations = Count(required=True)
    active_sessions = Count(required=True)
    active_subagents = Count(required=True)
    started_sessions = Count(required=True)
    started_subagents = Count(required=True)
    messages = Count(required=True)
    prompts = Count(required=True)
    api_calls = Count(required=True)
    interruptions = Count(required=True)
    responses_per_prompt = _number_or_null()
    prompts_per_session = _number_or_null()


class ToolFigures(Schema):
    """Tool uses; ``running`` have no result yet, ``rejected`` were refused by the user.

    ``success_rate`` is of those that ended by themselves. Times include waiting for permission;
    p50 and p95 are estimated from counts of durations.
    """

    uses = Count(required=True)
    success_count = Count(required=True)
    error_count = Count(required=True)
    rejected_count = Count(required=True)
    interrupted_count = Count(required=True)
    running_count = Count(required=True)
    success_rate = _number_or_null()
    error_categories = fields.Dict(keys=fields.String(), values=Count(), required=True)
    timed_uses = Count(required=True)
    total_duration_ms = Count(required=True)
    mean_ms = _count_or_null()
    p50_ms = _count_or_null()
    p95_ms = _count_or_null()
    max_ms = _count_or_null()


class UnpricedModel(Schema):
    """A model of which no price is known, and what that concerns."""

    model = text()
    api_calls = Count(required=True)
    total_tokens = Count(required=True)


class UsageRow(OfAny, UsageFigures):
    """Tokens of one thing."""


class CostRow(OfAny, CostFigures):
    """Costs of one thing."""


class ToolRow(OfTime, OfProject, ToolFigures):
    """What one tool did, or all in one time or project."""

    tool = fields.String()
    server = fields.String(allow_none=True)


class SlowToolUse(Schema):
    """One tool use that took long."""

    tool = text()
    execution_time_ms = Count(required=True)
    status = fields.String(required=True, validate=validate.OneOf(TOOL_USE_STATUSES))
    started_at = Time(required=True)
    tool_use_id = text()
    conversation_id = text()
    message_id = text_or_null()
    project_path = text_or_null()


class ModelRow(UsageFigures, CostFigures):
    """What one model was used for."""

    model = text()
    share_of_cost = _number_or_null()
    share_of_tokens = _number_or_null()
    output_tokens_per_call = _number_or_null()


class WeekHour(Priced):
    """One hour of the week; Monday is 0."""

    weekday = fields.Integer(required=True, strict=True, validate=validate.Range(0, 6))
    hour = fields.Integer(required=True, strict=True, validate=validate.Range(0, 23))
    messages = Count(required=True)
    prompts = Count(required=True)
    api_calls = Count(required=True)
    total_tokens = Count(required=True)


class LongConversation(Schema):
    """A conversation that went on for long."""

    conversation_id = text()
    title = text_or_null()
    project_path = text_or_null()
    created_at = Time(required=True)
    updated_at = Time(required=True)
    duration_seconds = Count(required=True)
    message_count = Count(required=True)


class BurnRate(Schema):
    """How fast a block is used up."""

    tokens_per_minute = fields.Float(required=True)
    uncached_tokens_per_minute = fields.Float(required=True)
    microdollars_per_hour = _count_or_null()


class Projection(Schema):
    """What a block comes to at its end if it goes on like this."""

    minutes_left = Count(required=True)
    total_tokens = Count(required=True)
    cost_microdollars = _count_or_null()


class BlockRow(UsageFigures):
    """Five hours from the full hour of a first response on."""

    start_at = Time(required=True)
    end_at = Time(required=True)
    first_activity_at = Time(required=True, allow_none=True)
    last_activity_at = Time(required=True, allow_none=True)
    is_active = Flag(required=True)
    models = fields.List(fields.String(), required=True)
    burn_rate = fields.Nested(BurnRate, required=True, allow_none=True)
    projection = fields.Nested(Projection, required=True, allow_none=True)


class ErrorRow(OfTime):
    """How often a tool went wrong in one way; or, by time, how often what went wrong."""

    tool = fields.String()
    status = fields.String()
    category = fields.String()
    count = Count()
    share_of_uses = fields.Float(allow_none=True)
    tool_uses = Count()
    tool_error = Count()
    tool_rejected = Count()
    tool_interrupted = Count()
    api_errors = Count()
    retries = Count()
    interruptions = Count()


class ErrorTotals(Schema):
    """How much went wrong; ``retries`` are answers that the API gave at a later attempt."""

    tool_uses = Count(required=True)
    tool_error = Count(required=True)
    tool_rejected = Count(required=True)
    tool_interrupted = Count(required=True)
    tool_error_rate = _number_or_null()
    api_errors = Count(required=True)
    retries = Count(required=True)
    interruptions = Count(required=True)


class FileRow(Schema):
    """A file that tools read or edited; ``reworks`` are edits after the first by a conversation."""

    path = text()
    reads = Count(required=True)
    edits = Count(required=True)
    writes = Count(required=True)
    reworks = Count(required=True)
    editing_conversations = Count(required=True)
    conversations = Count(required=True)
    last_at = Time(required=True)


class FileConversation(Schema):
    """A conversation that read or edited a file."""

    conversation_id = text()
    title = text_or_null()
    project_path = text_or_null()
    reads = Count(required=True)
    edits = Count(required=True)
    last_at = Time(required=True)


class TokensAndCost(Cost):
    """What something used."""

    total_tokens = Count(required=True)


class SubagentRow(Schema):
    """A session that started subagents: what it used itself, what they did, and both."""

    conversation_id = text()
    title = text_or_null()
    project_path = text_or_null()
    subagent_count = Count(required=True)
    own = fields.Nested(TokensAndCost, required=True)
    subagents = fields.Nested(TokensAndCost, required=True)
    total = fields.Nested(TokensAndCost, required=True)


class TreeNode(Schema):
    """A conversation and what it started."""

    conversation_id = text()
    title = text_or_null()
    agent_type = text_or_null()
    created_at = Time(required=True)
    updated_at = Time(required=True)
    message_count = Count(required=True)
    tool_use_count = Count(required=True)
    error_count = Count(required=True)
    own = fields.Nested(TokensAndCost, required=True)
    total = fields.Nested(TokensAndCost, required=True)
    subagents = fields.List(fields.Nested(lambda: TreeNode()), required=True)


class OverviewTotals(ActivityFigures, UsageFigures, CostFigures):
    """The whole of a period."""


class TopTool(Schema):
    """One of the tools that were used most."""

    tool = text()
    uses = Count(required=True)
    error_count = Count(required=True)
    success_rate = _number_or_null()
    p50_ms = _count_or_null()


class ComparedTotals(ActivityFigures, UsageFigures, CostFigures):
    """One of two sides."""

    period = fields.Nested(ReportPeriod, required=True)
    project_path = text_or_null()


def _changes() -> fields.Dict:
    """Return by how much numbers grew, as shares of what they were; null for 0 and the unknown."""
    return fields.Dict(keys=fields.String(), values=fields.Float(allow_none=True), required=True)


class Comparison(Schema):
    """Two periods or projects side by side; ``change`` is from ``against`` to ``this``."""

    report = text()
    this = fields.Nested(ComparedTotals, required=True)
    against = fields.Nested(ComparedTotals, required=True)
    change = _changes()


class SubagentTree(Schema):
    """One conversation with all that it started."""

    report = text()
    tree = fields.Nested(TreeNode, required=True)


def make_report_schema(
    name: str,
    rows: type[Schema],
    *,
    totals: type[Schema] | None = None,
    **others: fields.Field[Any],
) -> type[Schema]:
    """Return the schema of a report of rows.

    Args:
        name: The schema's name.
        rows: What a row looks like.
        totals: What the sums look like; those of the previous period look alike.
        others: What else the report holds.
    """
    held: dict[str, fields.Field[Any]] = {
        "report": text(),
        "period": fields.Nested(ReportPeriod, required=True),
        "group_by": text_or_null(),
        "rows": _list_of(rows),
        **others,
    }
    if totals is not None:
        held["totals"] = fields.Nested(totals, required=True)
        previous = Schema.from_dict(
            {
                "period": fields.Nested(ReportPeriod, required=True),
                "totals": fields.Nested(totals, required=True),
                "change": _changes(),
            },
            name=f"{name}Previous",
        )
        held["previous"] = fields.Nested(previous, required=True, allow_none=True)
    return Schema.from_dict(held, name=name)


def _unpriced() -> fields.List[Any]:
    return _list_of(UnpricedModel)


OverviewReport = make_report_schema(
    "OverviewReport",
    UsageRow,
    totals=OverviewTotals,
    models=_list_of(UsageRow),
    projects=_list_of(UsageRow),
    tools=_list_of(TopTool),
    unpriced_models=_unpriced(),
)
TokenUsageReport = make_report_schema(
    "TokenUsageReport", UsageRow, totals=UsageFigures, unpriced_models=_unpriced()
)
CostReport = make_report_schema(
    "CostReport", CostRow, totals=CostFigures, unpriced_models=_unpriced()
)
ToolReport = make_report_schema("ToolReport", ToolRow, totals=ToolFigures)
SlowestToolReport = make_report_schema("SlowestToolReport", SlowToolUse)
ModelReport = make_report_schema(
    "ModelReport", ModelRow, totals=UsageFigures, unpriced_models=_unpriced()
)
ActivityReport = make_report_schema(
    "ActivityReport", WeekHour, totals=ActivityFigures, longest=_list_of(LongConversation)
)
BlockReport = make_report_schema("BlockReport", BlockRow)
ErrorReport = make_report_schema("ErrorReport", ErrorRow, totals=ErrorTotals)
FileReport = make_report_schema("FileReport", FileRow, conversations=_list_of(FileConversation))
SubagentReport = make_report_schema("SubagentReport", SubagentRow)

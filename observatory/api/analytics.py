"""``/api/analytics/...``: reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import time
from typing import Any

import falcon
from marshmallow import Schema, ValidationError, validate, validates_schema

from observatory.api import report_schemas as schemas
from observatory.api.auth import identity_of
from observatory.api.params import Text, WholeNumber, read_params
from observatory.api.report_cache import ReportCache
from observatory.api.report_forms import choose_form
from observatory.api.report_params import LocalMoment, ReportParams, ask, complete_against
from observatory.metrics import REPORT_DURATION, timed
from observatory.store.analytics import (
    activity,
    blocks,
    conversations,
    errors,
    figures,
    files,
    overview,
    subagents,
    tools,
    usage,
)
from observatory.store.analytics.periods import UNITS
from observatory.store.analytics.reading import Asked
from observatory.store.rollup_building import are_built

_RETRY_SECONDS = 10
Params = dict[str, Any]
Parts = dict[str, Any]


def _limit(default: int, most: int = 500) -> WholeNumber:
    return WholeNumber(load_default=default, validate=validate.Range(1, most))


def _one_of(choices: tuple[str, ...], default: str | None) -> Text:
    return Text(load_default=default, validate=validate.OneOf(choices))


class ComparableParams(ReportParams):
    """A report that can be compared with the time before it."""

    compare = _one_of(("previous",), None)


class OverviewParams(ComparableParams):
    """What the overview takes."""

    limit = _limit(5, 50)


class UsageParams(ComparableParams):
    """What reports of tokens and costs take; only times can be broken down."""

    group_by = _one_of(usage.GROUPS, "day")
    breakdown = _one_of(usage.BREAKDOWNS, None)
    limit = _limit(100)

    @validates_schema
    def check_breakdown(self, data: dict[str, Any], **kwargs: Any) -> None:
        """Refuse to divide what is no time."""
        if data["breakdown"] is not None and data["group_by"] not in UNITS:
            raise ValidationError(
                f"Divides times; take it with group_by={', '.join(UNITS)}.", "breakdown"
            )


class ToolParams(ComparableParams):
    """What the report of tools takes."""

    group_by = _one_of(tools.GROUPS, "tool")
    tool = Text(load_default=None, validate=validate.Length(1, 200))


class SlowestParams(ReportParams):
    """What the report of slow tools takes."""

    tool = Text(load_default=None, validate=validate.Length(1, 200))
    limit = _limit(20)


class ActivityParams(ComparableParams):
    """What the report of activity takes; ``limit`` is of the longest conversations."""

    limit = _limit(10, 100)


class ErrorParams(ComparableParams):
    """What the report of errors takes."""

    group_by = _one_of(("category", *UNITS), "category")


class FileParams(ReportParams):
    """What the report of files takes; a path tells its conversations, too."""

    path = Text(load_default=None, validate=validate.Length(1, 4096))
    sort_by = _one_of(files.SORTS, "edits")
    limit = _limit(50)
    offset = WholeNumber(load_default=0, validate=validate.Range(0, 100_000))


class SubagentParams(ReportParams):
    """What the report of subagents takes; one conversation is told as a tree."""

    conversation = Text(load_default=None, validate=validate.Length(1, 500))
    limit = _limit(50)


class CompareParams(ReportParams):
    """Two sides; of the second what is not given is as in the first."""

    against_from_ = LocalMoment(data_key="against_from")
    against_to = LocalMoment(is_end=True)
    against_project = Text(load_default=None, validate=validate.Length(1, 4096))


def check_built() -> None:
    """Return quietly when the sums are there.

    Raises:
        HTTPServiceUnavailable: They are being built.
    """
    if not are_built():
        raise falcon.HTTPServiceUnavailable(retry_after=_RETRY_SECONDS)


@dataclass(frozen=True, slots=True)
class Report:
    """One report.

    Attributes:
        params: What it takes.
        schema: What it looks like.
        read: Returns its ``rows``, and what it holds beside them.
        read_total: Returns its ``totals``, if it has any.
        is_of_now: Whether it is another one a minute later though nothing happened.
    """

    params: type[ReportParams]
    schema: type[Schema]
    read: Callable[[Asked, Params], Parts]
    read_total: Callable[[Asked, Params], Parts] | None = None
    is_of_now: bool = False


def _overview(asked: Asked, params: Params) -> Parts:
    return {
        **overview.read_overview(asked, limit=params["limit"]),
        "unpriced_models": usage.read_unpriced(asked),
    }


def _usage_by(make: usage.Figures, measures: tuple[str, ...]) -> Callable[[Asked, Params], Parts]:
    def read(asked: Asked, params: Params) -> Parts:
        rows = usage.read_rows(
            asked,
            group_by=params["group_by"],
            breakdown=params["breakdown"],
            limit=params["limit"],
            measures=measures,
            make=make,
        )
        return {"rows": rows, "unpriced_models": usage.read_unpriced(asked)}

    return read


def _usage_total(asked: Asked, params: Params) -> Parts:
    return figures.usage_figures(usage.read_total(asked))


def _cost_total(asked: Asked, params: Params) -> Parts:
    return figures.cost_figures(usage.read_total(asked))


def _tool_total(asked: Asked, params: Params) -> Parts:
    return tools.read_tool_total(asked, tool=params["tool"])


def _of_all(read: Callable[[Asked], Parts]) -> Callable[[Asked, Params], Parts]:
    """Return what reads totals that nothing but the time and the place narrows."""
    return lambda asked, params: read(asked)


def _tools(asked: Asked, params: Params) -> Parts:
    rows = tools.read_tool_groups(asked, group_by=params["group_by"], tool=params["tool"])
    return {"rows": rows}


def _slowest(asked: Asked, params: Params) -> Parts:
    return {"rows": tools.list_slowest(asked, tool=params["tool"], limit=params["limit"])}


def _models(asked: Asked, params: Params) -> Parts:
    return {
        "rows": usage.read_models(asked),
        "unpriced_models": usage.read_unpriced(asked),
    }


def _activity(asked: Asked, params: Params) -> Parts:
    longest = conversations.list_longest(asked, limit=params["limit"])
    return {"rows": activity.read_week(asked), "longest": longest}


def _blocks(asked: Asked, params: Params) -> Parts:
    return {"rows": blocks.list_blocks(asked, now=time())}


def _errors(asked: Asked, params: Params) -> Parts:
    unit = params["group_by"]
    if unit == "category":
        return {"rows": errors.read_errors(asked)}
    return {"rows": errors.read_errors_over_time(asked, unit=unit)}


def _files(asked: Asked, params: Params) -> Parts:
    path = params["path"]
    rows = files.list_files(
        asked,
        path=path,
        sort_by=params["sort_by"],
        limit=params["limit"],
        offset=params["offset"],
    )
    using = files.list_conversations_of(asked, path=path, limit=params["limit"]) if path else []
    return {"rows": rows, "conversations": using}


def _subagents(asked: Asked, params: Params) -> Parts:
    return {"rows": subagents.list_sessions_with_subagents(asked, limit=params["limit"])}


REPORTS: dict[str, Report] = {
    "overview": Report(
        OverviewParams, schemas.OverviewReport, _overview, _of_all(overview.read_overview_total)
    ),
    "token-usage": Report(
        UsageParams,
        schemas.TokenUsageReport,
        _usage_by(figures.usage_figures_of, figures.FOR_USAGE),
        _usage_total,
    ),
    "costs": Report(
        UsageParams,
        schemas.CostReport,
        _usage_by(figures.cost_figures_of, figures.FOR_COSTS),
        _cost_total,
    ),
    "tools": Report(ToolParams, schemas.ToolReport, _tools, _tool_total),
    "tools/slowest": Report(SlowestParams, schemas.SlowestToolReport, _slowest),
    "models": Report(ComparableParams, schemas.ModelReport, _models, _usage_total),
    "activity": Report(
        ActivityParams, schemas.ActivityReport, _activity, _of_all(activity.read_activity)
    ),
    "blocks": Report(ReportParams, schemas.BlockReport, _blocks, is_of_now=True),
    "errors": Report(ErrorParams, schemas.ErrorReport, _errors, _of_all(errors.read_error_total)),
    "files": Report(FileParams, schemas.FileReport, _files),
    "subagents": Report(SubagentParams, schemas.SubagentReport, _subagents),
}


class AnalyticsReport:
    """``/api/analytics/{report}``: one of REPORTS.

    Args:
        name: Its name in the path.
        cache: Where reports are kept as long as nothing changes.
    """

    has_forms = True

    def __init__(self, name: str, cache: ReportCache) -> None:
        self._name = name
        self._report = REPORTS[name]
        self._cache = cache
        self.is_cached = not self._report.is_of_now

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the report."""
        params = read_params(req, self._report.params)
        form = choose_form(req, params["format"])
        self._cache.answer(req, resp, form, lambda: self._make_timed(req, params))

    def _make_timed(self, req: falcon.Request, params: Params) -> Parts:
        with timed(REPORT_DURATION, self._name):
            return self._make(req, params)

    def _make(self, req: falcon.Request, params: Params) -> Parts:
        check_built()
        if params.get("conversation") is not None:
            tree = subagents.read_tree(params["conversation"], scope=identity_of(req).scope)
            return {"report": self._name, "tree": tree}
        asked = ask(req, params)
        made = {
            "report": self._name,
            "period": asked.period.document(),
            "group_by": params.get("group_by"),
            **self._report.read(asked, params),
        }
        if self._report.read_total is not None:
            made["totals"] = totals = self._report.read_total(asked, params)
            made["previous"] = None
            if params.get("compare"):
                before = asked.over(asked.period.previous())
                earlier = self._report.read_total(before, params)
                made["previous"] = {
                    "period": before.period.document(),
                    "totals": earlier,
                    "change": figures.change(totals, earlier),
                }
        return made


class Comparison:
    """``/api/analytics/compare``: two periods or two projects side by side.

    Args:
        cache: Where reports are kept as long as nothing changes.
    """

    has_forms = True

    def __init__(self, cache: ReportCache) -> None:
        self._cache = cache

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with both sides; by default with the period before this one."""
        params = read_params(req, CompareParams)
        form = choose_form(req, params["format"])
        self._cache.answer(req, resp, form, lambda: self._make_timed(req, params))

    def _make_timed(self, req: falcon.Request, params: Params) -> Parts:
        with timed(REPORT_DURATION, "compare"):
            return self._make(req, params)

    def _make(self, req: falcon.Request, params: Params) -> Parts:
        check_built()
        this = ask(req, params)
        against = this.over(this.period)
        if params["against_from_"] is not None or params["against_to"] is not None:
            named = {**complete_against(params, this.period), "against_project": params["project"]}
            against = ask(req, named, prefix="against_")
        elif params["against_project"] is None:
            against = this.over(this.period.previous())
        if params["against_project"] is not None:
            named = {**params, "project": params["against_project"]}
            against = ask(req, named).over(against.period)
        sides = [overview.read_overview_total(side) for side in (this, against)]
        paths = [params["project"], params["against_project"] or params["project"]]
        shown = [
            {"period": side.period.document(), "project_path": path, **totals}
            for side, path, totals in zip((this, against), paths, sides, strict=True)
        ]
        return {
            "report": "compare",
            "this": shown[0],
            "against": shown[1],
            "change": figures.change(*sides),
        }

"""Tokens, costs and uses of tools, as the sums for reports have them.

These are gauges: what is deleted, masked or priced anew makes them fall, which of a counter would
be taken for a restart, and all that is left for new (docs/decisions/0015-metrics.md).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any
from zoneinfo import ZoneInfo

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from observatory.collectors.text import shorten
from observatory.store.analytics.periods import Period, Segment
from observatory.store.analytics.reading import PROJECT, Asked, name_projects, read_sums
from observatory.store.label_names import MODEL, TOOL, list_first_names
from observatory.store.places import list_places
from observatory.store.rollup_tables import (
    DURATION_BOUNDS_MS,
    DURATIONS,
    MONTH,
    TOOLS,
    USAGE,
)
from observatory.store.scopes import Scope

OTHER = "other"
NO_PROJECT = "(none)"
MAX_MODELS = 8
MAX_TOOLS = 20
_FAR = 2**53
_UTC = ZoneInfo("UTC")
_ALL_TIME = (Segment(0, MONTH, -_FAR, _FAR),)
_KINDS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_creation": "cache_creation_input_tokens",
    "cache_read": "cache_read_input_tokens",
}
_USAGE = (*_KINDS.values(), "unpriced_tokens", "cost_nanodollars")
_TOOLS = ("uses", "failures", "duration_ms", *DURATIONS)
# Every second bound will do, so that a tool has half as many series.
_BOUNDS = range(0, len(DURATION_BOUNDS_MS), 2)


class UsageCollector(Collector):
    """Sums over all that is kept and there for who asks.

    Args:
        scope: What is there for who asks.
        max_projects: How many projects have series of their own.
    """

    def __init__(self, *, scope: Scope, max_projects: int) -> None:
        self._scope = scope
        self._max_projects = max_projects
        self._asked = Asked(Period(-_FAR, _FAR, _UTC), scope)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        yield from _tell_usage(self._read_usage())
        yield from _tell_tools(self._read_tools())

    def _read_usage(self) -> dict[tuple[str, str], Counter[str]]:
        """Return the sums by project and model.

        Those of other projects are what is left of all, so that not each project is read.
        """
        places = list_places(self._scope)
        projects = self._name_projects({project for _, project in places})
        models = list_first_names(MODEL, limit=MAX_MODELS)
        sums: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)

        def add(project: str, model: str, numbers: list[int]) -> None:
            label = model if model in models else OTHER
            sums[project, label].update(dict(zip(_USAGE, numbers, strict=True)))

        for model, *numbers in self._sum_usage("model"):
            add(OTHER, model, numbers)
        named = [place for place, project in places if project in projects]
        for project, model, *numbers in self._sum_usage(PROJECT, "model", places=named):
            add(projects[project], model, numbers)
            add(OTHER, model, [-number for number in numbers])
        return {labels: numbers for labels, numbers in sums.items() if any(numbers.values())}

    def _sum_usage(self, *by: str, places: list[int] | None = None) -> list[tuple[Any, ...]]:
        return read_sums(
            USAGE, self._asked, by=by, measures=_USAGE, segments=_ALL_TIME, places=places
        )

    def _name_projects(self, keys: Iterable[int]) -> dict[int, str]:
        """Return the paths of the projects that have series of their own.

        They are those that came first, by their keys: one that is deleted leaves its place empty,
        so that no other one moves up and has its past twice. Who may see a few only sees those.
        """
        own = None if self._scope.only is None else self._scope.only - self._scope.hidden
        if own is None or len(own) > self._max_projects:
            keys = [key for key in keys if key <= self._max_projects]
        return {
            key: NO_PROJECT if key == 0 else project["project_path"]
            for key, project in name_projects(keys).items()
        }

    def _read_tools(self) -> dict[str, Counter[str]]:
        rows = read_sums(
            TOOLS, self._asked, by=("tool",), measures=_TOOLS, segments=_ALL_TIME
        )  # fmt: skip
        names = list_first_names(TOOL, limit=MAX_TOOLS)
        sums: dict[str, Counter[str]] = defaultdict(Counter)
        for tool, *numbers in rows:
            label = tool if tool in names else OTHER
            sums[label].update(dict(zip(_TOOLS, numbers, strict=True)))
        return sums


def _tell_usage(sums: dict[tuple[str, str], Counter[str]]) -> Iterator[Metric]:
    labels = ("project", "model")
    tokens = GaugeMetricFamily(
        "observatory_tokens", "Tokens of what is kept.", labels=(*labels, "kind")
    )
    costs = GaugeMetricFamily(
        "observatory_cost_dollars", "What that cost, as far as prices are known.", labels=labels
    )
    unpriced = GaugeMetricFamily(
        "observatory_unpriced_tokens", "Tokens of which no price is known.", labels=labels
    )
    for long_names, numbers in sums.items():
        names = tuple(map(shorten, long_names))
        for kind, measure in _KINDS.items():
            tokens.add_metric((*names, kind), numbers[measure])
        costs.add_metric(names, numbers["cost_nanodollars"] / 1e9)
        if numbers["unpriced_tokens"]:
            unpriced.add_metric(names, numbers["unpriced_tokens"])
    yield from (tokens, costs, unpriced)


def _tell_tools(sums: dict[str, Counter[str]]) -> Iterator[Metric]:
    uses = GaugeMetricFamily("observatory_tool_uses", "Uses of tools.", labels=("tool",))
    errors = GaugeMetricFamily(
        "observatory_tool_errors", "Uses of tools that failed.", labels=("tool",)
    )
    durations = HistogramMetricFamily(
        "observatory_tool_duration_seconds",
        "How long uses of tools took. It falls when conversations are deleted.",
        labels=("tool",),
    )
    for name, numbers in sums.items():
        tool = shorten(name)
        uses.add_metric((tool,), numbers["uses"])
        errors.add_metric((tool,), numbers["failures"])
        durations.add_metric((tool,), _buckets(numbers), sum_value=numbers["duration_ms"] / 1000)
    yield from (uses, errors, durations)


def _buckets(numbers: Counter[str]) -> list[tuple[str, float]]:
    """Return how many uses took no longer than each bound, in seconds."""
    counted = [numbers[name] for name in DURATIONS]
    buckets: list[tuple[str, float]] = [
        (str(DURATION_BOUNDS_MS[place] / 1000), sum(counted[: place + 1])) for place in _BOUNDS
    ]
    return [*buckets, ("+Inf", sum(counted))]

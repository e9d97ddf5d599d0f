"""``/metrics`` for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

import falcon
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from observatory import timestamps
from observatory.api.auth import scope_of
from observatory.api.maintenance_metrics import MaintenanceCollector
from observatory.api.params import NoParams, read_params
from observatory.store.budget_states import BudgetState, read_states
from observatory.store.budgets import list_budgets
from observatory.store.database import file_sizes
from observatory.store.scopes import Scope
from observatory.store.totals import read_totals

_INGEST = (
    ("files", "Transcript files that were read to their end."),
    ("lines", "Lines of transcripts that were read."),
    ("bytes", "Bytes of transcripts that were read."),
    ("bad_lines", "Lines of transcripts that could not be read."),
)
_BUDGETS = (
    ("spent_dollars", "Dollars spent of a budget in its period, as far as prices are known."),
    ("limit_dollars", "Dollars that a budget allows in its period."),
    ("spent_tokens", "Tokens spent of a budget in its period."),
    ("limit_tokens", "Tokens that a budget allows in its period."),
    ("used_ratio", "Share of a budget that is spent; 1 is all of it."),
    ("unpriced_tokens", "Tokens in the period of a budget of which no price is known."),
)


class ArchiveCollector(Collector):
    """What the database knows, whichever process did it."""

    def collect(self) -> Iterator[Metric]:
        """Yield the archive's metrics as they are now."""
        totals = read_totals()
        for name, text in _INGEST:
            yield CounterMetricFamily(
                f"observatory_ingest_{name}", text, value=totals[f"ingest_{name}"]
            )
        yield GaugeMetricFamily(
            "observatory_conversations", "Conversations kept.", value=totals["conversations"]
        )
        database_bytes, wal_bytes = file_sizes()
        yield GaugeMetricFamily(
            "observatory_database_size_bytes", "Size of the database file.", value=database_bytes
        )
        yield GaugeMetricFamily(
            "observatory_database_wal_size_bytes", "Size of the write-ahead log.", value=wal_bytes
        )


class BudgetCollector(Collector):
    """How far budgets are used, in the period of each that runs.

    Args:
        scope: What is there for who asks.
        moment: The present, in Unix seconds.
    """

    def __init__(self, *, scope: Scope, moment: int) -> None:
        self._scope = scope
        self._moment = moment

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the budgets that are there; what is unknown is no number."""
        found = list_budgets(scope=self._scope)
        states = read_states(found, moment=self._moment, scope=self._scope)
        families = {
            name: GaugeMetricFamily(f"observatory_budget_{name}", text, labels=("budget", "name"))
            for name, text in _BUDGETS
        }
        for budget, state in zip(found, states, strict=True):
            for name, value in _budget_samples(state):
                families[name].add_metric((str(budget.key), budget.name), value)
        yield from families.values()


def _budget_samples(state: BudgetState) -> Iterator[tuple[str, float]]:
    unit, scale = ("tokens", 1) if state.is_of_tokens else ("dollars", 10**9)
    unknown = float("nan")
    yield f"spent_{unit}", unknown if state.is_unknown else state.spent / scale
    yield f"limit_{unit}", state.limit / scale
    yield "used_ratio", unknown if state.is_unknown else state.spent / state.limit
    yield "unpriced_tokens", state.sums["unpriced_tokens"]


class Metrics:
    """``/metrics``: requests of all workers, the archive, and the budgets of who asks."""

    def __init__(self, *, is_multiprocess: bool) -> None:
        self._registry = CollectorRegistry() if is_multiprocess else REGISTRY
        if is_multiprocess:
            MultiProcessCollector(self._registry)
        self._archive = CollectorRegistry(auto_describe=False)
        self._archive.register(ArchiveCollector())
        self._archive.register(MaintenanceCollector())

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer in Prometheus's text format."""
        read_params(req, NoParams)
        resp.content_type = CONTENT_TYPE_PLAIN_0_0_4
        budgets = CollectorRegistry(auto_describe=False)
        budgets.register(BudgetCollector(scope=scope_of(req), moment=timestamps.present()))
        resp.data = b"".join(map(generate_latest, (self._registry, self._archive, budgets)))

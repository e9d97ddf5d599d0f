"""How far budgets are used, as who asks may know."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from observatory.store.budget_states import BudgetState, read_states
from observatory.store.budgets import list_budgets
from observatory.store.scopes import Scope

_BUDGETS = (
    ("spent_dollars", "Dollars spent of a budget in its period, as far as prices are known."),
    ("limit_dollars", "Dollars that a budget allows in its period."),
    ("spent_tokens", "Tokens spent of a budget in its period."),
    ("limit_tokens", "Tokens that a budget allows in its period."),
    ("used_ratio", "Share of a budget that is spent; 1 is all of it."),
    ("unpriced_tokens", "Tokens in the period of a budget of which no price is known."),
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

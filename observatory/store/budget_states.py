"""How far budgets are used: always summed up from the rollups, of the period that runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from observatory.store.analytics.figures import cost_of, total_tokens
from observatory.store.analytics.periods import Period, as_text, begin_unit, end_unit
from observatory.store.analytics.reading import Asked, read_sums
from observatory.store.budgets import Budget
from observatory.store.rollup_tables import USAGE
from observatory.store.scopes import Scope

THRESHOLDS = (50, 80, 100)
# Before that the pace of a period tells nothing.
_LEAST_PACE_SECONDS = 3600
_MEASURES = (
    "api_calls", "unpriced_calls", "unpriced_tokens", "cost_nanodollars", "input_tokens",
    "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BudgetState:
    """How far a budget is used at a time.

    Attributes:
        period: The day, week or month of its zone that runs, in Unix seconds.
        moment: The time, in Unix seconds.
        is_of_tokens: Whether tokens are limited; else it is nanodollars.
        limit: How much may be spent.
        sums: What was spent, by the names of measures of usage.
    """

    period: Period
    moment: int
    is_of_tokens: bool
    limit: int
    sums: dict[str, int]

    @property
    def spent(self) -> int:
        """What was spent of what is limited; of dollars that of which a price is known."""
        return total_tokens(self.sums) if self.is_of_tokens else self.sums["cost_nanodollars"]

    @property
    def is_unknown(self) -> bool:
        """Whether dollars are limited, and no price is known of anything that was used."""
        calls = self.sums["api_calls"]
        return not self.is_of_tokens and bool(calls) and calls == self.sums["unpriced_calls"]

    @property
    def level(self) -> int:
        """The highest of THRESHOLDS that is reached for certain, or 0."""
        reached = (each for each in THRESHOLDS if self.spent * 100 >= self.limit * each)
        return max(reached, default=0)

    @property
    def used_percent(self) -> float | None:
        """The share of the limit; ``None`` when nothing of it is known."""
        if self.is_unknown:
            return None
        percent = _percent(self.spent, self.limit)
        following = next((each for each in THRESHOLDS if each > self.level), None)
        # 99.97 % does not become 100.0 before the limit is reached.
        return percent if following is None or percent < following else following - 0.1

    @property
    def projected_percent(self) -> float | None:
        """The share at the end of the period at the pace until now; ``None`` for none yet."""
        elapsed = self.moment - self.period.start
        if self.is_unknown or elapsed < _LEAST_PACE_SECONDS:
            return None
        whole = self.period.end - self.period.start
        return _percent(self.spent * whole, self.limit * elapsed)

    @property
    def remaining(self) -> int | None:
        """What is left, in microdollars or tokens, never below 0; ``None`` for what is unknown."""
        if self.is_unknown:
            return None
        left = max(0, self.limit - self.spent)
        return left if self.is_of_tokens else left // 1000

    def spending(self) -> dict[str, Any]:
        """Return the period, and what was spent in it, as API and events show it."""
        cost = cost_of(self.sums)
        return {
            "period_from": as_text(self.period.start),
            "period_to": as_text(self.period.end),
            "spent_microdollars": cost["cost_microdollars"],
            "spent_tokens": total_tokens(self.sums),
            "cost_complete": cost["cost_complete"],
            "unpriced_tokens": cost["unpriced_tokens"],
            "used_percent": self.used_percent,
        }

    def document(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        return {
            **self.spending(),
            "level": self.level,
            "remaining": self.remaining,
            "projected_percent": self.projected_percent,
        }


def _percent(part: int, whole: int) -> float:
    return round(part * 1000 / whole) / 10


def find_period(budget: Budget, moment: int) -> Period:
    """Return the day, week or month of a budget in which a time is."""
    zone = ZoneInfo(budget.timezone)
    start = begin_unit(budget.period, moment, zone)
    return Period(start, end_unit(budget.period, start, zone), zone)


def read_states(budgets: Iterable[Budget], *, moment: int, scope: Scope) -> list[BudgetState]:
    """Return how far budgets are used, in their order.

    Args:
        budgets: Of which ones; those that ask for the same sums cost as much as one.
        moment: The present, in Unix seconds.
        scope: What is counted: what is there for who asks.
    """
    known: dict[tuple[Any, ...], dict[str, int]] = {}
    states = []
    for budget in budgets:
        period = find_period(budget, moment)
        asked = (period.start, period.end, budget.project_path, budget.model)
        if asked not in known:
            known[asked] = _read_spent(budget, period, scope)
        limit = budget.limit_tokens or budget.limit_nanodollars
        assert limit is not None
        is_of_tokens = budget.limit_tokens is not None
        states.append(BudgetState(period, moment, is_of_tokens, limit, known[asked]))
    return states


def read_state(budget: Budget, *, moment: int, scope: Scope) -> BudgetState:
    """Return how far a budget is used."""
    [state] = read_states([budget], moment=moment, scope=scope)
    return state


def _read_spent(budget: Budget, period: Period, scope: Scope) -> dict[str, int]:
    if budget.project_path is not None and budget.project_key is None:
        # The project is still to come.
        return dict.fromkeys(_MEASURES, 0)
    asked = Asked(period, scope, budget.project_key, budget.model)
    [row] = read_sums(USAGE, asked, measures=_MEASURES, only=asked.only)
    return dict(zip(_MEASURES, row, strict=True))


def find_counted_places(budget: Budget, period: Period, *, scope: Scope) -> list[int]:
    """Return the keys of the places where anything was spent of a budget in a period."""
    asked = Asked(period, scope, budget.project_key, budget.model)
    measures = ("api_calls",)
    rows = read_sums(USAGE, asked, by=("place_key",), measures=measures, only=asked.only)
    return [key for key, calls in rows if calls]

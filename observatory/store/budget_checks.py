"""Telling that budgets crossed a threshold: once for each budget, period and threshold."""

from __future__ import annotations

import json
from typing import NamedTuple

from observatory.store.analytics.periods import as_text
from observatory.store.budget_states import BudgetState, find_counted_places, read_states
from observatory.store.budgets import Budget, list_all_budgets, note_told
from observatory.store.database import fetch_all, writing
from observatory.store.event_notes import find_noted_percent, note_budget
from observatory.store.scopes import WHOLE
from observatory.timestamps import FIRST, LAST, seconds_of


class Span(NamedTuple):
    """From when to just before when the periods of all budgets run, in Unix seconds."""

    start: float
    end: float

    def holds(self, moment: int) -> bool:
        """Tell whether a time is in it."""
        return self.start <= moment < self.end


def check_budgets(moment: int) -> Span:
    """Write an event for each budget that crossed a threshold since it was looked at last.

    Of several that were crossed at once the highest is told. What is told is noted in the same
    transaction, so that it is told once, whoever looks and whatever ends the process.

    Args:
        moment: The present, in Unix seconds.

    Returns:
        As long as nothing changes in the archive, there is nothing more to tell in this span.
    """
    budgets = list_all_budgets()
    states = read_states(budgets, moment=moment, scope=WHOLE)
    if any(map(_has_news, budgets, states)):
        with writing(moves=None):
            _tell(moment)
    return Span(
        max((state.period.start for state in states), default=seconds_of(FIRST)),
        min((state.period.end for state in states), default=seconds_of(LAST)),
    )


def _tell(moment: int) -> None:
    # Anew: another process may have told of them before the lock was ours.
    budgets = list_all_budgets()
    for budget, state in zip(
        budgets, read_states(budgets, moment=moment, scope=WHOLE), strict=True
    ):
        if not _has_news(budget, state):
            continue
        spending = state.spending()
        numbers = {
            "percent": state.level,
            **spending,
            "limit_microdollars": budget.document()["limit_microdollars"],
            "limit_tokens": budget.limit_tokens,
            "projects": _list_counted_projects(budget, state),
        }
        note_budget(budget.key, numbers)
        note_told(budget.key, period_from=spending["period_from"], percent=state.level)


def _has_news(budget: Budget, state: BudgetState) -> bool:
    """Tell whether a threshold is reached that nobody was told of."""
    if not state.level:
        return False
    if budget.noted_period is None:
        return True
    period_from = as_text(state.period.start)
    if budget.noted_period == period_from:
        return state.level > budget.noted_percent
    # A clock that was set may bring a period back: what was told of it is in its events.
    return state.level > find_noted_percent(budget.key, period_from)


def _list_counted_projects(budget: Budget, state: BudgetState) -> list[int]:
    """Return the projects that tell for whom the numbers of a project's budget are.

    What a session in another project started counts, too, where it ran; so who does not see that
    other one may not be told of the sum.
    """
    if budget.project_key is None:
        return []
    places = find_counted_places(budget, state.period, scope=WHOLE)
    rows = fetch_all(
        "SELECT DISTINCT a.value FROM json_each(?) w JOIN places p ON p.key = w.value"
        " CROSS JOIN json_each(p.above) a ORDER BY 1",
        (json.dumps(places),),
    )
    return sorted({budget.project_key, *(key for (key,) in rows)})

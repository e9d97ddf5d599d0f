"""Tokens and costs: over time, by model, by project, by conversation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from observatory.store.analytics import figures
from observatory.store.analytics.conversations import list_conversation_sums
from observatory.store.analytics.figures import Numbers
from observatory.store.analytics.over_time import list_times, read_times
from observatory.store.analytics.periods import UNITS, Bucket, as_text
from observatory.store.analytics.reading import (
    PROJECT,
    Asked,
    name_projects,
    read_sums,
)
from observatory.store.rollup_tables import USAGE

GROUPS = (*UNITS, "model", "project", "conversation")
BREAKDOWNS = ("model", "project")
# Makes figures of measures in their order.
Figures = Callable[[Sequence[int]], dict[str, Any]]


def read_total(asked: Asked) -> Numbers:
    """Return the sums of a period over everything."""
    [row] = read_sums(USAGE, asked, only=asked.only)
    return figures.number(row)


def read_groups(
    asked: Asked,
    *,
    group_by: str,
    breakdown: str | None = None,
    limit: int = 100,
    measures: Sequence[str] = USAGE.measures,
) -> list[tuple[dict[str, Any], Numbers]]:
    """Return sums by what they are of, which is told as the API shows it.

    Times are in order, and without gaps from the first with anything to the last. All else begins
    with what cost the most.

    Args:
        asked: Of what.
        group_by: One of GROUPS.
        breakdown: One of BREAKDOWNS, which each unit of time is divided by; nothing else is.
        limit: Largest number of conversations.
        measures: Which measures; costs, tokens and calls are among them.

    Raises:
        InvalidParameter: There are too many units of time.
    """
    if group_by in UNITS:
        make = partial(figures.number, measures=measures)
        return list(_read_times(asked, group_by, breakdown, measures, make))
    if group_by == "conversation":
        return list_conversation_sums(asked, limit=limit)
    by = PROJECT if group_by == "project" else "model"
    rows = read_sums(USAGE, asked, by=(by,), only=asked.only, measures=measures)
    named = _namer(by, (row[0] for row in rows))
    found = [(named(row[0]), figures.number(row[1:], measures)) for row in rows]
    return _largest_first(each for each in found if by == PROJECT or each[1]["api_calls"])


def read_rows(
    asked: Asked,
    *,
    group_by: str,
    measures: Sequence[str],
    make: Figures,
    breakdown: str | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Return the same as rows of what they are of, and of what is made of the measures.

    Raises:
        InvalidParameter: There are too many units of time.
    """
    if group_by in UNITS:
        made = _read_times(asked, group_by, breakdown, measures, make)
        return [{**names, **row} for names, row in made]
    groups = read_groups(asked, group_by=group_by, limit=limit, measures=measures)
    return [{**names, **make([row[name] for name in measures])} for names, row in groups]


def _namer(by: str, keys: Iterable[Any]) -> Callable[[Any], dict[str, Any]]:
    if by == PROJECT:
        return name_projects(keys).__getitem__
    return lambda name: {"model": name}


def _largest_first(
    rows: Iterable[tuple[dict[str, Any], Numbers]],
) -> list[tuple[dict[str, Any], Numbers]]:
    return sorted(
        rows,
        key=lambda row: (
            -row[1]["cost_nanodollars"],
            -figures.total_tokens(row[1]),
            tuple(str(value) for value in row[0].values()),
        ),
    )


def _read_times(
    asked: Asked, unit: str, breakdown: str | None, measures: Sequence[str], make: Figures
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    buckets = list_times(asked, unit, USAGE)
    times = [time_of(bucket) for bucket in buckets]
    by = () if breakdown is None else (breakdown,)
    rows = read_times(USAGE, asked, unit, buckets, by=by, measures=measures, only=asked.only)
    if breakdown is None:
        found = {row[0]: row[1:] for row in rows}
        nothing = (0,) * len(measures)
        for place, time in enumerate(times):
            yield time, make(found.get(place, nothing))
        return
    named = _namer(breakdown, {row[1] for row in rows})
    calls = 2 + measures.index("api_calls")
    for row in rows:
        if breakdown == PROJECT or row[calls]:
            yield {**times[row[0]], **named(row[1])}, make(row[2:])


def time_of(bucket: Bucket) -> dict[str, str]:
    """Return what a row over time is of."""
    return {"date": bucket.name, "from": as_text(bucket.start), "to": as_text(bucket.end)}


def read_unpriced(asked: Asked) -> list[dict[str, Any]]:
    """Return the models of which no price is known at some time, with what that concerns."""
    measures = ("unpriced_calls", "unpriced_tokens")
    rows = read_sums(USAGE, asked, by=("model",), measures=measures, only=asked.only)
    return [
        {"model": model, "api_calls": calls, "total_tokens": tokens}
        for model, calls, tokens in sorted(rows, key=lambda row: (-row[2], row[0]))
        if calls
    ]


def read_models(asked: Asked) -> list[dict[str, Any]]:
    """Return what each model was used for, and its share of it; the most expensive first."""
    rows = read_groups(asked, group_by="model")
    total = figures.add(row for _, row in rows)
    return [
        {
            **names,
            **figures.usage_figures(row),
            **figures.cost_figures(row),
            "share_of_cost": figures.share_of_cost(row, total),
            "share_of_tokens": figures.share(
                figures.total_tokens(row), figures.total_tokens(total)
            ),
            "output_tokens_per_call": round(row["output_tokens"] / row["api_calls"], 1),
        }
        for names, row in rows
    ]

"""Figures as the API shows them, made of sums."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

from observatory.store.conversation_documents import cost
from observatory.store.rollup_tables import DURATION_BOUNDS_MS, DURATIONS, USAGE

Numbers = dict[str, int]


_TOKENS = (
    "input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens",
)  # fmt: skip
_PRICED = ("api_calls", "unpriced_calls", "unpriced_tokens", "cost_nanodollars")
# What usage_figures and cost_figures are made of.
FOR_USAGE = (
    *_PRICED, *_TOKENS, "cache_creation_5m_input_tokens", "cache_creation_1h_input_tokens",
    "web_search_requests", "undercounted_calls", "undercounted_output_tokens",
)  # fmt: skip
FOR_COSTS = (
    *_PRICED, *_TOKENS, "input_cost_nanodollars", "output_cost_nanodollars",
    "cache_write_cost_nanodollars", "cache_read_cost_nanodollars", "uncached_cost_nanodollars",
)  # fmt: skip


_for_usage = itemgetter(*FOR_USAGE)


def number(values: Sequence[int], measures: Sequence[str] = USAGE.measures) -> Numbers:
    """Return measures of usage by their names."""
    return dict(zip(measures, values, strict=True))


def add(rows: Iterable[Numbers], measures: Sequence[str] = USAGE.measures) -> Numbers:
    """Return the sums over measures of usage."""
    total = dict.fromkeys(measures, 0)
    for row in rows:
        for name, value in row.items():
            total[name] += value
    return total


def total_tokens(row: Numbers) -> int:
    """Return the tokens of all four kinds."""
    return (
        row["input_tokens"]
        + row["output_tokens"]
        + row["cache_creation_input_tokens"]
        + row["cache_read_input_tokens"]
    )


def share(part: int, whole: int) -> float | None:
    """Return a part of a whole as a number from 0 to 1; of nothing there is none."""
    return round(part / whole, 6) if whole else None


def is_cost_unknown(row: Numbers) -> bool:
    """Tell whether there were responses, and no price is known of any of them."""
    return bool(row["api_calls"]) and row["api_calls"] == row["unpriced_calls"]


def share_of_cost(row: Numbers, whole: Numbers) -> float | None:
    """Return a cost as a part of another, from 0 to 1; ``None`` for what is unknown."""
    if is_cost_unknown(row):
        return None
    return share(row["cost_nanodollars"], whole["cost_nanodollars"])


def microdollars(nanodollars: int) -> int:
    """Return a cost as the API shows it."""
    return round(nanodollars / 1000)


def usage_figures(row: Numbers) -> dict[str, Any]:
    """Return tokens, and what is to be known of them."""
    return usage_figures_of(_for_usage(row))


def usage_figures_of(values: Sequence[int]) -> dict[str, Any]:
    """Return the same of the measures of FOR_USAGE, in their order."""
    # A year by day and model has two thousand of them: without a dictionary of measures, and one of
    # the costs inside of another, they take half as long.
    (
        calls, unpriced, unpriced_tokens, nanodollars, used, output, written, read, written_5m,
        written_1h, searches, undercounted, undercounted_tokens,
    ) = values  # fmt: skip
    costs = cost(nanodollars, calls=calls, unpriced=unpriced)
    prompt_tokens = used + written + read
    return {
        "api_calls": calls,
        "input_tokens": used,
        "output_tokens": output,
        "cache_creation_input_tokens": written,
        "cache_creation_5m_input_tokens": written_5m,
        "cache_creation_1h_input_tokens": written_1h,
        "cache_read_input_tokens": read,
        "total_tokens": prompt_tokens + output,
        "cache_hit_rate": share(read, prompt_tokens),
        "web_search_requests": searches,
        "cost_microdollars": costs["cost_microdollars"],
        "cost_complete": costs["cost_complete"],
        "unpriced_calls": unpriced,
        "unpriced_tokens": unpriced_tokens,
        "usage_quality": "undercounted" if undercounted else "exact",
        "undercounted_calls": undercounted,
        "undercounted_output_tokens": undercounted_tokens,
    }


def cost_of(row: Numbers) -> dict[str, Any]:
    """Return a cost, whether it is all of it, and of how much no price is known."""
    return {
        **cost(row["cost_nanodollars"], calls=row["api_calls"], unpriced=row["unpriced_calls"]),
        "unpriced_calls": row["unpriced_calls"],
        "unpriced_tokens": row["unpriced_tokens"],
    }


def cost_figures_of(values: Sequence[int]) -> dict[str, Any]:
    """Return the same as ``cost_figures`` of the measures of FOR_COSTS, in their order."""
    return cost_figures(number(values, FOR_COSTS))


def cost_figures(row: Numbers) -> dict[str, Any]:
    """Return a cost by what it is for, and what caching saved; null where no price is known."""
    is_unknown = is_cost_unknown(row)
    parts = {
        "input": row["input_cost_nanodollars"],
        "output": row["output_cost_nanodollars"],
        "cache_write": row["cache_write_cost_nanodollars"],
        "cache_read": row["cache_read_cost_nanodollars"],
    }
    parts["other"] = row["cost_nanodollars"] - sum(parts.values())
    saved = row["uncached_cost_nanodollars"] - row["cost_nanodollars"]
    known = {
        **{f"{name}_cost_microdollars": microdollars(value) for name, value in parts.items()},
        "uncached_cost_microdollars": microdollars(row["uncached_cost_nanodollars"]),
        "cache_savings_microdollars": microdollars(saved),
    }
    return {
        "api_calls": row["api_calls"],
        "total_tokens": total_tokens(row),
        **cost_of(row),
        **(dict.fromkeys(known) if is_unknown else known),
        "cache_savings_rate": None
        if is_unknown
        else share(saved, row["uncached_cost_nanodollars"]),
    }


def change(now: dict[str, Any], before: dict[str, Any]) -> dict[str, float | None]:
    """Return by how much each number of figures is more than before, as a share of that.

    It is ``None`` where there was nothing before, or one of the two is unknown.
    """
    return {
        name: _grown(value, before[name])
        for name, value in now.items()
        if _is_number(value) and not name.endswith(_RATIOS)
    }


# How the names of figures end that are parts of others.
_RATIOS = ("_rate", "_per_prompt", "_per_session")


def _is_number(value: Any) -> bool:
    """Tell whether a figure is a whole number, or unknown."""
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def _grown(value: int | None, before: Any) -> float | None:
    if value is None or not isinstance(before, int):
        return None
    return share(value - before, before)


def quantile(counts: Sequence[int], wanted: float, *, largest: int) -> int | None:
    """Return about how many milliseconds a share of durations took at most.

    The bounds that it lies between are exact; between them it is estimated as if durations were
    spread evenly over the logarithm. So it is off by less than a factor of 1.8; what is below 10 ms
    is not told apart, and above an hour and a half it lies between that and the longest.

    Args:
        counts: Of durations, by the bounds of DURATION_BOUNDS_MS.
        wanted: The share, from 0 to 1.
        largest: The longest of them in milliseconds.
    """
    whole = sum(counts)
    if not whole:
        return None
    if not largest:
        return 0
    rank = wanted * whole
    below = 0
    for place, count in enumerate(counts):
        if count and below + count >= rank:
            low = DURATION_BOUNDS_MS[place - 1] if place else 1
            high = DURATION_BOUNDS_MS[place] if place < len(DURATION_BOUNDS_MS) else largest
            high = max(min(high, largest), low)
            within: float = (high / low) ** max(0.0, (rank - below) / count)
            return round(low * within)
        below += count
    return largest


def tool_figures(row: dict[str, int], outcomes: dict[tuple[str, str], int]) -> dict[str, Any]:
    """Return how often a tool was used, how that went, and how long it took.

    Args:
        row: Measures of tools by their names, over all outcomes.
        outcomes: Uses by status and category.
    """
    by_status = dict.fromkeys(("success", "error", "rejected", "interrupted", "running"), 0)
    categories: dict[str, int] = {}
    for (status, category), uses in outcomes.items():
        by_status[status] += uses
        if category:
            categories[category] = categories.get(category, 0) + uses
    counts = [row[name] for name in DURATIONS]
    finished = by_status["success"] + by_status["error"]
    return {
        "uses": row["uses"],
        **{f"{status}_count": uses for status, uses in by_status.items()},
        "success_rate": share(by_status["success"], finished),
        "error_categories": dict(sorted(categories.items(), key=lambda c: (-c[1], c[0]))),
        "timed_uses": row["timed_uses"],
        "total_duration_ms": row["duration_ms"],
        "mean_ms": round(row["duration_ms"] / row["timed_uses"]) if row["timed_uses"] else None,
        "p50_ms": quantile(counts, 0.5, largest=row["max_ms"]),
        "p95_ms": quantile(counts, 0.95, largest=row["max_ms"]),
        "max_ms": row["max_ms"] if row["timed_uses"] else None,
    }

"""Five-hour blocks: the windows that Claude's limits are counted in.

A block begins at the full hour, in UTC, of the first response after the last block, and holds
five hours. Source: ccusage 18, ``identifySessionBlocks``; it differs in one thing: a response in
the very millisecond in which a block ends belongs to the next one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from observatory.store.analytics import figures
from observatory.store.analytics.figures import Numbers
from observatory.store.analytics.periods import Segment, as_text, split
from observatory.store.analytics.reading import BUCKET, Asked, read_sums
from observatory.store.database import fetch_all
from observatory.store.rollup_tables import HOUR, HOUR_SECONDS, USAGE

BLOCK_HOURS = 5
BLOCK_SECONDS = BLOCK_HOURS * HOUR_SECONDS
# So far back the beginning of a chain of blocks is looked for.
_LOOK_BACK_SECONDS = 31 * 86400
_BY_START = "start"


@dataclass(slots=True)
class Block:
    """One block: its beginning in Unix seconds, and what was used in it by model."""

    start: int
    models: dict[str, Numbers] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """When it ends, in Unix seconds."""
        return self.start + BLOCK_SECONDS


def list_blocks(asked: Asked, *, now: float) -> list[dict[str, Any]]:
    """Return the blocks that begin in a period, the latest first.

    Args:
        asked: Of what.
        now: The present time in Unix seconds, which decides which one is going on.
    """
    period = asked.period
    early = max(0, period.start - _LOOK_BACK_SECONDS)
    segment = Segment(0, HOUR, _floor(early), _floor(period.end + HOUR_SECONDS - 1))
    hours = read_sums(
        USAGE, asked, by=(_BY_START,), measures=("api_calls",), segments=[segment], only=asked.only
    )
    starts = [start for start in _find_starts(hours) if period.start <= start < period.end]
    blocks = [Block(start) for start in starts]
    segments = [
        part for place, block in enumerate(blocks) for part in split(place, block.start, block.end)
    ]
    for place, model, *values in read_sums(
        USAGE,
        asked,
        by=(BUCKET, "model"),
        measures=figures.FOR_USAGE,
        segments=segments,
        only=asked.only,
    ):
        numbers = figures.number(values, figures.FOR_USAGE)
        if numbers["api_calls"]:
            blocks[place].models[model] = numbers
    spans = _find_spans(asked, blocks)
    return [
        _document(block, span, now=now)
        for block, span in zip(reversed(blocks), reversed(spans), strict=True)
    ]


def _floor(moment: int) -> int:
    return moment - moment % HOUR_SECONDS


def _find_starts(hours: list[tuple[int, int]]) -> list[int]:
    """Return when blocks begin, of hours with the calls in each, in order."""
    starts: list[int] = []
    for start, calls in hours:
        if calls and (not starts or start >= starts[-1] + BLOCK_SECONDS):
            starts.append(start)
    return starts


def _find_spans(asked: Asked, blocks: list[Block]) -> list[tuple[str, str] | None]:
    """Return when the first and the last response of each block came."""
    there = asked.and_there("c")
    parameters: dict[str, Any] = {}
    if asked.model is not None:
        there += " AND a.model = :model"
        parameters["model"] = asked.model
    one = (
        "(SELECT a.created_at FROM api_calls a INDEXED BY api_calls_by_time"
        " CROSS JOIN conversations c ON c.key = a.conversation_key"
        " WHERE a.created_at >= b.value ->> 0 AND a.created_at < b.value ->> 1"
        f" AND c.deleted_at IS NULL{there} ORDER BY a.created_at {{order}} LIMIT 1)"
    )
    parameters["blocks"] = json.dumps([(as_text(b.start), as_text(b.end)) for b in blocks])
    rows = fetch_all(
        f"SELECT {one.format(order='ASC')}, {one.format(order='DESC')}"
        " FROM json_each(:blocks) b ORDER BY b.key",
        parameters,
    )
    return [(first, last) if first is not None else None for first, last in rows]


def _document(block: Block, span: tuple[str, str] | None, *, now: float) -> dict[str, Any]:
    total = figures.add(block.models.values(), figures.FOR_USAGE)
    is_active = span is not None and now < block.end and now - _seconds(span[1]) < BLOCK_SECONDS
    return {
        "start_at": as_text(block.start),
        "end_at": as_text(block.end),
        "first_activity_at": span[0] if span else None,
        "last_activity_at": span[1] if span else None,
        "is_active": is_active,
        "models": sorted(block.models),
        **figures.usage_figures(total),
        **_burn(total, block, span, now=now, is_active=is_active),
    }


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _burn(
    total: Numbers, block: Block, span: tuple[str, str] | None, *, now: float, is_active: bool
) -> dict[str, Any]:
    """Return how fast a block is used up, and what it comes to at its end if that goes on."""
    minutes = (_seconds(span[1]) - _seconds(span[0])) / 60 if span else 0.0
    if minutes <= 0:
        return {"burn_rate": None, "projection": None}
    tokens = figures.total_tokens(total)
    nanodollars, is_unknown = total["cost_nanodollars"], figures.is_cost_unknown(total)
    burn_rate = {
        "tokens_per_minute": round(tokens / minutes, 3),
        "uncached_tokens_per_minute": round(
            (total["input_tokens"] + total["output_tokens"]) / minutes, 3
        ),
        "microdollars_per_hour": None
        if is_unknown
        else figures.microdollars(round(nanodollars / minutes * 60)),
    }
    if not is_active:
        return {"burn_rate": burn_rate, "projection": None}
    left = max(0.0, (block.end - now) / 60)
    return {
        "burn_rate": burn_rate,
        "projection": {
            "minutes_left": round(left),
            "total_tokens": round(tokens + tokens / minutes * left),
            "cost_microdollars": None
            if is_unknown
            else figures.microdollars(round(nanodollars + nanodollars / minutes * left)),
        },
    }

"""Compare two runs of the bench: ``python -m tests.bench.compare A.json B.json``.

Figures with a floor are compared by their ratio to it; others are set right by how fast the
machine was in that stage of each run, where they depend on that. A change counts when it is larger
than the noise: how far the rounds of either run lie apart, how the floor differs, and for what has
no floor how the machine's speed does.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

# Of the machine, before and after a stage; in the midst of another one.
SPEED = "orjson parses the corpus"
_SPEEDS = ("orjson parses, between requests in process", SPEED)
_LEAST_NOISE = 0.05
# Of one round nothing tells how far another would lie from it.
_NOISE_OF_ONE = 0.15
_MORE_IS_BETTER = {"/s", "MB/s", "MB"}
_OF_TIME = {"/s", "MB/s", "MB", "ms", "µs", "s"}
_HEADINGS = ("stage", "figure", "A", "B", "change", "noise", "verdict", "target")


@dataclass(frozen=True, slots=True)
class Change:
    """How one figure differs between two runs; ``share`` above zero is more."""

    stage: str
    name: str
    unit: str
    before: float
    after: float
    share: float
    noise: float
    met: tuple[bool | None, bool | None]

    @property
    def verdict(self) -> str:
        """``better``, ``WORSE``, ``same``, or that it is another number where none is better."""
        if abs(self.share) <= self.noise:
            return "same"
        if self.unit == "":
            return "OTHER"
        is_better = (self.share > 0) == (self.unit in _MORE_IS_BETTER)
        return "better" if is_better else "WORSE"


@dataclass(frozen=True, slots=True)
class _Speed:
    """How much faster the machine was in a stage of the second run, and how sure that is."""

    faster: float
    noise: float


def compare(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    """Yield the changes of the figures that are in both reports."""
    known = {(figure["stage"], figure["name"]): figure for figure in before["figures"]}
    for figure in after["figures"]:
        earlier = known.get((figure["stage"], figure["name"]))
        if earlier is not None and figure["name"] not in _SPEEDS:
            yield _compare_figure(earlier, figure, _compare_speed(known, after, figure["stage"]))


def _compare_speed(
    known: dict[tuple[str, str], dict[str, Any]], after: dict[str, Any], stage: str
) -> _Speed:
    for name in _SPEEDS:
        old = known.get((stage, name))
        new = next((f for f in after["figures"] if (f["stage"], f["name"]) == (stage, name)), None)
        if old and new:
            faster = new["value"] / old["value"]
            spreads = [_find_noise(f) for f in (old, new) if f["lowest"] is not None]
            return _Speed(faster, max([abs(math.log(faster)) / 2, *spreads]))
    return _Speed(1.0, _NOISE_OF_ONE)


def _compare_figure(before: dict[str, Any], after: dict[str, Any], speed: _Speed) -> Change:
    noise = max(_LEAST_NOISE, _find_noise(before), _find_noise(after))
    if before["floor"] and after["floor"]:
        share = _share(before["ratio"], after["ratio"])
        noise = max(noise, _find_noise_of_floor(before, after, speed))
    else:
        value = after["value"]
        if before["unit"] in _OF_TIME:
            is_rate = before["unit"] in _MORE_IS_BETTER
            value = value / speed.faster if is_rate else value * speed.faster
            noise = max(noise, speed.noise)
        share = _share(before["value"], value)
    if before["unit"] == "":
        noise = 0.0 if before["floor"] is not None else _LEAST_NOISE
    return Change(
        after["stage"],
        after["name"],
        after["unit"],
        before["value"],
        after["value"],
        share,
        noise,
        (before["met"], after["met"]),
    )


def _find_noise_of_floor(before: dict[str, Any], after: dict[str, Any], speed: _Speed) -> float:
    """Return half of how much a floor differs beyond what the machine's speed explains."""
    expected = 1.0
    if before["unit"] in _OF_TIME:
        # A floor of times is lower on a faster machine.
        expected = speed.faster if before["unit"] in _MORE_IS_BETTER else 1 / speed.faster
    return abs(float(after["floor"] / before["floor"] / expected - 1)) / 2


def _share(before: float, after: float) -> float:
    if before == after:
        return 0.0
    return after / before - 1 if before else float("inf")


def _find_noise(figure: dict[str, Any]) -> float:
    if figure["lowest"] is None or not figure["value"]:
        return _NOISE_OF_ONE
    return float((figure["highest"] - figure["lowest"]) / abs(figure["value"]) / 2)


def _find_speed(report: dict[str, Any]) -> float:
    """Return how fast the machine parsed in a run: the median over its stages."""
    speeds = [figure["value"] for figure in report["figures"] if figure["name"] == SPEED]
    return statistics.median(speeds) if speeds else 1.0


def format_changes(changes: list[Change]) -> str:
    """Return the changes as lines of aligned columns, the worst first."""
    order = {"WORSE": 0, "OTHER": 1, "better": 2, "same": 3}
    rows = [_HEADINGS]
    for change in sorted(changes, key=lambda c: (order[c.verdict], -abs(c.share))):
        met = " -> ".join({True: "met", False: "missed", None: ""}[m] for m in change.met)
        rows.append(
            (
                change.stage,
                change.name,
                f"{change.before:,.4g} {change.unit}",
                f"{change.after:,.4g} {change.unit}",
                f"{100 * change.share:+.0f} %",
                f"{100 * change.noise:.0f} %",
                change.verdict,
                "" if change.met == (None, None) else met,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def main(arguments: list[str]) -> int:
    """Print the changes; 1 when something is worse, 2 when there is nothing to compare."""
    if len(arguments) != 2:
        print("usage: python -m tests.bench.compare A.json B.json", file=sys.stderr)
        return 2
    try:
        before, after = (orjson.loads(Path(path).read_bytes()) for path in arguments)
    except (OSError, orjson.JSONDecodeError) as error:
        print(f"These are no reports of the bench: {error}", file=sys.stderr)
        return 2
    changes = list(compare(before, after))
    if not changes:
        print("The two reports have no figure in common.", file=sys.stderr)
        return 2
    speed = _find_speed(after) / _find_speed(before)
    print(f"The machine parsed {speed:.2f} times as fast in B.")
    for what in ("machine", "versions", "sizes"):
        if before[what] != after[what]:
            print(f"Not the same {what}: {before[what]} and {after[what]}")
    print(format_changes(changes))
    verdicts = [change.verdict for change in changes]
    print(", ".join(f"{verdicts.count(v)} {v}" for v in ("better", "WORSE", "OTHER", "same")))
    return 1 if "WORSE" in verdicts or "OTHER" in verdicts else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Figures with their floors and targets, as a table and as JSON."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_HEADINGS = ("figure", "measured", "spread", "floor", "ratio", "target", "met")


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on a figure, or on its ratio to the floor. Source: docs/performance.md."""

    at_least: float | None = None
    at_most: float | None = None
    of_ratio: bool = False

    def is_met_by(self, measured: float) -> bool:
        """Tell whether a number lies within."""
        if self.at_least is not None and measured < self.at_least:
            return False
        return self.at_most is None or measured <= self.at_most

    def __str__(self) -> str:
        if self.at_least is not None and self.at_least == self.at_most:
            return "= floor" if self.of_ratio else f"= {self.at_least:g}"
        bounds = [f">= {self.at_least:g}"] if self.at_least is not None else []
        bounds += [f"<= {self.at_most:.4g}"] if self.at_most is not None else []
        return " ".join(bounds) + (" x floor" if self.of_ratio else "")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number, what the machine does at best, and what was asked for.

    ``lowest`` and ``highest`` are of the rounds whose median it is; ``stage`` is what measured it.
    """

    name: str
    value: float
    unit: str
    floor: float | None = None
    target: Target | None = None
    lowest: float | None = None
    highest: float | None = None
    stage: str = ""

    @property
    def spread(self) -> float | None:
        """How far the rounds lie apart, as a share of the figure; ``None`` with one round."""
        if self.lowest is None or self.highest is None or not self.value:
            return None
        return (self.highest - self.lowest) / self.value

    @property
    def ratio(self) -> float | None:
        """The figure divided by its floor."""
        return self.value / self.floor if self.floor else None

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; ``None`` without one."""
        if self.target is None:
            return None
        measured = self.ratio if self.target.of_ratio else self.value
        return None if measured is None else self.target.is_met_by(measured)

    def as_dict(self) -> dict[str, str | float | bool | None]:
        """Return everything by name, for JSON."""
        return {
            "stage": self.stage,
            "name": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "lowest": None if self.lowest is None else round(self.lowest, 4),
            "highest": None if self.highest is None else round(self.highest, 4),
            "floor": None if self.floor is None else round(self.floor, 4),
            "ratio": None if self.ratio is None else round(self.ratio, 4),
            "target": None if self.target is None else str(self.target),
            "met": self.is_met,
        }


def make_figure(
    name: str,
    values: Sequence[float],
    unit: str,
    *,
    floors: Sequence[float] = (),
    target: Target | None = None,
) -> Figure:
    """Return the median of some rounds, with how far they lie apart, over that of the floor's."""
    return Figure(
        name,
        statistics.median(values),
        unit,
        floor=statistics.median(floors) if floors else None,
        target=target,
        lowest=min(values) if len(values) > 1 else None,
        highest=max(values) if len(values) > 1 else None,
    )


def format_table(figures: Iterable[Figure]) -> str:
    """Return the figures as lines of aligned columns."""
    rows = [_HEADINGS, *(_format_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def _format_row(figure: Figure) -> tuple[str, ...]:
    met = {True: "yes", False: "NO", None: ""}[figure.is_met]
    return (
        figure.name,
        f"{_format_number(figure.value)} {figure.unit}",
        "" if figure.spread is None else f"{100 * figure.spread:.0f} %",
        "" if figure.floor is None else _format_number(figure.floor),
        "" if figure.ratio is None else f"{figure.ratio:.2f}",
        "" if figure.target is None else str(figure.target),
        met,
    )


def _format_number(value: float) -> str:
    if value == round(value) or abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:,.3f}"

"""Tables that fit a terminal without cutting a number off, and are plain and whole elsewhere."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from observatory.live.terminal_text import cut, measure

Row = dict[str, Any]
_GAP = 3
_UNLIMITED = 100_000


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: What stands above it.
        cell: Makes the text of a row; of several lines, if need be.
        dropped: Where not all columns fit, those with the largest number go first; 0 stay.
        least: How narrow a text may be cut; numbers are never cut.
    """

    name: str
    cell: Callable[[Row], str]
    dropped: int = 0
    least: int | None = None
    is_number: bool = True


class Lines:
    """What is to be printed, made for a stream and written in one piece."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        found = Console(file=stream)
        self._width = found.width if self._is_terminal else _UNLIMITED
        # Made apart, so that nothing is printed of what fails, and letters that the stream can
        # not write are replaced.
        self._made = io.StringIO()
        self._colors = found.color_system if self._is_terminal and not found.no_color else None

    def add(self, text: str) -> None:
        """Add a line, which a terminal breaks where it is too long."""
        self._print(Text(text), self._width)

    def add_table(self, columns: Sequence[Column], rows: Sequence[Row], totals: Row) -> None:
        """Add rows, dim where they have ``is_part``, and below them their sums."""
        cells = [[column.cell(row).split("\n") for column in columns] for row in rows]
        last = [column.cell({**totals, "is_total": True}).split("\n") for column in columns]
        kept, widths = _fit(columns, [*cells, last], self._width)
        table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, show_footer=True)
        for place in kept:
            column, width = columns[place], widths[place]
            table.add_column(
                Text(column.name.replace(" ", "\n"), style="bold"),
                Text(_cell(last[place], width), style="bold"),
                justify="right" if column.is_number else "left",
                width=width,
                no_wrap=True,
                overflow="crop",
            )
        for row, of in zip(cells, rows, strict=True):
            texts = [Text(_cell(row[place], widths[place])) for place in kept]
            table.add_row(*texts, style="dim" if of.get("is_part") else None)
        needed = sum(widths[place] for place in kept) + _GAP * (len(kept) - 1)
        self._print(table, max(needed, self._width))

    def _print(self, what: Any, width: int) -> None:
        Console(
            file=self._made,
            width=min(width, _UNLIMITED),
            force_terminal=self._is_terminal,
            color_system=self._colors,  # type: ignore[arg-type]
            no_color=self._colors is None,
            markup=False,
            highlight=False,
            emoji=False,
        ).print(what)

    def write(self) -> None:
        """Write all lines, without blanks at their ends."""
        encoding = self._stream.encoding or "utf-8"
        for line in self._made.getvalue().splitlines():
            text = line if self._is_terminal else line.rstrip()
            self._stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")


def _cell(lines: Sequence[str], width: int) -> str:
    return "\n".join(cut(line, width) for line in lines)


def _fit(
    columns: Sequence[Column], rows: Sequence[Sequence[Sequence[str]]], width: int
) -> tuple[list[int], list[int]]:
    """Return the places of the columns that fit into a width, and how wide each is."""
    widths = [
        max(
            *(len(word) for word in column.name.split(" ")),
            *(measure(line) for row in rows for line in row[place]),
        )
        for place, column in enumerate(columns)
    ]
    least = [
        natural if column.least is None else min(natural, column.least)
        for column, natural in zip(columns, widths, strict=True)
    ]
    kept = list(range(len(columns)))

    def needed(of: list[int]) -> int:
        return sum(of[place] for place in kept) + _GAP * (len(kept) - 1)

    while needed(least) > width and any(columns[place].dropped for place in kept):
        largest = max(columns[place].dropped for place in kept)
        kept = [place for place in kept if columns[place].dropped != largest]
    for place in kept:
        excess = max(0, needed(widths) - width)
        widths[place] -= min(excess, widths[place] - least[place])
    return kept, widths

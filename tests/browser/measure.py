"""Measure how soon each view is there and what it costs, with an empty cache.

python -m tests.browser.measure [--url LINK] [--view NAME=/path ...] [--runs 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import Browser, Page

from tests.browser.chromium import NoChromium, launched
from tests.browser.looks import LOOKS
from tests.browser.settling import observe, settle
from tests.browser.views import VIEWS, Place, View, open_view, parse_view, visiting, write_json


@dataclass(frozen=True, slots=True)
class Figures:
    """What a view took; medians of several visits.

    ``transferred_bytes`` are headers and bodies as they came, compressed; what a stream sent
    until the view was there counts. ``interactive_ms`` is as settling.py says.
    """

    first_paint_ms: float | None
    interactive_ms: float
    longest_task_ms: float
    transferred_bytes: float
    requests: float
    nodes: float


class _Traffic:
    """Counts what a page asks for and gets."""

    def __init__(self, page: Page) -> None:
        self.requests = 0
        self._ended: dict[str, int] = {}
        self._begun: dict[str, int] = {}
        session = page.context.new_cdp_session(page)
        session.on("Network.requestWillBeSent", self._ask)
        session.on("Network.dataReceived", self._get)
        session.on("Network.loadingFinished", self._end)
        session.send("Network.enable")

    @property
    def bytes(self) -> int:
        """All that came."""
        return sum({**self._begun, **self._ended}.values())

    def _ask(self, _event: dict[str, Any]) -> None:
        self.requests += 1

    def _get(self, event: dict[str, Any]) -> None:
        name = event["requestId"]
        self._begun[name] = self._begun.get(name, 0) + event["encodedDataLength"]

    def _end(self, event: dict[str, Any]) -> None:
        self._ended[event["requestId"]] = round(event["encodedDataLength"])


def measure_view(browser: Browser, place: Place, view: View, path: str) -> Figures | None:
    """Visit a view once; ``None`` when there is none."""
    with browser.new_context(**LOOKS[0].options(), **place.options(view)) as context:
        observe(context)
        page = context.new_page()
        traffic = _Traffic(page)
        if not open_view(page, path):
            return None
        settled = settle(page)
        return Figures(
            first_paint_ms=settled.first_paint_ms,
            interactive_ms=settled.interactive_ms,
            longest_task_ms=settled.longest_task_ms,
            transferred_bytes=traffic.bytes,
            requests=traffic.requests,
            nodes=settled.nodes,
        )


def measure(browser: Browser, place: Place, views: Sequence[View], *, runs: int) -> dict[str, Any]:
    """Return the figures of each view that there is, by name."""
    found: dict[str, Any] = {}
    for view in views:
        path = place.fill(browser, view)
        visits = [asdict(v) for _ in range(runs) if (v := measure_view(browser, place, view, path))]
        if visits:
            found[view.name] = {
                name: _median([visit[name] for visit in visits]) for name in visits[0]
            }
    return found


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(median(known), 1) if known else None


def format_table(found: dict[str, Any]) -> str:
    """Return the figures as a table."""
    heads = ("first paint", "interactive", "longest task", "bytes", "requests", "nodes")
    lines = [f"{'view':<16}" + "".join(f"{head:>14}" for head in heads)]
    for name, figures in found.items():
        cells = ("-" if value is None else f"{value:,.0f}" for value in figures.values())
        lines.append(f"{name:<16}" + "".join(f"{cell:>14}" for cell in cells))
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.measure", description=__doc__)
    parser.add_argument("--url", help="a link that a server printed; by default the demo is served")
    parser.add_argument("--view", type=parse_view, action="append", metavar="NAME=/path")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        with launched() as browser, visiting(browser, options.url) as place:
            found = measure(browser, place, options.view or VIEWS, runs=options.runs)
    except NoChromium as missing:
        print(missing, file=sys.stderr)
        return 1
    print(format_table(found))
    if options.json:
        write_json(options.json, found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

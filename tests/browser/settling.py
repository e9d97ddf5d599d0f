"""When a view is there: loaded, and no longer at work."""

from __future__ import annotations

from typing import Any, NamedTuple

from playwright.sync_api import BrowserContext, Page

QUIET_MS = 500
_OBSERVE = """
window.__long_tasks = [];
const note = (entries) => {
  for (const { startTime, duration } of entries) {
    window.__long_tasks.push([startTime, duration]);
  }
};
const observer = new PerformanceObserver((list) => note(list.getEntries()));
observer.observe({ type: "longtask", buffered: true });
// Those that the browser has not told yet.
window.__note_long_tasks = () => note(observer.takeRecords());
"""
# Resolves when the page has loaded and no task took 50 ms or more for so long; parts that still
# wait for their data say so by aria-busy.
_SETTLE = """(quiet) => new Promise((done) => {
  const [navigation] = performance.getEntriesByType("navigation");
  const look = () => {
    window.__note_long_tasks();
    const tasks = window.__long_tasks;
    const last = Math.max(navigation.loadEventEnd, ...tasks.map(([start, took]) => start + took));
    const isBusy = document.querySelector("[aria-busy=true]") !== null;
    if (!navigation.loadEventEnd || isBusy || performance.now() - last < quiet) {
      setTimeout(look, 50);
      return;
    }
    const [paint] = performance.getEntriesByName("first-contentful-paint");
    done({
      first_paint_ms: paint ? paint.startTime : null,
      interactive_ms: Math.max(last, paint ? paint.startTime : 0),
      longest_task_ms: Math.max(0, ...tasks.map(([, took]) => took)),
      nodes: document.querySelectorAll("*").length,
    });
  };
  look();
})"""


class Settled(NamedTuple):
    """What a page tells of its beginning, in milliseconds after it was asked for.

    ``interactive_ms`` is the end of its load event, or of the last task of 50 ms or more after
    which there was none for half a second, but not before its first paint. ``longest_task_ms`` is
    0 when all were shorter than 50 ms.
    """

    first_paint_ms: float | None
    interactive_ms: float
    longest_task_ms: float
    nodes: int


def observe(context: BrowserContext) -> None:
    """Let pages of a context note their long tasks; call it before they are made."""
    context.add_init_script(_OBSERVE)


def settle(page: Page) -> Settled:
    """Wait until a page is there, and return what it tells of that."""
    told: dict[str, Any] = page.evaluate(_SETTLE, QUIET_MS)
    return Settled(**told)

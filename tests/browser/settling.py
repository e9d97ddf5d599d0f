"""When a view is there: loaded, and no longer at work."""

from __future__ import annotations

import os
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
// Questions to the server that wait for an answer, and when the last had one. Before each and
// after its answer there passes up to so long.
const asked = window.__asked = { open: 0, last: 0 };
const ask = window.fetch;
const pass = () => MOST_MS && new Promise((done) => setTimeout(done, Math.random() * MOST_MS));
window.fetch = async (...about) => {
  if (!String(about[0]).startsWith("/")) return ask(...about);
  asked.open += 1;
  try {
    await pass();
    const answer = await ask(...about);
    await pass();
    return answer;
  } finally {
    asked.open -= 1;
    asked.last = performance.now();
  }
};
"""
# Resolves when the page has loaded, nothing it asked for is still to come, and for so long no
# answer came and no task took 50 ms or more.
_SETTLE = """(quiet) => new Promise((done) => {
  const [navigation] = performance.getEntriesByType("navigation");
  const look = () => {
    window.__note_long_tasks();
    const tasks = window.__long_tasks;
    const last = Math.max(navigation.loadEventEnd, ...tasks.map(([start, took]) => start + took));
    const isBusy = window.__asked.open || document.querySelector("[aria-busy=true]");
    const since = performance.now() - Math.max(last, window.__asked.last);
    if (!navigation.loadEventEnd || isBusy || since < quiet) {
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
    """Let pages of a context note their long tasks and questions; call it before they are made.

    With ``BROWSER_DELAY_MS`` answers come late by up to twice so much, in any order.
    """
    most = int(os.environ.get("BROWSER_DELAY_MS", "0"))
    context.add_init_script(f"{{{_OBSERVE.replace('MOST_MS', str(most))}}}")


def settle(page: Page) -> Settled:
    """Wait until a page is there, and return what it tells of that."""
    told: dict[str, Any] = page.evaluate(_SETTLE, QUIET_MS)
    return Settled(**told)

"""axe-core on a page as it is, below its own Content-Security-Policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

_BAD = ("serious", "critical")
# axe would fetch style sheets of other origins, which the policy forbids and of which there are
# none.
_RUN = """(within) => axe.run(within.length ? within : document,
  {resultTypes: ["violations"], preload: false})"""


def find_violations(page: Page, *, within: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return all that axe finds fault with, whatever its impact, in all of a page or in parts."""
    # Evaluated by the debugger, which no policy of the page holds back.
    page.evaluate(AXE_SCRIPT)
    found: list[dict[str, Any]] = page.evaluate(_RUN, [*within])["violations"]
    return found


def assert_accessible(page: Page, *, but: Sequence[str] = (), within: Sequence[str] = ()) -> None:
    """Fail on what is serious or critical, but for rules with these names.

    Args:
        page: The page as it is now.
        but: Rules that do not count.
        within: Selectors of the parts to look at: axe takes a minute for ten thousand elements.
    """
    bad = [
        violation
        for violation in find_violations(page, within=within)
        if violation["impact"] in _BAD and violation["id"] not in but
    ]
    assert not bad, "\n".join(map(_describe, bad))


def _describe(violation: dict[str, Any]) -> str:
    places = "\n".join(
        f"    {' '.join(map(str, node['target']))}\n      {node['html'][:200]}"
        for node in violation["nodes"][:5]
    )
    return f"{violation['impact']}: {violation['id']}: {violation['help']}\n{places}"

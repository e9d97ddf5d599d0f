"""Take pictures of every view, light and dark, wide and narrow, and an index of them.

python -m tests.browser.look OUT [--url LINK] [--view NAME=/path ...] [--whole]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

from playwright.sync_api import Browser

from tests.browser.chromium import NoChromium, launched
from tests.browser.looks import LOOKS, Look
from tests.browser.settling import observe, settle
from tests.browser.views import VIEWS, Place, View, open_view, parse_view, visiting
from tests.browser.watching import Watch

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Views</title>
<style>body {{ font: 1rem/1.5 system-ui; margin: 2rem }} figure {{ display: inline-block; margin: 0
1rem 1rem 0; vertical-align: top }} img {{ border: 1px solid #999; height: 26rem }} pre {{
color: #b3261e; white-space: pre-wrap }}</style>{sections}</html>
"""


class Album:
    """Pictures of views, and what went wrong while they were taken."""

    def __init__(self, browser: Browser, place: Place, folder: Path, *, is_whole: bool) -> None:
        self._browser, self._place = browser, place
        self._folder, self._is_whole = folder, is_whole
        self.problems: dict[str, list[str]] = {}
        self.missing: list[str] = []
        self._sections: list[str] = []

    def take(self, view: View) -> None:
        """Take the pictures of a view, if there is one."""
        path = self._place.fill(self._browser, view)
        taken = [name for look in LOOKS if (name := self._take(view, path, look))]
        if not taken:
            self.missing.append(view.name)
        figures = "".join(
            f'<figure><a href="{name}"><img src="{name}" alt="{name}"></a>'
            f"<figcaption>{name}</figcaption></figure>"
            for name in taken
        )
        told = escape("\n".join(self.problems.get(view.name, [])))
        self._sections.append(f"<h2>{view.name} {escape(path)}</h2>{figures}<pre>{told}</pre>")

    def write_index(self) -> Path:
        """Write the page that shows all pictures, and return its path."""
        path = self._folder / "index.html"
        path.write_text(_PAGE.format(sections="\n".join(self._sections)))
        return path

    def _take(self, view: View, path: str, look: Look) -> str | None:
        options = {**look.options(), **self._place.options(view)}
        with self._browser.new_context(**options) as context:
            observe(context)
            watch = Watch(context, origin=self._place.origin)
            page = context.new_page()
            if not open_view(page, path):
                return None
            settle(page)
            name = f"{view.name}-{look.name}.png"
            page.screenshot(path=self._folder / name, full_page=self._is_whole)
            found = [f"{look.name}: {problem}" for problem in watch.problems()]
            if found:
                self.problems.setdefault(view.name, []).extend(found)
            return name


def main(arguments: Sequence[str]) -> int:
    """Take the pictures; 1 when something went wrong in a view."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.look", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--url", help="a link that a server printed; by default the demo is served")
    parser.add_argument("--view", type=parse_view, action="append", metavar="NAME=/path")
    parser.add_argument("--whole", action="store_true", help="pages from their top to their end")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    try:
        with launched() as browser, visiting(browser, options.url) as place:
            album = Album(browser, place, options.folder, is_whole=options.whole)
            for view in options.view or VIEWS:
                album.take(view)
    except NoChromium as missing:
        print(missing, file=sys.stderr)
        return 1
    print(album.write_index())
    for name in album.missing:
        print(f"{name}: there is no such view", file=sys.stderr)
    for name, problems in album.problems.items():
        print(f"{name}: {'; '.join(problems)}", file=sys.stderr)
    return 1 if album.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

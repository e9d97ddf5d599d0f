"""The views there are, and how to come to them."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page

from tests.browser.sites import make_archive, serving_archive, sign_in

LARGEST = "{largest}"


class View(NamedTuple):
    """A view; ``{largest}`` in its path is the conversation with the most messages.

    ``is_for_strangers`` says that who is signed in does not get to see it.
    """

    name: str
    path: str
    is_for_strangers: bool = False


VIEWS = (
    View("login", "/login", is_for_strangers=True),
    View("home", "/"),
    View("conversations", "/conversations"),
    View("conversation", f"/conversations/{LARGEST}"),
    View("projects", "/projects"),
    View("project", "/projects/1"),
    View("tools", "/tools"),
    View("files", "/files"),
    View("ingest", "/ingest"),
    View("settings", "/settings"),
    View("server", "/settings/server"),
    View("docs", "/docs"),
)


class Place(NamedTuple):
    """A server, and what a browser remembers that is signed in there."""

    origin: str
    cookies: Any

    def options(self, view: View) -> dict[str, Any]:
        """Return the options of a browser context for a view."""
        cookies = None if view.is_for_strangers else self.cookies
        return {"storage_state": cookies, "base_url": self.origin}

    def fill(self, browser: Browser, view: View) -> str:
        """Return the path of a view."""
        if LARGEST not in view.path:
            return view.path
        with browser.new_context(storage_state=self.cookies, base_url=self.origin) as context:
            answer = context.request.get("/api/conversations?limit=1&sort_by=message_count")
            told = answer.json()["data"]["conversations"]
        return view.path.replace(LARGEST, told[0]["id"] if told else "none")


@contextmanager
def visiting(browser: Browser, url: str | None) -> Iterator[Place]:
    """Sign in by a link that a server printed, or to a server with the demo while a block runs."""
    if url is not None:
        parts = urlsplit(url)
        is_link = parts.path == "/login" and "token=" in parts.query
        cookies = sign_in(browser, url) if is_link else None
        yield Place(f"{parts.scheme}://{parts.netloc}", cookies)
        return
    with tempfile.TemporaryDirectory() as folder:
        print("Serving the demo ...", file=sys.stderr)
        archive = make_archive(Path(folder) / "archive")
        with serving_archive(Path(folder) / "site", archive) as site:
            yield Place(site.origin, sign_in(browser, site.printed_link()))


def open_view(page: Page, path: str) -> bool:
    """Go to a path; ``False`` when there is no such view."""
    answer = page.goto(path)
    return answer is not None and answer.ok


def parse_view(text: str) -> View:
    """Return the view that ``NAME=PATH`` names."""
    name, _, path = text.partition("=")
    if not name or not path.startswith("/"):
        raise ValueError(f"{text} is not NAME=/path")
    return View(name, path)


def write_json(path: Path, told: Mapping[str, Any]) -> None:
    """Write what was found as JSON."""
    path.write_text(json.dumps(told, indent=2) + "\n")

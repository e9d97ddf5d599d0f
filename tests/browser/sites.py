"""Servers to look at, and ways to come in."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from tests.demo.generate import write_demo
from tests.processes import Home, Server, serving

EMAIL, PASSWORD = "mira@example.org", "a good long password"
_LINK = re.compile(r"http://\S+/login\?token=\S+")
# Who waits for requests of tests waits for no others.
_SETTINGS = {"WEB_WORKERS": "1"}


@dataclass(slots=True)
class Site:
    """A running server; ``projects`` is a folder of transcripts that it follows."""

    server: Server
    projects: Path

    @property
    def origin(self) -> str:
        """As ``http://127.0.0.1:3001``."""
        return f"http://127.0.0.1:{self.server.port}"

    def printed_link(self) -> str:
        """Return the link that the server printed, which signs in once."""
        match = _LINK.search(self.server.log.read_text())
        assert match is not None, self.server.log.read_text()
        return match[0]

    def make_link(self) -> str:
        """Return a new link that signs in once."""
        made = self.server.home.run("link", PORT=str(self.server.port))
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def find_conversation(self, **query: str) -> str:
        """Return the id of the first conversation that a query lists."""
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        data = self.server.data(f"/api/conversations?limit=1&{asked}")
        return str(data["conversations"][0]["id"])


def make_archive(folder: Path, *, seed: int = 1) -> Home:
    """Make a home with the demo's transcripts, read into an archive."""
    home = Home(folder)
    write_demo(home.projects, now=datetime.now().astimezone(), seed=seed)
    ended = home.run("ingest")
    assert ended.returncode == 0, ended.stderr
    return home


@contextmanager
def serving_archive(folder: Path, archive: Home | None = None) -> Iterator[Site]:
    """Serve a copy of an archive, or an empty one, in a folder of its own while a block runs.

    Transcripts of the archive are read where they are; ``projects`` is followed beside them.
    """
    home = Home(folder)
    home.projects.mkdir(parents=True)
    folders = [home.projects]
    if archive is not None:
        shutil.copytree(archive.database.parent, home.database.parent)
        folders.append(archive.projects)
    home.variables = {**_SETTINGS, "TRANSCRIPTS_DIR": ",".join(map(str, folders))}
    with serving(home) as server:
        yield Site(server, home.projects)


def sign_in(browser: Browser, link: str) -> Any:
    """Open a link and return what the browser remembers of it, for other contexts."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(link)
        assert context.cookies(), page.inner_text("body")
        return context.storage_state()

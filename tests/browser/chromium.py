"""The Chromium of this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = (
    # Nothing leaves this machine, whatever a page asks for.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--disable-background-networking",
    # In containers it is small.
    "--disable-dev-shm-usage",
    # Fonts and colours as on any other machine, as far as that goes.
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
)
MISSING = (
    "no Chromium: install it (Debian: apt install chromium), or set CHROMIUM to the path of one"
)


class NoChromium(Exception):
    """There is none, or not where ``CHROMIUM`` says."""


def find_chromium() -> str:
    """Return the path of Chromium: what ``CHROMIUM`` says, or the first that is in PATH.

    Raises:
        NoChromium: There is none.
    """
    named = os.environ.get("CHROMIUM")
    if named:
        if not os.access(named, os.X_OK):
            raise NoChromium(f"CHROMIUM is {named}, which is no program")
        return named
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        raise NoChromium(MISSING)
    return found


@contextmanager
def launched() -> Iterator[Browser]:
    """Run Chromium while a block runs."""
    path = find_chromium()
    # As root it has no sandbox, as in most containers.
    arguments = [*_ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=Path(path), args=arguments)
        try:
            yield browser
        finally:
            browser.close()

"""People who look at a site: accounts, and their pages."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page

from tests.browser.sites import PASSWORD, Site
from tests.test_account_commands import run


class MakePerson:
    """Adds people and signs them in."""

    def __init__(self, site: Site, make_page: Callable[..., Page]) -> None:
        self._site, self._make_page = site, make_page

    def __call__(self, email: str, *, role: str) -> Page:
        """Return a page of somebody who just signed in."""
        home = self._site.server.home
        added = run(home, "user", "add", email, "--role", role, typed=f"{PASSWORD}\n")
        assert added.returncode == 0, added.stderr
        page = self._make_page(origin=self._site.origin)
        page.goto("/login")
        page.get_by_label("Email").fill(email)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{self._site.origin}/")
        return page

"""Fixtures of tests in a browser; README.md beside this file says how to use them."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.accessibility import assert_accessible
from tests.browser.chromium import NoChromium, find_chromium, launched
from tests.browser.hostile import SESSION_ID, assert_harmless, write_hostile
from tests.browser.looks import LOOKS, Look
from tests.browser.people import MakePerson
from tests.browser.settling import observe
from tests.browser.sites import Site, make_archive, serving_archive, sign_in
from tests.browser.watching import Watch
from tests.processes import Home, wait_for

# Several browsers and servers share the processors.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium; without one the test is skipped."""
    try:
        find_chromium()
    except NoChromium as missing:
        pytest.skip(str(missing))
    with launched() as running:
        yield running


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Home:
    """The demo in an archive, which is made once for all workers; to be copied."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "demo-archive"
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "done"
        if not done.exists():
            make_archive(folder)
            done.touch()
        return Home(folder)


@pytest.fixture(scope="session")
def site(
    browser: Browser, archive: Home, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A server with the demo, one for each worker; tests do not change what it holds."""
    with serving_archive(tmp_path_factory.mktemp("site"), archive) as running:
        yield running


@pytest.fixture(scope="session")
def cookies(browser: Browser, site: Site) -> Any:
    """What a browser remembers that was signed in to the site by the printed link."""
    return sign_in(browser, site.printed_link())


class MakePage(Protocol):
    """Makes pages in contexts of their own, which are watched and closed."""

    def __call__(
        self, *, look: Look = ..., cookies: Any = ..., origin: str = ..., **options: Any
    ) -> Page: ...


@pytest.fixture
def watches() -> list[Watch]:
    """What watches each context of the test."""
    return []


@pytest.fixture
def make_page(browser: Browser, watches: list[Watch]) -> Iterator[MakePage]:
    """Make pages: ``make_page(look=…, cookies=…, origin=…)``."""
    contexts: list[BrowserContext] = []

    def make(*, look: Look = LOOKS[0], cookies: Any = None, origin: str, **options: Any) -> Page:
        base_url = None if origin == "file://" else origin
        context = browser.new_context(
            **look.options(), storage_state=cookies, base_url=base_url, **options
        )
        contexts.append(context)
        # So that tests can settle() pages.
        observe(context)
        watches.append(Watch(context, origin=origin))
        return context.new_page()

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def page(make_page: MakePage, site: Site, cookies: Any) -> Page:
    """A page that is signed in, light and wide; ``page.goto("/")`` is the site's."""
    return make_page(origin=site.origin, cookies=cookies)


@pytest.fixture
def stranger(make_page: MakePage, site: Site) -> Page:
    """A page that is not signed in."""
    return make_page(origin=site.origin)


@pytest.fixture(params=LOOKS, ids=lambda look: look.name)
def look(request: pytest.FixtureRequest) -> Look:
    """Light and dark, wide and narrow: the test runs four times."""
    chosen: Look = request.param
    return chosen


@pytest.fixture
def page_in_look(make_page: MakePage, site: Site, cookies: Any, look: Look) -> Page:
    """A page that is signed in, in each look."""
    return make_page(look=look, origin=site.origin, cookies=cookies)


@pytest.fixture
def assert_quiet(make_page: MakePage, watches: list[Watch]) -> Iterator[Callable[..., None]]:
    """Fails on errors, policy violations, rejections, dialogs and requests to other origins.

    At the end of the test, and when called; ``but=`` has words of what is expected until then.
    """

    def check(*, but: Sequence[str] = ()) -> None:
        found = [problem for watch in watches for problem in watch.problems(but=but)]
        assert not found, "\n".join(found)
        for watch in watches:
            watch.forget()

    yield check
    check()


@pytest.fixture
def axe() -> Callable[..., None]:
    """Fails on what axe-core finds serious or critical: ``axe(page)``; ``but=`` names rules."""
    return assert_accessible


@pytest.fixture(scope="session")
def hostile_site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with nothing but transcripts that try to run in the page that shows them."""
    with serving_archive(tmp_path_factory.mktemp("hostile")) as running:
        write_hostile(running.projects)
        path = f"/api/conversations/{SESSION_ID}/messages?limit=1"
        wait_for(lambda: running.server.get(path)[0] == 200, what="the hostile transcripts")
        yield running


@pytest.fixture(scope="session")
def hostile_cookies(browser: Browser, hostile_site: Site) -> Any:
    """What a browser remembers that was signed in to the hostile site."""
    return sign_in(browser, hostile_site.printed_link())


@pytest.fixture
def hostile_page(make_page: MakePage, hostile_site: Site, hostile_cookies: Any) -> Page:
    """A page of the hostile site, signed in."""
    return make_page(origin=hostile_site.origin, cookies=hostile_cookies)


@pytest.fixture
def assert_nothing_ran(watches: list[Watch]) -> Callable[[Page], None]:
    """Fails if a hostile text ran or became markup: ``assert_nothing_ran(hostile_page)``."""

    def check(page: Page) -> None:
        for watch in watches:
            assert_harmless(page, watch)

    return check


@pytest.fixture(scope="module")
def changing_site(
    browser: Browser, archive: Home, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A server with the demo for the tests of one file."""
    with serving_archive(tmp_path_factory.mktemp("changing"), archive) as running:
        yield running


@pytest.fixture(scope="module")
def admin_cookies(browser: Browser, changing_site: Site) -> Any:
    """What a browser remembers of who runs that server."""
    return sign_in(browser, changing_site.printed_link())


@pytest.fixture
def admin_page(make_page: MakePage, changing_site: Site, admin_cookies: Any) -> Page:
    """A page of that server for who runs it."""
    return make_page(origin=changing_site.origin, cookies=admin_cookies)


@pytest.fixture
def admin_page_in_look(
    make_page: MakePage, changing_site: Site, admin_cookies: Any, look: Look
) -> Page:
    """The same in each look."""
    return make_page(look=look, origin=changing_site.origin, cookies=admin_cookies)


@pytest.fixture
def make_person(changing_site: Site, make_page: MakePage) -> MakePerson:
    """Add people: ``make_person("ada@example.org", role="viewer")`` is a page of theirs."""
    return MakePerson(changing_site, make_page)

"""What takes pictures and measures: what it does, and that it can tell."""

import json
import re

import pytest

from tests.browser.look import Album
from tests.browser.looks import LOOKS
from tests.browser.measure import format_table, measure
from tests.browser.settling import observe, settle
from tests.browser.views import Place, View, parse_view, write_json

LOGIN = View("login", "/login", is_for_strangers=True)
NONE = View("none", "/there-is-no-such-view")


@pytest.fixture
def place(site, cookies) -> Place:
    return Place(site.origin, cookies)


def test_pictures_of_every_look_and_an_index(browser, place, tmp_path):
    album = Album(browser, place, tmp_path, is_whole=False)
    album.take(LOGIN)
    album.take(NONE)
    index = album.write_index().read_text()
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures == {f"login-{look.name}.png" for look in LOOKS}
    assert set(re.findall(r'src="([^"]+)"', index)) == pictures
    assert (album.missing, album.problems) == (["none"], {})
    assert len({path.read_bytes() for path in tmp_path.glob("*.png")}) == len(LOOKS)


def test_figures_of_views_that_there_are(browser, place, tmp_path):
    found = measure(browser, place, [LOGIN, NONE], runs=1)
    assert list(found) == ["login"]
    figures = found["login"]
    assert 0 < figures["first_paint_ms"] <= figures["interactive_ms"]
    assert figures["requests"] >= 2
    assert figures["transferred_bytes"] > 500
    assert figures["nodes"] > 10
    assert "login" in format_table(found)
    write_json(tmp_path / "figures.json", found)
    assert json.loads((tmp_path / "figures.json").read_text()) == found


def test_a_page_that_works_on_after_loading_is_not_interactive_until_then(browser):
    busy = """data:text/html,<!doctype html><title>t</title><body aria-busy=true>x<script>
    addEventListener("load", () => setTimeout(() => {
      const end = performance.now() + 120;
      while (performance.now() < end);
      document.body.removeAttribute("aria-busy");
      window.ended = performance.now();
    }))</script>"""
    with browser.new_context() as context:
        observe(context)
        page = context.new_page()
        # On a busy machine Chromium tells of no long task now and then.
        for _ in range(5):
            page.goto(busy)
            settled = settle(page)
            if settled.longest_task_ms:
                break
        assert settled.longest_task_ms >= 120
        # Chromium tells times of tasks in whole milliseconds or so.
        assert settled.interactive_ms >= page.evaluate("window.ended") - 2


def test_a_conversation_is_found_for_its_view(browser, place, site):
    path = place.fill(browser, View("conversation", "/conversations/{largest}"))
    assert path == f"/conversations/{site.find_conversation(sort_by='message_count')}"


def test_view_of_an_argument():
    assert parse_view("tools=/tools?x=1") == View("tools", "/tools?x=1")
    with pytest.raises(ValueError, match="is not NAME=/path"):
        parse_view("tools")

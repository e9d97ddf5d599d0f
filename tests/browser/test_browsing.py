"""Lists and addresses as people go about in them: mistyped, kept, left and come back to."""

import pytest
from playwright.sync_api import expect

from tests.browser.looks import LOOKS
from tests.browser.settling import settle
from tests.browser.talks import Talk


@pytest.mark.parametrize("path", ["/conversations/%E0%A4%A", "/conversations/none/%C3"])
def test_an_address_that_can_not_be_read_leads_nowhere(page, assert_quiet, path):
    page.goto(path)
    expect(page.locator("body")).to_contain_text("nothing")
    assert_quiet(but=["404"])


def test_days_that_there_are_not_filter_nothing(page, assert_quiet):
    page.goto("/conversations?from=abc&to=2026-13-40")
    settle(page)
    expect(page.locator("[data-row]").first).to_be_visible()
    expect(page.locator(".chips")).to_have_count(0)


def test_a_list_that_one_comes_back_to_has_what_came_meanwhile(page, site, assert_quiet):
    page.goto("/conversations")
    page.locator("[data-row]").first.click()
    page.locator(".conversation-title").wait_for()
    talk = Talk(site)
    talk.prompt(f"What came meanwhile, {talk.begun}")
    talk.say("An answer.")
    talk.write()
    page.get_by_role("link", name="Conversations").first.click()
    expect(page.get_by_role("link", name=f"What came meanwhile, {talk.begun}")).to_be_attached()


def test_who_comes_back_to_a_place_in_a_list_finds_it_there(page, site, assert_quiet):
    page.goto("/conversations")
    row = page.locator("[data-index='12'] [data-row]")
    settle(page)
    row.scroll_into_view_if_needed()
    page.evaluate("scrollTo(0, 400)")
    settle(page)
    name = row.inner_text()
    row.click()
    page.locator(".conversation-title").wait_for()
    talk = Talk(site)
    talk.prompt("What came meanwhile")
    talk.write()
    page.go_back()
    expect(page.get_by_role("button", name="1 new")).to_be_visible()
    expect(row).to_have_text(name)
    expect(row).to_be_in_viewport()


def test_what_gets_the_focus_is_not_below_the_navigation(make_page, site, cookies, assert_quiet):
    page = make_page(origin=site.origin, cookies=cookies, look=LOOKS[1])
    page.goto("/conversations")
    settle(page)
    page.locator("[data-row]").first.focus()
    for _ in range(15):
        page.keyboard.press("Tab")
        end = page.evaluate("document.activeElement.getBoundingClientRect().bottom")
        assert end < page.evaluate("document.querySelector('.nav-low').getBoundingClientRect().top")


def test_a_server_that_was_away_is_asked_again(page, assert_quiet):
    page.goto("/")
    settle(page)
    page.route("**/api/projects?*", lambda route: route.abort())
    page.get_by_role("link", name="Projects").first.click()
    expect(page.get_by_role("alert")).to_contain_text("can not be reached")
    page.unroute("**/api/projects?*")
    expect(page.get_by_role("table")).to_be_visible()
    assert_quiet(but=["ERR_FAILED"])


def test_a_view_that_can_not_be_loaded_leaves_the_page(page, assert_quiet):
    page.goto("/")
    settle(page)
    for address in ("**/views/tools.js", "**/health"):
        page.route(address, lambda route: route.abort())
    page.get_by_role("link", name="Tools").first.click()
    expect(page.get_by_role("alert")).to_contain_text("can not be reached")
    page.get_by_role("link", name="Conversations").first.click()
    expect(page.get_by_role("heading", name="Conversations")).to_be_visible()
    for address in ("**/views/tools.js", "**/health"):
        page.unroute(address)
    page.get_by_role("link", name="Tools").first.click()
    expect(page.get_by_role("heading", name="Tools", level=1)).to_be_visible()
    assert_quiet(but=["ERR_FAILED"])


def test_the_focus_goes_back_where_it_was(page, site, assert_quiet):
    page.goto(f"/conversations/{site.find_conversation(sort_by='message_count')}")
    settle(page)
    for opener, opened in (
        (page.get_by_role("button", name="Find"), page.get_by_label("Find in this conversation")),
        (page.get_by_role("button", name="+ Tag"), page.get_by_label("New tag")),
        (page.get_by_role("button", name="Rename"), page.get_by_label("Title")),
    ):
        opener.press("Enter")
        expect(opened).to_be_focused()
        page.keyboard.press("Escape")
        expect(opener).to_be_focused()
    export = page.locator("summary", has_text="Export")
    export.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Markdown")).to_be_focused()
    page.keyboard.press("Escape")
    expect(export).to_be_focused()


def test_words_are_looked_for_before_the_turns_are_read(page, site, assert_quiet):
    held = []
    page.route("**/turns?*", lambda route: held.append(route))
    page.goto(f"/conversations/{site.find_conversation(sort_by='message_count')}")
    page.get_by_role("button", name="Find").click()
    page.get_by_role("searchbox", name="Find in this conversation").fill("the")
    expect(page.locator(".find-count")).to_contain_text("of")
    for route in held:
        route.continue_()
    page.unroute("**/turns?*")
    expect(page.locator(".said-prompt").first).to_be_visible()
    expect(page.locator(".find-count")).to_contain_text("of")

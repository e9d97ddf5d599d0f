"""Coming in and going out, as people do."""

import re

from playwright.sync_api import Route, expect

from tests.browser.settling import settle
from tests.browser.sites import EMAIL, PASSWORD
from tests.test_account_commands import run


def test_printed_link_signs_in_once(site, stranger, assert_quiet):
    link = site.make_link()
    stranger.goto(link)
    assert stranger.url == f"{site.origin}/"
    assert "login" not in stranger.inner_text("main").lower()
    # Away from the page first: what it still asks for would be 401, and send it to the sign-in.
    stranger.goto("about:blank")
    stranger.context.clear_cookies()
    answer = stranger.goto(link)
    assert answer is not None and answer.status == 401
    assert stranger.get_by_role("alert").is_visible()
    assert_quiet(but=["401"])


def test_password_signs_in_and_button_signs_out(site, stranger, assert_quiet):
    added = run(site.server.home, "user", "add", EMAIL, "--role", "viewer", typed=f"{PASSWORD}\n")
    assert added.returncode == 0, added.stderr
    stranger.goto("/login")
    stranger.get_by_label("Email").fill(EMAIL)
    stranger.get_by_label("Password").fill("a wrong password")
    stranger.get_by_role("button", name="Sign in").click()
    stranger.get_by_role("alert").wait_for()
    assert_quiet(but=["401"])
    stranger.get_by_label("Email").fill(EMAIL)
    stranger.get_by_label("Password").fill(PASSWORD)
    stranger.get_by_role("button", name="Sign in").click()
    stranger.wait_for_url(f"{site.origin}/")
    settle(stranger)
    stranger.get_by_role("button", name=re.compile("sign out", re.I)).click()
    stranger.wait_for_url(f"{site.origin}/")
    stranger.goto("/login")
    assert stranger.get_by_label("Password").is_visible()


def test_a_page_that_is_given_back_after_signing_out_is_not_shown(site, stranger, assert_quiet):
    stranger.goto(site.make_link())
    stranger.goto("/projects")
    stranger.get_by_role("link", name="beacon").wait_for()
    stranger.context.clear_cookies()
    # As browsers say it that keep pages; the one of tests does not.
    stranger.evaluate(
        "() => setTimeout(() => dispatchEvent("
        "new PageTransitionEvent('pageshow', { persisted: true })))"
    )
    stranger.wait_for_url(f"{site.origin}/login?next=%2Fprojects")
    assert_quiet(but=["401"])


def test_sign_in_is_usable_by_all(make_page, site, look, axe, assert_quiet):
    page = make_page(look=look, origin=site.origin)
    page.goto("/login")
    axe(page)


def test_page_behind_it_is_usable_by_all(page_in_look, axe, assert_quiet):
    page_in_look.goto("/")
    axe(page_in_look)


def test_who_signs_in_anew_in_another_tab_goes_on(changing_site, make_page, assert_quiet):
    page = make_page(origin=changing_site.origin)
    page.goto(changing_site.make_link())
    settle(page)
    page.goto(f"/conversations/{changing_site.find_conversation()}")
    settle(page)
    other = page.context.new_page()
    other.goto("/")
    # What is still asked for while one signs out is 401, and sends to the sign-in.
    settle(other)
    held: list[Route] = []
    page.route("**/api/**", lambda route: held.append(route))
    other.get_by_role("button", name="Sign out").click()
    other.get_by_role("link", name="Sign in").wait_for()
    other.goto(changing_site.make_link())
    for route in held:
        route.continue_()
    page.unroute("**/api/**")
    page.get_by_role("button", name="+ Tag").click()
    page.keyboard.type("went on")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="went on")).to_be_visible()
    assert_quiet(but=["403"])

"""Tools, files and projects: what is shown, what leads where, and that all can use it."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.settling import settle
from tests.browser.sites import PASSWORD
from tests.test_account_commands import run

VIEWS = ["/tools?period=all", "/files?period=all", "/projects", "/projects/1"]


@pytest.mark.parametrize("path", VIEWS)
def test_reports_are_usable_by_all(page_in_look, axe, assert_quiet, path):
    page_in_look.goto(path)
    settle(page_in_look)
    axe(page_in_look)
    assert page_in_look.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("path", VIEWS)
def test_reports_show_hostile_text_as_text(hostile_page, hostile_site, assert_nothing_ran, path):
    if path.startswith("/projects/"):
        [project, *_] = hostile_site.server.data("/api/projects")["projects"]
        path = f"/projects/{project['id']}"
    hostile_page.goto(path)
    settle(hostile_page)
    assert "data-hostile" in hostile_page.inner_text("main")
    assert_nothing_ran(hostile_page)


def test_numbers_of_tools_are_those_of_the_report(page, site, assert_quiet):
    page.goto("/tools?period=all")
    settle(page)
    [first, *_] = site.server.data("/api/analytics/tools?from=2023-01-01")["rows"]
    row = page.get_by_role("table", name="Uses, failures").get_by_role("row").nth(1)
    expect(row.get_by_role("rowheader")).to_have_text(first["tool"])
    expect(row.get_by_role("cell").first).to_have_text(f"{first['uses']:,}")


def test_one_tool_is_looked_at_and_all_again(page, assert_quiet):
    page.goto("/tools?period=all")
    table = page.get_by_role("table", name="Uses, failures")
    # The slowest uses, which may be there first, have links of that name to their messages.
    table.get_by_role("link", name="Bash", exact=True).click()
    expect(page).to_have_url(re.compile("tool=Bash"))
    shown = table.get_by_role("row", name="Bash")
    uses = shown.get_by_role("cell").first.inner_text()
    expect(page.locator(".stat-value").first).to_have_text(uses)
    page.get_by_role("link", name="Take away: Tool Bash").click()
    expect(page).to_have_url(re.compile(r"tools\?period=all$"))


def test_tools_are_ordered_by_a_column_and_by_keys(page, assert_quiet):
    page.goto("/tools?period=all")
    settle(page)
    table = page.get_by_role("table", name="Uses, failures")
    table.get_by_role("button", name="Longest").press("Enter")
    heading = table.get_by_role("columnheader", name="Longest")
    expect(heading).to_have_attribute("aria-sort", "descending")
    page.keyboard.press("Enter")
    expect(heading).to_have_attribute("aria-sort", "ascending")


def test_slow_and_failing_uses_lead_to_their_messages(page, site, assert_quiet):
    page.goto("/tools?period=all")
    settle(page)
    [slowest, *_] = site.server.data("/api/analytics/tools/slowest?from=2023-01-01")["rows"]
    for name in ("Slowest uses", "Latest failures"):
        href = page.get_by_role("region", name=name).locator("li a").first.get_attribute("href")
        assert href is not None and "/conversations/" in href
        if name == "Slowest uses":
            assert slowest["conversation_id"] in href


def test_uses_are_shown_by_project(page, assert_quiet):
    page.goto("/tools?period=all")
    settle(page)
    page.get_by_role("radio", name="By project").check()
    expect(page.locator(".chart-block").first.locator(".legend")).to_contain_text("lantern-shop")


def test_a_file_tells_which_conversations_touched_it(page, site, assert_quiet):
    page.goto("/files?period=all")
    link = page.locator("tbody a").first
    path = link.locator("xpath=ancestor::*[@title][1]").get_attribute("title")
    link.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(path)
    settle(page)
    told = site.server.data(f"/api/analytics/files?from=2023-01-01&path={path}")["conversations"]
    assert dialog.locator("li").count() == len(told)
    expect(dialog.locator("li a").first).to_have_attribute(
        "href", re.compile(re.escape(told[0]["conversation_id"]))
    )
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page).not_to_have_url(re.compile("path="))


def test_files_are_ordered_by_what_the_address_says(page, site, assert_quiet):
    page.goto("/files?period=all&sort=reads")
    settle(page)
    rows = site.server.data("/api/analytics/files?from=2023-01-01&sort_by=reads")["rows"]
    expect(page.locator("tbody .path").first).to_have_attribute("title", rows[0]["path"])


def test_a_project_is_found_and_leads_on(page, assert_quiet):
    page.goto("/projects")
    page.get_by_role("link", name="beacon").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("beacon")
    expect(page).to_have_title("beacon · Observatory")
    page.get_by_role("link", name="Tools", exact=True).last.click()
    expect(page).to_have_url(re.compile(r"/tools\?project=.*beacon"))


def test_a_project_that_is_not_there_is_said(page, assert_quiet):
    page.goto("/projects/987654")
    expect(page.get_by_text("There is no such project")).to_be_visible()
    assert_quiet(but=["404"])


@pytest.mark.parametrize(
    "address", ["/tools?period=__proto__", "/ingest?status=constructor", "/projects/%zz"]
)
def test_addresses_that_mean_nothing_show_something(page, assert_quiet, address):
    page.goto(address)
    settle(page)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert_quiet(but=["400"])


def test_a_page_behind_the_last_leads_back(page, assert_quiet):
    page.goto("/projects?offset=500")
    page.get_by_role("button", name="To the last one").click()
    expect(page.get_by_role("link", name="beacon")).to_be_visible()


def test_who_sees_a_project_stays_when_people_can_not_be_read(admin_page, changing_site):
    page = admin_page
    [project, *_] = changing_site.server.data("/api/projects")["projects"]
    path = f"/projects/{project['id']}"
    home = changing_site.server.home
    added = run(home, "user", "add", "eve@example.org", "--role", "viewer", typed=f"{PASSWORD}\n")
    assert added.returncode == 0, added.stderr
    page.goto(path)
    page.get_by_role("button", name="Who sees it").click()
    page.get_by_label("It is there for").select_option("listed")
    page.get_by_label("eve@example.org").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    [eve] = changing_site.server.data(f"/api{path}")["user_ids"]
    page.route("**/api/users*", lambda route: route.abort())
    page.get_by_role("button", name="Who sees it").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert changing_site.server.data(f"/api{path}")["user_ids"] == [eve]

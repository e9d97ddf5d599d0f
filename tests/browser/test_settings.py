"""Settings: what people and admins change, what each gets to see, and that all can use it."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.settling import settle
from tests.browser.sites import PASSWORD

SECTIONS = (
    "profile", "keys", "users", "budgets", "webhooks", "retention", "trash", "server", "audit",
)  # fmt: skip
OF_ADMINS = ("users", "budgets", "webhooks", "retention", "server", "audit")


def press(page, name, within=None):
    """Press a button by its whole name."""
    (within or page).get_by_role("button", name=name, exact=True).click()


def open_section(page, name):
    page.goto(f"/settings/{name}")
    settle(page)


@pytest.mark.parametrize("section", SECTIONS)
def test_settings_are_usable_by_all(admin_page_in_look, axe, assert_quiet, section):
    open_section(admin_page_in_look, section)
    axe(admin_page_in_look)
    assert admin_page_in_look.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(
    ("section", "button"),
    [("keys", "New key"), ("users", "Add a person"), ("budgets", "New budget"),
     ("webhooks", "New webhook")],
)  # fmt: skip
def test_forms_are_usable_by_all(admin_page_in_look, axe, assert_quiet, section, button):
    page = admin_page_in_look
    open_section(page, section)
    press(page, button)
    dialog = page.get_by_role("dialog")
    dialog.locator("form .button-primary").click()
    expect(dialog.locator("[aria-invalid=true]").first).to_be_focused()
    axe(page)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name=button)).to_be_focused()
    assert_quiet(but=["400"])


@pytest.mark.parametrize("section", SECTIONS)
def test_settings_show_hostile_text_as_text(hostile_page, assert_nothing_ran, section):
    open_section(hostile_page, section)
    if section == "retention":
        # What a project is called is the end of its path.
        assert ")</script>" in hostile_page.inner_text("main")
        hostile_page.get_by_role("button", name="Change how long").first.click()
    assert_nothing_ran(hostile_page)


def test_what_is_typed_into_forms_is_shown_as_text(admin_page, assert_nothing_ran):
    hostile = "<img data-hostile src=x onerror=alert(1)>"
    open_section(admin_page, "keys")
    press(admin_page, "New key")
    admin_page.get_by_label("Name").fill(hostile)
    press(admin_page, "Make the key")
    expect(admin_page.get_by_role("dialog").get_by_label(hostile)).to_be_visible()
    press(admin_page, "Done")
    expect(admin_page.get_by_text(hostile)).to_be_visible()
    open_section(admin_page, "audit")
    expect(admin_page.get_by_text(hostile).first).to_be_visible()
    assert_nothing_ran(admin_page)


def test_a_key_is_made_shown_once_and_revoked(admin_page, changing_site, assert_quiet):
    page = admin_page
    open_section(page, "keys")
    press(page, "New key")
    dialog = page.get_by_role("dialog")
    page.get_by_label("Name").fill("dashboard")
    page.get_by_label("analytics:read").check()
    page.get_by_label("Only for some projects").check()
    page.get_by_label("beacon").check()
    press(page, "Make the key")
    key = dialog.get_by_label("dashboard").input_value()
    projects = changing_site.server.get("/api/projects", Authorization=f"Bearer {key}")
    assert projects[0] == 200 and projects[1].count(b'"path"') == 1
    press(page, "Done", dialog)
    expect(page.get_by_text("only beacon")).to_be_visible()
    assert key not in page.content()
    press(page, "Revoke dashboard")
    press(page, "Revoke the key")
    expect(page.get_by_role("button", name="Revoke dashboard")).to_have_count(0)
    refused = changing_site.server.get("/api/projects", Authorization=f"Bearer {key}")
    assert refused[0] == 401


def test_a_key_that_is_made_is_seen_before_its_dialog_goes(admin_page, assert_quiet):
    page = admin_page
    open_section(page, "keys")
    press(page, "New key")
    dialog = page.get_by_role("dialog")
    page.get_by_label("Name").fill("once")
    page.mouse.click(5, 5)
    expect(page.get_by_label("Name")).to_have_value("once")
    waiting = []
    page.route("**/api/api-keys", lambda route: waiting.append(route))
    with page.expect_request("**/api/api-keys"):
        press(page, "Make the key")
    expect(dialog.locator("form")).to_have_attribute("aria-busy", "true")
    page.keyboard.press("Escape")
    waiting[0].continue_()
    expect(dialog.get_by_label("once")).to_be_visible()
    page.mouse.click(5, 5)
    page.keyboard.press("Escape")
    expect(dialog.get_by_label("once")).to_be_visible()
    press(page, "Done", dialog)
    expect(dialog).to_have_count(0)


def test_what_is_sent_twice_at_once_is_done_once(admin_page, changing_site, assert_quiet):
    page = admin_page
    open_section(page, "keys")
    press(page, "New key")
    page.get_by_label("Name").fill("twice")
    page.get_by_role("button", name="Make the key").evaluate("(it) => { it.click(); it.click(); }")
    press(page, "Done")
    keys = changing_site.server.data("/api/api-keys?owner=all")["api_keys"]
    assert [key["name"] for key in keys].count("twice") == 1


def test_what_is_wrong_stands_beside_its_field(admin_page, assert_quiet):
    page = admin_page
    open_section(page, "users")
    press(page, "Add a person")
    page.get_by_label("Email").fill("grace@example.org")
    password = page.get_by_label("Password")
    password.fill("short")
    press(page, "Add")
    expect(password).to_be_focused()
    expect(password).to_have_accessible_description(re.compile("8 to 1024"))
    assert page.get_by_label("Email").input_value() == "grace@example.org"
    assert_quiet(but=["400"])


def test_a_person_is_added_changed_disabled_and_removed(admin_page, changing_site, assert_quiet):
    page, email = admin_page, "katherine@example.org"

    def told():
        users = changing_site.server.data("/api/users")["users"]
        return next((user for user in users if user["email"] == email), None)

    open_section(page, "users")
    press(page, "Add a person")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Role").select_option("viewer")
    press(page, "Add")
    press(page, email)
    page.get_by_label("Name").fill("Katherine")
    page.get_by_label("Role").select_option("member")
    page.get_by_label("Disabled").check()
    press(page, "Save")
    row = page.get_by_role("row", name="Katherine")
    expect(row).to_contain_text("disabled")
    user = told()
    assert (user["role"], user["disabled"], user["name"]) == ("member", True, "Katherine")
    press(page, "Katherine")
    press(page, "Remove this account")
    expect(page.get_by_role("dialog")).to_contain_text("can not be taken back")
    press(page, "Remove the account")
    expect(row).to_have_count(0)
    assert told() is None


def test_a_webhook_is_added_changed_and_told_of_its_deliveries(
    admin_page, changing_site, assert_quiet
):
    page, address = admin_page, "https://hooks.example.org/a"
    open_section(page, "webhooks")
    press(page, "New webhook")
    page.get_by_label("Address").fill(address)
    page.get_by_label("budget threshold").check()
    press(page, "Add")
    secret = page.get_by_role("dialog").get_by_label("Secret").input_value()
    assert len(secret) >= 16
    press(page, "Done")
    [webhook] = changing_site.server.data("/api/webhooks")["webhooks"]
    assert webhook["events"] == ["budget_threshold", "conversation_ended"]
    press(page, f"Deliveries: {address}")
    press(page, "Send a test")
    expect(page.get_by_role("dialog").get_by_role("row", name="webhook test")).to_be_visible()
    page.keyboard.press("Escape")
    press(page, address)
    page.get_by_label("Active").uncheck()
    press(page, "Save")
    expect(page.locator(".lines li").filter(has_text=address)).to_contain_text("off")
    press(page, f"New secret: {address}")
    press(page, "Make a new secret")
    assert page.get_by_role("dialog").get_by_label("Secret").input_value() != secret
    press(page, "Done")
    press(page, f"Remove: {address}")
    press(page, "Remove the webhook")
    expect(page.get_by_text("No webhooks")).to_be_visible()


def test_a_budget_is_added_changed_and_removed(admin_page, changing_site, assert_quiet):
    page = admin_page
    open_section(page, "budgets")
    press(page, "New budget")
    page.get_by_label("Name").fill("Engine")
    page.get_by_label("At most").fill("12.50")
    page.get_by_label("Project").select_option(label="beacon")
    press(page, "Add")
    press(page, "Change Engine")
    assert page.get_by_label("At most").input_value() == "12.5"
    page.get_by_label("At most").fill("nothing")
    press(page, "Save")
    expect(page.get_by_label("At most")).to_have_accessible_description(re.compile("above 0"))
    page.get_by_label("At most").fill("5000")
    page.get_by_label("Of", exact=True).select_option("limit_tokens")
    press(page, "Save")
    expect(page.get_by_role("dialog")).to_have_count(0)
    budgets = changing_site.server.data("/api/budgets")["budgets"]
    [engine] = [budget for budget in budgets if budget["name"] == "Engine"]
    assert (engine["limit_tokens"], engine["limit_microdollars"]) == (5000, None)
    assert engine["project_path"].endswith("beacon")
    press(page, "Remove Engine")
    press(page, "Remove the budget")
    expect(page.get_by_role("button", name="Change Engine")).to_have_count(0)
    assert_quiet(but=["400"])


@pytest.mark.parametrize(
    ("typed", "unit", "limit"),
    [
        ("1,000", "limit_microdollars", 1_000_000_000),
        ("$1,250.50", "limit_microdollars", 1_250_500_000),
        ("12,5", "limit_microdollars", 12_500_000),
        ("0x10", "limit_microdollars", None),
        ("500,000", "limit_tokens", 500_000),
        ("2.5", "limit_tokens", None),
    ],
)
def test_amounts_are_read_as_they_are_shown(admin_page, changing_site, typed, unit, limit):
    page = admin_page
    open_section(page, "budgets")
    press(page, "New budget")
    page.get_by_label("Name").fill(typed)
    page.get_by_label("At most").fill(typed)
    page.get_by_label("Of", exact=True).select_option(unit)
    press(page, "Add")
    if limit is None:
        expect(page.get_by_label("At most")).to_have_accessible_description(re.compile("above 0"))
        return
    expect(page.get_by_role("dialog")).to_have_count(0)
    budgets = changing_site.server.data("/api/budgets")["budgets"]
    assert [budget[unit] for budget in budgets if budget["name"] == typed] == [limit]


def test_a_dialog_stays_until_what_it_changed_is_read_again(
    admin_page, changing_site, assert_quiet
):
    page = admin_page
    budget = {"name": "stays", "period": "day", "limit_tokens": 5}
    changing_site.server.post("/api/budgets", budget)
    open_section(page, "budgets")
    waiting = []
    page.route("**/api/budgets?*", lambda route: waiting.append(route))
    press(page, "Change stays")
    page.get_by_label("At most").fill("7")
    with page.expect_request("**/api/budgets?*"):
        press(page, "Save")
    expect(page.get_by_role("button", name="One moment…")).to_be_disabled()
    # What is opened next would begin with the number of before.
    expect(page.get_by_role("dialog")).to_be_visible()
    for route in waiting:
        route.continue_()
    page.unroute("**/api/budgets?*")
    expect(page.get_by_role("dialog")).to_have_count(0)
    press(page, "Change stays")
    expect(page.get_by_label("At most")).to_have_value("7")


@pytest.mark.parametrize("address", ["/", "/settings/budgets"])
def test_a_long_name_of_a_budget_widens_nothing(admin_page, assert_quiet, address):
    page = admin_page
    open_section(page, "budgets")
    press(page, "New budget")
    page.get_by_label("Name").fill("W" * 100)
    page.get_by_label("At most").fill("1")
    press(page, "Add")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.goto(address)
    expect(page.get_by_text("W" * 100).first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_retention_is_changed_and_says_what_happens(admin_page, changing_site, assert_quiet):
    page = admin_page
    [project, *_] = changing_site.server.data("/api/projects")["projects"]
    rule = f"/api/projects/{project['id']}/retention"
    open_section(page, "retention")
    press(page, f"Change how long {project['path']} is kept")
    page.get_by_label("Conversations are kept").select_option("days")
    page.get_by_label("Days").fill("3650")
    page.get_by_label("Then").select_option("remove")
    expect(page.get_by_role("dialog")).to_contain_text("Nothing brings it back")
    page.get_by_label("Then").select_option("trash")
    press(page, "Save")
    expect(page.get_by_text("to the trash after 3,650 days")).to_be_visible()
    assert changing_site.server.data(rule)["days"] == 3650
    press(page, f"Change how long {project['path']} is kept")
    page.get_by_label("Conversations are kept").select_option("default")
    press(page, "Save")
    expect(page.get_by_text("3,650 days")).to_have_count(0)
    assert changing_site.server.data(rule)["is_default"]


def test_no_number_of_days_is_not_for_ever(admin_page, changing_site, assert_quiet):
    page = admin_page
    [project, *_] = changing_site.server.data("/api/projects")["projects"]
    open_section(page, "retention")
    press(page, f"Change how long {project['path']} is kept")
    page.get_by_label("Conversations are kept").select_option("days")
    page.get_by_label("Days").fill("")
    press(page, "Save")
    expect(page.get_by_label("Days")).to_have_accessible_description(re.compile("1 to 36500"))
    assert changing_site.server.data(f"/api/projects/{project['id']}/retention")["is_default"]
    assert_quiet(but=["400"])


def test_the_trash_gives_back_and_removes(admin_page, changing_site, assert_quiet):
    page = admin_page
    query = "/api/conversations?limit=2&kind=session&sort_by=created_at"
    first, second = changing_site.server.data(query)["conversations"]
    page.goto("/settings/trash")
    token = page.request.get("/api/auth/profile").json()["data"]["csrf_token"]
    for conversation in (first, second):
        path = f"/api/conversations/{conversation['id']}"
        assert page.request.delete(path, headers={"X-CSRF-Token": token}).ok
    rows = page.locator(".lines > li")
    # The page may have listed the trash between the two.
    for conversation in (first, second):
        expect(rows.filter(has_text=conversation["title"]).first).to_be_visible()
    settle(page)
    before = rows.count()
    rows.filter(has_text=first["title"]).first.get_by_role("button", name="Restore").click()
    expect(rows).to_have_count(before - 1)
    assert changing_site.server.get(f"/api/conversations/{first['id']}")[0] == 200
    rows.filter(has_text=second["title"]).first.get_by_role("button", name="for good").click()
    press(page, "Remove for good")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert changing_site.server.get(f"/api/conversations/{second['id']}")[0] == 404


def test_people_change_their_name_and_password(make_person, assert_quiet):
    page = make_person("ada@example.org", role="viewer")
    page.goto("/settings")
    page.get_by_label("Name").fill("Ada")
    press(page, "Save")
    expect(page.locator(".who")).to_have_text("Ada")
    page.get_by_label("Password now").fill("a wrong one")
    page.get_by_label("New password").fill("another good long one")
    press(page, "Change password")
    expect(page.get_by_label("Password now")).to_be_focused()
    page.get_by_label("Password now").fill(PASSWORD)
    press(page, "Change password")
    expect(page.get_by_text("another one now")).to_be_visible()
    # What may be changed is so by the new sign-in.
    page.get_by_label("Name").fill("Ada L.")
    press(page, "Save")
    expect(page.locator(".who")).to_have_text("Ada L.")
    press(page, "Sign out everywhere")
    press(page, "Sign out everywhere", page.get_by_role("dialog"))
    page.get_by_role("link", name="Sign in").wait_for()
    assert_quiet(but=["400", "401"])


def test_the_focus_stays_where_one_was(admin_page, assert_quiet):
    page = admin_page
    open_section(page, "budgets")
    page.get_by_role("button", name="New budget").press("Enter")
    page.get_by_label("Name").fill("Keys")
    page.get_by_label("At most").fill("1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="New budget")).to_be_focused()
    page.get_by_role("button", name="Remove Keys").press("Enter")
    page.get_by_role("button", name="Remove the budget").press("Enter")
    expect(page.get_by_role("button", name="Remove Keys")).to_have_count(0)
    expect(page.get_by_role("main")).to_be_focused()


def test_the_audit_log_has_what_was_done_since_it_was_shown(admin_page, assert_quiet):
    page = admin_page
    open_section(page, "audit")
    page.get_by_role("link", name="API keys").click()
    press(page, "New key")
    page.get_by_label("Name").fill("since then")
    press(page, "Make the key")
    press(page, "Done")
    page.get_by_role("link", name="Audit log").click()
    expect(page.get_by_text("since then").first).to_be_visible()


def test_a_refused_password_stays_to_be_mended(make_person, assert_quiet):
    page = make_person("lin@example.org", role="viewer")
    open_section(page, "profile")
    new = page.get_by_label("New password")
    page.get_by_label("Password now").fill(PASSWORD)
    new.fill("another good long one")
    press(page, "Change password")
    expect(page.get_by_text("another one now")).to_be_visible()
    expect(new).to_have_value("")
    page.get_by_label("Password now").fill("another good long one")
    new.fill("short")
    press(page, "Change password")
    expect(new).to_be_focused()
    expect(new).to_have_value("short")
    assert_quiet(but=["400"])


def test_the_theme_is_kept(admin_page, assert_quiet):
    open_section(admin_page, "profile")
    admin_page.get_by_role("radio", name="Dark").check()
    admin_page.reload()
    settle(admin_page)
    assert admin_page.evaluate("document.documentElement.dataset.theme") == "dark"
    expect(admin_page.get_by_role("radio", name="Dark")).to_be_checked()


def test_who_is_no_admin_sees_and_opens_no_settings_of_admins(make_person, assert_quiet):
    page = make_person("vera@example.org", role="viewer")
    page.goto("/settings")
    names = page.get_by_role("navigation", name="Settings").get_by_role("link")
    expect(names).to_have_text(["Profile", "API keys"])
    for section in OF_ADMINS:
        page.goto(f"/settings/{section}")
        expect(page.get_by_text("Not for you to see")).to_be_visible()
    page.goto("/settings/keys")
    press(page, "New key")
    expect(page.get_by_label("conversations:read")).to_be_visible()
    assert page.get_by_label("conversations:write").count() == 0


def test_an_analyst_sees_numbers_and_no_text(make_person, assert_quiet):
    page = make_person("anna@example.org", role="analyst")
    page.goto("/tools?period=all")
    settle(page)
    assert page.get_by_role("region", name="Latest failures").count() == 0
    assert page.get_by_role("region", name="Slowest uses").locator("a").count() == 0
    names = page.get_by_role("navigation", name="Views").get_by_role("link").all_inner_texts()
    assert names == ["Overview", "Projects", "Tools", "Settings"]


def test_there_are_no_settings_of_any_other_name(admin_page, assert_quiet):
    for name in ("nothing", "constructor"):
        admin_page.goto(f"/settings/{name}")
        expect(admin_page.get_by_text("no such settings")).to_be_visible()

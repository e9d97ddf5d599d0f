"""The page that an export makes, opened from the disk."""

from tests.browser.hostile import SESSION_ID


def test_nothing_hostile_runs_in_an_exported_page(
    hostile_site, make_page, tmp_path, assert_nothing_ran, assert_quiet
):
    status, exported = hostile_site.server.get(
        f"/api/conversations/{SESSION_ID}/export?format=html&include_subagents=true"
    )
    assert status == 200
    file = tmp_path / "exported.html"
    file.write_bytes(exported)
    page = make_page(origin="file://")
    page.goto(file.as_uri())
    assert "window.__executed" in page.inner_text("body")
    assert_nothing_ran(page)


def test_an_exported_page_is_usable_by_all(site, make_page, look, tmp_path, axe, assert_quiet):
    # Not the longest, in which axe looks at the same for a quarter of a minute.
    long = site.find_conversation(sort_by="message_count", offset="20")
    file = tmp_path / "exported.html"
    file.write_bytes(site.server.get(f"/api/conversations/{long}/export?format=html")[1])
    page = make_page(look=look, origin="file://")
    page.goto(file.as_uri())
    axe(page)

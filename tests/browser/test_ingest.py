"""Ingest: transcripts and how far they are read, bad lines, uploads, and that all can use it."""

import gzip
import re

import pytest
from playwright.sync_api import expect

from tests.browser.settling import settle
from tests.processes import wait_for
from tests.transcripts_for_tests import Transcript

BAD = "0badf00d-0000-4000-8000-00000000000b"


@pytest.fixture
def bad_file(changing_site):
    """A transcript with a line that can not be read, in the folder that is followed."""
    said = Transcript(BAD, cwd="/home/ada/engine")
    said.prompt("Hello")
    folder = changing_site.projects / "-home-ada-engine"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{BAD}.jsonl"
    said.raw(b"{this is no record}")
    path.write_bytes(said.bytes())
    return path


def test_ingest_is_usable_by_all(admin_page_in_look, axe, assert_quiet):
    admin_page_in_look.goto("/ingest")
    settle(admin_page_in_look)
    axe(admin_page_in_look)
    admin_page_in_look.locator("tbody button").first.click()
    settle(admin_page_in_look)
    axe(admin_page_in_look)
    assert admin_page_in_look.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_ingest_shows_hostile_text_as_text(hostile_page, assert_nothing_ran, assert_quiet):
    hostile_page.goto("/ingest")
    settle(hostile_page)
    for row in hostile_page.locator("tbody button").all()[:2]:
        row.click()
        settle(hostile_page)
        assert_nothing_ran(hostile_page)
        hostile_page.keyboard.press("Escape")
    assert_nothing_ran(hostile_page)


def test_a_new_transcript_appears_with_its_bad_line_and_is_read_again(
    admin_page, changing_site, bad_file, assert_quiet
):
    page = admin_page
    page.goto("/ingest")
    page.get_by_role("button", name=bad_file.name).click()
    dialog = page.get_by_role("dialog")
    lines = dialog.get_by_role("table", name="Lines that could not be read")
    start = len(bad_file.read_bytes()) - len(b"{this is no record}\n")
    expect(lines).to_contain_text(f"{start:,}")
    expect(lines.get_by_role("row")).to_have_count(2)
    files = changing_site.server.data("/api/files?limit=100")["files"]
    [before] = [file for file in files if file["filename"] == bad_file.name]
    dialog.get_by_role("button", name="Read it again").click()
    again = f"/api/files/{before['id']}"
    expect(dialog.get_by_text("read", exact=True).first).to_be_visible()
    wait_for(
        lambda: changing_site.server.data(again)["processed_at"] > before["processed_at"],
        what="the file to be read again",
    )
    after = changing_site.server.data(again)
    assert (after["status"], after["line_count"], after["bad_line_count"]) == (
        "completed", before["line_count"], 1,
    )  # fmt: skip


def test_what_happens_is_shown_as_it_does(admin_page, changing_site, assert_quiet):
    page = admin_page
    page.goto("/ingest")
    settle(page)
    name = "0badf00d-0000-4000-8000-0000000000aa.jsonl"
    said = Transcript(name.removesuffix(".jsonl"), cwd="/home/ada/live")
    said.prompt("Hello")
    folder = changing_site.projects / "-home-ada-live"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(said.bytes())
    expect(page.get_by_role("button", name=name)).to_be_visible(timeout=20_000)


def test_transcripts_are_brought_and_what_is_none_is_refused(admin_page, assert_quiet):
    page = admin_page
    said = Transcript("0badf00d-0000-4000-8000-0000000000cc", cwd="/home/ada/brought")
    said.prompt("Hello from afar")
    page.goto("/ingest")
    settle(page)
    name = f"{said.session_id}.jsonl.gz"
    page.locator("input[type=file]").set_input_files(
        [
            {"name": name, "mimeType": "application/gzip",
             "buffer": gzip.compress(said.bytes())},
            {"name": "broken.jsonl.gz", "mimeType": "application/gzip", "buffer": b"not gzip"},
        ]
    )  # fmt: skip
    uploads = page.get_by_role("list", name="Uploads").get_by_role("listitem")
    expect(uploads.filter(has_text=name)).to_contain_text("1 message")
    expect(uploads.filter(has_text="broken.jsonl.gz")).to_contain_text("refused")
    link = uploads.filter(has_text=name).get_by_role("link", name="Look at it")
    expect(link).to_have_attribute("href", re.compile(said.session_id))
    assert_quiet(but=["400"])


def test_a_file_is_forgotten_when_that_is_confirmed(admin_page, changing_site, assert_quiet):
    page = admin_page
    said = Transcript("0badf00d-0000-4000-8000-0000000000dd", cwd="/home/ada/brought")
    said.prompt("Hello")
    page.goto("/ingest")
    settle(page)
    name = f"{said.session_id}.jsonl"
    page.locator("input[type=file]").set_input_files(
        [{"name": name, "mimeType": "application/x-ndjson", "buffer": said.bytes()}]
    )
    page.get_by_role("button", name=name).click()
    page.get_by_role("button", name="Forget it").click()
    expect(page.get_by_role("dialog")).to_contain_text("conversations that were read from it stay")
    page.get_by_role("dialog").get_by_role("button", name="Forget it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name=name)).to_have_count(0)
    assert changing_site.server.get(f"/api/conversations/{said.session_id}")[0] == 200


def test_who_may_not_upload_is_offered_nothing(make_person, assert_quiet):
    page = make_person("vic@example.org", role="viewer")
    page.goto("/ingest")
    settle(page)
    assert page.locator("input[type=file]").count() == 0
    page.locator("tbody button").first.click()
    settle(page)
    assert page.get_by_role("button", name="Read it again").count() == 0

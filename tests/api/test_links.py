"""``Link`` headers lead over all pages, with everything else that was asked."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from observatory.api.links import MAX_TARGET_CHARACTERS
from tests.api.asking import ids
from tests.api.sessions import SESSION, session_id


def read_links(header: str) -> dict[str, str]:
    """Return the targets in a header by their relation."""
    return {rel: target for target, rel in re.findall(r'<([^<>]*)>; rel="(\w+)"', header)}


@pytest.fixture
def seven(add) -> list[str]:
    return [add(number, cwd=f"/home/ada/{number}") for number in range(7)]


@pytest.mark.parametrize("path", ["/api/conversations", "/api/projects", "/api/files"])
def test_next_leads_over_all_pages_once(client, seven, path):
    target, found = f"{path}?limit=3", []
    for _ in range(3):
        page = client.get(target)
        found += [row["id"] for row in next(iter(page.json["data"].values()))]
        target = read_links(page.headers["Link"]).get("next")
    assert target is None
    assert found == ids(client, path)


@pytest.mark.parametrize("path", ["/api/projects", "/api/files"])
def test_prev_leads_back(client, seven, path):
    here = f"{path}?limit=3&offset=6"
    assert read_links(client.get(here).headers["Link"]) == {
        "first": f"{path}?limit=3", "prev": f"{path}?limit=3&offset=3",
        "last": f"{path}?limit=3&offset=6",
    }  # fmt: skip
    assert (
        read_links(client.get(f"{path}?limit=3&offset=2").headers["Link"])["prev"]
        == f"{path}?limit=3"
    )


def test_last_is_the_last_page(client, seven):
    for limit, last in ((3, 6), (7, 0), (6, 6), (1, 6), (50, 0)):
        target = read_links(client.get(f"/api/conversations?limit={limit}").headers["Link"])["last"]
        expected = f"/api/conversations?limit={limit}" + (f"&offset={last}" if last else "")
        assert target == expected
        page = client.get(target).json["data"]
        assert page["conversations"]
        assert not page["pagination"]["has_more"]


def test_an_empty_list_has_one_page(client):
    assert read_links(client.get("/api/projects").headers["Link"]) == {
        "first": "/api/projects", "last": "/api/projects",
    }  # fmt: skip


def test_a_page_behind_a_cursor_is_left_by_the_next_cursor(client, seven):
    second = read_links(client.get("/api/conversations?limit=2").headers["Link"])["next"]
    found = read_links(client.get(second).headers["Link"])
    assert set(found) == {"first", "next", "last"}
    assert found["first"] == "/api/conversations?limit=2"
    assert second.count("cursor=") == found["next"].count("cursor=") == 1
    assert found["next"] != second


def test_all_other_parameters_are_kept(client, seven):
    given = "sort_by=title&fields=id,title&limit=2&sort_order=asc&project_path=%2Fhome%2Fada%2F1"
    for target in read_links(client.get(f"/api/conversations?{given}").headers["Link"]).values():
        asked = parse_qs(urlsplit(target).query)
        assert {name: asked[name] for name in asked if name not in ("offset", "cursor")} == {
            "sort_by": ["title"], "fields": ["id,title"], "limit": ["2"], "sort_order": ["asc"],
            "project_path": ["/home/ada/1"],
        }  # fmt: skip
        assert client.get(target).status_int == 200


@pytest.mark.parametrize(
    "text", ['<script>"', "a b", "é\U0001f600", "a&b=c#d", "%", "x>; rel=y", "\\"]
)
def test_no_text_breaks_out_of_a_link(client, text):
    path = f"/api/conversations?project_path={quote(text)}"
    found = read_links(client.get(path).headers["Link"])
    for target in found.values():
        assert re.fullmatch(r"[!-~]+", target)
        assert parse_qs(urlsplit(target).query)["project_path"] == [text]


@pytest.mark.parametrize("raw", ['"', "<", ">", "é", "\\", "{", "|", "^"])
def test_what_a_server_hands_on_unquoted_is_quoted(unchecked, raw):
    answer = unchecked.get(
        "/api/conversations", extra_environ={"QUERY_STRING": f"project_path={raw}"}
    )
    for target in read_links(answer.headers["Link"]).values():
        assert re.fullmatch(r"[\w/?=&%]+", target, re.ASCII)


def test_very_long_addresses_have_none(client):
    path = f"/api/conversations?project_path={'é' * 300}"
    assert "Link" not in client.get(path.replace("é", "%C3%A9" * 2)).headers
    assert MAX_TARGET_CHARACTERS * 4 < 8190


def test_messages_and_tool_uses_have_them(client, session):
    for noun in ("messages", "tool-uses"):
        path = f"/api/conversations/{SESSION}/{noun}?limit=1"
        assert set(read_links(client.get(path).headers["Link"])) == {"first", "next", "last"}


def test_items_and_errors_have_none(client, session):
    for path in (f"/api/conversations/{SESSION}", "/api/conversations?limit=0", "/health"):
        assert "Link" not in client.get(path, expect_errors=True).headers


def test_the_path_of_an_application_below_another_is_kept(client, add):
    add(0)
    answer = client.get(
        f"/api/conversations/{session_id(0)}/messages?limit=1",
        extra_environ={"SCRIPT_NAME": "/below"},
    )
    assert read_links(answer.headers["Link"])["first"].startswith("/below/api/conversations/")

"""``/api/projects``."""

from __future__ import annotations

import pytest

from observatory.api import schemas
from tests.api.asking import ask, check_refusal, ids, refuse
from tests.api.test_conversation import SLASHED_IDS

PATH = "/api/projects"
# What is no whole number, or one that no row can have.
STRANGE_KEYS = (
    "x", "-1", "1.0", "0x1", "1e3", "%00", "%ED%A0%80", "%D9%A1", "1%20", "9" * 17, "9" * 4000,
    "9007199254740993", "{project_id}",
)  # fmt: skip


def test_an_empty_archive_has_no_projects(client):
    assert ask(client, PATH)["projects"] == []


def test_rows_and_details_are_as_their_schema_says(client, subagent):
    data = ask(client, PATH)
    schemas.Project(many=True).load(data["projects"])
    schemas.Pagination().load(data["pagination"])
    for row in data["projects"]:
        one = ask(client, f"{PATH}/{row['id']}")
        schemas.ProjectDetail().load(one)
        lately = {name: one[name] for name in ("statistics", "most_used_tools", "peak_hours")}
        assert one == {**row, "user_ids": [], **lately}


def test_a_project_sums_up_its_conversations(client, subagent, add):
    add(1)
    [project] = ask(client, PATH)["projects"]
    rows = ask(client, "/api/conversations")["conversations"]
    assert (project["path"], project["name"]) == ("/home/ada/engine", "engine")
    assert (project["conversation_count"], project["session_count"]) == (3, 2)
    for name in ("message_count", "tool_use_count", "error_count", "total_tokens"):
        assert project[name] == sum(row[name] for row in rows)
    assert project["first_activity_at"] == min(row["created_at"] for row in rows)
    assert project["last_activity_at"] == max(row["updated_at"] for row in rows)


def test_the_most_recently_active_comes_first(client, add):
    add(1, cwd="/old", at="2026-01-01T00:00:00.000Z")
    add(2, cwd="/new", at="2026-03-01T00:00:00.000Z")
    add(3, cwd="/middle", at="2026-02-01T00:00:00.000Z")
    assert [row["path"] for row in ask(client, PATH)["projects"]] == ["/new", "/middle", "/old"]


def test_limit_and_offset_cut_out_a_page(client, add):
    for number in range(3):
        add(number, cwd=f"/{number}")
    pages = [ask(client, PATH, limit=2, offset=offset) for offset in (0, 2)]
    assert [len(page["projects"]) for page in pages] == [2, 1]
    assert [page["pagination"]["has_more"] for page in pages] == [True, False]
    assert {page["pagination"]["total"] for page in pages} == {3}
    assert len({row["id"] for page in pages for row in page["projects"]}) == 3


@pytest.mark.parametrize("key", STRANGE_KEYS)
def test_what_is_no_number_is_refused(client, session, key):
    assert list(refuse(client, f"{PATH}/{key}")) == ["id"]


@pytest.mark.parametrize("key", ["0", "999", "9007199254740992"])
def test_an_unknown_number_is_not_there(client, session, key):
    answer = client.get(f"{PATH}/{key}", expect_errors=True)
    assert "project" in check_refusal(answer, 404, "NOT_FOUND")["error"]


@pytest.mark.parametrize("key", SLASHED_IDS)
def test_there_is_nothing_at_an_id_with_slashes(client, key):
    refuse(client, f"{PATH}/{key}/x", status=404)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=1&limit=1", "limit"),
        ("offset=-1", "offset"),
        ("cursor=x", "cursor"),
        ("search=x", "search"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(client, query, field):
    assert list(refuse(client, f"{PATH}?{query}")) == [field]


def test_a_detail_takes_no_parameters(client, session):
    [key] = ids(client, PATH)
    assert list(refuse(client, f"{PATH}/{key}?limit=1")) == ["limit"]

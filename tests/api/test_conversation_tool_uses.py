"""``/api/conversations/{id}/tool-uses``."""

from __future__ import annotations

import pytest

from observatory.api import schemas
from tests.api.asking import ask, ids, refuse, walk
from tests.api.sessions import SESSION, numbered, session_id

PATH = f"/api/conversations/{SESSION}/tool-uses"


def test_rows_are_as_their_schema_says(client, session):
    data = ask(client, PATH)
    schemas.ToolUse(many=True).load(data["tool_uses"])
    schemas.Pagination().load(data["pagination"])


def test_a_tool_use_says_what_was_asked_and_answered(client, session):
    worked, failed = ask(client, PATH)["tool_uses"]
    assert (worked["name"], worked["parameters"]) == ("Bash", {"command": "ls"})
    assert (worked["status"], worked["result"], worked["is_error"]) == ("success", "a\nb", False)
    assert worked["started_at"] == "2026-03-04T05:06:10.890Z"
    assert worked["finished_at"] == "2026-03-04T05:06:11.890Z"
    assert worked["execution_time_ms"] == 1000
    assert (failed["server"], failed["status"]) == ("github", "error")
    assert failed["error_category"] == "not_found"


def test_a_tool_use_names_its_messages(client, session):
    worked = ask(client, PATH)["tool_uses"][0]
    for key, kind in (("message_id", "tool_use"), ("result_message_id", "tool_result")):
        assert ask(client, f"/api/messages/{worked[key]}")["kind"] == kind


def test_a_conversation_without_tools_has_none(client, add):
    add(1)
    assert ids(client, f"/api/conversations/{session_id(1)}/tool-uses") == []


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"name": "Bash"}, ["toolu_1"]),
        ({"name": "bash"}, []),
        ({"status": "success"}, ["toolu_1"]),
        ({"status": "error"}, ["toolu_2"]),
        ({"status": "running"}, []),
        ({"name": "Bash", "status": "success"}, ["toolu_1"]),
        ({"name": "Bash", "status": "error"}, []),
    ],
)
def test_name_and_status_filter(client, session, params, expected):
    assert ids(client, PATH, **params) == expected


def test_pages_and_cursors_lead_to_every_use_once(client, write, ingest):
    transcript = numbered(1)
    for number in range(5):
        transcript.tool_use("Read", {"n": number}, tool_use_id=f"toolu_{number}")
    write(transcript)
    ingest()
    path = f"/api/conversations/{session_id(1)}/tool-uses"
    everything = [f"toolu_{number}" for number in range(5)]
    assert walk(client, path, limit=2, name="Read") == everything
    assert ids(client, path, limit=2, offset=3) == everything[3:]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=101", "limit"),
        ("offset=x", "offset"),
        ("cursor=x", "cursor"),
        ("name=", "name"),
        ("name=" + "n" * 201, "name"),
        ("name=a&name=b", "name"),
        ("name=%00", "name"),
        ("status=done", "status"),
        ("status=", "status"),
        ("tool=Bash", "tool"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(client, session, query, field):
    assert list(refuse(client, f"{PATH}?{query}")) == [field]

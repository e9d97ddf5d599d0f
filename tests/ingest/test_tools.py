"""Tool uses and results, paired across lines and readings."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from observatory.store.database import fetch_all, fetch_one
from tests.transcripts_for_tests import Transcript

SESSION = "11111111-1111-4111-8111-111111111111"


def uses(client) -> list[dict]:
    return client.get(f"/api/conversations/{SESSION}/tool-uses").json["data"]["tool_uses"]


def test_a_result_in_a_later_reading_completes_its_use(client, write, ingest):
    transcript = Transcript()
    transcript.tool_use("mcp__github__get_issue", {"n": 7})
    path = write(transcript)
    ingest()
    [running] = uses(client)
    assert running["result"] is None
    transcript.tool_result([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])
    path.write_bytes(transcript.bytes())
    ingest()
    [use] = uses(client)
    assert (use["status"], use["result"], use["execution_time_ms"]) == ("success", "a\nb", 1000)
    assert (use["name"], use["server"]) == ("mcp__github__get_issue", "github")
    assert use["parameters"] == {"n": 7}


def test_a_result_before_its_use(client, write, ingest):
    transcript = Transcript()
    transcript.tool_result("early")
    path = write(transcript)
    ingest()
    assert uses(client) == []
    transcript.tool_use("Bash", {"command": "date"})
    path.write_bytes(transcript.bytes())
    ingest()
    [use] = uses(client)
    assert (use["name"], use["result"], use["execution_time_ms"]) == ("Bash", "early", 0)
    assert fetch_one("SELECT tool_use_count FROM conversations") == (1,)


@pytest.mark.parametrize(
    ("text", "fields", "status", "category"),
    [
        ("Exit code 1\nboom", {}, "error", "exit_code"),
        ("The user doesn't want to proceed with this tool use.", {}, "rejected", "rejected"),
        ("no", {"toolDenialKind": "user-rejected"}, "rejected", "rejected"),
        ("[Request interrupted by user for tool use]", {}, "interrupted", "interrupted"),
        ("Permission to use Bash has been denied.", {}, "rejected", "permission"),
        ("File does not exist.", {}, "error", "not_found"),
        ("odd", {}, "error", "other"),
    ],
)
def test_failures_are_told_apart(text, fields, status, category, client, write, ingest):
    transcript = Transcript()
    transcript.tool_use("Bash", {})
    transcript.tool_result(text, is_error=True, **fields)
    write(transcript)
    ingest()
    [use] = uses(client)
    assert (use["status"], use["error_category"], use["is_error"]) == (status, category, True)
    assert fetch_one("SELECT error_count FROM conversations") == (1,)


def test_a_use_that_a_prompt_overtook_was_interrupted(client, write, ingest):
    transcript = Transcript()
    transcript.tool_use("Bash", {})
    transcript.prompt("never mind")
    write(transcript)
    ingest()
    assert uses(client)[0]["status"] == "interrupted"


def test_several_results_on_one_line(client, write, ingest):
    transcript = Transcript()
    transcript.tool_use("Read", {}, tool_use_id="one")
    transcript.tool_use("Read", {}, tool_use_id="two")
    results = [
        {"type": "tool_result", "tool_use_id": "one", "content": "1"},
        {"type": "tool_result", "tool_use_id": "two", "content": "2", "is_error": True},
    ]
    transcript.prompt(results)
    write(transcript)
    ingest()
    assert [(u["result"], u["is_error"]) for u in uses(client)] == [("1", False), ("2", True)]


def test_the_clients_own_timing_is_a_second_number(client, write, ingest):
    transcript = Transcript()
    transcript.tool_use("WebSearch", {"query": "x"})
    transcript.tool_result("found", toolUseResult={"query": "x", "durationSeconds": 2.5})
    write(transcript)
    ingest()
    assert uses(client)[0]["reported_duration_ms"] == 2500


def test_a_clock_that_steps_back_gives_no_negative_time(client, write, ingest):
    transcript = Transcript()
    transcript.tool_use("Bash", {})
    transcript.tool_result("x", timestamp="2020-01-01T00:00:00.000Z")
    write(transcript)
    ingest()
    assert uses(client)[0]["execution_time_ms"] == 0


def test_what_was_typed_while_a_tool_ran_is_a_message(client, write, ingest):
    transcript = Transcript()
    transcript.tool_use("Bash", {})
    for prompt, mode in (("also do this", "prompt"), ("<task-notification>x", "task-notification")):
        transcript.chain(
            "attachment",
            attachment={"type": "queued_command", "prompt": prompt, "commandMode": mode},
        )
    write(transcript)
    ingest()
    rows = fetch_all("SELECT role, kind, content FROM messages WHERE role = 'user'")
    assert rows == [("user", "queued_prompt", "also do this")]


def test_uses_are_found_by_the_status_that_is_shown(client, write, ingest):
    transcript = Transcript()
    transcript.prompt("go")
    transcript.tool_use("Bash", {}, tool_use_id="toolu_old")
    now = datetime.now(UTC).isoformat()
    transcript.tool_use("Bash", {}, tool_use_id="toolu_new", timestamp=now)
    write(transcript)
    ingest()
    path = f"/api/conversations/{transcript.session_id}/tool-uses"
    for status, expected in (("interrupted", "toolu_old"), ("running", "toolu_new")):
        page = client.get(path, {"status": status}).json
        assert [use["id"] for use in page["data"]["tool_uses"]] == [expected]
        assert page["data"]["tool_uses"][0]["status"] == status

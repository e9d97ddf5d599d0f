"""What the numbers of a conversation are made of: every response, its lines, and the sums."""

from __future__ import annotations

import os
from typing import Any

import pytest

from observatory.api.reconcile import Reconciliation
from observatory.store.database import execute, fetch_one
from tests.api.asking import ask, check_refusal, refuse
from tests.api.sessions import SESSION
from tests.api.viewers import FORK, SECRET_SESSION, SOURCE, build, scopes, sign_in
from tests.transcripts_for_tests import Transcript, encode

PATH = "/api/analytics/reconcile"
OTHER = "22222222-2222-4222-8222-222222222222"


def usage(output: int, **others: Any) -> dict[str, Any]:
    return {
        "input_tokens": 2,
        "output_tokens": output,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 10,
        **others,
    }


def reconcile(client: Any, conversation: str = SESSION, **params: Any) -> dict[str, Any]:
    data = ask(client, PATH, conversation=conversation, **params)
    Reconciliation().load(data)
    assert data["matches_conversation"] is True
    return data


def one_call(client: Any, conversation: str = SESSION) -> dict[str, Any]:
    [call] = reconcile(client, conversation)["calls"]
    return call


def marks(call: dict[str, Any]) -> list[tuple[int | None, bool | None]]:
    return [(line["line"], line["is_counted"]) for line in call["lines"]]


def in_lines(*outputs: int, session: str = SESSION, **fields: Any) -> Transcript:
    """Return a session whose one response takes a line for each number of output tokens."""
    transcript = Transcript(session)
    transcript.prompt("go")
    for output in outputs:
        transcript.answer(f"part {output}", message_id="msg_1", usage=usage(output), **fields)
    return transcript


def copied(original: Transcript, session: str = OTHER) -> Transcript:
    fork = Transcript(session, prefix="b")
    fork.records = [{**r, "sessionId": session} for r in original.records if isinstance(r, dict)]
    return fork


def test_a_response_of_one_line(client, session):
    data = reconcile(client)
    assert [call["reason"] for call in data["calls"]] == ["only_line"] * 4
    call = data["calls"][0]
    assert (call["id"], call["request_id"]) == ("msg_a0002", "req_msg_a0002")
    assert (call["input_tokens"], call["cache_creation_5m_input_tokens"]) == (3, 100)
    assert call["owner"] == "only_conversation"
    [line] = call["lines"]
    assert (line["file"], line["line"], line["is_counted"]) == (f"{SESSION}.jsonl", 2, True)
    assert ask(client, f"/api/files/{line['file_id']}")["filename"] == line["file"]
    assert ask(client, f"/api/messages/{line['message_id']}")["kind"] == line["kind"] == "answer"
    assert data["not_counted"]["total"] == 0


def test_the_sums_are_those_of_the_conversation(client, session):
    data = reconcile(client)
    shown = ask(client, f"/api/conversations/{SESSION}")
    for totals in (data["totals"], data["conversation"]):
        assert totals["total_tokens"] == shown["total_tokens"] == 4 * 1123
        assert totals["cost_microdollars"] == shown["cost_microdollars"]
        assert totals["api_call_count"] == shown["api_call_count"]
    assert sum(c["cost_nanodollars"] for c in data["calls"]) == data["totals"]["cost_nanodollars"]
    execute("UPDATE conversations SET output_tokens = output_tokens + 1")
    assert ask(client, PATH, conversation=SESSION)["matches_conversation"] is False


def test_the_last_line_of_a_response_counts(client, write, ingest):
    write(in_lines(40, 40, 351))
    ingest()
    call = one_call(client)
    assert (call["reason"], call["output_tokens"]) == ("last_line", 351)
    assert marks(call) == [(2, False), (3, False), (4, True)]


def test_a_copy_is_counted_where_it_was_read_first(client, write, ingest):
    original = in_lines(20)
    os.utime(write(original), ns=(1, 1))
    fork = copied(original)
    fork.answer("more")
    write(fork)
    ingest()
    call = one_call(client)
    assert (call["reason"], call["owner"]) == ("copies_not_larger", "first_read")
    own, copy = call["lines"]
    assert (own["is_counted"], own["is_copy"]) == (True, False)
    assert (copy["conversation_id"], copy["is_counted"], copy["is_copy"]) == (OTHER, False, True)
    data = reconcile(client, OTHER)
    assert [call["id"] for call in data["calls"]] == ["msg_b0001"]
    [line] = data["not_counted"]["lines"]
    assert (line["reason"], line["counted_in"], line["api_call_id"]) == ("copy", SESSION, "msg_1")
    assert data["not_counted"]["reasons"][0]["count"] == data["not_counted"]["total"] == 1


@pytest.mark.parametrize(("outputs", "counts"), [((99,), [True]), ((50, 99), [None, None])])
def test_a_larger_copy_in_another_file_counts(client, write, ingest, outputs, counts):
    """Which of several lines there has the numbers is not kept."""
    os.utime(write(in_lines(20)), ns=(1, 1))
    other = in_lines(*outputs, session=OTHER)
    other.records = [
        {**r, "uuid": f"x{n}"} for n, r in enumerate(other.records) if isinstance(r, dict)
    ]
    write(other)
    ingest()
    call = one_call(client)
    assert (call["reason"], call["output_tokens"]) == ("larger_copy", 99)
    assert [line["is_counted"] for line in call["lines"]] == [False, *counts]
    [line, *_] = reconcile(client, OTHER)["not_counted"]["lines"]
    assert (line["reason"], line["counted_in"]) == ("counted_elsewhere", SESSION)


def test_a_response_that_a_subagent_has_too_is_the_sessions(client, write, ingest):
    run = in_lines(20)
    run.records = [
        {**r, "uuid": f"s{n}", "isSidechain": True, "agentId": "abc"}
        for n, r in enumerate(run.records)
        if isinstance(r, dict)
    ]
    os.utime(write(run, f"-work/{SESSION}/subagents/agent-abc.jsonl"), ns=(1, 1))
    ingest()
    assert one_call(client, f"{SESSION}.abc")["owner"] == "only_conversation"
    write(in_lines(20))
    ingest()
    call = one_call(client)
    assert call["owner"] == "session_not_subagent"
    assert {line["conversation_id"] for line in call["lines"]} == {SESSION, f"{SESSION}.abc"}
    data = reconcile(client, f"{SESSION}.abc")
    assert (data["calls"], data["totals"]["total_tokens"]) == ([], 0)
    [line] = data["not_counted"]["lines"]
    assert (line["reason"], line["counted_in"]) == ("counted_in_session", SESSION)


def test_a_line_that_a_rewritten_file_no_longer_holds_counts(client, write, ingest):
    transcript = in_lines(20)
    write(transcript)
    ingest()
    del transcript.records[1]
    transcript.prompt("something else")
    write(transcript)
    ingest()
    call = one_call(client)
    assert (call["reason"], marks(call)) == ("superseded", [(2, True)])
    assert call["lines"][0]["is_superseded"] is True


def test_what_a_rewritten_file_leaves_open_is_not_guessed(client, write, ingest):
    transcript = in_lines(20, 30)
    write(transcript)
    ingest()
    del transcript.records[0]
    write(transcript)
    ingest()
    call = one_call(client)
    assert (call["reason"], marks(call)) == ("rewritten", [(1, None), (2, None)])


def test_a_file_that_is_read_again_as_it_was_changes_nothing(client, write, ingest):
    path = write(in_lines(20, 30))
    ingest()
    before = reconcile(client)
    moment = os.stat(path).st_mtime_ns
    execute("UPDATE transcript_files SET device = 0, inode = 0, tail_hash = NULL")
    os.utime(path, ns=(moment + 5_000_000_000,) * 2)
    ingest()
    assert fetch_one("SELECT generation FROM transcript_files") == (2,)
    assert reconcile(client) == before
    assert before["calls"][0]["reason"] == "last_line"


def test_a_file_that_was_forgotten(client, write, ingest):
    write(in_lines(20, 30))
    ingest()
    client.delete("/api/files/1")
    call = one_call(client)
    assert (call["reason"], marks(call)) == ("file_forgotten", [(2, None), (3, None)])
    assert {line["file"] for line in call["lines"]} == {None}


def test_what_was_written_through_the_api(client):
    made = client.post_json("/api/conversations", {"title": "x"}).json["data"]["id"]
    numbers = {"input_tokens": 5, "output_tokens": 7}
    for metadata in ({"usage": numbers, "model": "claude-opus-4-5"}, {}):
        body = {"role": "assistant", "content": "a", "metadata": metadata}
        client.post_json(f"/api/conversations/{made}/messages", body)
    data = reconcile(client, made)
    [call] = data["calls"]
    assert (call["reason"], call["output_tokens"]) == ("written_through_api", 7)
    assert marks(call) == [(None, True)]
    [line] = data["not_counted"]["lines"]
    assert (line["reason"], line["line"], line["file"]) == ("no_usage", None, None)


def test_what_the_client_wrote_itself_is_no_response(client, write, ingest):
    transcript = in_lines(20)
    transcript.answer("Limit reached", model="<synthetic>", isApiErrorMessage=True)
    transcript.answer("No response requested.", model="<synthetic>")
    record = transcript.answer("without numbers")
    record["message"]["usage"] = None
    write(transcript)
    ingest()
    not_counted = reconcile(client)["not_counted"]
    reasons = [(line["line"], line["reason"]) for line in not_counted["lines"]]
    assert reasons == [(3, "api_error"), (4, "synthetic"), (5, "no_usage")]
    assert {row["reason"]: row["count"] for row in not_counted["reasons"]} == {
        "api_error": 1, "synthetic": 1, "no_usage": 1,
    }  # fmt: skip


def test_two_records_on_one_line(client, write, ingest):
    transcript = in_lines(20, 30)
    first, second, third = (encode(r) for r in transcript.records)
    transcript.records = [first, second + third]
    write(transcript)
    ingest()
    call = one_call(client)
    assert (call["output_tokens"], marks(call)) == (30, [(2, False), (2, True)])


def test_an_unknown_price_is_not_zero(client, write, ingest):
    write(in_lines(20, model="glm-5"))
    ingest()
    data = reconcile(client)
    [call] = data["calls"]
    assert (call["cost_microdollars"], call["cost_complete"]) == (None, False)
    assert (data["totals"]["cost_microdollars"], data["totals"]["cost_complete"]) == (None, False)


def test_pages_hold_each_response_once(client, write, ingest):
    transcript = Transcript(SESSION)
    for number in range(7):
        transcript.answer(str(number))
        transcript.answer(str(number), model="<synthetic>")
    write(transcript)
    ingest()
    everything = reconcile(client)
    found, params = [], {}
    while True:
        data = reconcile(client, limit=3, **params)
        assert data["pagination"]["total"] == data["not_counted"]["total"] == 7
        assert data["totals"] == everything["totals"]
        found += data["calls"]
        if data["pagination"]["next_cursor"] is None:
            break
        params = {"cursor": data["pagination"]["next_cursor"]}
    assert found == everything["calls"]
    assert reconcile(client, limit=3, offset=5)["calls"] == found[5:]
    omitted, params = [], {}
    while True:
        not_counted = reconcile(client, limit=3, **params)["not_counted"]
        omitted += not_counted["lines"]
        if not_counted["next_cursor"] is None:
            break
        params = {"not_counted_cursor": not_counted["next_cursor"]}
    assert omitted == everything["not_counted"]["lines"]


def test_what_is_asked_wrongly_is_named(client, session):
    assert list(refuse(client, PATH)) == ["conversation"]
    cursor = ask(client, f"/api/conversations/{SESSION}/messages", limit=1)["pagination"]
    for name in ("cursor", "not_counted_cursor"):
        query = {"conversation": SESSION, name: cursor["next_cursor"]}
        assert list(refuse(client, PATH, query)) == [name]
    refuse(client, PATH, {"conversation": "nothing"}, status=404)


def test_what_is_in_the_trash_is_not_there(client, session):
    client.delete(f"/api/conversations/{SESSION}")
    refuse(client, PATH, {"conversation": SESSION}, status=404)


def test_hidden_lines_are_counted_and_not_shown(db, write, ingest):
    build(write, ingest, secret="x")
    whole, narrow = sign_in(), sign_in(scopes()["hidden"])
    told = reconcile(whole, SECRET_SESSION)
    [shared] = [c for c in told["calls"] if len(c["lines"]) == 2]
    assert [line["conversation_id"] for line in shared["lines"]] == [SECRET_SESSION, FORK]
    check_refusal(
        narrow.get(PATH, {"conversation": SECRET_SESSION}, expect_errors=True), 404, "NOT_FOUND"
    )
    [line] = reconcile(narrow, FORK)["not_counted"]["lines"]
    assert (line["reason"], line["counted_in"], line["api_call_id"]) == ("copy", None, None)
    [call] = reconcile(whole, SOURCE)["calls"]
    assert (call["owner"], len(call["lines"]), call["hidden_lines"]) == ("first_read", 2, 0)
    [call] = reconcile(narrow, SOURCE)["calls"]
    assert (call["owner"], len(call["lines"]), call["hidden_lines"]) == ("first_read", 1, 1)

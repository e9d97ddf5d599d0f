"""Sessions that begin with a copy of another: shown whole, counted once."""

from __future__ import annotations

import os
import shutil

import pytest

from observatory.store import conversation_removal
from observatory.store.database import close, configure, connect, execute, fetch_all, fetch_one
from observatory.store.scopes import WHOLE
from tests.ingest.dumps import check_sound, dump
from tests.transcripts_for_tests import Transcript

SESSION = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
THIRD = "33333333-3333-4333-8333-333333333333"


def copy_of(
    original: Transcript, session_id: str = OTHER, *, prefix: str = "b", lines: int | None = None
) -> Transcript:
    """Return a session that begins with the first records of another one, or with all."""
    copy = Transcript(session_id, prefix=prefix)
    for record in original.records[:lines]:
        assert isinstance(record, dict)
        copy.records.append({**record, "sessionId": session_id})
    return copy


def forked() -> tuple[Transcript, Transcript]:
    """Return a session, and one that begins with a copy of it."""
    original = Transcript(SESSION)
    original.prompt("shared prompt")
    original.tool_use("Bash", {"command": "ls"})
    original.tool_result("file.txt")
    fork = copy_of(original)
    original.prompt("only in the original")
    fork.prompt("only in the fork", parentUuid=original.uuid(3))
    fork.answer("forked")
    return original, fork


def test_a_copied_conversation_is_linked_and_stored_once(client, write, ingest):
    original, fork = forked()
    os.utime(write(original), ns=(1, 1))
    write(fork)
    ingest()
    page = client.get(f"/api/conversations/{OTHER}/messages").json["data"]
    contents = [m["content"] for m in page["messages"]]
    assert contents == ["shared prompt", "", "file.txt", "only in the fork", "forked"]
    assert page["messages"][1]["tool_calls"][0]["result"] == "file.txt"
    assert [m["copied_from"] is None for m in page["messages"]] == [False] * 3 + [True] * 2
    assert fetch_one("SELECT count(*) FROM messages WHERE content = 'shared prompt'") == (1,)
    conversation = client.get(f"/api/conversations/{OTHER}").json["data"]
    assert conversation["copied_from"] == SESSION
    assert conversation["copied_message_count"] == 3
    tokens = fetch_one("SELECT sum(total_tokens), sum(tool_use_count) FROM conversations")
    assert tokens == (2 * 1123, 1)


def test_reading_a_copy_again_changes_nothing(write, ingest):
    original, fork = forked()
    os.utime(write(original), ns=(1, 1))
    path = write(fork)
    ingest()
    held = dump()
    path.write_bytes(b"\n" + fork.bytes())
    ingest()
    path.write_bytes(fork.bytes())
    ingest()
    again = dump()
    assert again["messages"] == held["messages"]
    assert again["conversations"] == held["conversations"]
    check_sound()


@pytest.mark.parametrize("first", ["agent", "session"])
def test_the_copy_with_the_most_output_counts_whichever_is_read_first(first, write, ingest):
    agent, session = Transcript(SESSION, prefix="c"), Transcript(SESSION)
    agent.common.update(isSidechain=True, agentId="aaa")
    agent.answer("found", message_id="msg_1", usage={"output_tokens": 351})
    session.answer("thinking", message_id="msg_1", usage={"output_tokens": 40})
    session.answer("found", message_id="msg_1", usage={"output_tokens": 100})
    paths = {
        "agent": write(agent, f"-work/{SESSION}/subagents/agent-aaa.jsonl"),
        "session": write(session),
    }
    ingest(paths.pop(first))
    ingest(*paths.values())
    rows = fetch_all(
        "SELECT c.id, a.output_tokens, a.is_sidechain, m.content FROM api_calls a"
        " JOIN conversations c ON c.key = a.conversation_key"
        " JOIN messages m ON m.key = a.message_key"
    )
    assert rows == [(SESSION, 351, 0, "found")]
    # Read again from its start, it is the same.
    paths = {"session": write(session)}
    paths["session"].write_bytes(b"\n" + session.bytes())
    ingest()
    assert fetch_all("SELECT output_tokens FROM api_calls") == [(351,)]


@pytest.mark.parametrize("first", ["original", "fork"])
@pytest.mark.parametrize("together", [True, False])
def test_a_tool_use_of_a_copy_finds_its_result(first, together, client, write, ingest):
    """A conversation copied while a tool ran has the use in common, and not the result."""
    original = Transcript(SESSION)
    original.prompt("go")
    original.tool_use("Bash", {"command": "ls"})
    fork = copy_of(original)
    original.tool_result("file.txt")
    fork.prompt("never mind")
    paths = {"original": write(original), "fork": write(fork)}
    for number, name in enumerate(sorted(paths, key=lambda name: name != first)):
        os.utime(paths[name], ns=(number, number))
        if not together:
            ingest(paths[name])
    ingest()
    for conversation_id in (SESSION, OTHER):
        page = client.get(f"/api/conversations/{conversation_id}/messages").json["data"]
        [call] = page["messages"][1]["tool_calls"]
        assert (call["result"], call["status"]) == ("file.txt", "success")
        assert call["execution_time_ms"] == 1000
    assert fetch_all("SELECT count(*) FROM tool_uses") == [(1,)]
    check_sound()


def test_each_copy_shows_the_result_that_it_got(client, write, ingest):
    original = Transcript(SESSION)
    original.prompt("go")
    original.tool_use("Bash", {"command": "ls"})
    fork = copy_of(original)
    original.tool_result("file.txt")
    fork.number, fork.last = 2, original.uuid(2)
    fork.tool_result("not allowed", is_error=True)
    os.utime(write(original), ns=(1, 1))
    write(fork)
    ingest()
    shown = {}
    for conversation_id in (SESSION, OTHER):
        page = client.get(f"/api/conversations/{conversation_id}/messages").json["data"]
        [call] = page["messages"][1]["tool_calls"]
        shown[conversation_id] = (call["result"], call["status"])
        message = client.get(f"/api/messages/{page['messages'][1]['id']}").json["data"]
        assert message["tool_calls"] == [call]
    assert shown == {SESSION: ("file.txt", "success"), OTHER: ("not allowed", "error")}


def test_copies_whose_original_is_removed_are_not_doubled_by_another_reading(client, write, ingest):
    original, fork = forked()
    third = copy_of(original, THIRD, prefix="c", lines=2)
    third.prompt("only in the third")
    os.utime(write(original), ns=(1, 1))
    paths = [write(fork), write(third)]
    ingest()
    before = {
        session: client.get(f"/api/conversations/{session}").json["data"]["message_count"]
        for session in (OTHER, third.session_id)
    }
    client.delete(f"/api/conversations/{SESSION}?permanent=true")
    for path, transcript in zip(paths, (fork, third), strict=True):
        path.write_bytes(b"\n" + transcript.bytes())
    ingest()
    for session, count in before.items():
        shown = client.get(f"/api/conversations/{session}").json["data"]
        assert shown["message_count"] == count
    check_sound()


def test_two_copies_keep_both_their_results(client, write, ingest):
    original = Transcript(SESSION)
    original.prompt("go")
    original.tool_use("Bash", {"command": "ls"})
    os.utime(write(original), ns=(1, 1))
    for number, prefix in ((2, "b"), (3, "c")):
        fork = copy_of(original, f"{number}" * 8, prefix=prefix, lines=2)
        fork.last = original.uuid(2)
        fork.tool_result(f"result {number}")
        write(fork)
    ingest()
    for number in (2, 3):
        page = client.get(f"/api/conversations/{number * 11111111}/messages").json["data"]
        assert page["messages"][2]["content"] == f"result {number}"
        block = client.get(f"/api/messages/{page['messages'][2]['id']}").json["data"]["blocks"]
        assert [b["content"] for b in block] == [f"result {number}"]
    check_sound()


def in_conversation(client, conversation_id: str) -> list[str]:
    page = client.get(f"/api/conversations/{conversation_id}/messages").json["data"]
    return [message["content"] for message in page["messages"]]


@pytest.mark.parametrize("first", ["original", "fork"])
def test_the_sidechains_of_a_copy_are_the_copys(first, client, write, ingest):
    original = Transcript(SESSION, version="1.0.57")
    original.prompt("go")
    main = original.last
    original.last = None
    root = original.prompt("look", isSidechain=True)["uuid"]
    original.answer("found", isSidechain=True)
    original.last = main
    fork = copy_of(original)
    fork.last = original.uuid(3)
    fork.answer("found more", isSidechain=True)
    fork.last = main
    original.answer("done")
    fork.answer("done otherwise")
    paths = {"original": write(original), "fork": write(fork)}
    ingest(paths[first])
    ingest()
    expected = {
        SESSION: ["go", "done"],
        f"{SESSION}.{root}": ["look", "found"],
        OTHER: ["go", "done otherwise"],
        f"{OTHER}.{root}": ["look", "found", "found more"],
    }
    assert {name: in_conversation(client, name) for name in expected} == expected
    rows = fetch_all(
        "SELECT c.id, p.id FROM conversations c LEFT JOIN conversations p ON p.key = c.parent_key"
    )
    assert dict(rows) == {
        SESSION: None,
        OTHER: None,
        f"{SESSION}.{root}": SESSION,
        f"{OTHER}.{root}": OTHER,
    }


@pytest.mark.parametrize("first", [SESSION, OTHER])
def test_of_copies_with_equal_output_the_fuller_counts(first, write, ingest):
    paths = {}
    for session_id, prefix, tokens in ((SESSION, "a", 900), (OTHER, "b", 1000)):
        transcript = Transcript(session_id, prefix=prefix)
        usage = {"input_tokens": 3, "cache_read_input_tokens": tokens, "output_tokens": 20}
        transcript.answer("hello", message_id="msg_1", usage=usage)
        paths[session_id] = write(transcript)
    ingest(paths[first])
    ingest()
    rows = fetch_all("SELECT cache_read_input_tokens, output_tokens FROM api_calls")
    assert rows == [(1000, 20)]


def test_when_the_original_is_removed_its_copies_are_as_if_they_were_read_alone(
    client, write, ingest, projects, tmp_path, empty_database
):
    original, fork = forked()
    fork.tool_use("Read", {"file_path": "/x"}, tool_use_id="toolu_2")
    fork.tool_result("中文 text", tool_use_id="toolu_2")
    # It was copied while the tool ran, and got a result of its own.
    third = copy_of(original, THIRD, prefix="c", lines=2)
    third.last = original.uuid(2)
    third.tool_result("another file", is_error=True)
    path = write(original)
    os.utime(path, ns=(1, 1))
    os.utime(write(fork), ns=(2, 2))
    os.utime(write(third), ns=(3, 3))
    ingest()
    client.delete(f"/api/conversations/{SESSION}?permanent=true")
    check_sound()
    left = dump()
    found = client.get("/api/search?q=shared").json["data"]["hits"]
    assert [hit["conversation_id"] for hit in found] == [OTHER]
    shown = {name: in_conversation(client, name) for name in (OTHER, third.session_id)}
    close()
    path.unlink()
    alone = tmp_path / "alone.db"
    shutil.copy(empty_database, alone)
    configure(alone)
    connect()
    ingest()
    expected = dump()
    for table in ("conversations", "messages", "api_calls", "tool_uses", "indexed", "total"):
        assert left[table] == expected[table], table
    assert shown == {name: in_conversation(client, name) for name in shown}


def test_nothing_of_a_copy_stays_in_its_original(client, write, ingest):
    """The tool's result came to the original from the copy, and goes with it."""
    original = Transcript(SESSION)
    original.prompt("go")
    original.tool_use("Bash", {"command": "ls"})
    fork = copy_of(original)
    fork.last = original.uuid(2)
    fork.tool_result([{"type": "text", "text": "secret"}], toolUseResult={"stdout": "secret"})
    os.utime(write(original), ns=(1, 1))
    write(fork)
    ingest()
    use = f"/api/conversations/{SESSION}/tool-uses"
    [shown] = client.get(use).json["data"]["tool_uses"]
    assert shown["result"] == "secret"
    client.delete(f"/api/conversations/{OTHER}?permanent=true")
    [shown] = client.get(use).json["data"]["tool_uses"]
    assert (shown["result"], shown["status"], shown["result_message_id"]) == (
        None, "interrupted", None,
    )  # fmt: skip
    assert fetch_all("SELECT result, details FROM tool_uses") == [(None, None)]
    check_sound()


def test_a_tool_use_whose_results_copy_is_removed_is_indexed_as_it_was(client, write, ingest):
    original = Transcript(SESSION)
    original.prompt("go")
    original.tool_use("Bash", {"command": "flux"})
    os.utime(write(original), ns=(1, 1))
    fork = copy_of(original)
    fork.last = original.uuid(2)
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "gigawatts"}
    fork.prompt([result, {"type": "text", "text": "and more"}])
    write(fork)
    ingest()
    client.delete(f"/api/conversations/{OTHER}?permanent=true")
    assert fetch_all("SELECT result, result_message_key FROM tool_uses") == [(None, None)]
    client.delete(f"/api/conversations/{SESSION}?permanent=true")
    check_sound()


def test_a_removed_sidechain_is_removed_from_each_copy(client, write, ingest):
    original = Transcript(SESSION)
    original.prompt("go")
    original.last = None
    root = original.prompt("look", isSidechain=True)["uuid"]
    fork = copy_of(original)
    os.utime(write(original), ns=(1, 1))
    write(fork)
    ingest()
    for session_id in (SESSION, OTHER):
        client.delete(f"/api/conversations/{session_id}.{root}?permanent=true")
    for transcript in (original, fork):
        transcript.last = root
        transcript.answer("found", isSidechain=True)
        write(transcript)
        ingest()
    rows = fetch_all("SELECT id FROM conversations ORDER BY id")
    assert rows == [(SESSION,), (OTHER,)]
    assert fetch_all("SELECT count(*) FROM api_calls") == [(0,)]


def test_a_response_that_two_sessions_tell_is_the_others_when_one_is_removed(client, write, ingest):
    for session_id, prefix in ((SESSION, "a"), (OTHER, "b")):
        transcript = Transcript(session_id, prefix=prefix)
        transcript.prompt("go")
        transcript.answer("hello", message_id="msg_1")
        os.utime(write(transcript), ns=(1, ord(prefix)))
    ingest()
    client.delete(f"/api/conversations/{SESSION}?permanent=true")
    for _ in range(2):
        shown = client.get(f"/api/conversations/{OTHER}").json["data"]
        assert shown["total_tokens"] == 1123
        page = client.get(f"/api/conversations/{OTHER}/messages").json["data"]
        assert sum(message["token_count"] for message in page["messages"]) == 1123
        execute("UPDATE transcript_files SET is_reread = 1")
        ingest()
    check_sound()


def test_no_title_and_no_project_of_what_was_removed_stays(client, write, ingest):
    transcript = Transcript(SESSION)
    transcript.prompt("go")
    transcript.side("summary", summary="Secret plan", leafUuid=transcript.last)
    write(transcript)
    ingest()
    other = Transcript(OTHER, prefix="b", cwd="/home/ada/loom")
    other.side("summary", summary="Secret plan", leafUuid=transcript.last)
    other.prompt("else")
    path = write(other)
    client.delete(f"/api/conversations/{SESSION}?permanent=true")
    ingest()
    path.write_bytes(b"\n" + other.bytes())
    ingest()
    assert fetch_all("SELECT * FROM summaries") == []
    assert [row[0] for row in fetch_all("SELECT path FROM projects")] == ["/home/ada/loom"]


def test_a_removal_that_was_interrupted_is_ended_by_the_next_ingest(
    client, write, ingest, monkeypatch
):
    original, fork = forked()
    os.utime(write(original), ns=(1, 1))
    write(fork)
    ingest()
    delete = conversation_removal._delete
    monkeypatch.setattr(conversation_removal, "BATCH_CHARACTERS", 0)
    monkeypatch.setattr(conversation_removal, "_delete", lambda key: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        conversation_removal.delete_conversation(SESSION, scope=WHOLE)
    path = f"/api/conversations/{SESSION}"
    client.get(path, status=404)
    client.post(f"{path}/restore", status=404)
    assert client.get("/api/conversations?deleted=true").json["data"]["conversations"] == []
    shown = in_conversation(client, OTHER)
    monkeypatch.setattr(conversation_removal, "_delete", delete)
    ingest()
    assert fetch_all("SELECT id FROM conversations") == [(OTHER,)]
    assert in_conversation(client, OTHER) == shown
    check_sound()

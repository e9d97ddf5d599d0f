"""Subagents in every place where Claude Code has put them."""

from __future__ import annotations

import json
import os
from urllib.parse import quote

import pytest

from observatory.store import archive
from observatory.store.database import execute, fetch_all, writing
from tests.transcripts_for_tests import Transcript, encode

SESSION = "11111111-1111-4111-8111-111111111111"
AGENT = "a4c69c858dab2afd6"
TASK = {"description": "Find it", "prompt": "Look everywhere", "subagent_type": "Explore"}


def session_with_task(tool: str = "Task") -> Transcript:
    transcript = Transcript(SESSION)
    transcript.prompt("go")
    transcript.tool_use(tool, TASK, tool_use_id="toolu_task")
    transcript.tool_result(
        "found",
        tool_use_id="toolu_task",
        toolUseResult={"status": "completed", "agentId": AGENT, "totalDurationMs": 4321},
    )
    return transcript


def agent_transcript() -> Transcript:
    transcript = Transcript(SESSION, prefix="c")
    transcript.common.update(isSidechain=True, agentId=AGENT)
    transcript.prompt("Look everywhere")
    transcript.answer("found")
    return transcript


def subagents_of(client) -> list[dict]:
    return client.get(f"/api/conversations/{SESSION}").json["data"]["subagents"]


def test_a_subagent_in_a_folder_of_its_session(client, write, ingest):
    write(session_with_task("Agent"))
    write(agent_transcript(), f"-work/{SESSION}/subagents/agent-{AGENT}.jsonl")
    ingest()
    [child] = subagents_of(client)
    assert child["id"] == f"{SESSION}.{AGENT}"
    assert child["tool_use_id"] == "toolu_task"
    assert child["title"] == "Find it"
    assert child["agent_type"] == "Explore"
    assert child["message_count"] == 2
    one = client.get(f"/api/conversations/{child['id']}").json["data"]
    assert (one["kind"], one["parent_id"]) == ("subagent", SESSION)


def test_a_subagent_beside_its_session(client, write, ingest):
    write(session_with_task())
    write(agent_transcript(), f"-work/agent-{AGENT}.jsonl")
    ingest()
    [child] = subagents_of(client)
    assert (child["title"], child["tool_use_id"]) == ("Find it", "toolu_task")


def test_a_subagent_that_is_read_before_its_session(client, write, ingest):
    write(agent_transcript(), f"-work/{SESSION}/subagents/agent-{AGENT}.jsonl")
    ingest()
    parent = client.get(f"/api/conversations/{SESSION}").json["data"]
    assert parent["message_count"] == 0
    write(session_with_task())
    ingest()
    [child] = subagents_of(client)
    assert child["title"] == "Find it"
    parent = client.get(f"/api/conversations/{SESSION}").json["data"]
    assert (parent["title"], parent["message_count"]) == ("go", 3)


def test_a_running_subagent_is_linked_by_progress(client, write, ingest):
    transcript = Transcript(SESSION)
    transcript.tool_use("Task", TASK, tool_use_id="toolu_task")
    transcript.chain(
        "progress",
        parentToolUseID="toolu_task",
        data={"type": "agent_progress", "agentId": AGENT, "message": {"usage": {}}},
    )
    write(transcript)
    write(agent_transcript(), f"-work/{SESSION}/subagents/agent-{AGENT}.jsonl")
    ingest()
    assert subagents_of(client)[0]["tool_use_id"] == "toolu_task"


def test_inline_sidechains_are_conversations_of_their_own(client, write, ingest):
    transcript = Transcript(SESSION, version="1.0.57")
    transcript.prompt("go")
    transcript.tool_use("Task", TASK, tool_use_id="toolu_1st")
    main = transcript.last
    transcript.tool_use("Task", TASK, tool_use_id="toolu_2nd")
    roots = []
    for number in range(2):
        transcript.last = None
        roots.append(transcript.prompt(TASK["prompt"], isSidechain=True)["uuid"])
        transcript.answer(f"found {number}", isSidechain=True)
    transcript.last = main
    transcript.tool_result("found", tool_use_id="toolu_1st")
    write(transcript)
    ingest()
    children = subagents_of(client)
    assert [child["agent_id"] for child in children] == roots
    assert [child["tool_use_id"] for child in children] == ["toolu_1st", "toolu_2nd"]
    page = client.get(f"/api/conversations/{children[1]['id']}/messages").json["data"]
    assert [m["content"] for m in page["messages"]] == [TASK["prompt"], "found 1"]


def test_workflow_subagents_hang_below_the_run(client, write, ingest, projects):
    transcript = Transcript(SESSION)
    transcript.tool_use("Workflow", {"name": "audit"}, tool_use_id="toolu_flow")
    transcript.tool_result(
        "started", tool_use_id="toolu_flow", toolUseResult={"runId": "wf_1", "taskId": "t"}
    )
    write(transcript)
    folder = f"-work/{SESSION}/subagents/workflows/wf_1"
    path = write(agent_transcript(), f"{folder}/agent-{AGENT}.jsonl")
    path.with_suffix(".meta.json").write_text(json.dumps({"agentType": "auditor"}))
    (path.parent / "journal.jsonl").write_text('{"type":"started","key":"k","agentId":"x"}\n')
    (path.parent / "agent-b.jsonl").touch()
    summary = ingest()
    [child] = subagents_of(client)
    assert child["workflow_run_id"] == "wf_1"
    assert child["agent_type"] == "auditor"
    assert child["tool_use_id"] == "toolu_flow"
    assert (summary.files, summary.bad_lines, summary.conversations) == (4, 0, 2)
    assert fetch_all("SELECT count(*) FROM conversations") == [(2,)]


def test_a_subagents_tokens_count_once_when_its_session_repeats_them(client, write, ingest):
    write(agent_transcript(), f"-work/{SESSION}/subagents/agent-{AGENT}.jsonl")
    ingest()
    session = Transcript(SESSION)
    session.prompt("go")
    session.answer("found", message_id="msg_c0002")
    write(session)
    ingest()
    totals = fetch_all("SELECT kind, total_tokens FROM conversations ORDER BY kind")
    assert totals == [("session", 1123), ("subagent", 0)]


def test_a_type_that_is_told_later_is_taken(client, write, ingest):
    path = write(agent_transcript(), f"-work/{SESSION}/subagents/agent-{AGENT}.jsonl")
    ingest()
    path.with_suffix(".meta.json").write_text('{"agentType": "auditor"}')
    assert ingest().files == 0
    shown = client.get(f"/api/conversations/{SESSION}.{AGENT}").json["data"]
    assert shown["agent_type"] == "auditor"
    assert subagents_of(client)[0]["agent_type"] == "auditor"


def test_a_warm_up_is_a_subagents_ping_and_nothing_else(client, write, ingest):
    agent, session = agent_transcript(), Transcript(SESSION)
    agent.prompt("Warmup")
    agent.prompt("Warmup of the cache is slow")
    session.prompt("Warmup")
    write(agent, f"-work/{SESSION}/subagents/agent-{AGENT}.jsonl")
    write(session)
    ingest()
    rows = fetch_all("SELECT kind, count(*) FROM messages WHERE role = 'user' GROUP BY 1")
    assert rows == [("prompt", 3), ("warmup", 1)]


def test_no_file_beside_a_transcript_stops_a_run(write, ingest):
    path = write(agent_transcript(), f"-work/{SESSION}/subagents/agent-{AGENT}.jsonl")
    ingest()
    path.with_suffix(".meta.json").write_text('{"agentType": "a\\ud83d"}')
    session = Transcript(SESSION)
    session.prompt("go")
    write(session)
    assert ingest().files == 1
    assert fetch_all("SELECT agent_type FROM conversations WHERE kind = 'subagent'") == [
        ("a\ufffd",)
    ]


def test_a_pipe_beside_a_transcript_holds_up_nothing(write, ingest):
    path = write(agent_transcript(), f"-work/{SESSION}/subagents/agent-{AGENT}.jsonl")
    os.mkfifo(path.with_suffix(".meta.json"))
    assert ingest().files == 1


def test_sidechains_without_ids_share_no_name_with_glued_records(write, ingest):
    transcript = Transcript(SESSION)
    side = {"isSidechain": True, "uuid": None}
    root = encode(transcript.prompt("in the sidechain", **side))
    beside = encode(transcript.prompt("beside it", uuid=None))
    transcript.records = [root + beside]
    path = write(transcript)
    for data in (transcript.bytes(), b"\n" + transcript.bytes()):
        path.write_bytes(data)
        ingest()
        rows = fetch_all(
            "SELECT c.kind, m.content, m.copy_of_key FROM messages m"
            " JOIN conversations c ON c.key = m.conversation_key"
        )
        assert rows[:2] == [
            ("subagent", "in the sidechain", None),
            ("session", "beside it", None),
        ]


def test_a_sidechain_that_had_another_name_is_found_by_its_place(write, ingest):
    transcript = Transcript(SESSION)
    transcript.prompt("go")
    transcript.prompt("in the sidechain", isSidechain=True, uuid=None, parentUuid=None)
    path = write(transcript)
    ingest()
    with writing():
        execute(
            "UPDATE conversations SET id = replace(id, '.2', '.99') WHERE kind = 'subagent'",
        )
        execute("UPDATE messages SET id = replace(id, '.2.2', '.99.2')")
    transcript.prompt("more")
    # Another file of the same beginning: it is read from its start.
    path.unlink()
    write(transcript)
    ingest()
    rows = fetch_all("SELECT content, is_superseded FROM messages ORDER BY position")
    assert rows == [("go", 0), ("in the sidechain", 0), ("more", 0)]
    assert fetch_all("SELECT count(*) FROM conversations") == [(2,)]


def test_a_session_that_names_itself_oddly_can_be_asked_for(client, write, ingest):
    agent = Transcript("a/b")
    agent.common.update(isSidechain=True, agentId="aaa")
    agent.prompt("go")
    write(agent, "-work/agent-aaa.jsonl")
    ingest()
    for conversation_id in ("a%2Fb", "a%2Fb.aaa"):
        path = quote(conversation_id, safe="")
        assert client.get(f"/api/conversations/{path}").json["data"]["id"] == conversation_id


def test_many_tasks_are_linked_each_to_its_own_sidechain(client, write, ingest, monkeypatch):
    transcript = Transcript(SESSION)
    for number in range(40):
        task = {**TASK, "prompt": f"Look {number % 7}"}
        transcript.tool_use("Task", task, tool_use_id=f"toolu_{number}")
    roots = []
    for number in range(40):
        root = transcript.prompt(f"Look {number % 7}", isSidechain=True, parentUuid=None)
        roots.append(root["uuid"])
    write(transcript)
    asked = []
    monkeypatch.setattr(
        archive, "fetch_all", lambda sql, values=(): asked.append(sql) or fetch_all(sql, values)
    )
    ingest()
    linked = {child["agent_id"]: child["tool_use_id"] for child in subagents_of(client)}
    assert linked == {root: f"toolu_{number}" for number, root in enumerate(roots)}
    # Looking through all tasks for each of them would take a time that grows with its square.
    assert sum(sql == archive._UNLINKED_TASKS for sql in asked) == 1


def test_a_sidechain_in_any_order_is_the_same_when_it_is_read_again(write, ingest):
    transcript = Transcript(SESSION)
    side = {"isSidechain": True}
    transcript.prompt("go")
    transcript.answer("child", uuid="s2", parentUuid="s1", **side)
    transcript.prompt("root", uuid="s1", parentUuid=None, **side)
    transcript.answer("grandchild", uuid="s3", parentUuid="s2", **side)
    write(transcript)
    ingest()
    rows = (
        "SELECT c.id, m.id, m.is_superseded FROM messages m"
        " JOIN conversations c ON c.key = m.conversation_key ORDER BY m.key"
    )
    before = fetch_all(rows)
    assert len(before) == 4
    with writing():
        execute("UPDATE transcript_files SET is_reread = 1")
    ingest()
    assert fetch_all(rows) == before


@pytest.mark.parametrize("removed", ["subagent", "session"])
def test_of_two_conversations_with_one_name_the_removed_one_stays_away(
    removed, client, write, ingest
):
    agent, session = Transcript(SESSION), Transcript(f"{SESSION}.aaa", prefix="b")
    agent.common.update(isSidechain=True, agentId="aaa")
    agent.prompt("in the subagent")
    session.prompt("in the session")
    os.utime(write(agent, f"-work/{SESSION}/subagents/agent-aaa.jsonl"), ns=(1, 1))
    write(session)
    ingest()
    names = {"subagent": f"{SESSION}.aaa", "session": f"{SESSION}.aaa.session"}
    gone = names.pop(removed)
    client.delete(f"/api/conversations/{gone}?permanent=true")
    with writing():
        execute("UPDATE transcript_files SET is_reread = 1")
    ingest()
    client.get(f"/api/conversations/{gone}", status=404)
    [stays] = names.values()
    assert client.get(f"/api/conversations/{stays}").json["data"]["message_count"] == 1


def test_a_subagent_of_no_session_that_is_removed_stays_away(client, write, ingest):
    agent = Transcript(SESSION)
    del agent.common["sessionId"]
    agent.common.update(isSidechain=True, agentId="aaa")
    agent.prompt("go")
    write(agent, "-work/agent-aaa.jsonl")
    ingest()
    client.delete("/api/conversations/agent-aaa?permanent=true")
    with writing():
        execute("UPDATE transcript_files SET is_reread = 1")
    ingest()
    assert fetch_all("SELECT count(*) FROM conversations") == [(0,)]

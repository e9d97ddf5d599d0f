"""Events: noted in the transaction of the change, each once, and nothing in them that is gone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from observatory.store import event_notes, events
from observatory.store.conversation_changes import restore_conversation, trash_conversation
from observatory.store.conversation_removal import delete_conversation
from observatory.store.database import execute, fetch_all, writing
from observatory.store.message_changes import NewMessage, NewToolCall, insert_messages
from observatory.store.scopes import WHOLE, Scope
from observatory.store.secret_rows import update_project
from observatory.timestamps import format_timestamp
from tests.guards.counting import count_steps
from tests.store.new_conversations import make_conversation
from tests.transcripts_for_tests import Transcript

PROJECT = "/home/ada/engine"


def told(after: int = 0, **wanted: object) -> list[dict]:
    """Return what the events behind an id say."""
    page = events.list_events(after, limit=500, wanted=events.EventFilter(**wanted))
    return [json.loads(body) for body in page.bodies]


def types(after: int = 0) -> list[str]:
    return [event["type"] for event in told(after)]


def latest() -> int:
    return events.read_bounds().latest


def a_session(**options: object) -> Transcript:
    transcript = Transcript(**options)
    transcript.prompt("look around")
    transcript.tool_use("Bash", {"command": "ls"}, tool_use_id="toolu_1")
    return transcript


def test_a_new_transcript_is_told_in_order(write, ingest):
    write(a_session())
    ingest()
    assert types() == [
        "project_discovered", "file_processing_update", "conversation_started",
        "message_added", "message_added",
    ]  # fmt: skip


def test_what_is_appended_is_told_and_nothing_again(write, ingest):
    transcript = a_session()
    write(transcript)
    ingest()
    before = latest()
    transcript.tool_result("a b c", tool_use_id="toolu_1")
    write(transcript)
    ingest()
    assert types(before) == ["message_added", "tool_use_finished", "conversation_updated"]
    before = latest()
    ingest()
    assert types(before) == []


def test_reading_a_file_anew_tells_no_message_again(write, ingest):
    transcript = a_session()
    transcript.tool_result("a b c", tool_use_id="toolu_1")
    path = write(transcript)
    ingest()
    before = latest()
    path.write_bytes(b"\n" + path.read_bytes())
    ingest()
    assert {"message_added", "tool_use_finished"}.isdisjoint(types(before))


def test_a_tool_use_that_a_prompt_overtakes_has_ended(write, ingest):
    transcript = a_session()
    write(transcript)
    ingest()
    before = latest()
    transcript.prompt("never mind")
    write(transcript)
    ingest()
    [ended] = told(before, types=frozenset({"tool_use_finished"}))
    assert ended["data"]["tool_use"]["status"] == "interrupted"


def test_what_a_message_says_is_in_its_event(write, ingest):
    transcript = a_session()
    transcript.answer("x" * 5000)
    write(transcript)
    ingest()
    prompt, call, answer = (event["data"]["message"] for event in told(role=None)[3:])
    assert (prompt["content"], prompt["role"], prompt["kind"]) == ("look around", "user", "prompt")
    [used] = call["tool_calls"]
    assert (used["name"], used["arguments_preview"]) == ("Bash", '{"command":"ls"}')
    assert (len(answer["content"]), answer["content_length"]) == (4000, 5000)
    assert answer["is_truncated"] is True


def test_filters_choose(write, ingest):
    transcript = a_session()
    transcript.tool_result("a b c", tool_use_id="toolu_1")
    transcript.answer("done")
    write(transcript)
    other = Transcript("22222222-2222-4222-8222-222222222222", prefix="b", cwd="/home/ada/other")
    other.prompt("elsewhere")
    write(other)
    ingest()
    assert [e["type"] for e in told(tool="Bash")] == ["message_added", "tool_use_finished"]
    assert {e["data"]["message"]["role"] for e in told(role="assistant")} == {"assistant"}
    assert {e["project_path"] for e in told(project_path="/home/ada/other")} == {"/home/ada/other"}
    mine = told(conversation_id=other.session_id)
    assert {e["conversation_id"] for e in mine} == {other.session_id}
    assert len(told(types=frozenset({"conversation_started"}))) == 2


def test_a_conversation_is_told_with_what_it_started(write, ingest):
    write(a_session())
    agent = Transcript(prefix="c")
    agent.common |= {"isSidechain": True, "agentId": "abc"}
    agent.prompt("inside")
    write(agent, f"-work/{agent.session_id}/subagents/agent-abc.jsonl")
    ingest()
    ids = {event["conversation_id"] for event in told(conversation_id=agent.session_id)}
    assert ids == {agent.session_id, f"{agent.session_id}.abc"}


def test_whom_subagents_belong_to_is_found_without_reading_other_conversations(write, ingest):
    agent = Transcript(prefix="c")
    agent.common |= {"isSidechain": True, "agentId": "abc"}
    agent.prompt("inside")
    write(a_session())
    write(agent, f"-work/{agent.session_id}/subagents/agent-abc.jsonl")
    ingest()
    last = latest()

    def count() -> int:
        return count_steps(lambda: events.read_events(0, limit=500, until=last))

    alone = count()
    for _ in range(100):
        make_conversation(PROJECT)
    execute("ANALYZE")
    assert count() <= 1.05 * alone


def test_what_clients_write_is_told(db):
    identifier = make_conversation(PROJECT)
    call = NewToolCall(name="Bash", parameters="{}", id="one")
    running = NewToolCall(name="Bash", parameters="{}", id="two", status="running")
    message = NewMessage(role="assistant", content="hi", tool_calls=(call, running))
    insert_messages(identifier, [message], scope=WHOLE)
    assert types() == [
        "project_discovered", "conversation_started", "message_added", "tool_use_finished",
        "conversation_updated",
    ]  # fmt: skip


def test_a_refused_change_is_not_told(db):
    identifier = make_conversation(PROJECT)
    before = latest()
    call = NewToolCall(name="Bash", parameters="{}", id="one")
    twice = [NewMessage(role="assistant", content="hi", tool_calls=(call,))] * 2
    with pytest.raises(Exception, match="must be new"):
        insert_messages(identifier, twice, scope=WHOLE)
    assert types(before) == []


def test_the_trash_hides_what_was_told_until_it_is_restored(db):
    identifier = make_conversation(PROJECT)
    insert_messages(identifier, [NewMessage(role="user", content="hi")], scope=WHOLE)
    trash_conversation(identifier, scope=WHOLE)
    assert types() == ["project_discovered", "conversation_deleted"]
    [gone] = told(types=frozenset({"conversation_deleted"}))
    assert (gone["conversation_id"], gone["data"]) == (identifier, {"is_permanent": False})
    restore_conversation(identifier, scope=WHOLE)
    assert types().count("message_added") == 1
    assert types()[-1] == "conversation_updated"


def test_what_is_removed_for_good_leaves_its_id_alone(write, ingest):
    transcript = a_session()
    write(transcript)
    ingest()
    delete_conversation(transcript.session_id, scope=WHOLE)
    left = told()
    assert [event["type"] for event in left if event["conversation_id"]] == ["conversation_deleted"]
    assert left[-1]["data"] == {"is_permanent": True}
    assert "look around" not in json.dumps(left)
    assert fetch_all("SELECT 1 FROM events WHERE conversation_key IS NOT NULL") == []


def test_who_may_not_see_a_project_is_told_nothing_of_it(write, ingest):
    write(a_session())
    ingest()
    make_conversation(PROJECT)
    delete_conversation(Transcript().session_id, scope=WHOLE)
    [(key,)] = fetch_all("SELECT key FROM projects WHERE path = '/home/ada/engine'")
    for scope in (Scope(hidden=frozenset({key})), Scope(only=frozenset({key + 1}))):
        assert events.list_events(0, limit=500, scope=scope).bodies == []
    only = events.list_events(0, limit=500, scope=Scope(only=frozenset({key})))
    # A file of which nothing is left may be anybody's.
    assert len(only.bodies) == len(told()) - 1


def test_a_subagent_of_a_hidden_session_is_hidden_wherever_it_ran(write, ingest):
    write(a_session(cwd="/home/ada/secret"))
    agent = Transcript(prefix="c", cwd="/home/ada/engine")
    agent.common |= {"isSidechain": True, "agentId": "abc"}
    agent.prompt("inside")
    write(agent, f"-work/{agent.session_id}/subagents/agent-abc.jsonl")
    ingest()
    [(key,)] = fetch_all("SELECT key FROM projects WHERE path = '/home/ada/secret'")
    page = events.list_events(0, limit=500, scope=Scope(hidden=frozenset({key})))
    shown = [json.loads(body) for body in page.bodies]
    assert [(e["type"], e["project_path"]) for e in shown] == [
        ("project_discovered", "/home/ada/engine")
    ]


def test_pages_go_through_everything_once(write, ingest):
    write(a_session())
    ingest()
    make_conversation(PROJECT)
    wanted = events.EventFilter(types=frozenset({"message_added", "conversation_started"}))
    seen, position = [], 0
    while True:
        page = events.list_events(position, limit=1, wanted=wanted)
        seen += [json.loads(body)["id"] for body in page.bodies]
        assert page.position > position or not page.has_more
        position = page.position
        if not page.has_more:
            break
    assert seen == [event["id"] for event in told(types=wanted.types)]


def test_the_newest_are_found(db):
    for number in range(5):
        make_conversation(PROJECT, title=f"number {number}")
    wanted = events.EventFilter(types=frozenset({"conversation_started"}))
    after = events.find_newest(2, wanted=wanted)
    titles = [event["data"]["conversation"]["title"] for event in told(after, types=wanted.types)]
    assert titles == ["number 3", "number 4"]
    assert events.find_newest(100) == 0


def test_an_event_of_a_file_names_the_project_whatever_else_is_told_with_it(write, ingest):
    write(a_session())
    ingest()
    wanted = events.EventFilter(types=frozenset({"file_processing_update"}))
    [event] = told(types=wanted.types)
    alone = events.list_events(event["id"] - 1, limit=1, wanted=wanted)
    assert json.loads(alone.bodies[0])["project_path"] == "/home/ada/engine"
    of_project = told(types=wanted.types, project_path="/home/ada/engine")
    assert [found["id"] for found in of_project] == [event["id"]]


@pytest.mark.parametrize(
    "wanted",
    [
        {"types": frozenset({"tool_use_finished", "project_discovered"})},
        {"role": "user"}, {"role": "user", "types": frozenset({"tool_use_finished"})},
        {"tool": "Bash"}, {"tool": "Bash", "types": frozenset({"message_added"})},
        {"role": "assistant", "tool": "Bash"}, {"tool": "Read"},
    ],
)  # fmt: skip
def test_what_is_wanted_is_told_out_of_many_others(write, ingest, wanted):
    transcript = Transcript()
    # More than are looked at in one piece.
    for number in range(180):
        transcript.prompt(f"look around {number}")
        transcript.tool_use("Bash", {"command": "ls"}, tool_use_id=f"toolu_{number}")
        transcript.tool_result("x.py", tool_use_id=f"toolu_{number}")
    write(transcript)
    ingest()
    narrowed = events.EventFilter(**wanted)
    taken = [
        event.id for event in events.read_events(0, limit=10_000).events if narrowed.takes(event)
    ]
    assert len(taken) in (0, 1 + 180, 180, 360)
    assert [event["id"] for event in told(**wanted)] == taken[:500]
    for limit in (1, 7):
        behind = events.find_newest(limit, wanted=narrowed)
        page = events.list_events(behind, limit=limit, wanted=narrowed)
        assert [json.loads(body)["id"] for body in page.bodies] == taken[-limit:]


def test_old_events_go_and_ids_are_not_given_again(db):
    for number in range(5):
        make_conversation(PROJECT, title=f"number {number}")
    last = latest()
    with writing(moves=None):
        events.expire_events(before="1970-01-01T00:00:00.000Z", keep=2)
    assert events.read_bounds() == (last - 1, last)
    assert events.read_bounds().has_gap_after(last - 3)
    assert not events.read_bounds().has_gap_after(last - 2)
    with writing(moves=None):
        events.expire_events(before="9000-01-01T00:00:00.000Z", keep=2)
    bounds = events.read_bounds()
    assert (bounds.oldest, bounds.latest) == (last + 1, last)
    make_conversation(PROJECT, title="another")
    assert told()[0]["id"] == last + 1


def test_what_is_old_goes_and_what_is_not_stays(db):
    make_conversation(PROJECT, title="old")
    execute("UPDATE events SET created_at = '2026-01-01T00:00:00.000Z'")
    old = latest()
    make_conversation(PROJECT, title="new")
    with writing(moves=None):
        events.expire_events(before="2026-02-01T00:00:00.000Z", keep=1000)
    assert events.read_bounds().oldest == old + 1


def test_a_conversation_ends_when_nothing_is_said_for_a_while(db):
    identifier = make_conversation(PROJECT)
    insert_messages(identifier, [NewMessage(role="user", content="hi")], scope=WHOLE)
    assert event_notes.count_live_conversations() == 1
    moment = datetime.now(UTC)
    assert event_notes.find_quiet_conversations(moment) == []
    later = moment + event_notes.LIVE_FOR + timedelta(seconds=5)
    quiet = event_notes.find_quiet_conversations(later)
    with writing():
        event_notes.end_conversations(quiet)
    assert types()[-1] == "conversation_ended"
    assert event_notes.find_quiet_conversations(later) == []


def test_what_was_said_long_ago_is_not_live(write, ingest):
    write(a_session())
    ingest()
    assert event_notes.count_live_conversations() == 0


def test_a_conversation_with_times_to_come_ends_too(db):
    identifier = make_conversation(PROJECT)
    future = format_timestamp(datetime.now(UTC) + timedelta(days=400))
    message = NewMessage(role="user", content="hi", timestamp=future)
    insert_messages(identifier, [message], scope=WHOLE)
    later = datetime.now(UTC) + event_notes.LIVE_FOR + timedelta(seconds=5)
    assert len(event_notes.find_quiet_conversations(later)) == 1


def test_projects_whose_numbers_changed_are_told_once(db):
    before = latest()
    identifier = make_conversation(PROJECT)
    insert_messages(identifier, [NewMessage(role="user", content="hi")] * 3, scope=WHOLE)
    with writing(moves=None):
        event_notes.note_analytics(before)
    changed = told(types=frozenset({"analytics_update"}))
    assert [event["data"]["project"]["path"] for event in changed] == ["/home/ada/engine"]


def project_keys() -> dict[str, int]:
    return dict(fetch_all("SELECT path, key FROM projects"))


def test_the_next_project_gets_nothing_of_one_that_is_gone(db):
    """It gets its key."""
    make_conversation("/a")
    gone, key = make_conversation("/b"), project_keys()["/b"]
    delete_conversation(gone, scope=WHOLE)
    make_conversation("/c")
    assert project_keys()["/c"] == key
    [deleted] = told(types=frozenset({"conversation_deleted"}))
    assert (deleted["conversation_id"], deleted["project_path"]) == (gone, None)
    page = events.list_events(0, limit=100, scope=Scope(only=frozenset({key})))
    assert {json.loads(body)["project_path"] for body in page.bodies} == {"/c"}
    assert all(json.loads(body)["conversation_id"] != gone for body in page.bodies)
    page = events.list_events(0, limit=100, scope=Scope(hidden=frozenset({key})))
    assert [json.loads(body)["type"] for body in page.bodies][-1] == "conversation_deleted"


def test_a_project_that_masking_made_another_is_not_told_again(db):
    make_conversation("/keep")
    trashed = make_conversation("/secret")
    trash_conversation(trashed, scope=WHOLE)
    before = project_keys()
    with writing():
        update_project(before["/secret"], path="/keep", name="keep")
    make_conversation("/new")
    assert project_keys()["/new"] == before["/secret"]
    found = told(types=frozenset({"project_discovered", "conversation_deleted"}))
    assert [(event["type"], event["project_path"]) for event in found] == [
        ("project_discovered", "/keep"), ("conversation_deleted", "/keep"),
        ("project_discovered", "/new"),
    ]  # fmt: skip


def test_the_newest_are_behind_what_has_expired(db):
    for number in range(5):
        make_conversation(f"/{number}")
    execute("DELETE FROM events WHERE id < 8")
    bounds = events.read_bounds()
    for wanted in (events.EVERYTHING, events.EventFilter(role="user")):
        after = events.find_newest(100, wanted=wanted)
        assert not bounds.has_gap_after(after)

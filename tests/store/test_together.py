"""Several writes in one transaction: what is kept, and who is told what, is as with one by one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peewee import sqlite3

from observatory.errors import Conflict, Forbidden, NotFound, TimeLimitReached
from observatory.store import together
from observatory.store.conversations import get_conversation
from observatory.store.database import (
    OperationalError,
    close,
    configure,
    connect,
    execute,
    fetch_all,
    fetch_one,
    limit_time,
    waiting_at_most,
    writing,
)
from observatory.store.message_changes import NewMessage, NewToolCall, insert_messages
from observatory.store.rollup_building import verify_rollups
from observatory.store.scopes import WHOLE, Scope
from observatory.store.time_limits import end_time_limit, read_time_limit
from observatory.store.together import End, run_together, write_together
from tests.store.new_conversations import make_conversation
from tests.verified import find_faults

TOKENS = {
    "input_tokens": 3, "output_tokens": 5, "cache_creation_input_tokens": 7,
    "cache_read_input_tokens": 11,
}  # fmt: skip


def note(word: str) -> None:
    execute("INSERT INTO label_names (kind, name, number) VALUES ('model', ?, 1)", (word,))


def noted() -> list[str]:
    return [name for (name,) in fetch_all("SELECT name FROM label_names ORDER BY name")]


def read_revision() -> int:
    [(revision,)] = fetch_all("SELECT value FROM totals WHERE name = 'revision'")
    return int(revision)


def outcomes(ends: Sequence[End]) -> list[Any]:
    """Return results, or the kinds of errors."""
    return [end.result if end.error is None else type(end.error) for end in ends]


def test_all_is_one_transaction(db):
    before = read_revision()
    ends = run_together([partial(write_together, partial(note, word)) for word in "abc"])
    assert outcomes(ends) == [None] * 3
    assert noted() == ["a", "b", "c"]
    assert read_revision() == before + 1


def test_each_goes_on_once_all_is_kept(db):
    """A second connection sees what a task was told of, and nothing before."""
    other = sqlite3.connect(db)
    seen: list[tuple[str, int]] = []

    def count() -> int:
        return int(other.execute("SELECT count(*) FROM label_names").fetchone()[0])

    def task(word: str) -> None:
        seen.append(("before", count()))
        write_together(partial(note, word))
        seen.append(("after", count()))

    run_together([partial(task, word) for word in "abc"])
    other.close()
    assert seen == [("before", 0)] * 3 + [("after", 3)] * 3


def test_a_task_may_write_again_and_another_not_at_all(db):
    def twice() -> str:
        write_together(partial(note, "first"))
        write_together(partial(note, "second"))
        return "done"

    ends = run_together([twice, lambda: "nothing", partial(write_together, partial(note, "third"))])
    assert outcomes(ends) == ["done", "nothing", None]
    assert noted() == ["first", "second", "third"]


def test_who_is_refused_before_it_wrote_harms_nobody(db):
    def refuse() -> None:
        raise Conflict("No.")

    before = read_revision()
    acts = [partial(note, "a"), refuse, partial(note, "b")]
    ends = run_together([partial(write_together, act) for act in acts])
    assert outcomes(ends) == [None, Conflict, None]
    assert noted() == ["a", "b"]
    assert read_revision() == before + 1


def test_who_fails_after_it_put_something_off_leaves_nothing_of_it(db):
    def make(title: str, *, fails: bool) -> None:
        make_conversation(title=title)
        if fails:
            raise Conflict("No.")

    acts = [partial(make, title, fails=title == "failed") for title in ("a", "failed", "b")]
    ends = run_together([partial(write_together, act) for act in acts])
    assert outcomes(ends) == [None, Conflict, None]
    assert fetch_all("SELECT title FROM conversations ORDER BY title") == [("a",), ("b",)]


def test_who_may_not_make_a_project_makes_nobody_write_again(db):
    def make(path: str, scope: Scope) -> None:
        make_conversation(path, scope=scope)

    narrow = Scope(only=frozenset([4711]))
    before = read_revision()
    wanted = [("/a", WHOLE), ("/b", narrow), ("/c", WHOLE)]
    ends = run_together([partial(make, *each) for each in wanted])
    assert outcomes(ends) == [None, Forbidden, None]
    assert fetch_all("SELECT path FROM projects ORDER BY path") == [("/a",), ("/c",)]
    assert read_revision() == before + 1


@pytest.mark.parametrize("kind", [ZeroDivisionError, SystemExit])
@pytest.mark.parametrize("where", ["act", "then"])
def test_what_fails_after_it_wrote_is_taken_back_alone(db, where, kind):
    def fail(_: object = None) -> None:
        if where == "act":
            note("wrong")
        raise kind

    def write_wrong() -> Any:
        if where == "act":
            return write_together(fail)
        return write_together(partial(note, "wrong"), fail)

    tasks: list[Callable[[], Any]] = [partial(write_together, partial(note, w)) for w in "ab"]
    ends = run_together([tasks[0], write_wrong, tasks[1]])
    assert outcomes(ends) == [None, kind, None]
    assert noted() == ["a", "b"]


def test_what_sqlite_took_back_is_done_again(db):
    """An interrupted statement takes the whole transaction along, before anything is counted."""
    runs = []

    def interrupt() -> None:
        runs.append(1)
        execute("ROLLBACK")
        raise TimeLimitReached

    acts = [partial(note, "a"), interrupt, partial(note, "b")]
    ends = run_together([partial(write_together, act) for act in acts])
    assert outcomes(ends)[::2] == [None, None]
    assert noted() == ["a", "b"]
    assert len(runs) == 2


def test_all_wait_for_the_lock_once(db):
    holder = sqlite3.connect(db, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    tries = []
    with waiting_at_most(1):
        ends = run_together(
            [partial(write_together, partial(tries.append, word)) for word in "abc"]
        )
    holder.execute("ROLLBACK")
    holder.close()
    assert outcomes(ends) == [OperationalError] * 3
    assert tries == []
    assert len({id(end.error) for end in ends}) == 3


def test_each_has_its_own_time(db):
    """What one may take does not end another, and ends with its own writing."""
    seen = []

    def timed(until: float) -> None:
        limit_time(until)
        write_together(partial(note, f"{until:.0f}"))
        seen.append(read_time_limit())

    def untimed() -> None:
        seen.append(read_time_limit())
        write_together(partial(note, "untimed"))
        seen.append(read_time_limit())

    try:
        ends = run_together([partial(timed, 2.0**40), untimed, partial(timed, 1.0)])
    finally:
        end_time_limit()
    assert outcomes(ends) == [None, None, TimeLimitReached]
    assert noted() == ["1099511627776", "untimed"]
    assert seen == [None] * 3


def test_by_itself_a_write_is_a_transaction_or_part_of_one(db):
    before = read_revision()
    assert write_together(lambda: note("a"), lambda _: "told") == "told"
    with writing():
        write_together(partial(note, "b"))
    assert noted() == ["a", "b"]
    assert read_revision() == before + 2


def test_then_sees_documents_as_they_will_be(db):
    def task(title: str) -> Any:
        return write_together(
            partial(make_conversation, "/p", title=title),
            lambda identifier: get_conversation(identifier, scope=WHOLE),
        )

    ends = run_together([partial(task, title) for title in "abc"])
    told = [orjson.loads(orjson.dumps(end.result)) for end in ends]
    assert [(each["title"], each["project_path"]) for each in told] == [
        (title, "/p") for title in "abc"
    ]
    assert find_faults() == []
    assert verify_rollups().are_none


# The same writes one by one and together

conversations = st.sampled_from([0, 1, 2, 7])
moments = st.sampled_from(
    [None, "2026-01-02T03:04:05.000Z", "2026-01-02T03:20:00.000Z", "2025-05-05T00:00:00.000Z"]
)
calls = st.lists(
    st.builds(
        NewToolCall,
        name=st.sampled_from(["Read", "Bash"]),
        parameters=st.sampled_from(["{}", '{"file_path":"/a"}']),
        id=st.sampled_from([None, "same"]),
        result=st.sampled_from([None, "fine 漢字"]),
        status=st.sampled_from(["success", "error"]),
        execution_time_ms=st.sampled_from([None, 7, 90_000]),
    ),
    max_size=2,
)
messages = st.builds(
    NewMessage,
    role=st.sampled_from(["user", "assistant"]),
    content=st.sampled_from(["some words", "他の言葉"]),
    timestamp=moments,
    model=st.sampled_from([None, "claude-opus-4-5", "claude-haiku-4-5"]),
    tokens=st.sampled_from([None, TOKENS]),
    tool_calls=calls,
)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("conversation"), st.sampled_from([None, "/p", "/q"])),
        st.tuples(conversations, st.lists(messages, min_size=1, max_size=3)),
    ),
    min_size=1,
    max_size=8,
)

_TABLES = {
    "conversations": "SELECT title, project_key, place_key, message_count, prompt_count,"
    " tool_use_count, error_count, total_tokens, cost_nanodollars, models, api_call_count"
    " FROM conversations ORDER BY key",
    "messages": "SELECT conversation_key, position, role, model, content, key FROM messages"
    " ORDER BY key",
    "tool_uses": "SELECT conversation_key, name, status, message_key, result FROM tool_uses"
    " ORDER BY key",
    "usage": "SELECT sum(messages), sum(api_calls), sum(output_tokens), model FROM usage_rollups"
    " WHERE level = 3 GROUP BY model, place_key ORDER BY model, place_key",
    "tools": "SELECT tool, status, sum(uses), max(max_ms) FROM tool_rollups WHERE level = 3"
    " GROUP BY tool, status, place_key ORDER BY tool, status, place_key",
    "found": "SELECT rowid FROM message_search('words OR \"他 の\"') ORDER BY rowid",
    "titles": "SELECT rowid FROM title_search('title') ORDER BY rowid",
    "events": "SELECT DISTINCT type, conversation_key, subject_key FROM events"
    " WHERE type <> 'conversation_updated' ORDER BY 1, 2, 3",
    "updated": "SELECT DISTINCT conversation_key FROM events"
    " WHERE type = 'conversation_updated' ORDER BY 1",
    "indexed": "SELECT value FROM totals WHERE name = 'indexed_message_key'",
}


def dump() -> dict[str, list[tuple[Any, ...]]]:
    """Return what is in the archive, but for what chance and the clock gave it."""
    return {name: fetch_all(sql) for name, sql in _TABLES.items()}


def begin_anew(source: Path, folder: Path) -> list[str]:
    """Connect to an archive with some conversations, and return their ids."""
    close()
    path = folder / "anew.db"
    for name in (path, *(path.with_name(f"anew.db-{end}") for end in ("wal", "shm"))):
        name.unlink(missing_ok=True)
    shutil.copy(source, path)
    configure(path)
    connect()
    return [make_tagged(path) for path in (None, "/p", "/p")]


def make_tagged(path: str | None) -> str:
    return make_conversation(path, title="A title", metadata={"tags": ["t"]})


def as_task(operation: tuple[Any, Any], made: list[str]) -> Callable[[], Any]:
    """Return what a request does."""
    where, what = operation
    if where == "conversation":
        return lambda: bool(make_tagged(what))
    identifier = made[where] if where < len(made) else "nobody"
    return lambda: len(insert_messages(identifier, what, scope=WHOLE))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(operations)
def test_together_comes_to_the_same_as_one_by_one(db, empty_database, tmp_path, written):
    made = begin_anew(empty_database, tmp_path)
    one_by_one = []
    for operation in written:
        try:
            one_by_one.append(as_task(operation, made)())
        except (Conflict, NotFound) as error:
            one_by_one.append(type(error))
    expected = dump()
    assert find_faults() == []
    assert verify_rollups().are_none
    made = begin_anew(empty_database, tmp_path)
    ends = run_together([as_task(operation, made) for operation in written])
    assert outcomes(ends) == one_by_one
    found = dump()
    # A conversation that is new is told of as new; what is in it then is not a change of it.
    assert {*found.pop("updated")} <= {*expected.pop("updated")}
    assert found == expected
    assert find_faults() == []
    assert verify_rollups().are_none


def test_nothing_is_put_off_once_it_is_over(db):
    run_together([partial(write_together, partial(note, word)) for word in "ab"])
    identifier = make_tagged("/p")
    insert_messages(identifier, [NewMessage("user", "some words")], scope=WHOLE)
    assert fetch_one("SELECT message_count FROM conversations") == (1,)
    assert fetch_all("SELECT rowid FROM message_search('words')") == [(1,)]
    assert together.run_together([]) == []

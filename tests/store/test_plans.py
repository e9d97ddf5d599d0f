"""Every hot query walks an index: its plan is part of its contract."""

from __future__ import annotations

import pytest

from observatory.store import (
    archive,
    conversations,
    counters,
    message_pages,
    message_rows,
    messages,
    reconciling,
    webhook_deliveries,
)
from observatory.store.database import fetch_all
from observatory.store.scopes import WHOLE, Scope


def plan(sql: str, parameters=()) -> list[str]:
    return [row[3] for row in fetch_all("EXPLAIN QUERY PLAN " + sql, parameters)]


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize(
    ("sort_by", "index"),
    [(name, index) for name, (_, index) in conversations.SORT_COLUMNS.items()],
)
def test_a_list_walks_the_index_of_its_order(db, sort_by, index, descending, after):
    page, _ = conversations._statements((), sort_by, descending, after, WHOLE)
    steps = plan(page, {"limit": 51, "offset": 0, "after_value": "x", "after_key": 1})
    assert any(f"c USING INDEX {index}" in step for step in steps)
    assert not any("TEMP B-TREE" in step for step in steps)


def test_the_count_of_all_is_one_row(db):
    _, counting = conversations._statements((), "updated_at", True, False, WHOLE)
    assert plan(counting) == ["SEARCH totals USING PRIMARY KEY (name=?)"]


NARROW = (Scope(hidden=frozenset({1, 2})), Scope(only=frozenset({1, 2})))


@pytest.mark.parametrize("scope", NARROW)
@pytest.mark.parametrize("filters", [(), ("kind",), ("date_from", "date_to")])
def test_a_list_walks_the_index_of_its_order_for_whom_not_all_is_there(db, scope, filters):
    for sort_by, (_, index) in conversations.SORT_COLUMNS.items():
        page, _ = conversations._statements(filters, sort_by, True, False, scope)
        values = {"limit": 51, "offset": 0, "kind": "x", "date_from": "x", "date_to": "x"}
        steps = plan(page, values)
        assert any(f"c USING INDEX {index}" in step for step in steps)
        assert not any("TEMP B-TREE" in step for step in steps)
        # What is above a conversation is found by its key.
        assert [s for s in steps if s.startswith("SEARCH a")] == [
            "SEARCH a USING INTEGER PRIMARY KEY (rowid=?)"
        ] * 2


@pytest.mark.parametrize("scope", NARROW)
def test_a_count_for_whom_not_all_is_there_reads_no_other_rows(db, scope):
    _, counting = conversations._statements((), "updated_at", True, False, scope)
    steps = plan(counting)
    assert [s for s in steps if s.startswith("SCAN conversations")] == []
    assert [s for s in steps if s.startswith("SCAN c ") and "USING" not in s] == []


def test_what_is_asked_for_the_whole_archive_does_not_speak_of_scopes(db):
    for filters in ((), ("tag",), ("deleted",)):
        for sql in conversations._statements(filters, "title", True, False, WHOLE):
            assert "project_key" not in sql
    assert WHOLE.and_there("c") == ""


def test_statements_of_scopes_do_not_mix(db):
    first, second = (
        conversations._statements((), "title", True, False, Scope(hidden=frozenset({key})))
        for key in (1, 2)
    )
    assert "NOT IN (1)" in first[0] and "NOT IN (2)" in second[0]
    assert "project_key IN (1)" in first[1] and "project_key IN (2)" in second[1]


def test_a_projects_list_walks_its_index(db):
    page, _ = conversations._statements(("project_path",), "updated_at", True, False, WHOLE)
    steps = plan(page, {"project_path": "/x", "limit": 51, "offset": 0})
    assert any("conversations_by_project" in step for step in steps)


@pytest.mark.parametrize("form", [messages, message_pages])
@pytest.mark.parametrize("scope", [WHOLE, Scope(hidden=frozenset({1}))])
def test_a_page_of_messages_walks_the_conversation(db, form, scope):
    steps = plan(
        form._page(scope),
        {"conversation": 1, "position": -1, "key": -1, "limit": 101, "conversation_id": '"x"'},
    )
    assert steps[0].startswith("SEARCH m USING INDEX messages_in_order (conversation_key=? AND")
    scans = {step for step in steps if "SCAN" in step or "TEMP B-TREE" in step}
    # What stands above a conversation that was started by another.
    assert scans == (set() if scope.is_whole else {"SCAN above"})
    assert scope.is_whole or "SEARCH oc USING INTEGER PRIMARY KEY (rowid=?)" in steps


def test_whether_a_conversation_has_copies_is_asked_of_the_copies_alone(db):
    steps = plan(message_rows._CONVERSATION, ("x",))
    assert "SEARCH m USING INDEX messages_copies (conversation_key=?)" in steps


def test_tool_calls_are_found_by_their_messages(db):
    steps = plan(message_rows._USES.format(shown="name"), ("[1,2]",))
    assert any("tool_uses_by_message" in step for step in steps)


def test_a_recount_touches_one_conversation(db):
    steps = plan(counters.RECOUNT, (1,))
    scans = [step for step in steps if step.startswith("SCAN")]
    assert set(scans) <= {"SCAN CONSTANT ROW", "SCAN (subquery-9)"}


@pytest.mark.parametrize("sql", [counters.ADD_MESSAGES, counters.ADD_CALLS])
def test_what_was_added_is_found_by_its_own_key(db, sql):
    steps = plan(sql, (1, 1))
    found = {step for step in steps if step.startswith(("SEARCH", "SCAN"))}
    assert found - {"SCAN json_each VIRTUAL TABLE INDEX 1:", "SCAN (subquery-2)"} <= {
        "SEARCH conversations USING INTEGER PRIMARY KEY (rowid=?)",
        "SEARCH m USING INTEGER PRIMARY KEY (rowid>?)",
        "SEARCH a USING INTEGER PRIMARY KEY (rowid>?)",
    }


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT key FROM messages WHERE id = ?",
        "UPDATE messages SET is_superseded = 1 WHERE file_key = ? AND generation < 2",
        "SELECT key FROM tool_uses WHERE conversation_key = ? AND tool_use_id = 'x'",
        "SELECT key FROM tool_uses WHERE conversation_key = ? AND status = 'running'",
        "DELETE FROM messages WHERE conversation_key = ?",
        "SELECT key FROM api_calls WHERE message_key = ?",
    ],
)
def test_what_an_ingest_asks_is_searched(db, sql):
    assert plan(sql, (1,))[0].startswith("SEARCH")
    assert archive.find_messages([]) == {}


def test_the_prompts_of_one_parent_are_searched(db):
    steps = plan(
        "SELECT position FROM messages WHERE conversation_key = ? AND parent_id = ?"
        " AND kind IN ('prompt', 'queued_prompt') ORDER BY position",
        (1, "x"),
    )
    assert len(steps) == 1
    assert "messages_prompts (conversation_key=? AND parent_id=?)" in steps[0]


@pytest.mark.parametrize("scope", [WHOLE, *NARROW])
def test_what_numbers_are_made_of_is_found_by_indexes(db, scope):
    values = {"conversation": 1, "position": 1, "key": 1, "limit": 51, "offset": 0}
    steps = plan(reconciling._CALLS, values)
    assert "SEARCH api_calls USING INDEX api_calls_by_conversation (conversation_key=?)" in steps
    steps = plan(reconciling._LINES.format(and_there=scope.and_there("c")), ("[1]",))
    assert "SEARCH m USING INDEX messages_by_call (api_call_key=?)" in steps
    steps = plan(reconciling._OTHER_LINES.format(and_there=scope.and_there("o")), values)
    assert any(s.startswith("SEARCH m USING INDEX messages_in_order") for s in steps)
    assert not any("TEMP B-TREE" in step or step.startswith("SCAN m") for step in steps)


def test_the_backlog_of_webhooks_is_counted_from_indexes(db):
    steps = plan(webhook_deliveries.READ_BACKLOG)
    deliveries = [step for step in steps if "webhook_deliveries" in step or " d " in step]
    assert len(deliveries) == 3
    assert all(step.startswith("SEARCH") for step in deliveries)
    assert not any("TEMP B-TREE" in step for step in steps)

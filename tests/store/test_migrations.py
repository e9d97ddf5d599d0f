"""Migrations: alone, all or nothing, and never on a database from the future."""

from __future__ import annotations

import importlib
import multiprocessing
import shutil
from collections.abc import Sequence
from pathlib import Path

import peewee
import pytest

from observatory.app import create_app
from observatory.errors import LockHeld, SchemaError
from observatory.ingest.running import mend_interrupted
from observatory.store import schema, search
from observatory.store.database import close, configure, connect, database, execute, fetch_all
from observatory.store.locks import held
from observatory.store.models import TABLES
from observatory.store.projects import find_missummed
from observatory.store.scopes import WHOLE
from observatory.store.search_language import parse_query
from observatory.store.search_matches import SearchRequest, find_matches
from tests.api.described import DescribedApp
from tests.api.keyed import add_key
from tests.ingest.dumps import check_sound


@pytest.fixture
def fresh(tmp_path: Path):
    path = tmp_path / "fresh.db"
    configure(path)
    connect()
    yield path
    close()


@pytest.fixture
def older(fresh, tmp_path, monkeypatch):
    """Migrates a fresh file up to a number; leaving it to the test to go on."""

    def up_to(number: str) -> DescribedApp:
        folder = tmp_path / "migrations"
        shutil.copytree(schema.MIGRATIONS, folder)
        for file in folder.glob("*.py"):
            if file.name[:4] > number and file.name != "__init__.py":
                file.unlink()
        with monkeypatch.context() as patch:
            patch.setattr(schema, "MIGRATIONS", folder)
            schema.migrate()
        # Its key is added once there is a table for it.
        return DescribedApp(create_app(cors_origins=(), folders=()), lint=True)

    return up_to


def index_as_before(messages: int = 100) -> None:
    """Index so many messages as was done when the index was in one part."""
    columns = "text, thinking, tool_input, tool_result, cjk"
    execute(
        f"INSERT INTO message_search (rowid, {columns}) SELECT key, {columns}"
        " FROM searchable_messages WHERE key <= ?",
        (messages,),
    )
    execute(
        "UPDATE totals SET value = (SELECT max(id) FROM message_search_docsize)"
        " WHERE name = 'indexed_message_key'"
    )


def count_rows_found(q: str) -> int:
    """Return how many rows of the index match, without what later schemas have."""
    match = parse_query(q).match
    [(count,)] = fetch_all("SELECT count(*) FROM message_search(?)", (match,))
    return count


def count_hits(q: str) -> int:
    """Return how many messages are found."""
    return len(find_matches(SearchRequest(q=q), scope=WHOLE).candidates)


MOMENT = "2026-03-04T05:06:07.890Z"
MINE = "11111111-1111-4111-8111-111111111111"


def write_older(texts: list[str], *, role: str = "user", results: Sequence[str] = ()) -> str:
    """Write a conversation as the API did, and return its address; results are of tool calls."""
    execute(
        "INSERT INTO conversations (id, kind, source, title, created_at, updated_at)"
        " VALUES (?, 'session', 'api', 'mine', ?, ?)",
        (MINE, MOMENT, MOMENT),
    )
    for position, text in enumerate(texts, 1):
        execute(
            "INSERT INTO messages (id, conversation_key, position, role, kind, created_at, content)"
            " VALUES (?, 1, ?, ?, 'answer', ?, ?)",
            (f"m{position}", position, role, MOMENT, text),
        )
    for key, result in enumerate(results, 1):
        execute(
            "INSERT INTO tool_uses (conversation_key, tool_use_id, message_key, name, status,"
            " parameters, result) VALUES (1, ?, ?, 'Bash', 'success', '{}', ?)",
            (f"t{key}", key, result),
        )
    return f"/api/conversations/{MINE}"


def migrate_in_process(path: str, results) -> None:
    configure(path)
    connect()
    results.put(schema.migrate())
    close()


def test_a_fresh_file_gets_everything(fresh):
    applied = schema.migrate()
    assert applied == schema.read_status().applied
    assert schema.read_status().is_current


def test_a_second_time_does_nothing(db):
    assert schema.migrate() == ()


def test_one_process_at_a_time(tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    path = str(tmp_path / "raced.db")
    children = [context.Process(target=migrate_in_process, args=(path, results)) for _ in range(4)]
    for child in children:
        child.start()
    applied = [results.get(timeout=60) for _ in children]
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert sorted(map(len, applied)) == [0, 0, 0, len(max(applied, key=len))]


def test_a_failing_migration_leaves_the_old_schema(db, tmp_path, monkeypatch):
    folder = tmp_path / "migrations"
    shutil.copytree(schema.MIGRATIONS, folder)
    (folder / "9001_half.py").write_text(
        "def up(migrator, db):\n"
        "    db.execute_sql('CREATE TABLE half (a)')\n"
        "    db.execute_sql('ALTER TABLE projects ADD COLUMN half TEXT')\n"
        "    db.execute_sql('no such statement')\n"
    )
    before = fetch_all("SELECT name, sql FROM sqlite_master ORDER BY name")
    monkeypatch.setattr(schema, "MIGRATIONS", folder)
    with pytest.raises(peewee.OperationalError):
        schema.migrate()
    assert fetch_all("SELECT name, sql FROM sqlite_master ORDER BY name") == before
    assert schema.read_status().pending == ("9001_half",)
    with pytest.raises(SchemaError, match="observatory migrate"):
        schema.check_current()


def test_a_newer_database_is_refused(db):
    execute(f"INSERT INTO {schema.TABLE} (name, applied) VALUES ('9999_future', '2030-01-01')")
    for use in (schema.check_current, schema.migrate):
        with pytest.raises(SchemaError, match="9999_future"):
            use()


def test_a_lock_says_who_holds_it(db):
    refused = pytest.raises(LockHeld, match=r"Process \d+ on .+ holds")
    with held(db, "ingest"), refused, held(db, "ingest"):
        pass


def test_models_and_migrations_agree(db):
    for model in TABLES:
        table = model._meta.table_name
        columns = {row[1]: bool(row[3]) for row in fetch_all(f"PRAGMA table_info({table})")}
        fields = {field.column_name: field for field in model._meta.sorted_fields}
        assert set(columns) == set(fields), table
        for name, is_required in columns.items():
            if not fields[name].primary_key:
                assert fields[name].null != is_required, f"{table}.{name}"
    tables = {
        row[0]
        for row in fetch_all(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
            " AND name NOT LIKE '%\\_search%' ESCAPE '\\' AND name NOT LIKE 'sqlite%'"
        )
    }
    assert tables == {model._meta.table_name for model in TABLES} | {schema.TABLE}


def test_every_connection_is_tuned(db):
    values = {
        name: fetch_all(f"PRAGMA {name}")[0][0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "cache_size")
    }
    assert values == {
        "journal_mode": "wal",
        "synchronous": 1,
        "foreign_keys": 1,
        "busy_timeout": 10_000,
        "cache_size": -4096,
    }
    assert database.database == str(db)


def test_a_schema_that_lacks_a_table_is_refused(db):
    schema.check_current()
    execute("DROP TABLE summaries")
    with pytest.raises(SchemaError, match="has no summaries"):
        schema.check_current()


def test_results_that_clients_wrote_are_found_after_migrating(older):
    client = older("0003")
    path = write_older(["flux"], role="assistant", results=["gigawatts"])
    index_as_before()
    assert [count_rows_found(q) for q in ("flux", "gigawatts")] == [1, 0]
    schema.migrate()
    add_key()
    assert [count_hits(q) for q in ("flux", "gigawatts")] == [1, 1]
    assert fetch_all("SELECT count(*) FROM message_search('flux')") == [(1,)]
    check_sound()
    client.delete(f"{path}?permanent=true")
    assert fetch_all("SELECT count(*) FROM message_search('flux OR gigawatts')") == [(0,)]
    check_sound()


def test_messages_that_wait_are_not_indexed_by_migrating(older):
    older("0003")
    write_older(["flux"], role="assistant", results=["gigawatts"])
    schema.migrate()
    assert fetch_all("SELECT count(*) FROM message_search('flux')") == [(0,)]
    search.index_messages()
    assert fetch_all("SELECT count(*) FROM message_search('flux AND gigawatts')") == [(1,)]
    check_sound()


def test_words_beside_chinese_are_found_after_migrating(older, monkeypatch):
    client = older("0003")
    path = write_older([f"请调用getZedUser{number}函数" for number in range(5)])
    # As an earlier version wrote it: the characters alone. The last message waits for the index,
    # and of the first only the characters are left, as in a copy whose original was removed.
    execute(
        "INSERT INTO message_cjk (message_key, spaced) SELECT key, '请 调 用 函 数' FROM messages"
    )
    execute("UPDATE messages SET content = '' WHERE key = 1")
    execute("UPDATE conversations SET title = '重构getZedTitle函数'")
    index_as_before(4)
    assert [count_rows_found(q) for q in ("调用", "getZedUser1", "用getZedUser1")] == [4, 0, 0]
    migration = importlib.import_module("observatory.store.migrations.0004_search")
    monkeypatch.setattr(migration, "BATCH_MESSAGES", 2)
    schema.migrate()
    add_key()
    assert [count_hits(q) for q in ("调用", "getZedUser1", "用getZedUser1")] == [4, 1, 1]
    assert count_hits("getZedUser4") == 0
    search.index_messages()
    assert count_hits("getZedUser4函数") == 1
    for q in ("getZedTitle", "构getZedTitle函", "重构"):
        [title] = client.get("/api/search", {"q": q}).json["data"]["titles"]
        assert title["title"].replace("<mark>", "").replace("</mark>", "") == "重构getZedTitle函数"
    check_sound()
    client.delete(f"{path}?permanent=true")
    assert fetch_all("SELECT count(*) FROM message_search_docsize") == [(0,)]
    check_sound()


@pytest.mark.parametrize("waits", [False, True])
def test_a_result_in_chinese_is_found_after_migrating(older, waits):
    older("0003")
    write_older(["flux", "flux"], role="assistant", results=["调用getZedUser函数", "x"])
    if not waits:
        index_as_before()
    schema.migrate()
    search.index_messages()
    assert [count_hits(q) for q in ("用getZedUser", "x", "flux")] == [1, 1, 2]
    assert fetch_all("SELECT count(*) FROM message_cjk") == [(1,)]
    check_sound()


def test_calls_get_the_parts_of_their_cost_after_migrating(older):
    older("0009")
    write_older(["flux"])
    insert = (
        "INSERT INTO api_calls (id, conversation_key, position, model, created_at, input_tokens,"
        " output_tokens, cache_creation_input_tokens, cache_read_input_tokens,"
        " cache_creation_5m_input_tokens, cache_creation_1h_input_tokens, web_search_requests,"
        " cost_nanodollars, usage_quality) VALUES (?, 1, 1, ?, ?, 2, 3, 10, 20, 10, 0, 0, ?,"
        " 'exact')"
    )
    priced = 2 * 5000 + 3 * 25000 + 10 * 6250 + 20 * 500
    execute(insert, ("a", "claude-opus-4-5", MOMENT, priced))
    # Those that old clients told themselves, and one that nobody knows.
    execute(insert, ("b", "claude-opus-4-5", "2025-03-04T05:06:07.890Z", 7))
    execute(insert, ("c", "glm-5", MOMENT, 8))
    execute(insert, ("d", "glm-5", MOMENT, None))
    schema.migrate()
    mend_interrupted()
    assert fetch_all(
        "SELECT cost_nanodollars, input_cost_nanodollars, output_cost_nanodollars,"
        " cache_write_cost_nanodollars, cache_read_cost_nanodollars, uncached_cost_nanodollars,"
        " is_cost_reported FROM api_calls ORDER BY id"
    ) == [
        (priced, 10_000, 75_000, 62_500, 10_000, 32 * 5000 + 75_000, 0),
        (7, None, None, None, None, None, 1),
        (8, None, None, None, None, None, 1),
        (None, None, None, None, None, None, 0),
    ]
    check_sound()


def test_the_most_used_models_and_tools_come_first_after_migrating(older):
    older("0012")
    write_older(["flux"])
    for number, model in enumerate(("b", "a", "b", "c", "b", "c")):
        execute(
            "INSERT INTO api_calls (id, conversation_key, position, model, created_at,"
            " input_tokens, output_tokens, cache_creation_input_tokens, cache_read_input_tokens,"
            " cache_creation_5m_input_tokens, cache_creation_1h_input_tokens, web_search_requests,"
            " usage_quality) VALUES (?, 1, 1, ?, ?, 1, 1, 0, 0, 0, 0, 0, 'exact')",
            (str(number), model, MOMENT),
        )
        execute(
            "INSERT INTO tool_uses (conversation_key, message_key, tool_use_id, name, status)"
            " VALUES (1, 1, ?, ?, 'success')",
            (str(number), f"Tool {model}"),
        )
    schema.migrate()
    assert fetch_all("SELECT kind, name FROM label_names ORDER BY kind, number") == [
        *(("model", name) for name in ("b", "c", "a")),
        *(("tool", f"Tool {name}") for name in ("b", "c", "a")),
    ]


def test_sums_are_of_what_was_there_before_them(older):
    older("0014")
    write_older(["hello", "there"], results=["done"])
    execute("INSERT INTO projects (path, name) VALUES ('/old', 'old'), ('/none', 'none')")
    execute("UPDATE conversations SET project_key = 1, message_count = 2, tool_use_count = 1")
    schema.migrate()
    assert find_missummed() == []
    assert fetch_all("SELECT conversation_count, message_count FROM projects") == [(1, 2), (0, 0)]
    totals = dict(fetch_all("SELECT name, value FROM totals"))
    assert (totals["messages"], totals["tool_uses"]) == (2, 1)


def test_new_indexes_are_known_as_well_as_those_before_them(older):
    older("0014")
    write_older(["hello"])
    execute("UPDATE conversations SET error_count = 1")
    execute("ANALYZE")
    schema.migrate()
    known = {name for (name,) in fetch_all("SELECT idx FROM sqlite_stat1")}
    assert {"conversations_by_project_start", "conversations_failed"} <= known
    if fetch_all("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat4'"):
        assert fetch_all("SELECT 1 FROM sqlite_stat4") == []

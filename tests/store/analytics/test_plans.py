"""No report reads a table from one end to the other: its plans are part of its contract."""

from __future__ import annotations

import re

import pytest

from observatory.app import create_app
from observatory.store.database import database, fetch_all
from observatory.store.scopes import WHOLE, Scope
from tests.api.viewers import sign_in
from tests.bench.analytics import QUESTIONS
from tests.bench.analytics_rows import make_database

LARGE = re.compile(
    r"SCAN (messages|m|api_calls|a|tool_uses|t|conversations|c|r|u|f|usage_rollups|tool_rollups"
    r"|file_rollups|conversation_usage|conversation_tools|conversation_files)"
    # Some walk an index of conversations in order, until they have as many as were asked for.
    r"(?! USING (COVERING )?INDEX conversations_)\b"
)


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A small database like that of the bench: with what SQLite knows of its rows."""
    for _ in make_database(tmp_path_factory.mktemp("year") / "year.db", messages=2000):
        pass


@pytest.mark.parametrize("scope", [WHOLE, Scope(hidden=frozenset({3})), Scope(only=frozenset({1}))])
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_report_finds_its_rows_by_an_index(year, name, scope):
    client = sign_in(scope)
    asked: list[str] = []
    connection = database.connection()
    connection.set_trace_callback(asked.append)
    try:
        question = QUESTIONS[name].format(day=20, first="02")
        client.get(f"/api/analytics/{question}", status="*")
    finally:
        connection.set_trace_callback(None)
    selects = [sql for sql in asked if sql.lstrip().startswith(("SELECT", "WITH"))]
    assert len(selects) > 1
    for sql in selects:
        for *_, step in fetch_all(f"EXPLAIN QUERY PLAN {sql}"):
            assert not LARGE.match(step), f"{step}\n{sql}"


def test_the_questions_cover_all_reports():
    app = create_app(cors_origins=(), folders=())
    for question in QUESTIONS.values():
        assert app._router.find("/api/analytics/" + question.split("?")[0]) is not None

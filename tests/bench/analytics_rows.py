"""A database of a year of many conversations, to measure reports on.

Messages have next to no text, and there is no search index: reports read neither.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from observatory.store import schema
from observatory.store.counters import RECOUNT
from observatory.store.database import (
    configure,
    connect,
    execute,
    execute_many,
    fetch_all,
    writing,
)
from observatory.store.rollup_building import build_rollups

MESSAGES_PER_CONVERSATION = 100
_LAST_DAY = datetime(2026, 10, 31, tzinfo=UTC)
_DAYS = 365
_PROJECTS = 40
_MODELS = ("claude-opus-4-8", "claude-sonnet-5", "claude-haiku-4-5", "claude-opus-4-6", "glm-5")
_MODEL_WEIGHTS = (50, 25, 15, 8, 2)
_TOOLS = (
    ("Bash", 34), ("Read", 24), ("Edit", 16), ("Grep", 9), ("Glob", 4), ("TodoWrite", 4),
    ("Write", 3), ("Task", 2), ("WebFetch", 1), ("WebSearch", 1),
    *((f"mcp__server{n}__tool{n}", 0.2) for n in range(10)),
)  # fmt: skip
_CONVERSATION = (
    "INSERT INTO conversations (key, id, kind, parent_key, project_key, title, created_at,"
    " updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_MESSAGE = (
    "INSERT INTO messages (key, id, conversation_key, position, role, kind, created_at, model,"
    " content) VALUES (?, ?, ?, ?, ?, ?, ?, ?, '')"
)
_CALL = (
    "INSERT INTO api_calls (key, id, conversation_key, position, model, created_at, input_tokens,"
    " output_tokens, cache_creation_input_tokens, cache_read_input_tokens,"
    " cache_creation_5m_input_tokens, cache_creation_1h_input_tokens, web_search_requests,"
    " cost_nanodollars, input_cost_nanodollars, output_cost_nanodollars,"
    " cache_write_cost_nanodollars, cache_read_cost_nanodollars, uncached_cost_nanodollars,"
    " usage_quality) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?, ?, ?, ?, ?, 'exact')"
)
_TOOL_USE = (
    "INSERT INTO tool_uses (key, conversation_key, tool_use_id, message_key, name, status,"
    " is_error, error_category, started_at, execution_time_ms, parameters)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class _Rows:
    """Makes the rows of one conversation after the other."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.message_key = self.call_key = self.use_key = 0
        self.sessions: list[int] = []
        self.projects: dict[int, int] = {}
        self.messages: list[tuple[object, ...]] = []
        self.calls: list[tuple[object, ...]] = []
        self.uses: list[tuple[object, ...]] = []
        self.conversations: list[tuple[object, ...]] = []

    def add_conversation(self, key: int) -> None:
        """Add a conversation with all that is in it."""
        rng = self._rng
        parent = rng.choice(self.sessions[-50:]) if self.sessions and rng.random() < 0.2 else None
        if parent is None:
            self.sessions.append(key)
        # Most work is done in a few projects, and in ten hours of the day; subagents where the
        # session is.
        project = 1 + int(_PROJECTS * rng.random() ** 2.5)
        if parent is not None and rng.random() < 0.98:
            project = self.projects[parent]
        self.projects[key] = project
        day = _LAST_DAY - timedelta(days=rng.random() * _DAYS)
        start = day.replace(hour=0, minute=0) + timedelta(hours=rng.gauss(13, 3.5))
        moment = start
        count = max(4, int(rng.lognormvariate(4.2, 0.9)))
        model = rng.choices(_MODELS, _MODEL_WEIGHTS)[0]
        for position in range(count):
            moment += timedelta(seconds=min(rng.lognormvariate(1.6, 1.7), 7200))
            self._add_message(key, position, moment, model)
        kind = "session" if parent is None else "subagent"
        self.conversations.append(
            (key, f"c{key}", kind, parent, project, f"title {key}", _text(start), _text(moment))
        )

    def _add_message(self, key: int, position: int, moment: datetime, model: str) -> None:
        rng, at = self._rng, _text(moment)
        self.message_key += 1
        identifier = f"m{self.message_key}"
        role, kind = rng.choice(
            (("user", "tool_result"), ("assistant", "tool_use"), ("assistant", "answer"))
        )
        if position % 25 == 0:
            role, kind = "user", "prompt"
        self.messages.append(
            (self.message_key, identifier, key, position, role, kind, at,
             model if role == "assistant" else None)
        )  # fmt: skip
        if role == "assistant" and rng.random() < 0.6:
            self._add_call(key, position, at, model)
        if kind == "tool_use":
            self._add_use(key, at)

    def _add_call(self, key: int, position: int, at: str, model: str) -> None:
        rng = self._rng
        self.call_key += 1
        tokens = (
            rng.randrange(3000),
            rng.randrange(2000),
            rng.randrange(9000),
            rng.randrange(200_000),
        )
        used_in, used_out, written, read = tokens
        costs: tuple[int | None, ...] = (None,) * 6
        if model != "glm-5":
            parts = (used_in * 5000, used_out * 25000, written * 6250, read * 500)
            uncached = (used_in + written + read) * 5000 + used_out * 25000
            costs = (sum(parts), *parts, uncached)
        self.calls.append(
            (self.call_key, f"r{self.call_key}", key, position, model, at, *tokens, written, *costs)
        )  # fmt: skip

    def _add_use(self, key: int, at: str) -> None:
        rng = self._rng
        self.use_key += 1
        name = rng.choices([t for t, _ in _TOOLS], [w for _, w in _TOOLS])[0]
        failed = rng.random() < 0.05
        path = f'{{"file_path":"/src/module{int(3000 * rng.random() ** 2)}.py"}}'
        self.uses.append(
            (self.use_key, key, f"toolu_{self.use_key}", self.message_key, name,
             "error" if failed else "success", int(failed), "exit_code" if failed else None, at,
             int(rng.lognormvariate(6, 2.2)),
             path if name in ("Read", "Edit", "Write") else "{}")
        )  # fmt: skip

    def flush(self) -> None:
        """Write what was made."""
        with writing():
            execute_many(_CONVERSATION, self.conversations)
            execute_many(_MESSAGE, self.messages)
            execute_many(_CALL, self.calls)
            execute_many(_TOOL_USE, self.uses)
            execute_many(RECOUNT, [(row[0],) for row in self.conversations])
        for rows in (self.conversations, self.messages, self.calls, self.uses):
            rows.clear()


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")[:23] + "Z"


def make_database(path: Path, *, messages: int, seed: int = 1) -> Iterator[str]:
    """Make a database of so many messages, and say how far it is."""
    configure(path, synchronous="OFF", cache_mib=256)
    connect()
    schema.migrate()
    with writing():
        for number in range(1, _PROJECTS + 1):
            execute(
                "INSERT INTO projects (key, path, name) VALUES (?, ?, ?)",
                (number, f"/home/ada/project{number}", f"project{number}"),
            )
    rows = _Rows(random.Random(seed))
    key = 0
    while rows.message_key < messages:
        key += 1
        rows.add_conversation(key)
        if key % 500 == 0:
            rows.flush()
            yield f"{rows.message_key} messages"
    rows.flush()
    with writing():
        execute("UPDATE totals SET value = 0 WHERE name = 'rollups_version'")
    started = time.perf_counter()
    number = build_rollups()
    yield f"sums of {number} conversations built in {time.perf_counter() - started:.1f} s"
    execute("ANALYZE")
    fetch_all("PRAGMA wal_checkpoint (TRUNCATE)")

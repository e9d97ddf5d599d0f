"""What the same machine does at best: parsing the bytes, asking SQLite, answering over HTTP.

The statements follow ``observatory/store``: the rows of one answer, asked for and fetched, with
nothing made of them. When the schema changes, they change here.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pysqlite3

from tests.bench.processes import REPOSITORY

if TYPE_CHECKING:
    from sqlite3 import Connection

_READ_BYTES = 1 << 20
GUNICORN_CONFIG = REPOSITORY / "gunicorn.conf.py"
_CONVERSATION = """
    c.key, c.id, c.kind, parent.id, c.title, p.path, c.created_at, c.updated_at,
    c.message_count, c.tool_use_count, c.error_count, c.input_tokens, c.output_tokens,
    c.cache_creation_input_tokens, c.cache_read_input_tokens, c.total_tokens,
    c.api_call_count, c.unpriced_call_count, c.undercounted_call_count, c.cost_nanodollars,
    c.models, c.client_version, c.entrypoint, c.metadata, c.cwd, c.git_branch
    FROM conversations c
    LEFT JOIN projects p ON p.key = c.project_key
    LEFT JOIN conversations parent ON parent.key = c.parent_key
"""
_LIST = f"""
    SELECT {_CONVERSATION} WHERE c.deleted_at IS NULL
    ORDER BY c.updated_at DESC, c.key DESC LIMIT 51
"""
_COUNT = "SELECT value FROM totals WHERE name = 'conversations'"
_ONE = f"SELECT {_CONVERSATION} WHERE c.id = ? AND c.deleted_at IS NULL"
_USAGE_BY_MODEL = """
    SELECT model, count(*), sum(input_tokens), sum(output_tokens),
        sum(cache_creation_input_tokens), sum(cache_read_input_tokens),
        sum(cache_creation_5m_input_tokens), sum(cache_creation_1h_input_tokens),
        sum(web_search_requests), coalesce(sum(cost_nanodollars), 0),
        count(*) - count(cost_nanodollars), sum(usage_quality = 'undercounted')
    FROM api_calls WHERE conversation_key = ? GROUP BY model ORDER BY model
"""
_SUBAGENTS = """
    SELECT c.id, c.title, c.agent_id, c.agent_type, c.workflow_run_id, c.created_at, c.updated_at,
        c.message_count, c.tool_use_count, c.error_count, c.total_tokens, c.cost_nanodollars,
        c.api_call_count, c.unpriced_call_count
    FROM conversations c WHERE c.parent_key = ? AND c.deleted_at IS NULL
    ORDER BY c.created_at, c.key
"""
_KEY = "SELECT key, message_count FROM conversations WHERE id = ? AND deleted_at IS NULL"
_MESSAGES = """
    SELECT m.key, m.position, m.id, m.role, m.kind, coalesce(o.content, m.content),
        coalesce(o.blocks, m.blocks), m.created_at, m.model, m.parent_id, m.copy_of_key, o.id,
        m.is_on_main_branch, m.is_superseded, m.notes, a.id, a.stop_reason, a.message_key = m.key,
        a.input_tokens, a.output_tokens, a.cache_creation_input_tokens, a.cache_read_input_tokens,
        a.cost_nanodollars, a.usage_quality, m.cwd, m.git_branch, m.client_version
    FROM messages m
    LEFT JOIN messages o ON o.key = m.copy_of_key
    LEFT JOIN api_calls a ON a.key = m.api_call_key
    WHERE m.conversation_key = ? ORDER BY m.position, m.key LIMIT 101
"""
_TOOL_USES = """
    SELECT t.message_key, t.tool_use_id, t.name, t.server, t.status, t.is_error,
        t.error_category, t.started_at, t.finished_at, t.execution_time_ms,
        t.reported_duration_ms, t.subagent_id, t.parameters, coalesce(t.result, r.content), r.id
    FROM tool_uses t LEFT JOIN messages r ON r.key = t.result_message_key
    WHERE t.message_key IN (SELECT value FROM json_each(?)) ORDER BY t.key
"""


class RawQueries:
    """The rows behind each measured endpoint, straight from the driver."""

    def __init__(self, database: Path) -> None:
        self._connection: Connection = pysqlite3.connect(str(database))  # type: ignore[attr-defined]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def choose_conversation(self, *, at_least_messages: int) -> tuple[str, int]:
        """Return id and number of messages of the shortest conversation that is long enough.

        The longest one, when none is.
        """
        found = self._fetch(
            "SELECT id, message_count FROM conversations"
            " ORDER BY message_count < ?, abs(message_count - ?) LIMIT 1",
            (at_least_messages, at_least_messages),
        )
        if not found:
            raise LookupError("the database holds no conversation")
        return found[0][0], found[0][1]

    def for_endpoint(self, name: str, conversation_id: str) -> Callable[[], int]:
        """Return a function that fetches an endpoint's rows and says how many there were."""
        return {
            "list of 50": self._list,
            "one": lambda: self._one(conversation_id),
            "100 messages": lambda: self._messages(conversation_id),
        }[name]

    def _list(self) -> int:
        return len(self._fetch(_LIST)) + len(self._fetch(_COUNT))

    def _one(self, conversation_id: str) -> int:
        rows = self._fetch(_ONE, (conversation_id,))
        key = (rows[0][0],)
        return len(self._fetch(_USAGE_BY_MODEL, key)) + len(self._fetch(_SUBAGENTS, key))

    def _messages(self, conversation_id: str) -> int:
        key, _ = self._fetch(_KEY, (conversation_id,))[0]
        rows = self._fetch(_MESSAGES, (key,))
        keys = orjson.dumps([row[10] or row[0] for row in rows if row[3] == "assistant"])
        return len(rows) + len(self._fetch(_TOOL_USES, (keys.decode(),)))

    def _fetch(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, parameters).fetchall()


def measure_parsing(folder: Path) -> float:
    """Return how many million bytes a second ``orjson`` parses of all lines below a folder."""
    best = 0.0
    for _ in range(3):
        read, started = 0, time.perf_counter()
        for line in _read_lines(folder):
            orjson.loads(line)
            read += len(line)
        best = max(best, read / 1e6 / (time.perf_counter() - started))
    return best


_INSERTED = ("conversations", "messages", "api_calls", "tool_uses")
_ROWS_AT_ONCE = 2_000


def measure_inserting(archive: Path, copy: Path) -> float:
    """Return the seconds in which SQLite inserts an archive's rows into tables like its own.

    With their indexes and in batches, as an ingest does; without a search index and sums.
    """
    for old in copy.parent.glob(f"{copy.name}*"):
        old.unlink()
    source = pysqlite3.connect(str(archive))  # type: ignore[attr-defined]
    target = pysqlite3.connect(str(copy), isolation_level=None)  # type: ignore[attr-defined]
    target.execute("PRAGMA journal_mode = wal")
    target.execute("PRAGMA synchronous = normal")
    names = ", ".join(f"'{name}'" for name in _INSERTED)
    for (sql,) in source.execute(
        f"SELECT sql FROM sqlite_master WHERE tbl_name IN ({names}) AND type IN ('table', 'index')"
        " AND sql IS NOT NULL ORDER BY type DESC"
    ):
        target.execute(sql)
    seconds = 0.0
    for name in _INSERTED:
        # Without columns that are computed of others.
        columns = [row[1] for row in source.execute(f"PRAGMA table_info({name})")]
        rows = source.execute(f"SELECT {', '.join(columns)} FROM {name} ORDER BY rowid")
        places = ", ".join("?" * len(columns))
        insert = f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({places})"
        while batch := rows.fetchmany(_ROWS_AT_ONCE):
            started = time.perf_counter()
            target.execute("BEGIN")
            target.executemany(insert, batch)
            target.execute("COMMIT")
            seconds += time.perf_counter() - started
    source.close()
    target.close()
    return seconds


class ParseSample:
    """Parsing of some megabytes of transcripts, a piece at a time, to be timed between others."""

    def __init__(self, folder: Path, *, pieces: int = 40, piece_bytes: int = 300_000) -> None:
        self._pieces: list[list[bytes]] = [[]]
        room = piece_bytes
        for line in _read_lines(folder):
            if room <= 0 and len(self._pieces) == pieces:
                break
            if room <= 0:
                self._pieces.append([])
                room = piece_bytes
            self._pieces[-1].append(line)
            room -= len(line)
        sizes = [sum(map(len, piece)) for piece in self._pieces]
        self.mean_bytes = sum(sizes) / len(sizes)
        self._next = 0

    def parse_piece(self) -> int:
        """Parse the next piece and return how many lines it has."""
        self._next = (self._next + 1) % len(self._pieces)
        piece = self._pieces[self._next]
        for line in piece:
            orjson.loads(line)
        return len(piece)


def _read_lines(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.rglob("*.jsonl")):
        with path.open("rb", buffering=_READ_BYTES) as lines:
            yield from lines


def make_bare_command(port: int) -> list[str]:
    """Return the command that serves the bare application with the product's gunicorn settings.

    Without a ``gunicorn.conf.py`` it has two workers with four threads each.
    """
    command = [sys.executable, "-m", "gunicorn"]
    if GUNICORN_CONFIG.exists():
        command += ["-c", str(GUNICORN_CONFIG)]
    else:
        command += ["--worker-class", "gthread", "--workers", "2", "--threads", "4"]
    return [*command, "--bind", f"127.0.0.1:{port}", "tests.bench.bare:application"]


def is_product_there() -> bool:
    """Tell whether the package has its command line and its WSGI application yet."""
    return all(find_spec(f"observatory.{name}") for name in ("__main__", "wsgi"))

"""The first design's server on Bun, with the same conversations, loaded in turns with ours."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import jwt

from tests.bench.endpoints import Place, list_core
from tests.bench.figures import Figure, make_figure
from tests.bench.figures import Target as Bound
from tests.bench.peers.installing import VERSIONS, NotThere, install_from_npm, make_env
from tests.bench.processes import REPOSITORY, ProcessFailed, find_free_port, serving
from tests.bench.run import Bench
from tests.bench.serving import Target, load_in_turns, serving_product
from tests.bench.writes import CONVERSATION, MESSAGE, make_conversations

NAME = "bun"
SOURCE = REPOSITORY.parent / "shared" / "bench" / "bun"
_SECRET = "measured-and-thrown-away-measured-and-thrown-away"
_CONNECTIONS = 50
_SEARCHED = "error"
_LEAST_BYTES = 50
# Of the plain one's rate.
_LEAST = {
    "health": 0.35,
    "list of 50": 1.0,
    "one": 0.35,
    "100 messages": 1.0,
    "search": 1.0,
    "new conversation": 0.5,
    "new message": 1.0,
}
_KINDS = {"plain": "seed", "tuned": "tuned"}


def measure_bun(bench: Bench) -> Iterator[Figure]:
    """Yield each endpoint's rate beside that of the plain and of the tuned server."""
    program, script = _install()
    bench.need_archive()
    conversation_id = bench.choose_conversation()
    with ExitStack() as stack:
        ours, _ = stack.enter_context(serving_product(bench))
        places = {"ours": ours}
        for kind, sql in _KINDS.items():
            database = bench.folder / f"bun-{kind}.db"
            fill(database, bench.database, schema=script.with_name("schema.sql"))
            places[kind] = stack.enter_context(_serving(bench, program, script, database, sql))
        time.sleep(1)
        written = {kind: make_conversations(place) for kind, place in places.items()}
        for name, least in _LEAST.items():
            targets = [
                _target(name, place, conversation_id, written[kind])
                for kind, place in places.items()
            ]
            for target in targets:
                _check(target)
            loaded = dict(zip(places, load_in_turns(
                targets, connections=_CONNECTIONS, seconds=bench.seconds, turns=bench.sizes.rounds
            ), strict=True))  # fmt: skip
            for kind in _KINDS:
                yield make_figure(
                    f"{name}, {_CONNECTIONS} connections, beside Bun {VERSIONS[NAME]}, {kind}",
                    loaded["ours"].rates,
                    "/s",
                    floors=loaded[kind].rates,
                    target=Bound(at_least=least, of_ratio=True) if kind == "plain" else None,
                )
            errors = {kind: load.errors for kind, load in loaded.items()}
            bench.details.setdefault("bun_errors", {})[name] = errors
    # Both have written into their archives.
    (bench.folder / "archive_of.txt").unlink(missing_ok=True)


def _target(name: str, place: Place, conversation_id: str, written: list[str]) -> Target:
    paths = list_core(conversation_id)
    if name == "search":
        return Target(place, f"/api/search?q={_SEARCHED}&limit=20")
    if name == "new conversation":
        return Target(place, "/api/conversations", CONVERSATION)
    if name == "new message":
        return Target(place, written[0], MESSAGE, paths=written)
    return Target(place, paths[name])


def _check(target: Target) -> None:
    """Ask once: a refusal would be quick, too.

    Raises:
        ProcessFailed: The answer is no success, or has next to nothing in it.
    """
    status, body = target.place.ask(target.path, target.body)
    if status >= 300 or len(body) < _LEAST_BYTES:
        raise ProcessFailed(f"{target.path} is answered with {status}: {body[:300]!r}")


def _install() -> tuple[Path, Path]:
    """Return Bun and a copy of the server beside the modules that it imports."""
    if not (SOURCE / "server.ts").exists():
        raise NotThere(f"the server for Bun is not at {SOURCE}")
    modules = install_from_npm([NAME, "jsonwebtoken"])
    script = modules.parent / "server.ts"
    for name in ("server.ts", "schema.sql"):
        shutil.copyfile(SOURCE / name, modules.parent / name)
    return modules / ".bin" / NAME, script


@contextmanager
def _serving(
    bench: Bench, program: Path, script: Path, database: Path, sql: str
) -> Iterator[Place]:
    """Serve a database by Bun for a block, with a line of log for each request, as we do."""
    port = find_free_port()
    env = make_env(
        bench.folder / NAME,
        PORT=str(port),
        DB_PATH=str(database),
        JWT_SECRET=_SECRET,
        SQL=sql,
        LOG="1",
        LOG_FILE=str(bench.folder / f"bun-{sql}.requests"),
        NODE_ENV="production",
    )
    token = jwt.encode({"sub": "bench", "exp": int(time.time()) + 86_400}, _SECRET, "HS256")
    url, log = f"http://127.0.0.1:{port}/health", bench.folder / f"bun-{sql}.log"
    with serving([str(program), str(script)], env=env, url=url, log=log):
        yield Place(port, token)


def fill(database: Path, archive: Path, *, schema: Path) -> None:
    """Make a database of the first design with the conversations and messages of an archive."""
    for old in database.parent.glob(f"{database.name}*"):
        old.unlink()
    with closing(sqlite3.connect(database, isolation_level=None)) as target:
        target.execute("PRAGMA journal_mode = wal")
        # Triggers would count each message again.
        tables, _, triggers = schema.read_text().partition("CREATE TRIGGER")
        target.executescript(tables)
        target.execute("ATTACH ? AS ours", (str(archive),))
        target.execute("BEGIN")
        target.execute(_CONVERSATIONS)
        target.execute(_MESSAGES)
        target.execute("COMMIT")
        target.execute("DETACH ours")
        target.execute("INSERT INTO messages_fts (messages_fts) VALUES ('rebuild')")
        target.executescript(f"CREATE TRIGGER{triggers}")
        target.execute("ANALYZE")
        target.execute("PRAGMA wal_checkpoint (TRUNCATE)")


_CONVERSATIONS = """
    INSERT INTO conversations (id, title, project_path, created_at, updated_at, message_count,
        total_tokens)
    SELECT c.id, coalesce(c.title, 'Untitled'), p.path, c.created_at, c.updated_at,
        c.message_count, c.total_tokens
    FROM ours.conversations c LEFT JOIN ours.projects p ON p.key = c.project_key
    WHERE c.deleted_at IS NULL
"""
_MESSAGES = """
    INSERT OR IGNORE INTO messages (id, conversation_id, role, content, timestamp, metadata)
    SELECT m.id, c.id, m.role, m.content, m.created_at,
        CASE WHEN m.model IS NOT NULL THEN json_object('model', m.model) END
    FROM ours.messages m JOIN ours.conversations c ON c.key = m.conversation_key
    WHERE c.deleted_at IS NULL AND m.copy_of_key IS NULL AND m.content IS NOT NULL
"""

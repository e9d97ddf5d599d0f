"""Clients that ask as somebody, and an archive of which a part is hidden from most.

All that is hidden has ``zq`` in it; nothing that is there for everyone has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import falcon
import webtest

from observatory.accounts.permissions import ADMIN, ALL
from observatory.accounts.signing_in import make_random_accounts
from observatory.api.auth import Authenticator, Identity
from observatory.app import create_app
from observatory.store.budgets import insert_budget
from observatory.store.database import execute, fetch_all, fetch_one
from observatory.store.scopes import WHOLE, Scope
from tests.api.described import DescribedApp
from tests.transcripts_for_tests import Transcript

MARK = "zq"
HIDDEN, VISIBLE, OTHER = "/home/ada/zqproject", "/home/ada/engine", "/home/ada/other"
SECRET_SESSION = "zqsession-1"
SHARED_SESSION, FORK, SOURCE, SIDE = "shared-1", "fork-1", "source-1", "side-1"


class _Fixed(Authenticator):
    """Finds that every request is of one identity."""

    def __init__(self, identity: Identity) -> None:
        super().__init__(make_random_accounts())
        self._identity = identity

    def identify(self, req: falcon.Request, **_options: Any) -> Identity:
        """Return who asks."""
        return self._identity

    def look_again(self, identity: Identity) -> Identity:
        """Return the same."""
        return self._identity


def sign_in(
    scope: Scope = WHOLE, *, name: str = "user:7", permissions: tuple[str, ...] = ()
) -> webtest.TestApp:
    """Return a client whose requests are of somebody for whom a part of the archive is there.

    They may do all but look after others; ``permissions`` are further ones.
    """
    allowed = (ALL - {ADMIN}) | set(permissions)
    identity = Identity(name, name, allowed, scope, None, None, float("inf"))
    app = create_app(cors_origins=(), folders=("/nowhere/projects",), auth=_Fixed(identity))
    return DescribedApp(app, lint=True)


def project_key(path: str) -> int:
    """Return the key of a project."""
    row = fetch_one("SELECT key FROM projects WHERE path = ?", (path,))
    assert row is not None
    return int(row[0])


def scopes() -> dict[str, Scope]:
    """Return scopes of the built archive for which the hidden project is not there."""
    hidden = project_key(HIDDEN)
    return {
        "hidden": Scope(hidden=frozenset({hidden})),
        "only": Scope(only=frozenset({project_key(VISIBLE), project_key(OTHER)})),
        "both": Scope(hidden=frozenset({hidden}), only=frozenset({hidden, project_key(VISIBLE)})),
        "nothing": Scope(only=frozenset()),
    }


def hidden_words(*, cwd: str = HIDDEN, session: str = SECRET_SESSION) -> Transcript:
    """Return a session all of whose texts are marked."""
    found = Transcript(session, prefix="q", cwd=cwd)
    found.common["gitBranch"] = "zqbranch"
    return found


def build(write: Any, ingest: Any, *, secret: str) -> None:
    """Fill an archive: what is there for everyone, and what is only for those who see all.

    Args:
        write: The fixture that writes transcripts.
        ingest: The fixture that reads them.
        secret: What the search for secrets finds, in both parts.
    """
    session = hidden_words()
    session.prompt("start together")
    session.tool_use("Bash", {"command": "ls"}, tool_use_id="toolu_shared")
    fork = Transcript(FORK, prefix="f")
    fork.records = [
        {**record, "sessionId": FORK, "cwd": VISIBLE, "gitBranch": "main"}
        for record in session.records
        if isinstance(record, dict)
    ]
    session.tool_result("zqresult of the tool", tool_use_id="toolu_shared", is_error=True)
    session.answer("zqanswer there is " + secret, model="zqmodel-1")
    session.tool_use("zqtool", {"file": "zqargument", "n": 1}, tool_use_id="zqtoolu_1")
    session.tool_result("zqoutput", tool_use_id="zqtoolu_1")
    session.prompt("zqprompt more")
    session.side("custom-title", customTitle="zqtitle of it", sessionId=SECRET_SESSION)
    session.raw(b'{"zqbroken')
    session.prompt("zqlast")
    write(session, f"-zqfolder/{SECRET_SESSION}.jsonl")
    ingest()
    fork.prompt("fork goes on", parentUuid=session.uuid(2))
    fork.answer("fork is answered " + secret)
    write(fork)
    # Its own tool use has the result that a hidden copy of it got.
    source = Transcript(SOURCE, prefix="s")
    source.prompt("source begins")
    source.tool_use("Read", {"path": "x"}, tool_use_id="toolu_source")
    write(source)
    ingest()
    copy = hidden_words(session="zqcopy-1")
    copy.prefix = "qq"
    copy.records = [
        {**record, "sessionId": "zqcopy-1", "cwd": HIDDEN}
        for record in source.records
        if isinstance(record, dict)
    ]
    copy.tool_result("zqresult in the copy", tool_use_id="toolu_source")
    write(copy, "-zqfolder/zqcopy-1.jsonl")
    _write_subagents(write)
    ingest()
    whole = sign_in()
    _write_by_api(whole, HIDDEN, "zq", model="zqmodel-2")
    _write_by_api(whole, VISIBLE, "plain", model="model-2")
    gone = _write_by_api(whole, HIDDEN, "zqgone", model="zqmodel-3")
    whole.delete(f"/api/conversations/{gone}")
    execute("UPDATE projects SET visibility = 'listed' WHERE path = ?", (HIDDEN,))
    for name, path in (("zqsecret", HIDDEN), ("zqwhole", None), ("zqlater", "/x"), ("ok", VISIBLE)):
        insert_budget(
            name=name, period="day", timezone="UTC", project_path=path, model=None,
            limit_microdollars=10**6, limit_tokens=None, scope=WHOLE,
        )  # fmt: skip
    execute(
        "INSERT INTO transcript_files (path, filename, role, created_at)"
        " VALUES ('/x/zqlost.jsonl', 'zqlost.jsonl', 'session', '2026-01-01T00:00:00.000Z')"
    )


def _write_subagents(write: Any) -> None:
    shared = Transcript(SHARED_SESSION, prefix="v")
    shared.prompt("shared prompt")
    shared.answer("shared answer")
    write(shared)
    side = Transcript(SIDE, prefix="w", cwd=OTHER)
    side.prompt("side prompt")
    write(side)
    runs = (
        (SHARED_SESSION, "zqelsewhere", HIDDEN, "zqsubagent text"),
        (SHARED_SESSION, "plain", VISIBLE, "plain subagent"),
        (SECRET_SESSION, "inside", VISIBLE, "zqinside a visible folder"),
        (SECRET_SESSION, "nowhere", "", "zqnowhere at all"),
    )
    for number, (parent, agent, cwd, text) in enumerate(runs):
        run = Transcript(parent, prefix=f"{'q' if MARK in text else 'r'}{number}", cwd=cwd)
        run.common |= {"isSidechain": True, "agentId": agent}
        run.prompt(text)
        run.answer(text)
        write(run, f"-{parent}/{parent}/subagents/agent-{agent}.jsonl")


def _write_by_api(client: webtest.TestApp, project: str, word: str, *, model: str) -> str:
    body = {
        "title": f"{word} made here",
        "project_path": project,
        "metadata": {"tags": [f"{word}tag"], "custom": {"about": f"{word}custom"}},
    }
    made = client.post_json("/api/conversations", body).json["data"]
    message = {
        "role": "assistant",
        "content": f"{word} written",
        "metadata": {"model": model, "usage": {"input_tokens": 5, "output_tokens": 7}},
        "tool_calls": [{"function": {"name": f"{word}call", "arguments": {"a": f"{word}given"}}}],
    }
    client.post_json(f"/api/conversations/{made['id']}/messages", message)
    return str(made["id"])


def hidden_conversations() -> list[str]:
    """Return the ids of conversations that are only there for those who see all."""
    rows = fetch_all(
        "SELECT c.id FROM conversations c LEFT JOIN conversations a ON a.key = c.parent_key"
        " JOIN projects p ON p.key IN (c.project_key, a.project_key) AND p.path = ?"
        " GROUP BY c.key ORDER BY c.key",
        (HIDDEN,),
    )
    return [row[0] for row in rows]


@contextmanager
def unchanged() -> Iterator[None]:
    """Check that nothing of what is hidden is changed."""
    before = _hidden_rows()
    yield
    assert _hidden_rows() == before


def _hidden_rows() -> list[tuple[Any, ...]]:
    return (
        fetch_all(
            "SELECT id, title, metadata, deleted_at, message_count, document, revision"
            " FROM conversations ORDER BY key"
        )
        + fetch_all("SELECT key, path, visibility FROM projects ORDER BY key")
        + fetch_all("SELECT * FROM budgets ORDER BY key")
    )

"""Archives with something of every kind in them, and what they answer, for tests of moving them."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import webtest

from observatory.app import create_app
from observatory.store.database import close, configure, connect, fetch_all
from tests.api.keyed import KeyedApp, add_key
from tests.ingest.test_copies import OTHER, SESSION, forked
from tests.ingest.test_subagents import agent_transcript, session_with_task
from tests.planted import drawn
from tests.processes import Home
from tests.transcripts_for_tests import Transcript

TASKS = "44444444-4444-4444-8444-444444444444"
TRASHED = "55555555-5555-4555-8555-555555555555"
REMOVED = "66666666-6666-4666-8666-666666666666"
SECRETS = "77777777-7777-4777-8777-777777777777"
TOKEN = "gh" + "p_" + drawn(random.Random(7), 36)
AGENT = "a4c69c858dab2afd6"


def put(home: Home, transcript: Transcript, path: str) -> Path:
    """Write a transcript below the folder that is read by default."""
    target = home.projects / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(transcript.bytes())
    return target


def write_transcripts(home: Home) -> None:
    """Write transcripts with copies, subagents, secrets, Chinese, a summary and a bad line."""
    original, fork = forked()
    original.side("summary", summary="About the engine", leafUuid=original.uuid(3))
    os.utime(put(home, original, f"-work/{SESSION}.jsonl"), ns=(1, 1))
    put(home, fork, f"-work/{OTHER}.jsonl")
    task, agent = session_with_task("Agent"), agent_transcript()
    for made in (task, agent):
        for record in made.records:
            record["sessionId"] = TASKS
            record["uuid"] = record["uuid"].replace("aaaaaaaa", "dddddddd")
    task.raw(b'{"half": ')
    put(home, task, f"-work/{TASKS}.jsonl")
    put(home, agent, f"-work/{TASKS}/subagents/agent-{AGENT}.jsonl")
    for number, session in enumerate((TRASHED, REMOVED, SECRETS)):
        made = Transcript(session, prefix="efg"[number], cwd=f"/home/ada/{number}")
        made.prompt(f"漢字 the token is {TOKEN}")
        made.tool_use("Write", {"file_path": "/home/ada/東京.py", "content": "日本 engine"})
        made.tool_result("written", toolUseResult={"type": "create", "number": 1e3})
        made.answer("done")
        put(home, made, f"-work/{session}.jsonl")


def fill(home: Home) -> None:
    """Make an archive with something of every kind in it."""
    write_transcripts(home)
    prices = home.folder / "prices.json"
    prices.write_text(json.dumps({"models": {"glm-5": {"input": 1, "output": 3.2}}}))
    for command in (("ingest",), ("prices", "update", str(prices))):
        ended = home.run(*command)
        assert ended.returncode == 0, ended.stderr
    with asking(home.database) as client:
        change(client)


def change(client: webtest.TestApp) -> None:
    """Do what clients can do with an archive."""
    made = client.post_json(
        "/api/conversations",
        {
            "title": "東京 plan",
            "project_path": "/home/ada/hidden",
            "metadata": {"os": "linux", "tags": ["a", "漢"]},
        },
        status=201,
    ).json["data"]
    client.post_json(
        f"/api/conversations/{made['id']}/messages",
        {
            "role": "assistant",
            "content": "written by a client",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "Look", "arguments": {"at": "山"}},
                    "result": "富士 seen",
                }
            ],
            "metadata": {
                "model": "glm-5",
                "usage": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14},
            },
        },
        status=201,
    )
    client.patch_json(f"/api/conversations/{SESSION}", {"title": "Renamed"})
    client.delete(f"/api/conversations/{TRASHED}")
    client.delete(f"/api/conversations/{OTHER}")
    client.post(f"/api/conversations/{OTHER}/restore")
    client.delete(f"/api/conversations/{REMOVED}?permanent=true")
    projects = client.get("/api/projects").json["data"]["projects"]
    keys = {each["path"]: each["id"] for each in projects}
    client.patch_json(f"/api/projects/{keys['/home/ada/hidden']}", {"visibility": "listed"})
    client.put_json(f"/api/projects/{keys['/home/ada/engine']}/retention", {"days": None})
    client.post_json(
        "/api/budgets",
        {
            "name": "All",
            "period": "month",
            "timezone": "Europe/Berlin",
            "limit_microdollars": 5_000_000,
        },
        status=201,
    )


@contextmanager
def asking(database: Path) -> Iterator[webtest.TestApp]:
    """Give a client of an archive, whose key its installation knows."""
    configure(database)
    connect()
    try:
        if not fetch_all("SELECT key FROM api_keys WHERE name = 'tests'"):
            add_key()
        yield KeyedApp(create_app(cors_origins=(), folders=("/nowhere/projects",)))
    finally:
        close()


_REPORTS = (
    "overview", "token-usage?breakdown=model", "costs?group_by=project", "tools",
    "tools/slowest", "models", "activity", "blocks", "errors", "files", "subagents",
)  # fmt: skip
_SEARCHES = (
    "engine",
    "東京",
    "富士",
    "日本",
    "shared",
    '"the token"',
    "tool:Write",
    "written",
    "漢",
)


def answers(database: Path) -> dict[str, Any]:
    """Return what an archive answers about everything in it."""
    with asking(database) as client:
        ids = [row[0] for row in fetch_all("SELECT id FROM conversations ORDER BY id")]
        paths = [
            "/api/conversations?limit=100",
            "/api/conversations?limit=100&deleted=true",
            "/api/projects",
            "/api/secrets",
            "/api/budgets",
            *(f"/api/analytics/{name}" for name in _REPORTS),
            *(f"/api/search?q={quote(words)}&limit=100" for words in _SEARCHES),
            *(f"/api/conversations/search?q={quote(words)}" for words in _SEARCHES),
        ]
        for name in ids:
            one = f"/api/conversations/{quote(name)}"
            paths += [
                one,
                f"{one}/messages",
                f"{one}/tool-uses",
                f"{one}/turns",
                f"{one}/export?format=jsonl",
            ]
            paths.append(f"/api/analytics/reconcile?conversation={quote(name)}")
        found = {}
        for path in paths:
            answer = client.get(path, expect_errors=True)
            body = answer.body.decode()
            if answer.content_type == "application/json":
                body = _without_moments(answer.json)
            found[path] = (answer.status_int, body)
        return found


# What is of the moment, of the installation, or of its rows.
_OF_ROWS = frozenset({"timestamp", "request_id", "next_cursor", "generated_at", "took_ms"})


def _without_moments(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _without_moments(item)
            for name, item in value.items()
            if name not in _OF_ROWS and not (name.endswith("id") and isinstance(item, int))
        }
    return [_without_moments(item) for item in value] if isinstance(value, list) else value


def edited(source: Path, change_one: Callable[[dict[str, Any]], Any], target: Path) -> Path:
    """Write an exported archive with other records: what a function returns for each, if anything.

    The end tells of as many records as there are then.
    """
    lines = [json.loads(line) for line in source.read_bytes().splitlines()]
    kept = [each for line in lines[1:-1] if (each := change_one(line)) is not None]
    written = [lines[0], *kept, {"type": "end", "records": len(kept)}]
    target.write_bytes(
        b"".join(
            (each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n"
            for each in written
        )
    )
    return target

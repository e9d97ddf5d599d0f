"""Whichever of some sessions with a common beginning is read first, all are shown the same."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from observatory.ingest.running import ingest
from observatory.store.conversation_removal import delete_conversation
from observatory.store.conversations import get_conversation
from observatory.store.database import close, configure, connect, fetch_all
from observatory.store.messages import list_messages
from observatory.store.scopes import WHOLE
from tests.ingest.dumps import check_sound
from tests.ingest.test_any_reading import SESSION, a_record, looking_at
from tests.transcripts_for_tests import encode

FORKS = ("22222222-2222-4222-8222-222222222222", "33333333-3333-4333-8333-333333333333")


@st.composite
def some_sessions(draw: st.DrawFn) -> list[tuple[str, bytes]]:
    """A session, and two that begin with a copy of all or some of its first records."""

    def name(
        records: list[dict[str, Any]], prefix: str, before: list[str], uses: list[str]
    ) -> None:
        """Give records and tool uses ids of their own, and what stood before them as parents."""
        for number, record in enumerate(records):
            for block in record.get("message", {}).get("content", ()):
                if isinstance(block, dict) and block["type"] == "tool_use":
                    block["id"] = f"toolu_{prefix}{number}"
                    uses.append(block["id"])
                elif isinstance(block, dict) and block["type"] == "tool_result":
                    block["tool_use_id"] = uses.pop() if uses else "toolu_unknown"
            # A record without an id is not known for a copy.
            record["uuid"] = f"{prefix * 8}-0000-4000-8000-{number:012d}"
            record["parentUuid"] = draw(st.sampled_from([None, *before]))
            before.append(record["uuid"])
            if record["type"] == "assistant":
                message = record["message"]
                message["id"] += prefix
                # Later lines of a response tell more of it.
                message["usage"] = {"input_tokens": 7, "output_tokens": len(before)}

    def lines(records: list[dict[str, Any]], session_id: str) -> bytes:
        return b"".join(encode({**record, "sessionId": session_id}) + b"\n" for record in records)

    shared = draw(st.lists(a_record(), min_size=1, max_size=8))
    before: list[str] = []
    uses: list[str] = []
    name(shared, "c", before, uses)
    sessions = []
    for session_id, prefix in ((SESSION, "d"), (FORKS[0], "e"), (FORKS[1], "f")):
        count = len(shared) if prefix == "d" else draw(st.integers(1, len(shared)))
        own = draw(st.lists(a_record(), max_size=5))
        for record in own:
            # No task of the common beginning has started these: they would vie for it.
            if record.get("isSidechain") and record.get("message", {}).get("content") == "Look":
                record["message"]["content"] = "Look elsewhere"
        known = [use for use in uses if use in json.dumps(shared[:count])]
        name(own, prefix, before[:count], known)
        content = lines(shared[:count], session_id) + lines(own, session_id)
        sessions.append((session_id, content))
    return sessions


def shown() -> dict[str, Any]:
    """Return what is shown of each conversation, but for which has the copies."""
    told: dict[str, Any] = {}
    for (conversation_id,) in fetch_all("SELECT id FROM conversations ORDER BY id"):
        page = list_messages(conversation_id, scope=WHOLE, limit=500)
        messages = json.loads(orjson.dumps(page.rows))
        for message in messages:
            for name in ("id", "copied_from", "blocks", "token_count", "parent_id"):
                del message[name]
            del message["metadata"]["usage"], message["metadata"]["api_call_id"]
            del message["metadata"]["stop_reason"]
        whole = json.loads(orjson.dumps(get_conversation(conversation_id, scope=WHOLE)))
        facts = (whole["title"], whole["message_count"], whole["kind"], whole["parent_id"])
        subagents = [(child["id"], child["tool_use_id"]) for child in whole["subagents"]]
        told[conversation_id] = (facts, subagents, messages)
    return told


COUNTED = (
    "SELECT count(*), sum(input_tokens), sum(output_tokens) FROM api_calls",
    "SELECT count(*) FROM tool_uses WHERE message_key IS NOT NULL",
    "SELECT count(*) FROM messages WHERE copy_of_key IS NULL",
)


def read(files: list[tuple[str, bytes]], folder: Path, empty: Path, *, together: bool) -> None:
    """Read sessions, in this order, into an archive of their own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(empty, folder / "observatory.db")
    configure(folder / "observatory.db")
    connect()
    for number, (session_id, content) in enumerate(files):
        target = folder / f"{session_id}.jsonl"
        target.write_bytes(content)
        os.utime(target, ns=(10**18, 10**18 + number))
        if not together:
            ingest([str(folder)])
    ingest([str(folder)])
    check_sound()


def told(files: list[tuple[str, bytes]], one: Any, other: Any) -> str:
    """Say what was read, and what is shown otherwise of which conversation."""
    lines = [b"\n".join(content for _, content in files).decode(), f"{one[1]} {other[1]}"]
    for name in sorted(one[0].keys() | other[0].keys()):
        for was, now in zip(one[0].get(name, ()), other[0].get(name, ()), strict=False):
            if was != now:
                parts = zip(was, now, strict=False) if isinstance(was, list) else [(was, now)]
                lines += [f"{name}:\n- {a}\n+ {b}" for a, b in parts if a != b]
    return "\n".join(lines)


@given(files=some_sessions(), together=st.booleans())
@looking_at(50, exploring=1500)
def test_the_order_of_reading_is_not_seen(
    files: list[tuple[str, bytes]], together: bool, tmp_path: Path, empty_database: Path
) -> None:
    found = []
    for order in (files[:2], files[1::-1]):
        read(order, tmp_path / "both", empty_database, together=together)
        found.append((shown(), [fetch_all(query) for query in COUNTED]))
        close()
    assert found[0] == found[1], told(files[:2], *found)


@given(files=some_sessions(), gone=st.integers(0, 2))
@looking_at(50, exploring=1500)
def test_a_session_that_was_removed_leaves_the_others_as_they_are_without_it(
    files: list[tuple[str, bytes]], gone: int, tmp_path: Path, empty_database: Path
) -> None:
    left = [file for number, file in enumerate(files) if number != gone]
    read(left, tmp_path / "left", empty_database, together=True)
    expected = (shown(), [fetch_all(query)[0][:2] for query in COUNTED])
    close()
    read(files, tmp_path / "all", empty_database, together=True)
    delete_conversation(files[gone][0], scope=WHOLE)
    check_sound()
    # Of a response that was copied in part, the numbers of the whole are kept.
    found = (shown(), [fetch_all(query)[0][:2] for query in COUNTED])
    close()
    assert found == expected, f"without {gone}:\n{told(files, expected, found)}"

"""Whichever of two sessions with a common beginning is read first, both are shown the same."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observatory.ingest.running import ingest
from observatory.store.conversation_removal import delete_conversation
from observatory.store.conversations import get_conversation
from observatory.store.database import close, configure, connect, fetch_all
from observatory.store.messages import list_messages
from tests.ingest.dumps import check_sound
from tests.ingest.test_any_reading import EXPLORES, SESSION, a_record
from tests.transcripts_for_tests import encode

FORK = "22222222-2222-4222-8222-222222222222"


@st.composite
def two_sessions(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A session, and one that begins with a copy of its first records."""

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
    for session_id, prefix in ((SESSION, "d"), (FORK, "e")):
        own = draw(st.lists(a_record(), max_size=6))
        for record in own:
            # No task of the common beginning has started these: they would vie for it.
            if record.get("isSidechain") and record.get("message", {}).get("content") == "Look":
                record["message"]["content"] = "Look elsewhere"
        name(own, prefix, list(before), list(uses))
        sessions.append(lines(shared, session_id) + lines(own, session_id))
    return sessions[0], sessions[1]


def shown() -> dict[str, Any]:
    """Return what is shown of each conversation, but for which has the copies."""
    told: dict[str, Any] = {}
    for (conversation_id,) in fetch_all("SELECT id FROM conversations ORDER BY id"):
        page = list_messages(conversation_id, limit=500)
        messages = json.loads(orjson.dumps(page.rows))
        for message in messages:
            for name in ("id", "copied_from", "blocks", "token_count", "parent_id"):
                del message[name]
            del message["metadata"]["usage"], message["metadata"]["api_call_id"]
            del message["metadata"]["stop_reason"]
        whole = json.loads(orjson.dumps(get_conversation(conversation_id)))
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


@given(sessions=two_sessions(), together=st.booleans())
@settings(
    max_examples=2000 if EXPLORES else 60,
    deadline=None,
    derandomize=not EXPLORES,
    suppress_health_check=list(HealthCheck),
)
def test_the_order_of_reading_is_not_seen(
    sessions: tuple[bytes, bytes], together: bool, tmp_path: Path, empty_database: Path
) -> None:
    files = [(SESSION, sessions[0]), (FORK, sessions[1])]
    found = []
    for order in (files, files[::-1]):
        read(order, tmp_path / "both", empty_database, together=together)
        found.append((shown(), [fetch_all(query) for query in COUNTED]))
        close()
    assert found[0] == found[1], (sessions[0] + b"\n" + sessions[1]).decode()


@given(sessions=two_sessions())
@settings(
    max_examples=1000 if EXPLORES else 30,
    deadline=None,
    derandomize=not EXPLORES,
    suppress_health_check=list(HealthCheck),
)
def test_a_session_that_was_removed_leaves_the_other_as_it_is_alone(
    sessions: tuple[bytes, bytes], tmp_path: Path, empty_database: Path
) -> None:
    files = [(SESSION, sessions[0]), (FORK, sessions[1])]
    for gone, stays in ((0, 1), (1, 0)):
        read([files[stays]], tmp_path / "alone", empty_database, together=True)
        alone = (shown(), [fetch_all(query) for query in COUNTED])
        close()
        read(files, tmp_path / "both", empty_database, together=True)
        delete_conversation(files[gone][0])
        check_sound()
        left = (shown(), [fetch_all(query) for query in COUNTED])
        close()
        assert left == alone, (gone, (sessions[0] + b"\n" + sessions[1]).decode())

"""Messages of a transcript compared with what the archive keeps of them, one by one.

What a conversation only shows of another one is not compared: the text is the other one's. Nor are
texts in which secrets were found: what is kept of those has marks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from observatory.ingest.reading import Chunk
from observatory.store.database import fetch_all
from observatory.transcripts.records import Message, Summary


class _Kept(NamedTuple):
    """What the archive has of a message that it read from this file."""

    key: int
    id: str
    position: int
    role: str
    kind: str
    content: str
    has_secrets: int


_KEPT = """
    SELECT key, id, position, role, kind, content,
        EXISTS (SELECT 1 FROM secret_findings WHERE message_key = messages.key)
    FROM messages
    WHERE file_key = ? AND copy_of_key IS NULL AND id IN (SELECT value FROM json_each(?))
"""
_USES = """
    SELECT message_key, tool_use_id, name, parameters FROM tool_uses
    WHERE message_key IN (SELECT value FROM json_each(?))
"""
_RESULTS = """
    SELECT result_message_key, tool_use_id, status, is_error, result FROM tool_uses
    WHERE result_message_key IN (SELECT value FROM json_each(?))
"""


def find_otherwise(chunk: Chunk, file_key: int, seen: set[str]) -> Iterator[str]:
    """Yield what the archive has otherwise, as words to count.

    Args:
        chunk: What some lines say.
        file_key: The file that they are in.
        seen: Ids of messages on earlier lines, which counted there; those of this chunk are added.
    """
    said: dict[str, tuple[int, Message]] = {}
    for line, _, item in chunk.items:
        if isinstance(item, Message) and item.uuid and item.uuid not in seen:
            seen.add(item.uuid)
            said[item.uuid] = (line, item)
    kept = [_Kept(*row) for row in fetch_all(_KEPT, (file_key, json.dumps(list(said))))]
    for row in kept:
        line, message = said[row.id]
        yield from _compare_message(row, line, message)
    yield from _compare_tools({row.key: (row, said[row.id][1]) for row in kept})
    yield from _compare_summaries(chunk)


def _compare_message(row: _Kept, line: int, message: Message) -> Iterator[str]:
    if row.position != line:
        yield "messages stand at another place"
    if (row.role, row.kind) != (message.role, message.kind):
        yield "messages are of another kind"
    if not row.has_secrets and row.content != message.text:
        yield "messages have another text"


def _compare_tools(messages: dict[int, tuple[_Kept, Message]]) -> Iterator[str]:
    keys = json.dumps([key for key, (row, _) in messages.items() if not row.has_secrets])
    for key, name, tool, parameters in fetch_all(_USES, (keys,)):
        uses = {use.id: use for use in messages[key][1].tool_uses}
        if name not in uses or uses[name].name != tool:
            yield "tool uses are others"
        elif _load(parameters) != _plain(uses[name].parameters):
            yield "tool uses have other parameters"
    for key, name, status, is_error, text in fetch_all(_RESULTS, (keys,)):
        results = {result.tool_use_id: result for result in messages[key][1].tool_results}
        found = results.get(name)
        if found is None or (found.status, int(found.is_error)) != (status, is_error):
            yield "tool results are others"
        elif text is not None and text != found.text:
            yield "tool results have another text"


def _compare_summaries(chunk: Chunk) -> Iterator[str]:
    said = {item.leaf_uuid for *_, item in chunk.items if isinstance(item, Summary)}
    if said:
        missing = fetch_all(
            "SELECT value FROM json_each(?) WHERE value NOT IN (SELECT leaf_id FROM summaries)"
            " AND value NOT IN (SELECT id FROM deleted_messages)",
            (json.dumps(list(said)),),
        )
        yield from ["summaries are missing"] * len(missing)


def _load(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)


def _plain(value: Any) -> Any:
    """Return a value as it is when it was written down and read again."""
    return None if value is None else orjson.loads(orjson.dumps(value))

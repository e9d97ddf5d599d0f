"""Records to the form in which they are stored: JSON as text, details of tools compressed.

It is done before the transaction, for nobody else can write meanwhile, or by another process.
"""

from __future__ import annotations

import zstandard

from observatory.ingest.reading import Chunk
from observatory.store.search_language import spaced_message
from observatory.transcripts.content import ToolResult, ToolUse
from observatory.transcripts.lines import encode_json, encode_json_bytes
from observatory.transcripts.records import Message

_compress = zstandard.ZstdCompressor(level=1).compress


def prepare(chunk: Chunk) -> None:
    """Give the messages of a chunk the form in which they are stored, unless they have it."""
    if chunk.is_prepared:
        return
    for number, (line, index, item) in enumerate(chunk.items):
        if type(item) is Message:
            message = _prepare(item)
            chunk.items[number] = (line, index, message)
            parameters = (use.parameters for use in message.tool_uses)
            if spaced := spaced_message((message.text,), parameters=parameters):
                chunk.cjk[line, index] = spaced
    chunk.is_prepared = True


def _prepare(message: Message) -> Message:
    if message.blocks is None and message.notes is None and not message.tool_uses:
        if not message.tool_results:
            return message
        return message._replace(tool_results=tuple(map(_prepare_result, message.tool_results)))
    return message._replace(
        blocks=encode_json(message.blocks) if message.blocks else None,
        tool_uses=tuple(map(_prepare_use, message.tool_uses)),
        tool_results=tuple(map(_prepare_result, message.tool_results)),
        notes=encode_json(message.notes) if message.notes else None,
    )


def _prepare_use(use: ToolUse) -> ToolUse:
    return use._replace(parameters=encode_json(use.parameters))


def _prepare_result(result: ToolResult) -> ToolResult:
    details = result.details
    has_details = isinstance(details, (dict, list)) and details
    return result._replace(details=_compress(encode_json_bytes(details)) if has_details else None)

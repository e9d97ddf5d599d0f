"""A transcript file to chunks of records, from where the last reading ended.

Source: docs/transcript-format.md, "How a file grows". A file is read on from the stored offset
when it is the same file and the bytes before the offset are the same; otherwise from its start.
Only complete lines move the offset. A last line without its newline is taken when it is complete
JSON, and read again once more follows; a half one waits.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from observatory.errors import MalformedRecord
from observatory.ingest.discover import FoundFile
from observatory.ingest.redacting import redact_record
from observatory.redaction.masking import Findings, may_hold_secrets
from observatory.store.transcript_files import FileState
from observatory.transcripts.lines import BadPart, Line, parse_objects, read_lines
from observatory.transcripts.records import Record, parse_record

CHUNK_BYTES = 4 * 1024 * 1024
_TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line, or one object on it, that could not be read. ``start`` and ``end`` are bytes."""

    line: int
    start: int
    end: int
    reason: str


@dataclass(slots=True)
class Chunk:
    """What a run of lines of one file says, and where the next reading goes on.

    ``items`` are records with their line and their number on it, which is 0 but for glued ones.
    They are as they will be stored: ``findings`` has, by the same two, what secrets are in them.
    """

    file: FoundFile
    generation: int
    is_first: bool
    items: list[tuple[int, int, Record]] = field(default_factory=list)
    bad_lines: list[BadLine] = field(default_factory=list)
    findings: dict[tuple[int, int], Findings] = field(default_factory=dict)
    record_counts: Counter[str] = field(default_factory=Counter)
    byte_offset: int = 0
    line_count: int = 0
    has_open_line: bool = False
    tail_hash: bytes = b""
    lines_read: int = 0
    bytes_read: int = 0
    is_last: bool = False


def is_unchanged(file: FoundFile, state: FileState | None) -> bool:
    """Tell whether a file was read to its end and looks as it did then."""
    return (
        state is not None
        and state.status == "completed"
        and not state.is_reread
        and state.size == file.size
        and state.modified_ns == file.modified_ns
        and state.changed_ns == file.changed_ns
        and state.inode == file.inode
        and state.device == file.device
    )


def read_chunks(
    file: FoundFile,
    state: FileState | None,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    is_whole: bool = False,
) -> Iterator[Chunk]:
    """Yield what is new in a file, in chunks of about so many bytes; always at least one.

    Half a last line waits for the rest, unless the file is known to be whole: then it is bad.

    Raises:
        OSError: The file can not be opened or read.
    """
    with Path(file.location).open("rb", buffering=0) as stream:
        offset, number, generation = 0, 0, 1
        if state is not None:
            generation = state.generation
            if not state.is_reread and _continues(stream.fileno(), file, state):
                offset, number = state.byte_offset, state.line_count
            elif state.byte_offset or state.has_open_line:
                generation += 1
        stream.seek(offset)
        chunk = Chunk(file, generation, offset == 0, byte_offset=offset, line_count=number)
        for line in read_lines(stream.read, offset=offset, number=number):
            _read_line(line, chunk, is_whole=is_whole)
            if chunk.bytes_read >= chunk_bytes and line.is_terminated:
                chunk.tail_hash = _tail_hash(stream.fileno(), chunk.byte_offset)
                yield chunk
                chunk = Chunk(
                    file,
                    generation,
                    False,
                    byte_offset=chunk.byte_offset,
                    line_count=chunk.line_count,
                )
        chunk.tail_hash = _tail_hash(stream.fileno(), chunk.byte_offset)
        chunk.is_last = True
        yield chunk


def _continues(descriptor: int, file: FoundFile, state: FileState) -> bool:
    """Tell whether a file still holds, at its place, what was read of it before."""
    return (
        (state.device, state.inode) == (file.device, file.inode)
        and file.size >= state.byte_offset
        and state.tail_hash == _tail_hash(descriptor, state.byte_offset)
    )


def _tail_hash(descriptor: int, offset: int) -> bytes:
    """Return a hash of the last 4 KiB before an offset."""
    start = max(0, offset - _TAIL_BYTES)
    tail = os.pread(descriptor, offset - start, start)
    return hashlib.blake2b(tail, digest_size=16).digest()


def _read_line(line: Line, chunk: Chunk, *, is_whole: bool) -> None:
    """Add what a line says to a chunk."""
    is_whole = is_whole or line.is_terminated
    try:
        objects, bad = parse_objects(line, is_whole=is_whole)
    except Exception as error:
        objects, bad = [], [BadPart(0, line.end - line.start, _reason(error))]
    if bad and not is_whole:
        bad = []
        if not objects:
            return
    length = len(line.data or b"")
    for part in bad:
        end = line.start + part.end if part.end < length else line.end
        chunk.bad_lines.append(BadLine(line.number, line.start + part.start, end, part.reason))
    chunk.lines_read += 1
    chunk.bytes_read += line.end - line.start
    if line.is_terminated:
        chunk.byte_offset, chunk.line_count = line.end, line.number
    else:
        chunk.has_open_line = True
    has_binary = line.data is not None and (b"base64" in line.data or b'"signature"' in line.data)
    for index, value in enumerate(objects):
        kind = value.get("type")
        kind = kind if isinstance(kind, str) else "(none)"
        if line.is_terminated:
            chunk.record_counts[kind[:64]] += 1
        try:
            record = parse_record(value, has_binary=has_binary)
            if record is not None and may_hold_secrets(line.data or b""):
                record, found = redact_record(record)
                if found:
                    chunk.findings[line.number, index] = found
        except Exception as error:
            start = line.start + index
            chunk.bad_lines.append(BadLine(line.number, start, line.end, _reason(error)))
            continue
        if record is not None:
            chunk.items.append((line.number, index, record))


def _reason(error: Exception) -> str:
    """Say what is wrong with a line. Transcripts can hold anything, and no line stops a file."""
    if isinstance(error, MalformedRecord):
        return error.reason
    return f"can not be read ({type(error).__name__})"

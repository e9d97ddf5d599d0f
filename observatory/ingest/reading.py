"""A transcript file to chunks of records, from where the last reading ended.

Source: docs/transcript-format.md, "How a file grows". A file is read on from the stored offset
when it is the same file and the bytes before the offset are the same; otherwise from its start.
Only complete lines move the offset. A last line without its newline is taken when it is complete
JSON, and read again once more follows; a half one waits.

Claude Code may cut a file inside its last 64 KiB and write on while it is being read. So what was
parsed is held against the file again with each piece and at the end, and the hash that is stored is
of the bytes that were parsed: a file that changed below its reader is read again from its start.
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
from observatory.transcripts.lines import (
    BadPart,
    Line,
    find_marks,
    may_hold_binary,
    parse_objects,
    read_lines,
)
from observatory.transcripts.records import Record, parse_record

CHUNK_BYTES = 4 * 1024 * 1024
# As far back as Claude Code rewrites a file in place: a change in there is seen for certain.
_TAIL_BYTES = 64 * 1024
# Twice as far, for what is being rewritten while it is read.
_COMPARED_BYTES = 128 * 1024


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
    The last one ``is_torn`` when the file was rewritten below its reader. Once it ``is_prepared``,
    what is JSON of its messages is text, the details of their tools are compressed, and ``cjk``
    has the words of those that the search index can not tell apart.
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
    is_torn: bool = False
    is_prepared: bool = False
    cjk: dict[tuple[int, int], str] = field(default_factory=dict)


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
        source = None
        if state is not None:
            generation = state.generation
            if not state.is_reread and _may_continue(file, state):
                source = _Source(stream.fileno(), state.byte_offset)
            if source is not None and source.hash_before(state.byte_offset) == state.tail_hash:
                offset, number = state.byte_offset, state.line_count
            elif state.byte_offset or state.has_open_line:
                generation += 1
        if source is None or not offset:
            source = _Source(stream.fileno(), 0)
        chunk = Chunk(file, generation, offset == 0, byte_offset=offset, line_count=number)
        for line in read_lines(source.read, offset=offset, number=number):
            if source.is_torn:
                break
            _read_line(line, chunk, is_whole=is_whole)
            if chunk.bytes_read >= chunk_bytes and line.is_terminated:
                chunk.tail_hash = source.hash_before(chunk.byte_offset)
                yield chunk
                chunk = Chunk(
                    file,
                    generation,
                    False,
                    byte_offset=chunk.byte_offset,
                    line_count=chunk.line_count,
                )
        chunk.is_last = True
        chunk.is_torn = source.is_torn or not source.is_still_there()
        if not chunk.is_torn:
            chunk.tail_hash = source.hash_before(chunk.byte_offset)
        yield chunk


def state_after(chunk: Chunk, state: FileState | None) -> FileState:
    """Return how far a file is read after a chunk, for who reads on before that is stored.

    Args:
        chunk: Any but the last.
        state: How far it was read before.
    """
    return FileState(
        key=state.key if state else 0,
        conversation_key=state.conversation_key if state else None,
        device=chunk.file.device,
        inode=chunk.file.inode,
        size=chunk.file.size,
        modified_ns=chunk.file.modified_ns,
        changed_ns=chunk.file.changed_ns,
        byte_offset=chunk.byte_offset,
        tail_hash=chunk.tail_hash,
        line_count=chunk.line_count,
        has_open_line=False,
        generation=chunk.generation,
        status="processing",
        is_reread=False,
    )


def has_other_tail(file: FoundFile, state: FileState) -> bool:
    """Tell whether a file that looks unchanged holds something else before its stored offset.

    Two changes within one tick of the file system's clock can leave the same size and times.

    Raises:
        OSError: The file can not be opened or read.
    """
    with Path(file.location).open("rb", buffering=0) as stream:
        source = _Source(stream.fileno(), state.byte_offset)
        return source.hash_before(state.byte_offset) != state.tail_hash


def _may_continue(file: FoundFile, state: FileState) -> bool:
    """Tell whether a file may still hold, at its place, what was read of it before."""
    return (state.device, state.inode) == (
        file.device,
        file.inode,
    ) and file.size >= state.byte_offset


class _Source:
    """Gives the bytes of a file from an offset on, and remembers the last ones that it gave."""

    def __init__(self, descriptor: int, offset: int) -> None:
        self.is_torn = False
        self._descriptor = descriptor
        # What was given last, where in the file that begins, and what lies before it.
        self._piece = b""
        self._start = offset
        self._before = self._look_at(offset)
        # The end of the last line in earlier pieces, and what lies before that.
        self._line_end, self._before_line_end = offset, self._before

    def read(self, size: int) -> bytes:
        """Return up to so many bytes that follow, and nothing at the end or when it was torn."""
        newline = self._piece.rfind(b"\n") + 1
        if newline:
            self._line_end = self._start + newline
            self._before_line_end = self._bytes_before(newline)
        self._before = self._bytes_before(len(self._piece))
        self._start += len(self._piece)
        self._piece = os.pread(self._descriptor, size, self._start)
        if self._look_at(self._start) != self._before:
            self.is_torn, self._piece = True, b""
        return self._piece

    def is_still_there(self) -> bool:
        """Tell whether the file holds what was given last."""
        length = len(self._piece)
        return self._look_at(self._start + length) == self._bytes_before(length)

    def hash_before(self, offset: int) -> bytes:
        """Return a hash of the last 64 KiB before the end of the last line that was given."""
        place = offset - self._start
        tail = self._before_line_end if place < 0 else self._bytes_before(place)
        return hashlib.blake2b(tail[-_TAIL_BYTES:], digest_size=16).digest()

    def _bytes_before(self, place: int) -> bytes:
        """Return what was given before a place of the last piece."""
        if place >= _COMPARED_BYTES:
            return self._piece[place - _COMPARED_BYTES : place]
        return (self._before + self._piece[:place])[-_COMPARED_BYTES:]

    def _look_at(self, offset: int) -> bytes:
        """Return what the file holds before an offset now."""
        start = max(0, offset - _COMPARED_BYTES)
        return os.pread(self._descriptor, offset - start, start)


def _read_line(line: Line, chunk: Chunk, *, is_whole: bool) -> None:
    """Add what a line says to a chunk."""
    is_whole = is_whole or line.is_terminated
    marks = find_marks(line.data or b"")
    try:
        objects, bad = parse_objects(line, is_whole=is_whole, marks=marks)
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
    has_binary = may_hold_binary(marks)
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

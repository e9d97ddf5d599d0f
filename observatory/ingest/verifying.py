"""Transcripts compared with what the archive says it read of them; nothing is written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from observatory.ingest.comparing import find_otherwise
from observatory.ingest.discover import FoundFile, find_files
from observatory.ingest.reading import Chunk, is_unchanged, read_chunks
from observatory.ingest.uploads import is_upload
from observatory.store.database import fetch_all
from observatory.store.transcript_files import FileState, read_states
from observatory.transcripts.layout import read_path
from observatory.transcripts.records import Message

_NAMED_AT_MOST = 20
_MAX_KINDS = 100


@dataclass(slots=True)
class TranscriptReport:
    """How transcripts and archive agree; lists name the first twenty.

    ``equal`` files say what the archive has. ``different`` do not. ``unread`` wait to be read, for
    they are new or have changed; ``failed`` can not be read. ``gone`` are kept in the archive only.
    ``unsure`` changed while they were compared.
    """

    files: int = 0
    bytes: int = 0
    messages: int = 0
    equal: int = 0
    different: int = 0
    unread: int = 0
    failed: int = 0
    gone: int = 0
    unsure: int = 0
    differences: list[str] = field(default_factory=list)
    unread_files: list[str] = field(default_factory=list)
    failed_files: list[str] = field(default_factory=list)
    gone_files: list[str] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether the archive has all that there is to read."""
        return not (self.different or self.unread or self.failed)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, for JSON."""
        return {"is_equal": self.is_equal, **asdict(self)}


def verify_transcripts(
    paths: Iterable[str],
    *,
    database_path: str,
    tell: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> TranscriptReport:
    """Read all transcripts anew, and compare with the connected database as of its moment.

    Args:
        paths: Folders and files, as an ingest takes them.
        database_path: The database; uploads lie beside it.
        tell: Told how many bytes are done, of how many.
    """
    report = TranscriptReport()

    def note_problem(path: str, reason: str) -> None:
        _note(report, "failed", f"{path}: {reason}")

    states = read_states()
    found = find_files(paths, on_problem=note_problem)
    total = sum(file.size for file in found)
    for file in found:
        tell("transcripts", report.bytes, total)
        report.files += 1
        _verify_file(file, states.get(file.path), report, database_path)
        report.bytes += file.size
    for path in sorted(states.keys() - {file.path for file in found}):
        _note(report, "gone", path)
    return report


_LISTS = {
    "different": "differences",
    "unread": "unread_files",
    "failed": "failed_files",
    "gone": "gone_files",
}


def _note(report: TranscriptReport, what: str, example: str) -> None:
    setattr(report, what, getattr(report, what) + 1)
    named = getattr(report, _LISTS[what])
    if len(named) < _NAMED_AT_MOST:
        named.append(example)


def _verify_file(
    file: FoundFile, state: FileState | None, report: TranscriptReport, database_path: str
) -> None:
    if state is not None and state.status == "error":
        _note(report, "failed", f"{file.path}: {_reason(state.key)}")
        return
    if state is None or not is_unchanged(file, state):
        why = "never read" if state is None else "changed since it was read"
        _note(report, "unread", f"{file.path}: {why}")
        return
    fresh, missing, otherwise = _Fresh(), 0, Counter[str]()
    seen: set[str] = set()
    try:
        whole = is_upload(file.path, database_path=database_path)
        for chunk in read_chunks(file, None, is_whole=whole):
            fresh.add(chunk)
            missing += _count_missing(chunk)
            otherwise.update(find_otherwise(chunk, state.key, seen))
    except OSError as error:
        _note(report, "failed", f"{file.path}: {error.strerror}")
        return
    report.messages += fresh.messages
    if fresh.is_torn or fresh.end != file.size:
        report.unsure += 1
        return
    differences = [
        *fresh.compare(state),
        *([f"{missing} messages are missing"] * bool(missing)),
        *(f"{number} {what}" for what, number in sorted(otherwise.items())),
    ]
    if differences:
        _note(report, "different", f"{file.path}: {'; '.join(differences)}")
    else:
        report.equal += 1


def _reason(key: int) -> str:
    rows = fetch_all("SELECT error_message FROM transcript_files WHERE key = ?", (key,))
    return str(rows[0][0]) if rows else "can not be read"


class _Fresh:
    """What a file says when it is read from its start to its end."""

    def __init__(self) -> None:
        self.is_torn = False
        self.messages = 0
        self.end = 0
        self._offset = self._lines = 0
        self._tail = b""
        self._counts: Counter[str] = Counter()
        self._bad_lines: set[tuple[int, int, int, str]] = set()

    def add(self, chunk: Chunk) -> None:
        """Take the next chunk."""
        self.is_torn = self.is_torn or chunk.is_torn
        self.messages += sum(1 for *_, item in chunk.items if isinstance(item, Message))
        self.end += chunk.bytes_read
        self._offset, self._lines = chunk.byte_offset, chunk.line_count
        self._tail = chunk.tail_hash
        self._counts.update(chunk.record_counts)
        self._bad_lines.update((b.line, b.start, b.end, b.reason) for b in chunk.bad_lines)

    def compare(self, state: FileState) -> Iterator[str]:
        """Yield what the archive has otherwise."""
        [(counts, bad_lines)] = fetch_all(
            "SELECT record_counts, bad_line_count FROM transcript_files WHERE key = ?",
            (state.key,),
        )
        try:
            kept: dict[str, int] = json.loads(counts)
        except ValueError:
            yield "what it holds is kept in no form that can be read"
            return
        facts: list[tuple[str, Any, Any]] = [
            ("bytes read", state.byte_offset, self._offset),
            ("lines", state.line_count, self._lines),
            ("bad lines", bad_lines, len({line for line, *_ in self._bad_lines})),
        ]
        if len(kept) < _MAX_KINDS:
            facts.append(("records", sum(kept.values()), self._counts.total()))
            if kept != dict(self._counts):
                facts.append(("kinds of records", kept, dict(self._counts)))
        for name, known, fresh in facts:
            if known != fresh:
                yield f"{name}: {known} kept, {fresh} there"
        told = fetch_all(
            "SELECT line, byte_start, byte_end, reason FROM transcript_errors WHERE file_key = ?",
            (state.key,),
        )
        if self._bad_lines.symmetric_difference(told):
            yield "which lines are bad, or why, is kept otherwise"
        if state.tail_hash != self._tail:
            yield "its end is another one"


def _count_missing(chunk: Chunk) -> int:
    """Return how many messages of a chunk the archive neither has nor was told to forget."""
    if read_path(chunk.file.path).role == "workflow_journal":
        return 0
    ids = {item.uuid for *_, item in chunk.items if isinstance(item, Message) and item.uuid}
    listed = json.dumps(sorted(ids))
    rows = fetch_all(
        "SELECT value FROM json_each(?) WHERE value NOT IN (SELECT id FROM messages)"
        " AND value NOT IN (SELECT id FROM deleted_messages)",
        (listed,),
    )
    if not rows:
        return 0
    # A transcript may have another name than its session (ingest/applying.py).
    said = {item.session_id for *_, item in chunk.items if isinstance(item, Message)}
    names = {read_path(chunk.file.path).session_id, *(said if len(said) == 1 else ())}
    removed = fetch_all(
        "SELECT 1 FROM deleted_conversations WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(sorted(filter(None, names))),),
    )
    return 0 if removed else len(rows)

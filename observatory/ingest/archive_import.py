"""An exported archive into this one: lines to records, records to batches, a batch at a time.

A batch is some records of one type and one transaction. What of it can not be kept is named by its
line and passed over; nothing of such a record is written.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import orjson

from observatory.errors import ArchiveFileError
from observatory.ingest.pricing import as_model_prices
from observatory.ingest.repricing import finish_pricing
from observatory.ingest.running import Progress, mend_interrupted
from observatory.log import log
from observatory.store import search
from observatory.store.archive_records import END, FORMAT, HEADER, MAJOR, MINOR, RECORDS, find_fault
from observatory.store.archive_writing import ArchiveWriter, Record, Written
from observatory.store.database import DatabaseError, OperationalError, execute, writing
from observatory.store.prices import list_own_prices, replace_own_prices
from observatory.transcripts.lines import Line, read_lines
from observatory.transcripts.prices import hash_prices

BATCH_RECORDS = 1000
BATCH_BYTES = 4 * 1024 * 1024
# A message or a tool use is of a line of a transcript, which has at most 64 MiB, but its text may
# take more here: each of its characters can be written in six.
MAX_LINE_BYTES = 512 * 1024 * 1024
_NAMED_AT_MOST = 20
_STATE = "transcript_state"
# Types of which no transcript tells what could not be kept.
_OF_NO_TRANSCRIPT = frozenset({"price", "project", "budget", "secret_finding", "transcript_error"})


@dataclass(slots=True)
class ImportSummary:
    """What an import did, by types of records.

    ``new`` are here now and were not before, ``known`` were here, ``passed_over`` belong to what
    was removed here for good, ``copies_passed_over`` of them in conversations that are here;
    ``unknown`` are of types that a newer version writes. ``bad`` names the first of the lines that
    could not be kept. ``listed`` are projects that are not for everyone now, and whose users must
    be listed. ``to_read_anew`` counts transcripts that are to be read from their start, for lines
    or copies could not be kept. ``is_whole`` is false when the end was missing, ``is_complete``
    when a signal came before that.
    """

    is_dry_run: bool = False
    lines: int = 0
    new: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    passed_over: Counter[str] = field(default_factory=Counter)
    copies_passed_over: int = 0
    to_read_anew: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    bad_lines: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    is_whole: bool = False
    is_complete: bool = True
    seconds: float = 0.0

    @property
    def has_failures(self) -> bool:
        """Whether anything of the file is not here."""
        return bool(self.bad_lines) or not self.is_whole

    def refuse(self, line: int, reason: str) -> None:
        """Note a line that can not be kept."""
        self.bad_lines += 1
        if len(self.bad) < _NAMED_AT_MOST:
            self.bad.append((line, reason))

    def add(self, record_type: str, written: Written) -> None:
        """Count what became of some records."""
        for counter, number in (
            (self.new, written.new),
            (self.known, written.known),
            (self.passed_over, written.passed_over),
        ):
            if number:
                counter[record_type] += number
        self.copies_passed_over += written.copies_passed_over
        for line, reason in written.bad:
            self.refuse(line, reason)
        self.listed += written.listed

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, for JSON."""
        # asdict makes counters of the pairs of counters.
        return {
            **{each.name: getattr(self, each.name) for each in fields(self)},
            "bad": [{"line": line, "reason": reason} for line, reason in self.bad],
        }


def import_archive(
    read: Callable[[int], bytes],
    *,
    is_dry_run: bool = False,
    on_read: Callable[[], None] = lambda: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
    batch_records: int = BATCH_RECORDS,
) -> ImportSummary:
    """Write the records of an exported archive into the connected one.

    The caller holds the lock ``ingest``. When ``should_stop`` turns true this ends after the batch
    at hand; the same import, run again, goes on.

    Args:
        read: Returns up to so many bytes of the file.
        is_dry_run: The connected archive is a copy, of which only the summary is wanted.
        on_read: Told after each batch.
        on_progress: Told how far pricing and indexing are, which come after the reading.
        should_stop: Asked between batches.
        batch_records: At most so many records are written in one transaction.

    Raises:
        ArchiveFileError: It is no exported archive, of a later major version, or damaged.
    """
    began = time.monotonic()
    summary = ImportSummary(is_dry_run=is_dry_run)
    mend_interrupted(should_stop=should_stop)
    writer = ArchiveWriter()
    # How far transcripts were read: what of them could not be kept is to be read from them here.
    states: list[list[Record]] = []
    harmless_lines = 0
    try:
        for record_type, records in _batches(read, summary, batch_records):
            if record_type == _STATE:
                states.append(records)
            else:
                before = summary.bad_lines
                _apply(writer, record_type, records, summary)
                if record_type in _OF_NO_TRANSCRIPT:
                    harmless_lines += summary.bad_lines - before
            on_read()
            if should_stop():
                summary.is_complete = False
                break
        else:
            is_all_kept = summary.bad_lines == harmless_lines and not summary.copies_passed_over
            for batch in states:
                if is_all_kept:
                    _apply(writer, _STATE, batch, summary)
                else:
                    summary.to_read_anew += len(batch)
            for line, reason in writer.list_missing():
                summary.refuse(line, reason)
    finally:
        # Also when the file turns out to be cut off: what was read of it is here.
        if not is_dry_run:
            _finish(summary, on_progress, should_stop)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def _batches(
    read: Callable[[int], bytes], summary: ImportSummary, batch_records: int
) -> Iterator[tuple[str, list[Record]]]:
    """Yield records that are right by themselves, some of one type at a time."""
    lines = read_lines(read, max_line_bytes=MAX_LINE_BYTES)
    is_newer = _read_header(next(lines, None))
    summary.lines += 1
    last_type, waiting, waiting_bytes, records = "", list[Record](), 0, 0
    for line in lines:
        summary.lines += 1
        if summary.is_whole:
            summary.refuse(line.number, "it stands behind the end")
            break
        values, reason = _parse(line)
        if values is None:
            summary.refuse(line.number, reason)
            records += 1
            continue
        record_type = values.get("type")
        if record_type == END:
            summary.is_whole = values.get("records") == records
            if not summary.is_whole:
                summary.refuse(line.number, f"the end tells of {values.get('records')} records")
            continue
        records += 1
        if not isinstance(record_type, str) or record_type not in RECORDS:
            if is_newer and isinstance(record_type, str):
                summary.unknown[record_type[:100]] += 1
            else:
                summary.refuse(line.number, "its type is none that there is")
            continue
        fault = find_fault(record_type, values)
        if fault is not None:
            summary.refuse(line.number, fault)
            continue
        if waiting and (
            record_type != last_type
            or len(waiting) >= batch_records
            or waiting_bytes >= BATCH_BYTES
        ):
            yield last_type, waiting
            waiting, waiting_bytes = [], 0
        last_type = record_type
        waiting.append(
            Record(line.number, {name: values.get(name) for name in RECORDS[record_type]})
        )
        waiting_bytes += line.end - line.start
    if waiting:
        yield last_type, waiting


def _parse(line: Line) -> tuple[dict[str, Any] | None, str]:
    """Return what stands on a line, or why that is no record."""
    if line.data is None:
        return None, f"it is longer than {MAX_LINE_BYTES} bytes"
    try:
        values = orjson.loads(line.data)
    except orjson.JSONDecodeError as error:
        return None, f"it is no JSON: {error.msg} at byte {error.pos}"
    if not isinstance(values, dict):
        return None, "it is no JSON object"
    return values, ""


def _read_header(line: Line | None) -> bool:
    """Check the first line; return whether a newer minor version wrote the file.

    Raises:
        ArchiveFileError: It is none that this version reads.
    """
    if line is None:
        raise ArchiveFileError("There is nothing in it, or it was cut off; get a whole one.")
    values, _ = _parse(line)
    if values is None or values.get("type") != HEADER or values.get("format") != FORMAT:
        raise ArchiveFileError(
            "This is no exported archive: it does not begin with the line that `observatory"
            " export` writes. A file that ends in .gz or .zst is unpacked by its name."
        )
    major, _, minor = str(values.get("version")).partition(".")
    if not (major.isascii() and major.isdigit() and minor.isascii() and minor.isdigit()):
        raise ArchiveFileError("The first line names no version of the format.")
    if int(major[:9]) != MAJOR:
        raise ArchiveFileError(
            f"It has version {major[:9]} of the format, and this reads version {MAJOR}. Install a"
            " version of the Observatory that reads it: its first line names the one that wrote it."
        )
    return int(minor[:9]) > MINOR


def _apply(
    writer: ArchiveWriter, record_type: str, records: Sequence[Record], summary: ImportSummary
) -> None:
    """Write a batch; when that fails, its records one by one, and pass over the one at fault."""
    try:
        # What changes nothing must not look like a change.
        with writing(moves=None):
            written = writer.write(record_type, records)
            if record_type == "price" and written.new:
                replace_own_prices(
                    (), removed=(), own_prices=hash_prices(as_model_prices(list_own_prices()))
                )
            if written.has_changed:
                execute("UPDATE totals SET value = value + 1 WHERE name = 'revision'")
    except DatabaseError as error:
        # The database, not a record, unless numbers are too large together.
        if isinstance(error, OperationalError) and "overflow" not in str(error):
            raise
        if len(records) == 1:
            log.error("import_failed", line=records[0].line, exc_info=error)
            summary.refuse(records[0].line, f"it can not be kept ({type(error).__name__})")
            return
    else:
        summary.add(record_type, written)
        return
    for record in records:
        _apply(writer, record_type, [record], summary)


def _finish(
    summary: ImportSummary,
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], bool],
) -> None:
    """Price the calls that are new, and index what waits: an ingest would do it as well."""
    if should_stop():
        return
    finish_pricing(
        on_progress=lambda done, total: on_progress(Progress(done, total, "pricing")),
        should_stop=should_stop,
    )
    progress = Progress(0, search.count_waiting_messages(), "indexing")
    if progress.total > search.BATCH_MESSAGES:
        search.prepare_bulk_indexing()
    while progress.total and not should_stop():
        indexed = search.index_messages()
        progress.done += indexed
        on_progress(progress)
        if indexed < search.BATCH_MESSAGES:
            return

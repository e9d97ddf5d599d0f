"""Files that are rewritten while they are read: what they hold in the end is in the archive."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from observatory.ingest.discover import find_files
from observatory.ingest.reading import CHUNK_BYTES, has_other_tail, read_chunks
from observatory.ingest.running import ingest as run_ingest
from observatory.store import transcript_files as files
from observatory.store.database import fetch_all
from tests.transcripts_for_tests import Transcript

TURN_BYTES = 20_000


def long_transcript(turns: int, *, word: str = "word") -> Transcript:
    transcript = Transcript()
    for turn in range(turns):
        transcript.prompt(f"turn {turn} " + f"{word} " * (TURN_BYTES // 5))
    return transcript


def texts() -> list[str]:
    return [
        row[0][:12]
        for row in fetch_all("SELECT content FROM messages WHERE NOT is_superseded ORDER BY key")
    ]


def cut_and_write_on(path: Path, *, keep: int, more: bytes) -> None:
    """Do what Claude Code does when it takes back its last records."""
    with path.open("r+b") as stream:
        stream.truncate(keep)
        stream.seek(keep)
        stream.write(more)


def after_first(change: Callable[[], None]) -> Callable[[object], None]:
    """Return a report of progress that changes something once the first batch is stored."""
    done: list[bool] = []

    def on_progress(progress: object) -> None:
        done.append(True)
        if len(done) == 2:
            change()

    return on_progress


def test_a_file_rewritten_between_chunks_is_read_from_its_start_by_the_next_look(db, write):
    whole = long_transcript(600)
    path = write(whole)
    [file] = find_files([str(path)])
    chunks = read_chunks(file, None)
    first = next(chunks)
    assert not first.is_torn
    # Records that were given to the parser go, and as many bytes come that begin elsewhere.
    keep = len(whole.bytes(590))
    cut_and_write_on(path, keep=len(whole.bytes(200)), more=whole.bytes()[keep:] * 45)
    *_, last = chunks
    assert (last.is_last, last.is_torn, last.tail_hash) == (True, True, b"")


@pytest.mark.parametrize("records_back", [1, 3])
def test_nothing_is_lost_when_the_end_is_taken_back_during_a_reading(db, write, records_back):
    size = CHUNK_BYTES // TURN_BYTES
    whole = long_transcript(size + 40)
    path = write(whole)
    before = long_transcript(size + 2)
    path.write_bytes(before.bytes())
    final = long_transcript(size - records_back)
    for turn in range(60):
        final.prompt(f"other {turn} " + "thing " * (TURN_BYTES // 6))

    def take_back() -> None:
        kept = long_transcript(size - records_back).bytes()
        cut_and_write_on(path, keep=len(kept), more=final.bytes()[len(kept) :])

    run_ingest([str(path)], on_progress=after_first(take_back))
    run_ingest([str(path)])
    [state] = files.read_states().values()
    assert not state.is_reread
    assert state.byte_offset == len(final.bytes())
    read = fetch_all("SELECT position FROM messages WHERE NOT is_superseded ORDER BY position")
    assert read == [(number + 1,) for number in range(len(final.records))]
    assert [t for t in texts() if t.startswith("other")][-1] == "other 59 thing"[:12]


def test_a_torn_file_says_that_it_waits(db, write):
    path = write(long_transcript(400))
    other = long_transcript(400, word="else").bytes()

    def replace() -> None:
        path.write_bytes(other)

    summary = run_ingest([str(path)], on_progress=after_first(replace))
    assert summary.torn == [str(path)]
    [state] = files.read_states().values()
    assert state.is_reread
    assert run_ingest([str(path)]).torn == []
    assert run_ingest([str(path)]).unchanged_files == 1
    [state] = files.read_states().values()
    assert not state.is_reread


def test_a_file_cut_to_nothing_while_it_is_read_keeps_what_was_stored(db, write):
    path = write(long_transcript(400))
    run_ingest([str(path)], on_progress=after_first(lambda: os.truncate(path, 0)))
    stored = fetch_all("SELECT count(*) FROM messages")
    run_ingest([str(path)])
    assert fetch_all("SELECT count(*) FROM messages") == stored
    assert run_ingest([str(path)]).unchanged_files == 1


def test_the_same_size_and_times_do_not_hide_another_end(db, write):
    path = write(long_transcript(2))
    run_ingest([str(path)])
    [state] = files.read_states().values()
    [file] = find_files([str(path)])
    assert not has_other_tail(file, state)
    with path.open("r+b") as stream:
        stream.seek(-100, os.SEEK_END)
        stream.write(b"WORD")
    assert has_other_tail(file, state)

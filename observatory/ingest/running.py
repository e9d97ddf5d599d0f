"""One run of an ingest: everything that is new in some folders and files."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from observatory.ingest.applying import apply_chunks, batches
from observatory.ingest.discover import FoundFile, find_files
from observatory.ingest.reading import Chunk, is_unchanged, read_chunks
from observatory.store import search
from observatory.store.sums import read_sums
from observatory.store.transcript_files import (
    FileState,
    mark_processing,
    put_back_interrupted,
    read_states,
    record_failure,
)

BATCH_BYTES = 4 * 1024 * 1024


@dataclass(slots=True)
class RunSummary:
    """What one run read, and what the archive gained by it.

    ``files``, ``lines``, ``bad_lines`` and ``bytes`` count what was read; the others what is in
    the archive now and was not before. ``tokens`` are in the four kinds of the API.
    """

    files: int = 0
    lines: int = 0
    bad_lines: int = 0
    conversations: int = 0
    messages: int = 0
    tool_uses: int = 0
    tokens: dict[str, int] = field(default_factory=dict)
    cost_microdollars: int = 0
    seconds: float = 0.0
    mb_per_second: float = 0.0
    bytes: int = 0
    unchanged_files: int = 0
    failed_files: int = 0
    rows_seconds: float = 0.0
    is_complete: bool = True

    def as_dict(self) -> dict[str, object]:
        """Return the fields by name, for JSON."""
        return asdict(self)


@dataclass(slots=True)
class Progress:
    """How far a run is, in bytes of source and in messages to index."""

    done: int
    total: int
    stage: str


def ingest(
    paths: Iterable[str],
    *,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
    batch_bytes: int = BATCH_BYTES,
) -> RunSummary:
    """Read what is new below some paths into the archive and index it for search.

    The caller holds the lock ``ingest`` wherever another run might be under way. A file that can
    not be read is marked and passed over. When ``should_stop`` turns true the run ends after the
    batch at hand; another run goes on from there.

    Returns:
        What the run read; ``is_complete`` is false when it was stopped.
    """
    with _without_garbage_collection():
        return _run(paths, on_progress, should_stop, batch_bytes)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Pause the search for cycles: records make none, and it costs a twentieth of a run.

    Beside the threads of a server it goes on, for those may need it.
    """
    was_enabled = gc.isenabled()
    if threading.current_thread() is threading.main_thread():
        gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _run(
    paths: Iterable[str],
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], bool],
    batch_bytes: int,
) -> RunSummary:
    started = time.monotonic()
    put_back_interrupted()
    states = read_states()
    found = list(find_files(paths))
    changed = [file for file in found if not is_unchanged(file, states.get(file.path))]
    summary = RunSummary(unchanged_files=len(found) - len(changed))
    before = read_sums()
    progress = Progress(0, sum(_unread_bytes(file, states.get(file.path)) for file in changed), "")
    touched: set[str] = set()
    progress.stage = "reading"
    on_progress(progress)
    for batch in batches(_read_all(changed, states, summary), batch_bytes=batch_bytes):
        touched |= apply_chunks(batch)
        for chunk in batch:
            summary.files += chunk.is_last
            summary.lines += chunk.lines_read
            summary.bad_lines += len({bad.line for bad in chunk.bad_lines})
            summary.bytes += chunk.bytes_read
        progress.done = summary.bytes
        on_progress(progress)
        if should_stop():
            summary.is_complete = False
            break
    summary.rows_seconds = round(time.monotonic() - started, 3)
    _index(progress, on_progress, should_stop, summary)
    summary.conversations = len(touched)
    _add_gains(summary, before, read_sums())
    seconds = time.monotonic() - started
    summary.seconds = round(seconds, 3)
    summary.mb_per_second = round(summary.bytes / 1e6 / seconds, 1) if seconds else 0.0
    return summary


def _unread_bytes(file: FoundFile, state: FileState | None) -> int:
    return max(0, file.size - state.byte_offset) if state else file.size


def _read_all(
    found: list[FoundFile], states: dict[str, FileState], summary: RunSummary
) -> Iterator[Chunk]:
    for file in found:
        state = states.get(file.path)
        if state is not None and _is_worth_telling(file, state):
            mark_processing(state.key)
        try:
            yield from read_chunks(file, state)
        except FileNotFoundError:
            continue
        except OSError as error:
            summary.failed_files += 1
            record_failure(file.path, error.strerror or "can not be read")


def _is_worth_telling(file: FoundFile, state: FileState) -> bool:
    """Tell whether somebody waits for a file, or will wait through more than one batch."""
    return (
        state.status != "completed" or state.is_reread or _unread_bytes(file, state) > BATCH_BYTES
    )


def _index(
    progress: Progress,
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], bool],
    summary: RunSummary,
) -> None:
    progress.stage, progress.done = "indexing", 0
    progress.total = search.count_waiting_messages()
    if not progress.total:
        return
    if progress.total > search.BATCH_MESSAGES:
        search.prepare_bulk_indexing()
    on_progress(progress)
    while not should_stop():
        indexed = search.index_messages()
        if not indexed:
            return
        progress.done += indexed
        on_progress(progress)
    summary.is_complete = False


def _add_gains(summary: RunSummary, before: dict[str, int], after: dict[str, int]) -> None:
    gains = {name: after[name] - before[name] for name in after}
    summary.messages = gains.pop("messages")
    summary.tool_uses = gains.pop("tool_uses")
    summary.cost_microdollars = round(gains.pop("cost_nanodollars") / 1000)
    summary.tokens = gains

"""One run of an ingest: everything that is new in some folders and files."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field

from observatory.ingest.applying import apply_chunks, batches
from observatory.ingest.discover import FoundFile, find_files
from observatory.ingest.reading import Chunk, is_unchanged, read_chunks, state_after
from observatory.ingest.reading_ahead import ReaderGone, ReadingAhead, is_worthwhile
from observatory.ingest.removing import finish_removals
from observatory.ingest.repricing import finish_pricing
from observatory.ingest.sidecars import take_late_agent_types
from observatory.ingest.uploads import is_upload
from observatory.log import log
from observatory.store import search
from observatory.store.database import OperationalError, database
from observatory.store.folding_beside import FoldingBeside
from observatory.store.sums import read_sums
from observatory.store.transcript_files import (
    FileState,
    mark_processing,
    put_back_interrupted,
    read_states,
    record_failure,
)
from observatory.transcripts.layout import read_path

BATCH_BYTES = 4 * 1024 * 1024
_MAX_FAILURES = 100


@dataclass(frozen=True, slots=True)
class Failure:
    """A folder or file that a run could not read, and why."""

    path: str
    reason: str


@dataclass(slots=True)
class RunSummary:
    """What one run read, and what the archive gained by it.

    ``files``, ``lines``, ``bad_lines`` and ``bytes`` count what was read; the others what is in
    the archive now and was not before. ``tokens`` are in the four kinds of the API. ``failures``
    holds the first hundred of what could not be read; ``failed_files`` counts the files and
    ``failed_folders`` what else could not be looked at. ``ended`` are the paths of files that were
    read to their end, ``torn`` those that were rewritten meanwhile and wait to be read again,
    ``failed`` those that could not be read or kept.
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
    failed_folders: int = 0
    failures: list[Failure] = field(default_factory=list)
    rows_seconds: float = 0.0
    is_complete: bool = True
    ended: set[str] = field(default_factory=set)
    torn: list[str] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)

    @property
    def has_failures(self) -> bool:
        """Whether anything could not be read."""
        return bool(self.failed_files or self.failed_folders)

    def add_failure(self, path: str, reason: str) -> None:
        """Keep what could not be read, so that the run can tell."""
        if len(self.failures) < _MAX_FAILURES:
            self.failures.append(Failure(path, reason))

    def add(self, chunk: Chunk) -> None:
        """Count what was stored of a file."""
        self.files += chunk.is_last
        self.lines += chunk.lines_read
        self.bad_lines += len({bad.line for bad in chunk.bad_lines})
        self.bytes += chunk.bytes_read
        if chunk.is_last:
            self.ended.add(chunk.file.path)
        if chunk.is_torn:
            self.torn.append(chunk.file.path)

    def as_dict(self) -> dict[str, object]:
        """Return the fields by name, for JSON."""
        fields = asdict(self)
        for name in ("ended", "torn", "failed"):
            del fields[name]
        return fields


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
    may_fork: bool = False,
) -> RunSummary:
    """Read what is new below some paths into the archive and index it for search.

    The caller holds the lock ``ingest`` wherever another run might be under way. A file that can
    not be read is marked and passed over.

    Args:
        paths: Folders and files.
        on_progress: Told of each batch.
        should_stop: When it turns true the run ends after the batch at hand; another run goes on
            from there.
        batch_bytes: About how much is written in one transaction.
        may_fork: Whether a fork of this process may read, where that is worth it. What threads
            have locked stays locked in a fork: this is for commands.

    Returns:
        What the run read; ``is_complete`` is false when it was stopped.
    """
    with _without_garbage_collection():
        summary = RunSummary()
        run = _Run(summary, on_progress, batch_bytes, may_fork=may_fork)
        mend_interrupted(
            on_pricing=lambda done, total: on_progress(Progress(done, total, "pricing")),
            should_stop=should_stop,
        )
        states = read_states()

        def note_problem(path: str, reason: str) -> None:
            summary.failed_folders += 1
            summary.add_failure(path, reason)

        found = find_files(paths, on_problem=note_problem)
        changed = [file for file in found if not is_unchanged(file, states.get(file.path))]
        summary.unchanged_files = len(found) - len(changed)
        before = read_sums()
        run.read(changed, states, should_stop)
        take_late_agent_types(found)
        run.index(should_stop)
        _add_gains(summary, before, read_sums())
        run.end()
        return summary


def mend_interrupted(
    *,
    on_pricing: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Put right what a dead process left half done, or an older version did otherwise.

    For the one holder of the lock ``ingest``. Pricing tells ``on_pricing`` how many calls are
    done, of how many, and ends when ``should_stop`` turns true; it goes on the next time.
    """
    put_back_interrupted()
    finish_removals(should_end=should_stop)
    finish_pricing(on_progress=on_pricing, should_stop=should_stop)


def ingest_files(
    files: Sequence[FoundFile],
    *,
    states: Mapping[str, FileState],
    should_stop: Callable[[], bool] = lambda: False,
    should_end: Callable[[], bool] = lambda: False,
) -> RunSummary:
    """Read what is new in some files, at a cost that does not depend on how many are known.

    The caller holds the lock ``ingest``, has called ``mend_interrupted`` once since it began to
    read, and knows that the files have changed.

    Args:
        files: In the order in which they are read.
        states: Of those of them that were read before.
        should_stop: Ends the run after the batch at hand, of rows or of the index.
        should_end: Ends the reading after the batch at hand; what was read is indexed still.

    Returns:
        What the run read, without what the archive gained by it.
    """
    with _without_garbage_collection():
        run = _Run(RunSummary(), lambda progress: None, BATCH_BYTES)
        run.read(files, states, lambda: should_stop() or should_end())
        take_late_agent_types(files)
        run.index(should_stop)
        run.end()
        return run.summary


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


class _Run:
    """The steps of a run, and what it knows."""

    def __init__(
        self,
        summary: RunSummary,
        on_progress: Callable[[Progress], None],
        batch_bytes: int,
        *,
        may_fork: bool = False,
    ) -> None:
        self.summary = summary
        self._on_progress = on_progress
        self._batch_bytes = batch_bytes
        self._may_fork = may_fork
        self._started = time.monotonic()

    def read(
        self,
        changed: Sequence[FoundFile],
        states: Mapping[str, FileState],
        should_stop: Callable[[], bool],
    ) -> None:
        """Read files that have changed into the archive, in their order."""
        summary = self.summary
        total = sum(_unread_bytes(file, states.get(file.path)) for file in changed)
        progress = Progress(0, total, "reading")
        self._on_progress(progress)
        touched: set[str] = set()
        failed: set[str] = set()
        with ExitStack() as stack:
            ahead = folding = None
            if self._may_fork and is_worthwhile(total):
                ahead = stack.enter_context(self._read_ahead(changed, states))
                # After the fork, which has one thread.
                folding = stack.enter_context(FoldingBeside())
            chunks = _read_all(changed, states, summary, failed, ahead)
            for batch in batches(chunks, batch_bytes=self._batch_bytes):
                touched |= _apply(batch, summary, failed)
                for chunk in batch:
                    if chunk.file.path not in failed:
                        summary.add(chunk)
                if folding is not None:
                    folding.tell()
                progress.done = summary.bytes
                self._on_progress(progress)
                if should_stop():
                    summary.is_complete = False
                    break
        summary.conversations = len(touched)

    def _read_ahead(
        self, changed: Sequence[FoundFile], states: Mapping[str, FileState]
    ) -> ReadingAhead:
        return ReadingAhead(
            changed,
            lambda file: _read_file(file, states.get(file.path)),
            batch_bytes=self._batch_bytes,
        )

    def index(self, should_stop: Callable[[], bool]) -> None:
        """Index what waits, of whatever run."""
        self.summary.rows_seconds = round(time.monotonic() - self._started, 3)
        progress = Progress(0, search.count_waiting_messages(), "indexing")
        if not progress.total:
            return
        if progress.total > search.BATCH_MESSAGES:
            search.prepare_bulk_indexing()
        self._on_progress(progress)
        while not should_stop():
            indexed = search.index_messages()
            progress.done += indexed
            self._on_progress(progress)
            if indexed < search.BATCH_MESSAGES:
                return
        self.summary.is_complete = False

    def end(self) -> None:
        """Note how long the run took."""
        seconds = time.monotonic() - self._started
        self.summary.seconds = round(seconds, 3)
        self.summary.mb_per_second = (
            round(self.summary.bytes / 1e6 / seconds, 1) if seconds else 0.0
        )


def _unread_bytes(file: FoundFile, state: FileState | None) -> int:
    return max(0, file.size - state.byte_offset) if state else file.size


def _apply(batch: list[Chunk], summary: RunSummary, failed: set[str]) -> set[str]:
    """Write a batch; when that fails, its files one by one, and pass over the one at fault."""
    try:
        return apply_chunks(batch)
    except OperationalError:
        # The database, not a file: it is full, locked or broken.
        raise
    except Exception as error:
        paths = list(dict.fromkeys(chunk.file.path for chunk in batch))
        if len(paths) == 1:
            [path] = paths
            log.error("file_failed", path=path, exc_info=error)
            failed.add(path)
            _record_failure(path, f"could not be kept ({type(error).__name__})", summary)
            return set()
    touched = set()
    for path in paths:
        touched |= _apply([chunk for chunk in batch if chunk.file.path == path], summary, failed)
    return touched


def _record_failure(path: str, reason: str, summary: RunSummary) -> None:
    summary.failed_files += 1
    summary.failed.add(path)
    summary.add_failure(path, reason)
    record_failure(path, reason, role=read_path(path).role)


def _read_all(
    found: Sequence[FoundFile],
    states: Mapping[str, FileState],
    summary: RunSummary,
    failed: set[str],
    ahead: ReadingAhead | None,
) -> Iterator[Chunk]:
    for file in found:
        state = states.get(file.path)
        if state is not None and _is_worth_telling(file, state):
            mark_processing(state.key)
        try:
            for chunk in _read_file(file, state, ahead):
                yield chunk
                if file.path in failed:
                    break
        except FileNotFoundError:
            continue
        except OSError as error:
            _record_failure(file.path, error.strerror or "can not be read", summary)


def _read_file(
    file: FoundFile, state: FileState | None, ahead: ReadingAhead | None = None
) -> Iterator[Chunk]:
    """Yield what is new in a file, as the process that reads ahead sends it while there is one."""
    if ahead is not None:
        try:
            for chunk in ahead.read_chunks(file):
                yield chunk
                if not chunk.is_last:
                    state = state_after(chunk, state)
            return
        except ReaderGone:
            pass
    is_whole = is_upload(file.path, database_path=database.database)
    yield from read_chunks(file, state, is_whole=is_whole)


def _is_worth_telling(file: FoundFile, state: FileState) -> bool:
    """Tell whether somebody waits for a file, or will wait through more than one batch."""
    return (
        state.status != "completed" or state.is_reread or _unread_bytes(file, state) > BATCH_BYTES
    )


def _add_gains(summary: RunSummary, before: dict[str, int], after: dict[str, int]) -> None:
    gains = {name: after[name] - before[name] for name in after}
    summary.messages = gains.pop("messages")
    summary.tool_uses = gains.pop("tool_uses")
    summary.cost_microdollars = round(gains.pop("cost_nanodollars") / 1000)
    summary.tokens = gains

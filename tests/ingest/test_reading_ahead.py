"""What a second process reads comes to what one alone reads, whatever becomes of that process."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from observatory.ingest import reading_ahead, running
from observatory.ingest.running import RunSummary, ingest
from observatory.store import folding_beside
from observatory.store.database import (
    LOG_PAGES,
    OperationalError,
    close,
    configure,
    connect,
    fetch_all,
)
from observatory.store.locks import held
from tests.ingest.dumps import check_sound, dump
from tests.transcripts_for_tests import Transcript

NAMES = ("austinweitao-claude-backup", "entireio-cli", "d-kimuson-claude-code-viewer")
BATCH_BYTES = 100_000


@pytest.fixture
def projects(shared: Path, tmp_path: Path) -> Path:
    """Some MB of real transcripts, and what a reader stumbles over."""
    folder = tmp_path / "projects"
    for name in NAMES:
        shutil.copytree(shared / "dev" / name, folder / name)
    odd = Transcript("00000000-1111-4111-8111-111111111111", prefix="odd")
    odd.prompt("my key is ghp_" + "a1B2c3D4e5F6" * 3)
    odd.prompt("\u4e2d\u6587 and \\ud800 and \\u0000")
    (folder / f"{odd.session_id}.jsonl").write_bytes(odd.bytes() + b'not JSON\n{"type":"half')
    return folder


@pytest.fixture
def forks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processes that were forked, which happens however little there is to read."""
    forked: list[int] = []
    fork = os.fork

    def note() -> int:
        process_id = fork()
        if process_id:
            forked.append(process_id)
        return process_id

    monkeypatch.setattr(reading_ahead, "LEAST_BYTES", 0)
    monkeypatch.setattr(os, "fork", note)
    return forked


@pytest.fixture
def read(
    tmp_path: Path, empty_database: Path, projects: Path
) -> Callable[..., tuple[RunSummary, dict]]:
    """Read all into a new archive; return the summary and what the archive holds."""

    def read_into(name: str, **how: object) -> tuple[RunSummary, dict]:
        shutil.copy(empty_database, tmp_path / name)
        configure(tmp_path / name)
        connect()
        with held(tmp_path / name, "ingest"):
            summary = ingest([str(projects)], batch_bytes=BATCH_BYTES, **how)
        check_sound()
        rows = dump()
        close()
        return summary, rows

    return read_into


def _told(summary: RunSummary) -> dict[str, object]:
    """Return what a run says of itself, without how long it took."""
    times = ("seconds", "rows_seconds", "mb_per_second")
    return {name: value for name, value in summary.as_dict().items() if name not in times}


def _has_ended(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return True
    return False


def test_two_processes_read_what_one_reads(
    read: Callable[..., tuple[RunSummary, dict]], forks: list[int]
) -> None:
    alone, rows = read("alone.db")
    assert forks == []
    together, rows_together = read("together.db", may_fork=True)
    assert len(forks) == 1
    assert rows_together == rows
    assert _told(together) == _told(alone)
    assert alone.bad_lines > 0
    assert _has_ended(forks[0])


def test_little_is_read_by_one_process(
    read: Callable[..., tuple[RunSummary, dict]],
    forks: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading_ahead, "LEAST_BYTES", 1 << 40)
    read("alone.db", may_fork=True)
    assert forks == []


@pytest.mark.parametrize("batches", [0, 1, 7])
def test_when_the_reader_dies_the_rest_is_read_by_this_process(
    batches: int, read: Callable[..., tuple[RunSummary, dict]], forks: list[int]
) -> None:
    alone, rows = read("alone.db")
    told = 0

    def kill_after(progress: running.Progress) -> None:
        nonlocal told
        if forks and told == batches and not _has_ended(forks[0]):
            os.kill(forks[0], signal.SIGKILL)
        told += bool(forks)

    together, rows_together = read("together.db", may_fork=True, on_progress=kill_after)
    assert len(forks) == 1
    assert rows_together == rows
    assert _told(together) == _told(alone)


def test_a_reader_that_can_not_be_started_is_done_without(
    read: Callable[..., tuple[RunSummary, dict]], forks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    together, rows = read("together.db", may_fork=True)
    assert together.is_complete
    assert rows == read("alone.db")[1]


def test_a_file_that_can_not_be_read_is_told_of(
    read: Callable[..., tuple[RunSummary, dict]],
    forks: list[int],
    projects: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused, gone = sorted(projects.rglob("*.jsonl"))[2:4]
    open_file = Path.open

    def refuse(self: Path, *how: object, **more: object) -> object:
        if self == refused:
            raise PermissionError(13, "Permission denied", str(self))
        if self == gone:
            raise FileNotFoundError(2, "No such file or directory", str(self))
        return open_file(self, *how, **more)

    monkeypatch.setattr(Path, "open", refuse)
    alone, rows = read("alone.db")
    together, rows_together = read("together.db", may_fork=True)
    assert len(forks) == 1
    assert rows_together == rows
    assert _told(together) == _told(alone)
    assert [failure.reason for failure in together.failures] == ["Permission denied"]


def test_a_run_that_is_stopped_leaves_no_reader(
    read: Callable[..., tuple[RunSummary, dict]], forks: list[int]
) -> None:
    summary, _ = read("together.db", may_fork=True, should_stop=lambda: True)
    assert not summary.is_complete
    assert summary.files < 110
    assert _has_ended(forks[0])


def test_the_reader_holds_no_lock(
    tmp_path: Path,
    read: Callable[..., tuple[RunSummary, dict]],
    forks: list[int],
) -> None:
    """It may outlive a process that was killed for as long as it takes to read a batch."""
    links: list[str] = []

    def look(progress: running.Progress) -> None:
        if forks and not links:
            folder = Path(f"/proc/{forks[0]}/fd")
            links.extend(os.readlink(each) for each in folder.iterdir())

    read("together.db", may_fork=True, on_progress=look)
    assert links
    assert [link for link in links if "together.db" in link] == []
    descriptor = os.open(tmp_path / "together.db.ingest.lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


def test_a_thread_brings_the_log_in_while_lines_are_read(
    read: Callable[..., tuple[RunSummary, dict]], forks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    brought_in = threading.Event()

    def note(statement: str) -> list[tuple]:
        rows = fetch_all(statement)
        brought_in.set()
        return rows

    def look(progress: running.Progress) -> None:
        if progress.done:
            assert brought_in.wait(30)

    monkeypatch.setattr(folding_beside, "LOG_PAGES", 1)
    monkeypatch.setattr(folding_beside, "fetch_all", note)
    _, rows = read("together.db", may_fork=True, on_progress=look)
    assert rows == read("alone.db")[1]


def test_a_log_that_the_thread_can_not_bring_in_is_left_to_the_writer(
    read: Callable[..., tuple[RunSummary, dict]], forks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = threading.Event()
    pages: list[int] = []

    def refuse() -> int:
        refused.set()
        raise OperationalError("disk I/O error")

    def look(progress: running.Progress) -> None:
        pages.extend(fetch_all("PRAGMA wal_autocheckpoint")[0])
        if progress.done:
            assert refused.wait(30)

    monkeypatch.setattr(folding_beside, "count_wal_pages", refuse)
    together, rows = read("together.db", may_fork=True, on_progress=look)
    assert together.is_complete
    assert rows == read("alone.db")[1]
    assert sorted(set(pages)) == [LOG_PAGES, 4 * LOG_PAGES]
    assert pages[-1] == LOG_PAGES

"""However transcripts are written, and however often the watcher dies, nothing is lost.

A writer appends at any byte boundary, takes records back as Claude Code does (it cuts the file at a
record within its last 64 KiB and writes the rest anew), replaces and renames files; meanwhile the
watcher is stopped, killed and started again. When all is quiet, the archive says what one reading
of the final files says, but for what stood in a file once and is marked as superseded.

With EXPLORE=1 each run is another one, and longer; SEED and STEPS choose one.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from observatory.store.database import close, configure, connect
from observatory.store.watcher_status import read_watcher_status
from tests.processes import Home, wait_for
from tests.watchers import Watcher, start_watcher
from tests.written_files import EXPLORES, WrittenFile, chances, compare, is_all_read, make_files

STEPS = int(os.environ.get("STEPS", "3000" if EXPLORES else "250"))


def run(home: Home, files: list[WrittenFile], chance: random.Random, tmp_path: Path) -> None:
    """Write, with a watcher that is ended now and then, and compare in the end."""
    watcher = start_watcher(home, WATCH_MODE=chance.choice(["events", "events", "polling"]))
    try:
        wait_for(watcher.is_caught_up, what="the watcher")
        for step in range(STEPS):
            chance.choice(files).step()
            if chance.random() < 0.5:
                time.sleep(chance.uniform(0, 0.03))
            if step % (STEPS // 5 or 1) == STEPS // 10:
                watcher = ended_and_started(watcher, chance)
        for file in files:
            file.finish()
        wait_for_quiet(watcher, home, files)
    finally:
        watcher.process.kill()
        watcher.process.wait()
    compare(home, files, tmp_path / "clean" / "observatory.db")


def ended_and_started(watcher: Watcher, chance: random.Random) -> Watcher:
    """End a watcher, gently or not, and return the next one."""
    number = chance.choice([signal.SIGTERM, signal.SIGKILL])
    code = watcher.end(number)
    # A signal that comes before the watcher listens ends it as it ends any program.
    assert code in (0, -number), watcher.log.read_text()
    return start_watcher(watcher.home, WATCH_MODE=chance.choice(["events", "events", "polling"]))


def wait_for_quiet(watcher: Watcher, home: Home, files: list[WrittenFile]) -> None:
    wait_for(watcher.is_caught_up, what="the watcher")
    configure(home.database)
    connect()
    try:
        wait_for(lambda: is_all_read(home, files), what=f"all to be read\n{_told(watcher)}")
        status = read_watcher_status(home.database)
        assert status.last_failure is None, watcher.log.read_text()
    finally:
        close()


def _told(watcher: Watcher) -> str:
    return watcher.log.read_text()[-3000:]


def test_any_writing_is_read_as_it_ends(tmp_path: Path) -> None:
    home, chance = Home(tmp_path / "home"), chances()
    files = make_files(home, chance, number=6)
    run(home, files, chance, tmp_path)


def test_real_transcripts_written_anyhow_are_read_as_they_end(shared: Path, tmp_path: Path) -> None:
    home, chance = Home(tmp_path / "home"), chances()
    found = sorted((shared / "dev").rglob("*.jsonl"))
    sessions = [
        path
        for path in found
        if "subagents" not in path.parts
        and not path.name.startswith("agent-")
        and 20_000 < path.stat().st_size < 600_000
    ]
    files = []
    for number, path in enumerate(chance.sample(sessions, 5)):
        lines = [line + b"\n" for line in path.read_bytes().split(b"\n") if line.strip()]
        target = home.projects / f"-folder-{number % 3}" / path.name
        files.append(WrittenFile(target, chance, number, lines))
    run(home, files, chance, tmp_path)
    shutil.rmtree(home.folder)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()

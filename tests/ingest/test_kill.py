"""An ingest that is killed at any moment, and run again, ends where one clean run ends."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from observatory.store.database import close, configure, connect
from tests.ingest.dumps import check_sound, dump
from tests.transcripts_for_tests import Transcript

KILLS = 20
PROGRAM = """
import sys
from observatory.ingest import reading_ahead
from observatory.ingest.running import ingest
from observatory.redaction import masking
from observatory.store import search
from observatory.store.database import configure, connect
search.BATCH_MESSAGES = 300
reading_ahead.LEAST_BYTES = 0
# Marks are the same in all processes that know the secret.
masking.configure("mask", "a secret of the tests, long enough")
configure(sys.argv[1])
connect()
print("begun", flush=True)
ingest([sys.argv[2]], batch_bytes=100_000, may_fork=sys.argv[3] == "fork")
"""


@pytest.fixture(scope="module")
def folder(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some MB of real transcripts: subagents, workflows, copies, glued lines, long sessions."""
    folder = tmp_path_factory.mktemp("kill") / "projects"
    for name in ("austinweitao-claude-backup", "entireio-cli", "d-kimuson-claude-code-viewer"):
        shutil.copytree(shared / "dev" / name, folder / name)
    return folder


def start(database: Path, folder: Path, *, how: str) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(database), str(folder), how], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"begun\n"
    child.stdout.close()
    return child


def held_by(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    configure(database)
    connect()
    check_sound()
    held = dump()
    close()
    return held


@pytest.mark.parametrize("how", ["alone", "fork"])
def test_kill_at_random_moments(
    how: str, folder: Path, tmp_path: Path, empty_database: Path
) -> None:
    clean, killed = tmp_path / "clean.db", tmp_path / "killed.db"
    shutil.copy(empty_database, clean)
    began = time.monotonic()
    assert start(clean, folder, how="alone").wait() == 0
    seconds = time.monotonic() - began
    chance = random.Random(1)
    interrupted = 0
    shutil.copy(empty_database, killed)
    for number in range(KILLS):
        if number and number % 5 == 0:
            # A run that got far leaves little to interrupt: begin again.
            for path in tmp_path.glob("killed.db*"):
                path.unlink()
            shutil.copy(empty_database, killed)
        child = start(killed, folder, how=how)
        try:
            child.wait(timeout=chance.uniform(0, seconds / 3))
        except subprocess.TimeoutExpired:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            interrupted += 1
    assert interrupted >= KILLS / 2
    assert start(killed, folder, how=how).wait() == 0
    assert held_by(killed) == held_by(clean)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_a_batch(number: signal.Signals, tmp_path: Path) -> None:
    projects = tmp_path / "projects"
    projects.mkdir()
    for session in range(40):
        transcript = Transcript(f"{session:08d}-1111-4111-8111-111111111111", prefix=f"{session}")
        for turn in range(20):
            transcript.prompt(f"turn {turn} " + "word " * 10_000)
        (projects / f"{transcript.session_id}.jsonl").write_bytes(transcript.bytes())
    environment = {
        **os.environ,
        "DB_PATH": str(tmp_path / "signal.db"),
        "TRANSCRIPTS_DIR": str(projects),
    }
    command = [sys.executable, "-m", "observatory", "ingest", "--json"]
    child = subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 30
    while not (tmp_path / "signal.db.ingest.lock").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    assert child.returncode in (128 + number, -number, 0), err
    again = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, check=True)
    assert b'"is_complete":true' in again.stdout
    configure(tmp_path / "signal.db")
    connect()
    check_sound()
    held = dump()
    close()
    assert len(held["messages"]) == 800
    assert held["waiting"] == [(0,)]

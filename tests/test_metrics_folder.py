"""The folder in which workers share what they count, and what killed servers leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from observatory.metrics_folder import PREFIX, make_folder, remove_leftovers
from tests.processes import DEADLINE_SECONDS

HOLDER = """
import os, sys
from pathlib import Path
from observatory.metrics_folder import make_folder
folder = make_folder(Path(sys.argv[1]))
(folder / "counter_1.db").touch()
if os.fork():
    print(folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process with a fork that shares its folder; both end with their input, or when killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        yield process
        process.kill()


def test_a_folder_is_kept_as_long_as_any_of_its_processes_lives(tmp_path, holder):
    folder = Path(holder.stdout.readline().strip())
    assert folder.name.startswith(f"{PREFIX}{holder.pid}-")
    remove_leftovers(tmp_path)
    assert folder.exists()
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(timeout=DEADLINE_SECONDS)
    remove_leftovers(tmp_path)
    assert folder.exists()  # Its worker lives.
    holder.stdin.close()
    # The fork has the output open as long as it lives.
    holder.stdout.read()
    remove_leftovers(tmp_path)
    assert not folder.exists()


def test_what_is_no_leftover_stays(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / f"{PREFIX}1-link").symlink_to(outside)
    (tmp_path / f"{PREFIX}file").touch()
    (tmp_path / f"{PREFIX}{os.getpid()}-older").mkdir()
    (tmp_path / "something-else").mkdir()
    before = sorted(tmp_path.iterdir())
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == before


def test_what_an_older_version_left_goes(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    (tmp_path / f"{PREFIX}{process.pid}-abc").mkdir()
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_making_one_removes_what_was_left(tmp_path):
    left = tmp_path / f"{PREFIX}1-abc"
    left.mkdir()
    (left / "lock").touch()
    folder = make_folder(tmp_path)
    assert list(tmp_path.iterdir()) == [folder]

"""The folder in which workers share what they count, and what killed servers leave."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

from observatory.collectors.worker_files import WorkerFiles
from observatory.metrics_folder import PREFIX, add_up, make_folder, reading, remove_leftovers
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


COUNTER = """
import os, sys
os.environ["PROMETHEUS_MULTIPROC_DIR"] = sys.argv[1]
from observatory.metrics import observe_request
for seconds in map(float, sys.argv[2:]):
    observe_request("/health", "GET", "200", seconds, body_bytes=10)
print(os.getpid())
"""


def count(folder: Path, *seconds: float) -> int:
    """Count requests in a process of its own, and return its number."""
    done = subprocess.run(
        [sys.executable, "-c", COUNTER, str(folder), *map(str, seconds)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout)


def shape(families: Iterable[Metric]) -> list[tuple]:
    """Return all that families are, in their order."""
    return [(family.name, family.documentation, family.type, family.samples) for family in families]


def read(folder: Path) -> dict[tuple[str, ...], float]:
    """Return what is counted in the files of a folder and is not zero."""
    with reading(folder):
        families = list(WorkerFiles(folder).read())
        assert shape(families) == shape(MultiProcessCollector(None, str(folder)).collect())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
        if sample.value
    }


def test_what_processes_counted_that_ended_is_added_up(tmp_path):
    first, second, third = (count(tmp_path, 0.1 * n, 0.0007 * n) for n in (1, 2, 3))
    before = read(tmp_path)
    assert add_up(tmp_path, [second])
    assert read(tmp_path) == before
    assert add_up(tmp_path, [first, third, 0])
    # To the last digit: less by that would be a restart to Prometheus.
    assert read(tmp_path) == before
    assert {path.name for path in tmp_path.glob("*.db")} >= {
        "counter_ended.db", "histogram_ended.db",
    }  # fmt: skip
    assert not list(tmp_path.glob(f"counter_{first}.db"))


def test_files_stay_while_somebody_reads_them(tmp_path):
    ended = count(tmp_path, 0.1)
    with reading(tmp_path):
        assert not add_up(tmp_path, [ended])
        assert (tmp_path / f"counter_{ended}.db").exists()
    assert add_up(tmp_path, [ended])


def test_a_file_of_a_process_that_was_killed_before_it_wrote_is_nothing(tmp_path):
    (tmp_path / "counter_1.db").touch()
    assert add_up(tmp_path, [1])
    assert read(tmp_path) == {}


def test_who_reads_again_sees_what_came_and_went_meanwhile(tmp_path):
    files = WorkerFiles(tmp_path)

    def check() -> None:
        expected = MultiProcessCollector(None, str(tmp_path)).collect()
        assert shape(files.read()) == shape(expected)

    check()
    first = count(tmp_path, 0.1)
    check()
    second = count(tmp_path, 0.1, 0.002)
    check()
    assert add_up(tmp_path, [first])
    check()
    assert add_up(tmp_path, [second])
    check()
    # A name that is given again, as a process's number can be.
    copied = tmp_path / "copied"
    shutil.copy(tmp_path / "counter_ended.db", copied)
    copied.rename(tmp_path / "counter_ended.db")
    (tmp_path / "histogram_ended.db").unlink()
    check()
    # Nobody has written to it yet.
    before = shape(files.read())
    (tmp_path / "counter_1.db").touch()
    assert shape(files.read()) == before


GROWING = """
import os, sys
from pathlib import Path
os.environ["PROMETHEUS_MULTIPROC_DIR"] = sys.argv[1]
from prometheus_client.multiprocess import MultiProcessCollector
from observatory.collectors.worker_files import WorkerFiles
from observatory.metrics import observe_request
files = WorkerFiles(Path(sys.argv[1]))
for number in range(100):
    observe_request(f"/{number}", "GET", "200", number / 10)
    if number % 10 == 0:
        read = [family.samples for family in files.read()]
        assert read == [each.samples for each in MultiProcessCollector(None, sys.argv[1]).collect()]
assert max(path.stat().st_size for path in Path(sys.argv[1]).iterdir()) > 1 << 16
"""


def test_a_file_that_grows_beyond_its_first_size_is_read_on(tmp_path):
    command = [sys.executable, "-c", GROWING, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")

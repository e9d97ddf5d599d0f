"""The server as it runs in the image: process 1, a read-only file system, no capabilities.

Name spaces of the kernel stand in for Docker; the image itself can not be built where tests run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.test_healthcheck import check
from tests.processes import DEADLINE_SECONDS, Home, free_port, wait_for
from tests.programs import find_program
from tests.test_server import children_of

# /data is the folder of the home; /dev/shm is its own, as in a container.
SCRIPT = """
set -e
mount --bind "$HOME" "$HOME"
mount -t proc proc /proc
mount -t tmpfs -o size=64m,mode=1777 tmpfs /dev/shm
mount -t tmpfs -o size=64m,mode=1777,noexec,nosuid,nodev tmpfs /var/tmp
mount -o remount,ro,bind /
cd "$HOME"
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""
UNSHARE = ["unshare", "--pid", "--fork", "--kill-child=SIGKILL", "--mount", "--uts", "--ipc",
           "--propagation", "private"]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    for program in ("unshare", "setpriv"):
        find_program(program)
    trying = [*UNSHARE, "mount", "-t", "proc", "proc", "/proc"]
    if subprocess.run(trying, capture_output=True).returncode:
        pytest.skip("this user may not make name spaces")
    home = Home(tmp_path_factory.mktemp("container"))
    # /tmp may be where the tests lie.
    home.variables["TMPDIR"] = "/var/tmp"
    return home


class Container:
    """A process 1 and what it started."""

    def __init__(self, home: Home, *arguments: str, port: int) -> None:
        self.port = port
        self.log = home.folder / "container.log"
        command = [*UNSHARE, "sh", "-c", SCRIPT, "sh", sys.executable, "-m", "observatory"]
        with self.log.open("wb") as stream:
            self.outside = subprocess.Popen(
                [*command, *arguments],
                cwd=home.folder,
                env=home.environment(PORT=str(port), HOST="0.0.0.0"),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )

    @property
    def first(self) -> int:
        """The id of process 1, as it is outside."""
        return children_of(self.outside.pid)[0]

    def is_ready(self) -> bool:
        assert self.outside.poll() is None, self.log.read_text()
        return check(PORT=str(self.port), HOST="0.0.0.0") == (0, "ready")

    def programs(self) -> list[str]:
        """Return the module that each child of process 1 runs; of a zombie nothing is known."""
        lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children_of(self.first)]
        return sorted(line.split(b"\0")[2].decode() if line else "zombie" for line in lines)


@pytest.fixture(scope="module")
def container(home) -> Iterator[Container]:
    made = subprocess.run(
        [sys.executable, "-m", "observatory", "user", "add", "ada@example.org"],
        cwd=home.folder,
        env=home.environment(),
        input="correct-horse-battery-1x",
        text=True,
        capture_output=True,
        timeout=DEADLINE_SECONDS,
    )
    assert made.returncode == 0, made.stderr
    container = Container(home, "serve", port=free_port())
    try:
        wait_for(container.is_ready, what="the server in its name spaces")
        yield container
    finally:
        container.outside.kill()
        container.outside.wait(timeout=DEADLINE_SECONDS)


def test_without_an_account_it_does_not_listen_beyond_itself(home, tmp_path):
    nobody = Home(tmp_path, dict(home.variables))
    container = Container(nobody, "serve", port=free_port())
    assert container.outside.wait(timeout=DEADLINE_SECONDS) == 1
    assert "there is no account yet" in container.log.read_text()


def test_it_is_process_1_and_has_no_capabilities(container):
    status = Path(f"/proc/{container.first}/status").read_text()
    assert f"NSpid:\t{container.first}\t1\n" in status
    assert "CapEff:\t0000000000000000\n" in status
    assert b"gunicorn" in Path(f"/proc/{container.first}/cmdline").read_bytes()


def test_only_its_folder_and_memory_are_written(container, home):
    root = Path(f"/proc/{container.first}/root")
    options = [
        line.split()[5]
        for line in Path(f"/proc/{container.first}/mountinfo").read_text().splitlines()
        if line.split()[4] == "/"
    ]
    assert options[-1].startswith("ro")
    assert [path.name[:22] for path in (root / "dev/shm").iterdir()] == ["observatory-metrics-1-"]
    assert list((root / "var/tmp").iterdir()) == []
    assert home.database.exists()


def test_what_others_leave_behind_is_reaped(container):
    """The watcher of a supervisor that was killed becomes a child of process 1."""
    workers = ["gunicorn", "gunicorn"]
    wait_for(lambda: container.programs() == [*workers, "observatory.supervise"], what="all")
    [supervisor] = [
        pid
        for pid in children_of(container.first)
        if b"observatory.supervise" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    [watcher] = wait_for(lambda: children_of(supervisor), what="the watcher")
    os.kill(supervisor, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{watcher}").exists(), what="the end of the watcher")
    wait_for(lambda: container.programs() == [*workers, "observatory.supervise"], what="another")
    assert supervisor not in children_of(container.first)


def test_sigterm_ends_it_and_leaves_nothing(container, home):
    os.kill(container.first, signal.SIGTERM)
    assert container.outside.wait(timeout=DEADLINE_SECONDS) == 0
    assert not Path(f"{home.database}-wal").exists()

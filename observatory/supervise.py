"""Runs the watcher beside a server: starts it again when it dies, ends when the server has ended.

It is a process of its own, for the server's first process has to stay free for its workers, and it
imports next to nothing, for it lives as long and does nothing.

    python -m observatory.supervise PARENT_PID DATABASE
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from types import FrameType

from observatory.store.locks import WATCH_LOCK, is_held

EXIT_LOCKED = 75
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
# Who ran that long begins with the first pause again.
_A_WHILE_SECONDS = 30.0
_STANDBY_SECONDS = 10.0
_TICK_SECONDS = 1.0
_KILL_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the kernel send SIGTERM when the parent dies, where it can (Linux)."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


class Supervisor:
    """Keeps one watcher running for a server."""

    def __init__(self, parent: int, database: str) -> None:
        """Prepare to run as long as the process ``parent`` does.

        Args:
            parent: The process that started this one.
            database: What is watched for.
        """
        self._parent = parent
        self._database = database
        self._is_told = False
        self._reader, writer = os.pipe()
        for descriptor in (self._reader, writer):
            os.set_blocking(descriptor, False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)
        # Without a handler no signal ends a wait.
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        # A terminal that is closed ends no server: gunicorn takes it for a reload. The watcher
        # inherits that it is ignored.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.set_wakeup_fd(writer)

    def run(self) -> None:
        """Run watchers, one after another, until told to end or the parent is gone."""
        end_with_parent()
        pause = _FIRST_PAUSE_SECONDS
        while not self._is_over():
            began = time.monotonic()
            code = self._run_once()
            if self._is_over():
                return
            # A database that another program has locked ends a watcher with the same code.
            if code == EXIT_LOCKED and self._is_locked():
                self._stand_by()
                continue
            if time.monotonic() - began > _A_WHILE_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            _say(f"The watcher ended ({how}); it is started again in {pause:.0f} s")
            self._wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _run_once(self) -> int:
        """Run a watcher to its end, which is soon when this is to end, and return its exit code."""
        command = [sys.executable, "-m", "observatory.watch", "--parent", str(os.getpid())]
        try:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        except OSError as error:
            # Too many processes, or no memory, at the moment.
            _say(f"The watcher can not be started: {error.strerror}")
            return os.EX_OSERR
        while child.poll() is None and not self._is_over():
            self._wait_for_signal(_TICK_SECONDS)
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(_KILL_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
        return child.wait()

    def _stand_by(self) -> None:
        """Wait until no other watcher holds the lock."""
        _say("Another watcher reads the transcripts; this one stands by")
        while not self._is_over() and self._is_locked():
            self._wait(_STANDBY_SECONDS)

    def _is_locked(self) -> bool:
        return is_held(self._database, WATCH_LOCK)

    def _is_over(self) -> bool:
        return self._is_told or os.getppid() != self._parent

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._is_told = True

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._is_over() and (left := until - time.monotonic()) > 0:
            self._wait_for_signal(min(left, _TICK_SECONDS))

    def _wait_for_signal(self, seconds: float) -> None:
        select.select([self._reader], [], [], seconds)
        with suppress(BlockingIOError):
            while os.read(self._reader, 512):
                pass


def _say(line: str) -> None:
    with suppress(OSError):
        # The terminal may be closed.
        print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    Supervisor(int(sys.argv[1]), sys.argv[2]).run()

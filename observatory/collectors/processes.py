"""What the processes of the Observatory take, by what they are for; and what it is made of."""

from __future__ import annotations

import os
import socket
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from observatory import __version__
from observatory.metrics import python_version
from observatory.store.database import sqlite_version
from observatory.store.watcher_status import WatcherStatus

MASTER, WORKER, SUPERVISOR, WATCHER = "master", "worker", "supervisor", "watcher"


# So often is read anew what changed while it was read.
_TRIES = 5


class _Process(NamedTuple):
    # In whole ticks of the system's clock: their sums are exact.
    cpu_ticks: int
    # Of its children that have ended.
    ended_cpu_ticks: int
    resident_bytes: int


class ProcessCollector(Collector):
    """Memory and time of the processes of this server and of the watcher, from ``/proc``.

    Args:
        watcher: What the watcher says of itself.
        is_multiprocess: Whether this process is one of the workers of a master.
        proc: Where the system tells of processes; where it does not, there are no metrics.
    """

    def __init__(
        self, watcher: WatcherStatus, *, is_multiprocess: bool, proc: Path = Path("/proc")
    ) -> None:
        self._watcher = watcher
        self._is_multiprocess = is_multiprocess
        self._proc = proc

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        build = GaugeMetricFamily(
            "observatory_build_info",
            "What the server is made of; always 1.",
            labels=("version", "python", "sqlite"),
        )
        sqlite = ".".join(map(str, sqlite_version()))
        build.add_metric((__version__, python_version(), sqlite), 1)
        yield build
        processes = CounterMetricFamily(
            "observatory_process_cpu_seconds",
            "Processor time, by role; of workers also that of those that have ended.",
            labels=("role",),
        )
        resident = GaugeMetricFamily(
            "observatory_process_resident_memory_bytes",
            "Memory in use, by role; what workers share is in it for each.",
            labels=("role",),
        )
        number = GaugeMetricFamily("observatory_processes", "Processes, by role.", labels=("role",))
        for role, found in self._read().items():
            ended = found.pop() if role == WORKER else _Process(0, 0, 0)
            ticks = sum(each.cpu_ticks for each in found) + ended.ended_cpu_ticks
            processes.add_metric((role,), ticks / os.sysconf("SC_CLK_TCK"))
            resident.add_metric((role,), sum(each.resident_bytes for each in found))
            number.add_metric((role,), len(found))
        yield from (processes, resident, number)

    def _read(self) -> dict[str, list[_Process]]:
        """Return the processes by role; behind the workers their master, which knows the dead."""
        for _ in range(_TRIES):
            roles = self._list()
            master = next((pid for pid, role in roles.items() if role == MASTER), None)
            before = self._read_master(master)
            found: dict[str, list[_Process]] = defaultdict(list)
            for pid, role in roles.items():
                process = self._read_process(pid)
                if process is not None:
                    found[role].append(process)
            after = self._read_master(master)
            # Else one ended meanwhile, which is counted twice: by itself and by the master.
            if before.ended_cpu_ticks == after.ended_cpu_ticks:
                break
        if found[WORKER]:
            found[WORKER].append(before)
        else:
            del found[WORKER]
        return found

    def _read_master(self, pid: int | None) -> _Process:
        found = None if pid is None else self._read_process(pid)
        return found or _Process(0, 0, 0)

    def _list(self) -> dict[int, str]:
        roles = {os.getpid(): WORKER}
        if self._is_multiprocess:
            master = os.getppid()
            roles |= {master: MASTER}
            with suppress(OSError):
                children = (self._proc / f"{master}/task/{master}/children").read_text()
                roles |= {int(pid): self._role_of(pid) for pid in children.split()}
        watcher = self._watcher
        is_here = watcher.state != "stopped" and watcher.host == socket.gethostname()
        if watcher.pid is not None and is_here:
            roles[watcher.pid] = WATCHER
        return roles

    def _role_of(self, pid: str) -> str:
        with suppress(OSError):
            if b"observatory.supervise" in (self._proc / pid / "cmdline").read_bytes():
                return SUPERVISOR
        return WORKER

    def _read_process(self, pid: int) -> _Process | None:
        try:
            text = (self._proc / f"{pid}/stat").read_text()
        except (OSError, ValueError):
            return None
        # The name before it may have blanks and brackets.
        fields = text.rpartition(")")[2].split()
        times = [int(field) for field in fields[11:15]]
        resident = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        return _Process(times[0] + times[1], times[2] + times[3], resident)

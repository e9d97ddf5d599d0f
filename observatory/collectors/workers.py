"""What all workers of a server have counted together."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from threading import Lock

from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.core import Metric

from observatory.collectors.worker_files import WorkerFiles
from observatory.metrics_folder import VARIABLE, reading


class Counted:
    """What this process has counted, which is the only one."""

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now."""
        return REGISTRY.collect()

    def collect_some(self, metrics: Iterable[Counter | Gauge]) -> Iterable[Metric]:
        """Return those of some as they are now."""
        return [family for metric in metrics for family in metric.collect()]


class CountedByWorkers(Counted):
    """Sums over the files of all workers, as of one moment."""

    def __init__(self) -> None:
        self._folder = Path(os.environ[VARIABLE])
        self._files = WorkerFiles(self._folder)
        self._lock = Lock()

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now."""
        return self._read(None)

    def collect_some(self, metrics: Iterable[Counter | Gauge]) -> Iterable[Metric]:
        """Return those of some as they are now."""
        return self._read(
            frozenset(family.name for metric in metrics for family in metric.describe())
        )

    def _read(self, names: frozenset[str] | None) -> list[Metric]:
        with self._lock, reading(self._folder):
            return list(self._files.read(names))


def make_counted(*, is_multiprocess: bool) -> Counted:
    """Return what has all that was counted.

    Args:
        is_multiprocess: Whether several workers share what they count through files.
    """
    return CountedByWorkers() if is_multiprocess else Counted()

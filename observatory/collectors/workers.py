"""What all workers of a server have counted together."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from observatory.metrics_folder import VARIABLE, reading


class WorkersCollector(Collector):
    """Sums over the files of all workers, as of one moment."""

    def __init__(self) -> None:
        self._folder = Path(os.environ[VARIABLE])
        self._files = MultiProcessCollector(None, str(self._folder))

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now."""
        with reading(self._folder):
            return list(self._files.collect())


def make_registry(*, is_multiprocess: bool) -> CollectorRegistry:
    """Return what has all that was counted.

    Args:
        is_multiprocess: Whether several workers share what they count through files.
    """
    if not is_multiprocess:
        return REGISTRY
    registry = CollectorRegistry()
    registry.register(WorkersCollector())
    return registry

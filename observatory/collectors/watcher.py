"""The watcher: whether it lives, how late it is, and what it has counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from observatory.metrics import OF_EACH_PROCESS, OF_THE_WATCHER
from observatory.store.watcher_status import Kept, WatcherStatus, lag_seconds

SERVER, WATCHER = "server", "watcher"


class WatcherCollector(Collector):
    """What the watcher says of itself.

    How late it is, nobody knows while there is none: then these have no samples.

    Args:
        status: What it says.
    """

    def __init__(self, status: WatcherStatus) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        status = self._status
        is_up = status.state != "stopped"
        yield GaugeMetricFamily(
            "observatory_watcher_up", "Whether a watcher lives.", value=int(is_up)
        )
        late: tuple[tuple[str, str, float], ...] = (
            (
                "lag_seconds",
                "For how long something has waited to be read; 0 when nothing waits.",
                lag_seconds(status),
            ),
            ("lag_bytes", "How much waits to be read.", status.waiting_bytes),
            ("waiting_files", "Files in which something waits to be read.", status.waiting_files),
        )
        for name, text, value in late:
            family = GaugeMetricFamily(f"observatory_ingest_{name}", text)
            if is_up:
                family.add_metric((), value)
            yield family


def join_counts(families: Iterable[Metric], of_watcher: dict[str, list[Kept]]) -> Iterator[Metric]:
    """Yield what a server has counted, joined with what the watcher has.

    Args:
        families: Of the server.
        of_watcher: Samples of the watcher, by the name of their family.
    """
    shared = {family.name for metric in OF_EACH_PROCESS for family in metric.describe()}
    its_own = {family.name for metric in OF_THE_WATCHER for family in metric.describe()}
    for family in families:
        kept = [Sample(*sample) for sample in of_watcher.get(family.name, ())]
        if family.name in its_own:
            family.samples = kept
        elif family.name in shared:
            family.samples = [*_mark(family.samples, SERVER), *_mark(kept, WATCHER)]
        yield family


def _mark(samples: Iterable[Sample], process: str) -> Iterator[Sample]:
    for sample in samples:
        yield sample._replace(labels={**sample.labels, "process": process})

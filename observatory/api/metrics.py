"""``/metrics`` for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

import falcon
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from observatory.api.params import NoParams, read_params
from observatory.store.database import file_sizes
from observatory.store.totals import read_totals

_INGEST = (
    ("files", "Transcript files that were read to their end."),
    ("lines", "Lines of transcripts that were read."),
    ("bytes", "Bytes of transcripts that were read."),
    ("bad_lines", "Lines of transcripts that could not be read."),
)


class ArchiveCollector(Collector):
    """What the database knows, whichever process did it."""

    def collect(self) -> Iterator[Metric]:
        """Yield the archive's metrics as they are now."""
        totals = read_totals()
        for name, text in _INGEST:
            yield CounterMetricFamily(
                f"observatory_ingest_{name}", text, value=totals[f"ingest_{name}"]
            )
        yield GaugeMetricFamily(
            "observatory_conversations", "Conversations kept.", value=totals["conversations"]
        )
        database_bytes, wal_bytes = file_sizes()
        yield GaugeMetricFamily(
            "observatory_database_size_bytes", "Size of the database file.", value=database_bytes
        )
        yield GaugeMetricFamily(
            "observatory_database_wal_size_bytes", "Size of the write-ahead log.", value=wal_bytes
        )


class Metrics:
    """``/metrics``: requests of all workers, and the archive."""

    def __init__(self, *, is_multiprocess: bool) -> None:
        self._registry = CollectorRegistry() if is_multiprocess else REGISTRY
        if is_multiprocess:
            MultiProcessCollector(self._registry)
        self._archive = CollectorRegistry(auto_describe=False)
        self._archive.register(ArchiveCollector())

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer in Prometheus's text format."""
        read_params(req, NoParams)
        resp.content_type = CONTENT_TYPE_PLAIN_0_0_4
        resp.data = generate_latest(self._registry) + generate_latest(self._archive)

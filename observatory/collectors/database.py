"""The files of the database, and how much of the write-ahead log is not in it yet."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from observatory.store.database import count_wal_pages, file_sizes


class DatabaseCollector(Collector):
    """Sizes; asked outside of transactions and of reads of one moment."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        database_bytes, wal_bytes = file_sizes()
        yield GaugeMetricFamily(
            "observatory_database_size_bytes", "Size of the database file.", value=database_bytes
        )
        yield GaugeMetricFamily(
            "observatory_database_wal_size_bytes", "Size of the write-ahead log.", value=wal_bytes
        )
        pages = GaugeMetricFamily(
            "observatory_database_wal_pages",
            "Pages in the write-ahead log that are not in the database yet.",
        )
        number = count_wal_pages()
        if number is not None:
            pages.add_metric((), number)
        yield pages

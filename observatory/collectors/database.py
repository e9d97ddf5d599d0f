"""The files of the database, the room that is left, and what the log has that they lack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from observatory.store.database import count_wal_pages, file_sizes
from observatory.store.maintenance import read_disk_space


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
        yield from _tell_room()


def _tell_room() -> Iterator[Metric]:
    free = GaugeMetricFamily(
        "observatory_filesystem_free_bytes",
        "Room for this user on the file system of the database.",
    )
    size = GaugeMetricFamily(
        "observatory_filesystem_size_bytes", "Size of the file system of the database."
    )
    with suppress(OSError):
        free_bytes, size_bytes = read_disk_space()
        free.add_metric((), free_bytes)
        size.add_metric((), size_bytes)
    yield from (free, size)

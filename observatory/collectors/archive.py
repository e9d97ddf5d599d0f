"""What the archive knows, whichever process did it."""

from __future__ import annotations

from collections.abc import Iterator
from time import time

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from observatory.store.event_notes import count_live_conversations
from observatory.store.events import read_bounds
from observatory.store.totals import read_totals
from observatory.store.webhook_deliveries import read_backlog
from observatory.timestamps import seconds_of

_COUNTERS = (
    ("ingest_files", "Transcript files that were read to their end."),
    ("ingest_lines", "Lines of transcripts that were read."),
    ("ingest_bytes", "Bytes of transcripts that were read."),
    ("ingest_bad_lines", "Lines of transcripts that could not be read."),
    ("ingest_failures", "Times that a transcript file could not be read or kept."),
    ("webhook_failed_attempts", "Times that a receiver of webhooks was not reached, or refused."),
)
_OUTCOMES = ("delivered", "dead", "dropped")


class ArchiveCollector(Collector):
    """Sums and counts that are kept in the database; a few rows are read for them."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        totals = read_totals()
        for name, text in _COUNTERS:
            yield CounterMetricFamily(f"observatory_{name}", text, value=totals[name])
        yield _gauge(
            "ingest_last_success_timestamp_seconds",
            "When something was read last, in Unix time; 0 is never.",
            totals["ingest_last_success_at"],
        )
        yield _gauge("conversations", "Conversations kept.", totals["conversations"])
        yield _gauge(
            "live_conversations",
            "Conversations in which something was said a short while ago.",
            count_live_conversations(),
        )
        oldest, latest = read_bounds()
        yield _gauge("events_kept", "Events that can be had.", latest + 1 - oldest)
        yield from _webhooks(totals)


def _webhooks(totals: dict[str, int]) -> Iterator[Metric]:
    deliveries = CounterMetricFamily(
        "observatory_webhook_deliveries",
        "Deliveries of webhooks that ended, by how.",
        labels=("outcome",),
    )
    for outcome in _OUTCOMES:
        deliveries.add_metric((outcome,), totals[f"webhook_{outcome}"])
    yield deliveries
    backlog = read_backlog()
    yield _gauge(
        "webhook_deliveries_waiting",
        "Deliveries of active webhooks that are still to be made.",
        backlog.waiting,
    )
    yield _gauge(
        "webhook_deliveries_dead", "Deliveries that were given up and are kept.", backlog.dead
    )
    age = 0.0
    if backlog.oldest_waiting_at is not None:
        age = max(0.0, time() - seconds_of(backlog.oldest_waiting_at))
    yield _gauge(
        "webhook_oldest_waiting_seconds",
        "Age of the first delivery that an active webhook waits for; 0 when none waits.",
        age,
    )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"observatory_{name}", text, value=value)

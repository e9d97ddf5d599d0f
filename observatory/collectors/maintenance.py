"""What Prometheus is told of upkeep."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from observatory.store.maintenance import list_runs
from observatory.timestamps import seconds_of


class MaintenanceCollector(Collector):
    """How upkeep went the last time, by its name."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of all upkeep that was ever done."""
        last_run = GaugeMetricFamily(
            "observatory_maintenance_last_run_timestamp_seconds",
            "When upkeep was done last, in Unix time.",
            labels=("name",),
        )
        duration = GaugeMetricFamily(
            "observatory_maintenance_duration_seconds",
            "How long the last step of upkeep took.",
            labels=("name",),
        )
        is_good = GaugeMetricFamily(
            "observatory_maintenance_good", "Whether upkeep went well: 1 or 0.", labels=("name",)
        )
        for run in list_runs():
            last_run.add_metric((run.name,), seconds_of(run.last_run_at))
            duration.add_metric((run.name,), run.duration_ms / 1000)
            is_good.add_metric((run.name,), float(run.is_good))
        yield from (last_run, duration, is_good)

"""``/metrics`` for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import falcon
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from observatory import timestamps
from observatory.api.auth import scope_of
from observatory.api.params import NoParams, read_params
from observatory.collectors.archive import ArchiveCollector
from observatory.collectors.budgets import BudgetCollector
from observatory.collectors.database import DatabaseCollector
from observatory.collectors.maintenance import MaintenanceCollector
from observatory.collectors.processes import ProcessCollector
from observatory.collectors.text import write_text
from observatory.collectors.usage import UsageCollector
from observatory.collectors.watcher import WatcherCollector, join_counts
from observatory.collectors.workers import make_counted
from observatory.metrics import end_request, tell_in_flight
from observatory.store.database import Reading, database
from observatory.store.scopes import Scope
from observatory.store.watcher_status import read_watcher_counts, read_watcher_status

MAX_PROJECTS = 20


class Metrics:
    """``/metrics``: requests of all workers, the archive, and what is there for who asks.

    Args:
        is_multiprocess: Whether several workers share their metrics through files.
        max_projects: How many projects have series of their own.
    """

    def __init__(self, *, is_multiprocess: bool, max_projects: int = MAX_PROJECTS) -> None:
        self._is_multiprocess = is_multiprocess
        self._max_projects = max_projects
        self._counted = make_counted(is_multiprocess=is_multiprocess)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer in Prometheus's text format."""
        read_params(req, NoParams)
        # Told to other workers, it would seem to go on for a second.
        end_request(id(req))
        tell_in_flight()
        resp.content_type = CONTENT_TYPE_PLAIN_0_0_4
        resp.data = write_text(self.collect(scope_of(req)))

    def collect(self, scope: Scope) -> Iterator[Metric]:
        """Yield all metrics as they are now, for who may see a part of the archive."""
        path = database.database
        status = read_watcher_status(path)
        yield from join_counts(self._counted.collect(), read_watcher_counts(path))
        with closing(Reading()):
            yield from ArchiveCollector().collect()
            yield from MaintenanceCollector().collect()
            yield from UsageCollector(scope=scope, max_projects=self._max_projects).collect()
            yield from BudgetCollector(scope=scope, moment=timestamps.present()).collect()
        yield from DatabaseCollector().collect()
        yield from WatcherCollector(status).collect()
        yield from ProcessCollector(status, is_multiprocess=self._is_multiprocess).collect()

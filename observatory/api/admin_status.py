"""``/api/admin/status``: how the server and its database are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import falcon

from observatory import __version__
from observatory.api.answers import answer
from observatory.api.auth import scope_of
from observatory.api.params import NoParams, read_params
from observatory.api.watcher_state import tell_watcher
from observatory.ingest.repricing import are_prices_applied
from observatory.store import archive_counts, maintenance, rollup_building, schema, search
from observatory.store.database import database, file_sizes
from observatory.store.locks import find_holder
from observatory.timestamps import milliseconds_between, now

_LOCKS = ("ingest", "migrate", "watch")
# Where things lie on the disk, for who sees all of them.
_PLACES = ("DB_PATH", "TRANSCRIPTS_DIR")


class AdminStatus:
    """``/api/admin/status``: read anew each time."""

    is_cached = False

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._started_at = now()

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with all that there is to tell."""
        read_params(req, NoParams)
        scope = scope_of(req)
        hidden = () if scope.is_whole else _PLACES
        answer(
            req,
            resp,
            {
                "version": __version__,
                "started_at": self._started_at,
                "uptime_seconds": milliseconds_between(self._started_at, now()) // 1000,
                "database": _tell_database(),
                "counts": archive_counts.count_everything(),
                "ingest": _tell_ingest(),
                "watcher": tell_watcher(scope),
                "locks": _tell_locks(),
                "maintenance": [run.document() for run in maintenance.list_runs()],
                "settings": {
                    name: value for name, value in self._settings.items() if name not in hidden
                },
            },
        )


def _tell_database() -> dict[str, Any]:
    size_bytes, wal_bytes = file_sizes()
    free_pages, page_size = maintenance.count_free_pages()
    disk_free, disk_total = maintenance.read_disk_space()
    return {
        "schema": schema.find_last_applied(),
        "size_bytes": size_bytes,
        "wal_bytes": wal_bytes,
        "page_size": page_size,
        "free_pages": free_pages,
        "disk_free_bytes": disk_free,
        "disk_total_bytes": disk_total,
    }


def _tell_ingest() -> dict[str, Any]:
    return {
        "last_read_at": archive_counts.find_last_reading(),
        "waiting_messages": search.count_waiting_messages(),
        "search_segments": search.count_segments(),
        "are_sums_built": rollup_building.are_built(),
        "are_prices_applied": are_prices_applied(),
    }


def _tell_locks() -> list[dict[str, str]]:
    holders = ((name, find_holder(database.database, name)) for name in _LOCKS)
    return [{"name": name, "holder": holder} for name, holder in holders if holder is not None]

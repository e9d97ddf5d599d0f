"""What clients are told of the watcher."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from observatory.store.database import database
from observatory.store.scopes import Scope
from observatory.store.watcher_status import lag_seconds, read_watcher_status


def tell_watcher(scope: Scope) -> dict[str, Any]:
    """Return what the watcher does; where transcripts lie is for who sees all of them."""
    known = read_watcher_status(database.database)
    status = {**asdict(known), "lag_seconds": lag_seconds(known)}
    if not scope.is_whole:
        status |= {"folders": [], "files": 0, "last_failure": None}
    return status

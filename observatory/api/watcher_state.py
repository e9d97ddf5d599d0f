"""What clients are told of the watcher."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from observatory.store.database import database
from observatory.store.scopes import Scope
from observatory.store.watcher_status import read_watcher_status
from observatory.timestamps import milliseconds_between, now


def tell_watcher(scope: Scope) -> dict[str, Any]:
    """Return what the watcher does; where transcripts lie is for who sees all of them."""
    status = asdict(read_watcher_status(database.database))
    change, read = status["last_change_at"], status["last_read_at"]
    is_late = bool(status["waiting_files"]) and change is not None
    status["lag_seconds"] = (
        milliseconds_between(max(filter(None, (read, change))), now()) / 1000 if is_late else 0.0
    )
    if not scope.is_whole:
        status |= {"folders": [], "files": 0, "last_failure": None}
    return status

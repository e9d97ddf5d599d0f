"""Reading what is new in transcripts on behalf of a command, and saying how far it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from observatory import timestamps
from observatory.ingest.progress import show_progress
from observatory.ingest.running import RunSummary, ingest
from observatory.ingest.stopping import StopSignals
from observatory.ingest.uploads import stored_uploads
from observatory.opening import open_database, prepare_schema
from observatory.redaction.masking import configure as configure_redaction
from observatory.settings import Settings, read_redaction_key
from observatory.store.budget_checks import check_budgets
from observatory.store.locks import held


def open_for_reading_in(settings: Settings) -> None:
    """Open the database, which is made when it is missing, for what transcripts say."""
    open_database(settings, cache_mib=48)
    prepare_schema(settings)
    configure_redaction(settings.redact_secrets, read_redaction_key(settings))


def read_new(
    settings: Settings, paths: Sequence[str] | None = None, *, wait_seconds: float
) -> tuple[RunSummary, int]:
    """Read what is new; progress and what could not be read go to standard error.

    Args:
        settings: Whose database is open.
        paths: What to look through; ``None`` is the folders of the settings, and uploads that
            wait.
        wait_seconds: How long to wait while another ingest runs.

    Returns:
        What was read, and the number of the signal that ended it, or 0.

    Raises:
        LockHeld: Another process reads.
    """
    with (
        held(settings.db_path, "ingest", wait_seconds=wait_seconds),
        StopSignals() as stop,
        show_progress(sys.stderr) as on_progress,
    ):
        if paths is None:
            # What was uploaded while another ingest ran waits there.
            folders = map(str, settings.transcripts_dirs)
            there = [path for path in folders if os.path.exists(path)]
            paths = [*there, *stored_uploads(settings.db_path)]
        summary = ingest(
            paths, on_progress=on_progress, should_stop=stop.is_requested, may_fork=True
        )
        check_budgets(timestamps.present())
    for failure in summary.failures:
        print(f"{failure.path}: {failure.reason}", file=sys.stderr)
    return summary, 0 if summary.is_complete else stop.number

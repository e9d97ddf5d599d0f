"""``observatory watch``: the watcher as a process, and what it does beside reading."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from functools import partial

from observatory.errors import LockHeld
from observatory.ingest.beside import Chore, Companion, LongChore
from observatory.ingest.stopping import StopSignals
from observatory.ingest.watching import watch
from observatory.live import upkeep
from observatory.maintenance import retention
from observatory.maintenance import upkeep as maintenance
from observatory.memory import keep_memory_flat
from observatory.opening import open_database, prepare_schema
from observatory.redaction.masking import configure as configure_redaction
from observatory.settings import Settings, read_redaction_key
from observatory.store.locks import WATCH_LOCK, held
from observatory.supervise import EXIT_LOCKED, end_with_parent
from observatory.webhooks.dispatching import run_dispatcher


def list_chores() -> tuple[Chore, ...]:
    """Return what is done between readings."""
    return (
        Chore("conversation_ends", upkeep.END_SECONDS, upkeep.end_quiet_conversations),
        Chore("analytics_updates", upkeep.ANALYTICS_SECONDS, upkeep.AnalyticsNotes()),
        Chore("budgets", upkeep.BUDGET_SECONDS, upkeep.BudgetChecks()),
        Chore("checkpoints", upkeep.CHECKPOINT_SECONDS, upkeep.CheckpointCount()),
        Chore("event_expiry", upkeep.EXPIRE_SECONDS, upkeep.let_go_of_old_events),
    )


def list_maintenance(settings: Settings) -> tuple[Chore | LongChore, ...]:
    """Return what is done between readings to keep the database in order."""
    checkpoint_seconds = settings.db_wal_checkpoint_interval_ms / 1000
    keeping = retention.Retention(days=settings.retention_days, trash_days=settings.trash_days)
    expiry = maintenance.Expiry(audit_log_days=settings.audit_log_days)
    return (
        Chore("checkpoint", checkpoint_seconds, maintenance.Checkpoints()),
        Chore("expiry", maintenance.EXPIRE_SECONDS, expiry, first_seconds=5.0),
        LongChore("statistics", maintenance.STATISTICS_SECONDS, maintenance.Statistics()),
        LongChore("search_merge", maintenance.MERGE_SECONDS, maintenance.SearchMerges()),
        LongChore("quick_check", maintenance.CHECK_SECONDS, maintenance.DailyCheck()),
        LongChore(
            "retention", retention.RETENTION_SECONDS, keeping, first_seconds=retention.FIRST_SECONDS
        ),
    )


def list_companions(settings: Settings) -> tuple[Companion, ...]:
    """Return what runs beside reading."""
    networks = settings.webhook_allowed_networks
    return (Companion("webhooks", partial(run_dispatcher, allowed_networks=networks)),)


def add_watch_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    watching = commands.add_parser(
        "watch", help="read what is new in transcripts, and follow them from then on"
    )
    _add_arguments(watching)
    watching.set_defaults(command=run_watch)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command alone."""
    parser = argparse.ArgumentParser(prog="observatory watch")
    _add_arguments(parser)
    return parser


def _add_arguments(watching: argparse.ArgumentParser) -> None:
    watching.add_argument(
        "--parent",
        type=int,
        metavar="PID",
        help="end when this process, which started it, has ended",
    )


def run_watch(options: argparse.Namespace, settings: Settings) -> int:
    """Follow the folders of the settings until a signal comes."""
    paths = [str(folder) for folder in settings.transcripts_dirs]
    keep_memory_flat()
    open_database(settings, cache_mib=64)
    prepare_schema(settings)
    configure_redaction(settings.redact_secrets, read_redaction_key(settings))
    if options.parent is not None:
        end_with_parent()
    with StopSignals() as stop:

        def should_stop() -> bool:
            is_alone = options.parent is not None and os.getppid() != options.parent
            return is_alone or stop.is_requested()

        try:
            with held(settings.db_path, WATCH_LOCK):
                missing = [path for path in paths if not os.path.exists(path)]
                if missing:
                    _say(f"No transcripts in {', '.join(missing)} yet.")
                watch(
                    paths,
                    database_path=settings.db_path,
                    mode=settings.watch_mode,
                    should_stop=should_stop,
                    chores=(*list_chores(), *list_maintenance(settings)),
                    companions=list_companions(settings),
                )
        except LockHeld as error:
            if not error.path.endswith(f".{WATCH_LOCK}.lock"):
                raise
            _say(f"{error.holder} watches already; it holds {error.path}.")
            return EXIT_LOCKED
    return 0


def _say(line: str) -> None:
    with suppress(OSError):
        # The terminal may be closed.
        print(line, file=sys.stderr, flush=True)

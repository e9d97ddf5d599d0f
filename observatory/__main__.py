"""The command line: ``observatory serve``, ``watch``, ``ingest`` and the others."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

import orjson

from observatory import __version__
from observatory.account_commands import add_commands
from observatory.arguments import add_wait
from observatory.backup_commands import add_backup_commands
from observatory.catching_up import open_for_reading_in, read_new
from observatory.compact_command import add_compact_command
from observatory.doctor_command import add_doctor_command, run_doctor
from observatory.endings import EXIT_FAILED, end_well, open_missing_streams, run_with_settings
from observatory.errors import SettingsError
from observatory.export_command import add_export_command
from observatory.import_command import add_import_command
from observatory.ingest.progress import show_progress, show_scan, show_summary
from observatory.ingest.running import RunSummary
from observatory.ingest.secret_scan import scan_secrets
from observatory.ingest.stopping import StopSignals
from observatory.listening import is_taken
from observatory.opening import (
    build_missing_rollups,
    check_exposure,
    open_database,
    prepare_schema,
)
from observatory.price_commands import add_price_commands
from observatory.purge_command import add_purge_command
from observatory.settings import Settings, read_redaction_key, read_secret
from observatory.store import schema
from observatory.store.database import (
    close,
    vacuum,
)
from observatory.store.locks import held
from observatory.store.maintenance import check_room_to_compact
from observatory.tail_command import add_tail_command
from observatory.usage_command import add_usage_command
from observatory.verify_command import add_verify_command
from observatory.watch_command import add_watch_command

EXIT_USAGE = 2
EXIT_PARTIAL = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    open_missing_streams()
    options = _parser().parse_args(arguments)

    def run() -> int:
        if "takes_wrong_settings" in options:
            return run_doctor(options)
        command: Callable[[argparse.Namespace, Settings], int] = options.command
        return run_with_settings(command, options)

    return end_well(run)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="observatory",
        description="Keeps what coding agents did, and answers questions about it.",
        epilog="Settings come from the environment and .env; see docs/configuration.md.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve the archive over HTTP")
    serve.add_argument(
        "--no-ingest", action="store_true", help="do not read transcripts while serving"
    )
    serve.set_defaults(command=run_serve)

    add_watch_command(commands)

    reading = commands.add_parser("ingest", help="read what is new in transcripts")
    reading.add_argument(
        "paths", nargs="*", metavar="PATH", help="folders and files; by default TRANSCRIPTS_DIR"
    )
    reading.add_argument("--json", action="store_true", help="print the summary as one JSON line")
    add_wait(reading, what="another ingest")
    reading.set_defaults(command=run_ingest)

    secrets = commands.add_parser("secrets", help="mask or flag secrets that are stored already")
    secrets.add_argument("action", choices=("scan",), help="scan: look through the whole archive")
    secrets.add_argument("--json", action="store_true", help="print the summary as one JSON line")
    add_wait(secrets)
    secrets.add_argument(
        "--vacuum",
        action="store_true",
        help="write the file anew after that, for free space in it holds older copies of texts;"
        " takes as much room again for a while, and keeps writers waiting",
    )
    secrets.set_defaults(command=run_secrets)

    migrate = commands.add_parser("migrate", help="bring the database's schema up to date")
    kinds = migrate.add_mutually_exclusive_group()
    kinds.add_argument("--status", action="store_true", help="list migrations, change nothing")
    kinds.add_argument("--dry-run", action="store_true", help="say what would be applied")
    migrate.set_defaults(command=run_migrate)
    add_price_commands(commands)
    add_purge_command(commands)
    add_doctor_command(commands)
    add_verify_command(commands)
    add_backup_commands(commands)
    add_export_command(commands)
    add_import_command(commands)
    add_compact_command(commands)
    add_tail_command(commands)
    add_usage_command(commands)
    add_commands(commands)
    return parser


def run_migrate(options: argparse.Namespace, settings: Settings) -> int:
    """Apply pending migrations, or say which there are."""
    if (options.status or options.dry_run) and not settings.db_path.exists():
        print(f"{settings.db_path} does not exist yet; `observatory migrate` makes it.")
        return 0
    open_database(settings)
    if options.status or options.dry_run:
        status = schema.read_status()
        for name in status.applied:
            note = "applied by a newer version" if name in status.unknown else "applied"
            if options.status:
                print(f"{name}  {note}")
        for name in status.pending:
            print(f"{name}  {'pending' if options.status else 'would be applied'}")
        if status.unknown:
            schema.check_current()
        if options.dry_run and not status.pending:
            print("The schema is current.")
        return 0
    for name in schema.migrate():
        print(f"{name}  applied")
    build_missing_rollups(settings)
    print(f"{settings.db_path}: the schema is current.")
    return 0


def run_ingest(options: argparse.Namespace, settings: Settings) -> int:
    """Read what is new in transcripts."""
    paths = options.paths or [str(folder) for folder in settings.transcripts_dirs]
    missing = [path for path in paths if not os.path.exists(path)]
    if missing and options.paths:
        print(f"There is no {', '.join(missing)}.", file=sys.stderr)
        return EXIT_USAGE
    if missing:
        print(f"No transcripts in {', '.join(missing)} yet.", file=sys.stderr)
    open_for_reading_in(settings)
    summary, ended_by = read_new(settings, options.paths or None, wait_seconds=options.wait)
    _report(summary, as_json=options.json)
    if not summary.is_complete:
        return 128 + ended_by
    return EXIT_PARTIAL if summary.has_failures else 0


def run_secrets(options: argparse.Namespace, settings: Settings) -> int:
    """Mask or flag the secrets in what is stored, as REDACT_SECRETS says."""
    if settings.redact_secrets == "off":
        problem = "is off, so no secrets are looked for; set it to mask or flag"
        raise SettingsError({"REDACT_SECRETS": problem})
    open_for_reading_in(settings)
    with (
        held(settings.db_path, "ingest", wait_seconds=options.wait),
        StopSignals() as stop,
        show_progress(sys.stderr) as on_progress,
    ):
        summary = scan_secrets(on_progress=on_progress, should_stop=stop.is_requested)
        if options.vacuum and summary.is_complete:
            check_room_to_compact()
            vacuum()
            summary.is_vacuumed = True
    if options.json:
        print(orjson.dumps(summary.as_dict()).decode())
    else:
        show_scan(summary, sys.stdout)
    sys.stdout.flush()
    return 0 if summary.is_complete else 128 + stop.number


def _report(summary: RunSummary, *, as_json: bool) -> None:
    if as_json:
        print(orjson.dumps(summary.as_dict()).decode())
    else:
        show_summary(summary, sys.stdout)
    sys.stdout.flush()


def run_serve(options: argparse.Namespace, settings: Settings) -> int:
    """Become gunicorn, with the schema checked and the secrets made."""
    open_database(settings)
    prepare_schema(settings)
    read_secret(settings)
    read_redaction_key(settings)
    listening = [("PORT", settings.host, settings.port)]
    if settings.metrics_port:
        listening.append(("METRICS_PORT", settings.metrics_host, settings.metrics_port))
    check_exposure([host for _, host, _ in listening])
    close()
    for name, host, port in listening:
        if is_taken(host, port):
            print(
                f"Something listens on {host}:{port} already;"
                f" end it, or set {name} to another number.",
                file=sys.stderr,
            )
            return EXIT_FAILED
    environment = dict(os.environ)
    if options.no_ingest:
        environment["INGEST_ON_START"] = "false"
    program = [sys.executable, "-m", "gunicorn", "-c", "python:observatory.gunicorn_config"]
    sys.stderr.flush()
    return os.execve(sys.executable, [*program, "observatory.wsgi:application"], environment)


if __name__ == "__main__":
    sys.exit(main())

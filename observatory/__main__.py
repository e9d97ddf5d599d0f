"""The command line: ``observatory serve``, ``watch``, ``ingest`` and the others."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence

import orjson

from observatory import __version__
from observatory.arguments import add_wait
from observatory.catching_up import open_for_reading_in, read_new
from observatory.endings import EXIT_FAILED, end_well, open_missing_streams, run_with_settings
from observatory.errors import SettingsError
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
from observatory.settings import Settings, read_redaction_key, read_secret
from observatory.store import schema
from observatory.store.database import (
    close,
    vacuum,
)
from observatory.store.locks import held
from observatory.store.maintenance import check_room_to_compact

EXIT_USAGE = 2
EXIT_PARTIAL = 3
# Commands of other modules: the module, and what adds them. Only that of the command at hand is
# loaded, for all of them take as long as an ingest of 5 MB, and 14 MiB.
_MODULES = {
    "watch": ("observatory.watch_command", "add_watch_command"),
    "prices": ("observatory.price_commands", "add_price_commands"),
    "purge": ("observatory.purge_command", "add_purge_command"),
    "doctor": ("observatory.doctor_command", "add_doctor_command"),
    "verify": ("observatory.verify_command", "add_verify_command"),
    "backup": ("observatory.backup_commands", "add_backup_commands"),
    "restore": ("observatory.backup_commands", "add_backup_commands"),
    "export": ("observatory.export_command", "add_export_command"),
    "import": ("observatory.import_command", "add_import_command"),
    "compact": ("observatory.compact_command", "add_compact_command"),
    "tail": ("observatory.tail_command", "add_tail_command"),
    "usage": ("observatory.usage_command", "add_usage_command"),
    "user": ("observatory.account_commands", "add_commands"),
    "key": ("observatory.account_commands", "add_commands"),
    "link": ("observatory.account_commands", "add_commands"),
    "rotate-secret": ("observatory.account_commands", "add_commands"),
}
_OWN_COMMANDS = ("serve", "ingest", "secrets", "migrate")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    open_missing_streams()
    given = sys.argv[1:] if arguments is None else arguments
    options = _parser(given[0] if given else None).parse_args(given)

    def run() -> int:
        if "takes_wrong_settings" in options:
            takes_any: Callable[[argparse.Namespace], int] = options.command
            return takes_any(options)
        command: Callable[[argparse.Namespace, Settings], int] = options.command
        return run_with_settings(command, options)

    return end_well(run)


def _parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return what reads a command line.

    Args:
        command: The one that it is for, if it is known; the parser need not have the others.
    """
    parser = argparse.ArgumentParser(
        prog="observatory",
        description="Keeps what coding agents did, and answers questions about it.",
        epilog="Settings come from the environment and .env; see docs/configuration.md.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    if command not in _MODULES:
        _add_own_commands(commands)
    if command not in _OWN_COMMANDS:
        wanted = [_MODULES[command]] if command in _MODULES else _MODULES.values()
        for module, name in dict.fromkeys(wanted):
            getattr(importlib.import_module(module), name)(commands)
    return parser


def _add_own_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = commands.add_parser("serve", help="serve the archive over HTTP")
    serve.add_argument(
        "--no-ingest", action="store_true", help="do not read transcripts while serving"
    )
    serve.set_defaults(command=run_serve)

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

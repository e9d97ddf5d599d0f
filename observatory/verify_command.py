"""``observatory verify``: compares the database with itself, and with the transcripts."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from observatory.ingest.progress import show_progress
from observatory.ingest.running import Progress
from observatory.ingest.uploads import stored_uploads
from observatory.ingest.verifying import TranscriptReport, verify_transcripts
from observatory.live.terminal_text import clean
from observatory.looking import look_at
from observatory.opening import build_missing_rollups, open_existing_database
from observatory.redaction.masking import configure as configure_redaction
from observatory.settings import Settings
from observatory.store import schema
from observatory.store.database import close, one_moment
from observatory.store.locks import held
from observatory.store.rollup_building import (
    RollupDifferences,
    are_built,
    forget_rollups,
    verify_rollups,
)
from observatory.store.totals import read_totals
from observatory.store.verifying import Check, Tell, prepare_verifying, verify_database

_EXIT_DIFFERENT = 1


def add_verify_command(commands: Any) -> None:
    """Add this command to those of the command line."""
    text = "compare what is kept twice or counted with what it is made of, and with transcripts"
    verify = commands.add_parser("verify", help=text, description=text)
    verify.add_argument(
        "--rollups", action="store_true", help="only the sums that reports are read from"
    )
    verify.add_argument(
        "--transcripts", action="store_true", help="only what was read against what is there"
    )
    verify.add_argument(
        "--repair", action="store_true", help="with --rollups: build them anew before that"
    )
    verify.add_argument("--json", action="store_true", help="print JSON")
    verify.set_defaults(command=run_verify, parser=verify)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of the sums; ``repaired`` is of how many conversations they were built."""

    is_built: bool
    conversations: int
    differences: RollupDifferences
    repaired: int | None

    @property
    def is_equal(self) -> bool:
        """Whether reports can be trusted."""
        return self.is_built and self.differences.are_none

    def document(self) -> dict[str, Any]:
        """Return it by name, for JSON."""
        return {
            "is_built": self.is_built,
            "is_equal": self.is_equal,
            "checked": self.differences.checked,
            "conversations": self.conversations,
            "different_parts": self.differences.parts,
            "different_sums": self.differences.sums,
            "different_places": self.differences.places,
            "repaired_conversations": self.repaired,
        }


@dataclass(slots=True)
class Findings:
    """What was looked at; ``None`` is what nobody asked for."""

    checks: list[Check] | None = None
    rollups: Verdict | None = None
    transcripts: TranscriptReport | None = None

    @property
    def are_none(self) -> bool:
        """Whether nothing is wrong."""
        return (
            not any(check.wrong for check in self.checks or ())
            and (self.rollups is None or self.rollups.is_equal)
            and (self.transcripts is None or self.transcripts.is_equal)
        )

    def document(self) -> dict[str, Any]:
        """Return them by name, for JSON."""
        told: dict[str, Any] = {}
        if self.checks is not None:
            told["database"] = {
                "is_sound": not any(check.wrong for check in self.checks),
                "checks": [asdict(check) for check in self.checks],
            }
        if self.rollups is not None:
            told["rollups"] = self.rollups.document()
        if self.transcripts is not None:
            told["transcripts"] = self.transcripts.as_dict()
        return told


def run_verify(options: argparse.Namespace, settings: Settings) -> int:
    """Compare, and say what differs and what to do."""
    if options.repair and not options.rollups:
        options.parser.error("--repair builds the sums anew: it takes --rollups")
    repaired = _repair(settings) if options.repair else None
    # Secrets are not compared, and a key is not to be made.
    configure_redaction("off", "")

    def work() -> Findings:
        schema.check_current()
        with _telling() as tell:
            return _find(options, settings, tell, repaired=repaired)

    found = look_at(settings.db_path, work)
    if options.json:
        print(orjson.dumps(found.document()).decode())
    else:
        print("\n".join(_describe_all(found)))
    sys.stdout.flush()
    return 0 if found.are_none else _EXIT_DIFFERENT


def _find(
    options: argparse.Namespace, settings: Settings, tell: Tell, *, repaired: int | None
) -> Findings:
    """Return what is asked for, all of one moment."""
    found = Findings()
    is_all = not (options.rollups or options.transcripts)
    if is_all:
        prepare_verifying()
    with one_moment():
        if is_all:
            found.checks = list(verify_database(tell))
        if options.rollups:
            found.rollups = Verdict(
                is_built=are_built(),
                conversations=read_totals()["conversations"],
                differences=verify_rollups(),
                repaired=repaired,
            )
        if options.transcripts:
            folders = [str(path) for path in settings.transcripts_dirs if os.path.exists(path)]
            found.transcripts = verify_transcripts(
                [*folders, *stored_uploads(settings.db_path)],
                database_path=str(settings.db_path),
                tell=tell,
            )
    return found


@contextmanager
def _telling() -> Iterator[Tell]:
    """Yield what shows on standard error how far a check is."""
    with show_progress(sys.stderr) as show:

        def tell(stage: str, done: int, total: int) -> None:
            # The terminal may be closed.
            with suppress(OSError):
                show(Progress(done, total, stage))

        yield tell


def _repair(settings: Settings) -> int:
    """Build the sums anew and return of how many conversations."""
    open_existing_database(settings)
    # Who builds them just now ends first; whoever comes between goes on with what is begun here.
    with held(settings.db_path, "migrate", wait_seconds=schema.LOCK_WAIT_SECONDS):
        forget_rollups()
    build_missing_rollups(settings)
    number = read_totals()["conversations"]
    close()
    return number


def _describe_all(found: Findings) -> Iterator[str]:
    """Yield what is to be said, in lines."""
    for check in found.checks or ():
        yield from _describe_check(check)
    if found.checks is not None and found.are_none:
        yield "Nothing is wrong with the database."
    if found.rollups is not None:
        yield from _describe_rollups(found.rollups)
    if found.transcripts is not None:
        yield from _describe_transcripts(found.transcripts)


def _describe_check(check: Check) -> Iterator[str]:
    if not check.wrong:
        yield f"ok     {check.name}: {check.checked:,} compared"
        return
    yield f"WRONG  {check.name}: {check.wrong:,} of {check.checked:,}"
    for example in check.examples:
        yield f"         {clean(example)}"
    if check.mend:
        yield f"       {check.mend}"


def _describe_transcripts(report: TranscriptReport) -> Iterator[str]:
    yield (
        f"Read {report.files:,} transcripts with {report.messages:,} messages anew:"
        f" {report.equal:,} are in the archive as they are, {report.different:,} differ,"
        f" {report.unread:,} wait to be read, {report.failed:,} can not be read."
    )
    for title, paths, mend in (
        (
            "Differ",
            report.differences,
            "POST /api/files/ID/reprocess reads one of them from its start.",
        ),
        ("Not read yet", report.unread_files, "`observatory ingest` reads them."),
        ("Can not be read", report.failed_files, "Let this user read them."),
    ):
        if paths:
            yield f"{title}: {mend}"
            yield from (f"  {clean(path)}" for path in paths)
    if report.gone:
        yield f"{report.gone:,} more are gone, and kept in the archive."
    if report.unsure:
        yield f"{report.unsure:,} changed while they were compared; run again."


def _describe_rollups(verdict: Verdict) -> Iterator[str]:
    """Yield what is to be said of a verdict, in lines."""
    if verdict.repaired is not None:
        yield f"Built the sums of {verdict.repaired:,} conversations anew."
    found = verdict.differences
    compared = (
        f"Counted anew and compared {found.checked:,} sums,"
        f" of {verdict.conversations:,} conversations:"
    )
    if not verdict.is_built:
        yield "The sums are not built yet; `observatory migrate` builds them, as does any start."
    elif verdict.is_equal:
        yield f"{compared} all are equal."
    else:
        yield (
            f"{compared} {found.parts:,} of single conversations and {found.sums:,} over several"
            f" differ, {found.places:,} conversations count for another project than theirs."
            " `observatory verify --rollups --repair` builds them anew."
        )

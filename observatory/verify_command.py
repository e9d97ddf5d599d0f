"""``observatory verify``: counts again what is kept counted, and compares."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Any

import orjson

from observatory.opening import build_missing_rollups, open_existing_database
from observatory.settings import Settings
from observatory.store import schema
from observatory.store.locks import held
from observatory.store.rollup_building import (
    RollupDifferences,
    are_built,
    forget_rollups,
    verify_rollups,
)
from observatory.store.totals import read_totals

_EXIT_DIFFERENT = 1


def add_verify_command(commands: Any) -> None:
    """Add this command to those of the command line."""
    text = "compare what is kept counted with what it is counted of"
    verify = commands.add_parser("verify", help=text, description=text)
    verify.add_argument(
        "--rollups", action="store_true", required=True, help="the sums that reports are read from"
    )
    verify.add_argument("--repair", action="store_true", help="build them anew before that")
    verify.add_argument("--json", action="store_true", help="print JSON")
    verify.set_defaults(command=run_verify)


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


def run_verify(options: argparse.Namespace, settings: Settings) -> int:
    """Compare the sums for reports with a recount."""
    open_existing_database(settings)
    repaired = _repair(settings) if options.repair else None
    verdict = Verdict(
        is_built=are_built(),
        conversations=read_totals()["conversations"],
        differences=verify_rollups(),
        repaired=repaired,
    )
    if options.json:
        print(orjson.dumps({"rollups": verdict.document()}).decode())
    else:
        print("\n".join(_describe(verdict)))
    sys.stdout.flush()
    return 0 if verdict.is_equal else _EXIT_DIFFERENT


def _repair(settings: Settings) -> int:
    """Build the sums anew and return of how many conversations."""
    # Who builds them just now ends first; whoever comes between goes on with what is begun here.
    with held(settings.db_path, "migrate", wait_seconds=schema.LOCK_WAIT_SECONDS):
        forget_rollups()
    build_missing_rollups(settings)
    return read_totals()["conversations"]


def _describe(verdict: Verdict) -> list[str]:
    """Return what is to be said of a verdict, in lines."""
    lines = []
    if verdict.repaired is not None:
        lines.append(f"Built the sums of {verdict.repaired:,} conversations anew.")
    found = verdict.differences
    compared = (
        f"Counted anew and compared {found.checked:,} sums,"
        f" of {verdict.conversations:,} conversations:"
    )
    if not verdict.is_built:
        lines.append(
            "The sums are not built yet; `observatory migrate` builds them, as does any start."
        )
    elif verdict.is_equal:
        lines.append(f"{compared} all are equal.")
    else:
        lines.append(
            f"{compared} {found.parts:,} of single conversations and {found.sums:,} over several"
            f" differ, {found.places:,} conversations count for another project than theirs."
            " `observatory verify --rollups --repair` builds them anew."
        )
    return lines

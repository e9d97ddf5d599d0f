"""Arguments that several commands take."""

from __future__ import annotations

import argparse
from datetime import date


def seconds(text: str) -> float:
    """Return a time to wait, which has an end."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise ValueError(text)
    return number


def add_wait(parser: argparse.ArgumentParser, *, what: str = "an ingest") -> None:
    """Let a command wait for another process that reads in, or writes as one does."""
    parser.add_argument(
        "--wait",
        type=seconds,
        default=0.0,
        metavar="SECONDS",
        help=f"how long to wait while {what} runs",
    )


def day(text: str) -> str:
    """Return a day, ``YYYY-MM-DD``."""
    try:
        # Python reads 20260131 and 2026-W05-6, too.
        if date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text} is no day such as 2026-01-31")

"""How far an ingest is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from observatory.ingest.running import Progress, RunSummary
from observatory.ingest.secret_scan import ScanSummary

_SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def show_progress(stream: TextIO) -> Iterator[Callable[[Progress], None]]:
    """Yield a function that shows progress on a stream."""
    if not stream.isatty():
        yield _line_printer(stream)
        return
    # For terminals only: rich would be 6 MiB of each process that lives long.
    from observatory.ingest.progress_bar import show_bar

    with show_bar(stream) as update:
        yield update


def _line_printer(stream: TextIO) -> Callable[[Progress], None]:
    last = time.monotonic()

    def update(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last < _SECONDS_BETWEEN_LINES or not progress.total:
            return
        last = time.monotonic()
        share = 100 * progress.done / progress.total
        print(f"{progress.stage} {share:.0f}%", file=stream, flush=True)

    return update


def show_summary(summary: RunSummary, stream: TextIO) -> None:
    """Print what a run read, for people."""
    if not summary.is_complete:
        print("Stopped; run again to go on from here.", file=stream)
    print(
        f"Read {summary.files:,} files, {summary.lines:,} lines"
        f" ({summary.bad_lines:,} bad, {summary.unchanged_files:,} files unchanged)"
        f" in {summary.seconds:.1f} s, {summary.mb_per_second:.1f} MB/s.",
        file=stream,
    )
    tokens = sum(summary.tokens.values())
    print(
        f"New: {summary.messages:,} messages in {summary.conversations:,} conversations,"
        f" {summary.tool_uses:,} tool uses, {tokens:,} tokens,"
        f" ${summary.cost_microdollars / 1e6:,.2f}.",
        file=stream,
    )
    if summary.has_failures:
        print(
            f"Not read: {summary.failed_files:,} files (see /api/files)"
            f" and {summary.failed_folders:,} other paths; the next run tries again.",
            file=stream,
        )


def show_scan(summary: ScanSummary, stream: TextIO) -> None:
    """Print what a scan for secrets found, for people."""
    if not summary.is_complete:
        print("Stopped; run again to go on from here.", file=stream)
    print(
        f"Looked at {summary.messages:,} messages and {summary.conversations:,} conversations"
        f" in {summary.seconds:.1f} s.",
        file=stream,
    )
    found = ", ".join(f"{times:,} {kind}" for kind, times in sorted(summary.found.items()))
    print(f"Found: {found or 'nothing'}.", file=stream)
    if summary.mode == "mask":
        print(
            f"Masked in {summary.changed_messages:,} messages"
            f" and {summary.changed_conversations:,} conversations.",
            file=stream,
        )
        if summary.is_complete and not summary.is_vacuumed and summary.has_masked:
            print(
                "Free space in the file may hold older copies of it; --vacuum writes it anew.",
                file=stream,
            )
    if not summary.is_log_empty:
        print(
            "The write-ahead log still has some of it, as somebody was reading; run again.",
            file=stream,
        )

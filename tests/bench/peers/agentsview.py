"""agentsview reads the same corpus into a database of its own, in turns with us."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Figure, Target, make_figure
from tests.bench.peers.installing import VERSIONS, install_from_pypi, make_env
from tests.bench.processes import Run, run_to_end
from tests.bench.run import MEBIBYTE, Bench

NAME = "agentsview"
_TIMES_AS_FAST = 1.2


def measure_agentsview(bench: Bench) -> Iterator[Figure]:
    """Yield how fast each reads all, how fast nothing new, and what each takes up."""
    program = install_from_pypi(NAME)
    folder = bench.folder / NAME
    megabytes = bench.totals.source_bytes / 1e6
    ours: list[Run] = []
    theirs: list[Run] = []
    our_again: list[float] = []
    their_again: list[float] = []
    for _ in range(bench.sizes.rounds):
        ours.append(bench.make_archive()[0])
        our_again.append(bench.ingest([bench.transcripts], log="again")[0].seconds)
        shutil.rmtree(folder, ignore_errors=True)
        theirs.append(_sync(bench, program, folder))
        their_again.append(_sync(bench, program, folder).seconds)
    label = f"beside {NAME} {VERSIONS[NAME]}"
    yield make_figure(
        f"ingest, {label}",
        [megabytes / run.seconds for run in ours],
        "MB/s",
        floors=[megabytes / run.seconds for run in theirs],
        target=Target(at_least=_TIMES_AS_FAST, of_ratio=True),
    )
    yield make_figure(f"unchanged again, {label}", our_again, "s", floors=their_again)
    yield make_figure(
        f"ingest, peak RSS, {label}",
        [run.peak_rss_bytes / MEBIBYTE for run in ours],
        "MiB",
        floors=[run.peak_rss_bytes / MEBIBYTE for run in theirs],
    )
    yield Figure(
        f"database / source, {label}; ours searches tool results, too",
        bench.database.stat().st_size / bench.totals.source_bytes,
        "",
        floor=(folder / "data" / "sessions.db").stat().st_size / bench.totals.source_bytes,
    )


def _sync(bench: Bench, program: Path, folder: Path) -> Run:
    """Let it read what is new, once, without a server that stays."""
    env = make_env(
        folder / "home",
        AGENTSVIEW_DATA_DIR=str(folder / "data"),
        AGENTSVIEW_NO_DAEMON="1",
        AGENTSVIEW_TELEMETRY_ENABLED="false",
        AGENTSVIEW_DISABLE_UPDATE_CHECK="1",
        CLAUDE_PROJECTS_DIR=str(bench.transcripts),
    )
    return run_to_end([str(program), "sync"], env=env, log=bench.folder / f"{NAME}.log")

"""How fast a corpus is read, beside what parsing and inserting alone take, in turns with both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from tests.bench.figures import Figure, Target, make_figure
from tests.bench.floor import measure_inserting, measure_parsing
from tests.bench.run import MEBIBYTE, Bench
from tests.bench.transcripts import Totals

_TOKEN_KINDS = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
)


def measure_ingest(bench: Bench) -> Iterator[Figure]:
    """Read the whole corpus into a new database, then look at it again unchanged."""
    megabytes = bench.totals.source_bytes / 1e6
    runs, summaries, parsing, inserting = [], [], [], []
    for _ in range(bench.sizes.rounds):
        parsing.append(measure_parsing(bench.transcripts))
        run, summary = bench.make_archive()
        runs.append(run)
        summaries.append(summary)
        copy = bench.folder / "inserted.db"
        inserting.append(megabytes / measure_inserting(bench.database, copy))
    yield make_figure("orjson parses the corpus", parsing, "MB/s")
    yield make_figure("SQLite inserts its rows, without search index", inserting, "MB/s")
    yield make_figure(
        "ingest, all with search index",
        [megabytes / run.seconds for run in runs],
        "MB/s",
        floors=parsing,
        target=Target(at_least=30),
    )
    yield make_figure(
        "ingest, rows visible",
        [megabytes / summary["rows_seconds"] for summary in summaries],
        "MB/s",
        floors=inserting,
        target=Target(at_least=60),
    )
    yield make_figure("ingest, per CPU second", [megabytes / run.cpu_seconds for run in runs], "MB")
    yield make_figure(
        "ingest, messages", [summaries[0]["messages"] / run.seconds for run in runs], "/s"
    )
    yield make_figure(
        "ingest, peak RSS",
        [run.peak_rss_bytes / MEBIBYTE for run in runs],
        "MiB",
        target=Target(at_most=200),
    )
    wal = bench.database.with_name("observatory.db-wal")
    size = bench.database.stat().st_size + (wal.stat().st_size if wal.exists() else 0)
    yield Figure(
        "database / source", size / bench.totals.source_bytes, "", target=Target(at_most=0.9)
    )
    yield from _check_counts(summaries[-1], bench.totals)
    bench.details["ingest"] = summaries[-1]
    yield from _measure_again(bench)


def _measure_again(bench: Bench) -> Iterator[Figure]:
    """Yield what it takes to see that nothing has changed."""
    again = [bench.ingest([bench.transcripts], log="reingest") for _ in range(bench.sizes.rounds)]
    yield make_figure("unchanged re-ingest, process", [run.seconds for run, _ in again], "s")
    yield make_figure(
        "unchanged re-ingest, per 600 files",
        [summary["seconds"] * 600 / bench.totals.files for _, summary in again],
        "s",
        target=Target(at_most=0.1),
    )


def _check_counts(summary: Mapping[str, Any], totals: Totals) -> Iterator[Figure]:
    """What the product counted, beside what the generator wrote: equal, or the rest is moot."""
    tokens, written = summary["tokens"], asdict(totals)
    for kind in _TOKEN_KINDS:
        yield Figure(
            f"ingest, {kind.replace('_', ' ')}",
            tokens.get(kind, 0),
            "",
            floor=written[kind],
            target=Target(at_least=1, at_most=1, of_ratio=True),
        )
    yield Figure("ingest, bad lines", summary["bad_lines"], "", target=Target(at_most=0))

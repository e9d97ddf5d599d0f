"""Measure the product on a corpus of its own and compare it with what the machine can do.

python -m tests.bench [--megabytes 200] [--seconds 5] [--quick] [--live] [--output FILE]
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import orjson

from tests.bench import analytics, corpus, live, stages
from tests.bench.figures import Figure, format_table
from tests.bench.floor import is_product_there, measure_parsing
from tests.bench.load import LoadFailed
from tests.bench.machine import describe_machine, list_versions, read_load_average
from tests.bench.processes import REPOSITORY, ProcessFailed
from tests.bench.transcripts import Totals

_BUILD = REPOSITORY / "build" / "bench"
_QUICK_MEGABYTES = 5
_CONNECTIONS = (1, 50, 1_000)
_REPORTED_MESSAGES = 200_000


def main(arguments: list[str]) -> int:
    """Measure, print the table, write the JSON; 0 even when a target is missed."""
    options = _read_options(arguments)
    started_at = datetime.now(UTC)
    load_before = read_load_average()
    bench = _prepare(options)
    figures: list[Figure] = []
    failure = None
    try:
        for figure in _measure(bench):
            figures.append(figure)
            print(f"measured: {figure.name}", file=sys.stderr)
    except (ProcessFailed, LoadFailed, subprocess.TimeoutExpired) as error:
        failure = str(error)
    output = options.output or _BUILD / f"{started_at:%Y-%m-%dT%H-%M-%S}.json"
    report = {
        "date": started_at.isoformat(timespec="seconds"),
        "seed": options.seed,
        "megabytes": options.megabytes,
        "seconds_per_load": options.seconds,
        "machine": describe_machine(),
        "versions": list_versions(),
        "load_average": {"before": load_before, "after": read_load_average()},
        "corpus": asdict(bench.totals),
        "figures": [figure.as_dict() for figure in figures],
        "details": bench.details,
        "failure": failure,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    print(format_table(figures))
    print(f"\n{_summarise(figures)}; written to {output}")
    if failure:
        print(f"stopped early: {failure}", file=sys.stderr)
    return 1 if failure else 0


def _read_options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--megabytes", type=float, default=os.environ.get("BENCH_MB", 200))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5, help="duration of each load")
    parser.add_argument("--quick", action="store_true", help="a smoke run: 5 MB, 1 s each")
    parser.add_argument("--live", action="store_true", help="streams alone, on the last archive")
    parser.add_argument("--output", type=Path, help="the JSON file to write")
    options = parser.parse_args(arguments)
    if options.quick:
        options.megabytes, options.seconds = _QUICK_MEGABYTES, 1
    return options


def _prepare(options: argparse.Namespace) -> stages.Bench:
    """Make the corpus unless an equal one is there, and a folder for the run."""
    name = f"corpus-{options.megabytes:g}-{options.seed}-r{corpus.REVISION}"
    made = _BUILD / name
    totals_file = made / "totals.json"
    if not totals_file.exists():
        shutil.rmtree(made, ignore_errors=True)
        totals = corpus.write_corpus(
            made / "projects", megabytes=options.megabytes, seed=options.seed
        )
        totals_file.write_bytes(orjson.dumps(asdict(totals)))
    folder = _BUILD / "run"
    folder.mkdir(parents=True, exist_ok=True)
    return stages.Bench(
        folder=folder,
        transcripts=made / "projects",
        totals=Totals(**orjson.loads(totals_file.read_bytes())),
        seconds=options.seconds,
        connections=_CONNECTIONS,
        is_live_only=options.live,
    )


def _measure(bench: stages.Bench) -> Iterator[Figure]:
    parse_mb_per_second = measure_parsing(bench.transcripts)
    yield Figure("orjson parses the corpus", parse_mb_per_second, "MB/s")
    if not is_product_there():
        raise ProcessFailed("observatory has no command line or no WSGI application yet")
    if bench.is_live_only:
        if not bench.database.exists():
            raise ProcessFailed("there is no archive of an earlier run; leave out --live")
        yield from live.measure_live(bench)
        return
    yield from stages.measure_ingest(bench, parse_mb_per_second=parse_mb_per_second)
    conversation_id, message_count = stages.choose_conversation(bench)
    bench.details["conversation"] = {"id": conversation_id, "message_count": message_count}
    yield from stages.measure_inprocess(bench, conversation_id)
    yield from stages.measure_server(bench, conversation_id)
    yield from live.measure_live(bench)
    yield from analytics.measure(_REPORTED_MESSAGES)


def _summarise(figures: list[Figure]) -> str:
    judged = [figure for figure in figures if figure.is_met is not None]
    missed = [figure.name for figure in judged if not figure.is_met]
    return f"{len(judged) - len(missed)} of {len(judged)} targets met"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

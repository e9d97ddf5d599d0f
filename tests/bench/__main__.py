"""Measure the product on a corpus of its own and compare it with what the machine can do.

python -m tests.bench [--quick] [--only STAGE ...] [--growth] [--megabytes 200] [--output FILE]
"""

import argparse
import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from tests.bench import floor
from tests.bench.compare import SPEED
from tests.bench.figures import Figure, format_table, make_figure
from tests.bench.load import LoadFailed
from tests.bench.machine import describe_machine, list_versions, read_load_average
from tests.bench.processes import ProcessFailed
from tests.bench.run import BUILD, QUICK, Bench, Sizes, prepare
from tests.bench.stages import GROWTH, STAGES, Stage


def main(arguments: list[str]) -> int:
    """Measure, print the table, write the JSON; 0 even when a target is missed."""
    options = _read_options(arguments)
    stages = {**STAGES, **GROWTH}
    if options.list:
        print("\n".join(f"{name:8}{what}" for name, (_, what) in stages.items()))
        return 0
    started_at = datetime.now(UTC)
    load_before = read_load_average()
    bench = prepare(sizes=_choose_sizes(options), seed=options.seed)
    names = options.only or list(GROWTH if options.growth else STAGES)
    figures: list[Figure] = []
    failures: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for name in names:
        began = time.monotonic()
        try:
            for figure in _measure(bench, name, stages[name][0]):
                figures.append(figure)
                print(f"{name}: {figure.name}: {figure.value:.4g} {figure.unit}", file=sys.stderr)
        except (ProcessFailed, LoadFailed, subprocess.TimeoutExpired) as error:
            failures[name] = str(error)
        seconds[name] = round(time.monotonic() - began, 1)
    output = options.output or BUILD / f"{started_at:%Y-%m-%dT%H-%M-%S}.json"
    report = {
        "date": started_at.isoformat(timespec="seconds"),
        "seed": options.seed,
        "sizes": asdict(bench.sizes),
        "machine": describe_machine(),
        "versions": list_versions(),
        "load_average": {"before": load_before, "after": read_load_average()},
        "corpus": asdict(bench.totals),
        "stage_seconds": seconds,
        "figures": [figure.as_dict() for figure in figures],
        "details": bench.details,
        "failures": failures,
    }
    write_report(output, report)
    print(format_table(figures))
    print(f"\n{_summarise(figures)}; {sum(seconds.values()):.0f} s; written to {output}")
    for name, failure in failures.items():
        print(f"{name} stopped early: {failure}", file=sys.stderr)
    return 1 if failures else 0


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Write a report as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))


def _measure(bench: Bench, name: str, stage: Stage) -> Iterator[Figure]:
    """Yield the figures of a stage, and how fast the machine was before and after it."""
    before = floor.measure_parsing(bench.transcripts)
    for figure in stage(bench):
        yield dataclasses.replace(figure, stage=name)
    # The stage of ingest measures that in turns with its own work.
    if name != "ingest":
        speeds = (before, floor.measure_parsing(bench.transcripts))
        yield dataclasses.replace(make_figure(SPEED, speeds, "MB/s"), stage=name)


def _read_options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=[*STAGES, *GROWTH], metavar="STAGE")
    parser.add_argument("--list", action="store_true", help="list the stages")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run at all?")
    parser.add_argument("--growth", action="store_true", help="only how costs grow with rows")
    parser.add_argument("--megabytes", type=float, default=os.environ.get("BENCH_MB"))
    parser.add_argument("--seconds", type=float, help="duration of each load")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="the JSON file to write")
    return parser.parse_args(arguments)


def _choose_sizes(options: argparse.Namespace) -> Sizes:
    sizes = QUICK if options.quick else Sizes()
    given = {
        "megabytes": None if options.megabytes is None else float(options.megabytes),
        "seconds": options.seconds,
    }
    return dataclasses.replace(sizes, **{k: v for k, v in given.items() if v is not None})


def _summarise(figures: list[Figure]) -> str:
    judged = [figure for figure in figures if figure.is_met is not None]
    missed = [figure.name for figure in judged if not figure.is_met]
    return f"{len(judged) - len(missed)} of {len(judged)} targets met"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

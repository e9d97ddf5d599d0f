"""Measure the same work side by side with other programs: ``python -m tests.bench.peers``.

They are installed into ``build/bench/peers`` in the versions of ``versions.json``. One that can
not be installed is left out, and it is said why.
"""

import argparse
import dataclasses
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.__main__ import write_report
from tests.bench.compare import SPEED
from tests.bench.figures import Figure, format_table
from tests.bench.floor import measure_parsing
from tests.bench.load import LoadFailed
from tests.bench.machine import describe_machine, list_versions, read_load_average
from tests.bench.peers.agentsview import measure_agentsview
from tests.bench.peers.bun import measure_bun
from tests.bench.peers.ccusage import measure_ccusage
from tests.bench.peers.installing import VERSIONS, NotThere
from tests.bench.processes import ProcessFailed
from tests.bench.run import BUILD, QUICK, Bench, Sizes, prepare

PEERS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "agentsview": measure_agentsview,
    "ccusage": measure_ccusage,
    "bun": measure_bun,
}


def main(arguments: list[str]) -> int:
    """Measure, print the table, write the JSON; 0 also when a peer is not there."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description=__doc__)
    parser.add_argument("--only", action="append", choices=[*PEERS], metavar="PEER")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run at all?")
    parser.add_argument("--megabytes", type=float)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="the JSON file to write")
    options = parser.parse_args(arguments)
    sizes = QUICK if options.quick else Sizes()
    if options.megabytes is not None:
        sizes = dataclasses.replace(sizes, megabytes=options.megabytes)
    started_at, load_before = datetime.now(UTC), read_load_average()
    bench = prepare(sizes=sizes, seed=options.seed)
    figures: list[Figure] = []
    left_out: dict[str, str] = {}
    failures: dict[str, str] = {}
    for name in options.only or PEERS:
        speed = Figure(SPEED, measure_parsing(bench.transcripts), "MB/s", stage=name)
        figures.append(speed)
        try:
            for figure in PEERS[name](bench):
                figures.append(dataclasses.replace(figure, stage=name))
                print(f"{name}: {figure.name}", file=sys.stderr)
        except NotThere as reason:
            left_out[name] = str(reason)
        except (ProcessFailed, LoadFailed, subprocess.TimeoutExpired) as error:
            failures[name] = str(error)
    output = options.output or BUILD / f"peers-{started_at:%Y-%m-%dT%H-%M-%S}.json"
    report = {
        "date": started_at.isoformat(timespec="seconds"),
        "seed": options.seed,
        "sizes": asdict(bench.sizes),
        "machine": describe_machine(),
        "versions": {**list_versions(), **VERSIONS},
        "load_average": {"before": load_before, "after": read_load_average()},
        "figures": [figure.as_dict() for figure in figures],
        "details": bench.details,
        "left_out": left_out,
        "failures": failures,
    }
    write_report(output, report)
    print(f"{format_table(figures)}\n\nThe floor is the other program. Written to {output}")
    for name, reason in {**left_out, **failures}.items():
        print(f"{name} was left out: {reason}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

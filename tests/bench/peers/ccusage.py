"""ccusage tells the tokens of each day of the same corpus, in turns with ``observatory usage``.

Whether the numbers are the same is another question: ``tests/bench/ccusage.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from tests.bench.figures import Figure, make_figure
from tests.bench.peers.installing import VERSIONS, install_from_npm, make_env
from tests.bench.processes import run_to_end
from tests.bench.run import Bench, remove_database

NAME = "ccusage"


def measure_ccusage(bench: Bench) -> Iterator[Figure]:
    """Yield the seconds until the table of days is there: of all anew, and the next time."""
    program = install_from_npm([NAME]) / ".bin" / NAME
    source = str(bench.transcripts.parent)
    theirs_env = make_env(bench.folder / NAME, CLAUDE_CONFIG_DIR=source)
    their_command = [str(program), "claude", "daily", "--json", "--timezone", "UTC", "--offline"]
    our_command = [sys.executable, "-m", "observatory", "usage", "daily", "--json", "-z", "UTC"]
    database = bench.folder / "usage.db"
    env = bench.make_env(DB_PATH=str(database))
    theirs, first, again = [], [], []
    for _ in range(bench.sizes.rounds):
        remove_database(database)
        for seconds in (first, again):
            run = run_to_end(our_command, env=env, log=bench.folder / "usage.log")
            seconds.append(run.seconds)
        run = run_to_end(their_command, env=theirs_env, log=bench.folder / f"{NAME}.log")
        theirs.append(run.seconds)
    label = f"beside {NAME} {VERSIONS[NAME]} daily"
    yield make_figure(f"usage daily, all is new, {label}", first, "s", floors=theirs)
    yield make_figure(f"usage daily, the next time, {label}", again, "s", floors=theirs)

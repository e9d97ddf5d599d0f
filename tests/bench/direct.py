"""Requests to the application without a socket, beside the raw queries; see ``inprocess.py``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import orjson

from tests.bench.figures import Figure, Target, make_figure
from tests.bench.processes import ProcessFailed, run_to_end
from tests.bench.run import Bench

_REFERENCE_PARSE_MB_PER_SECOND = 700  # the machine on which the targets in µs were set
_TARGETS_US = {"list of 50": 120, "one": 20, "100 messages": 260}
_COUNTING_US = 10.0
_AUTHENTICATION_RATIO = 1.1  # of the same request, when nobody is asked who they are


def measure_direct(bench: Bench) -> Iterator[Figure]:
    """Call the WSGI application without a socket, beside the raw queries."""
    bench.need_archive()
    conversation_id = bench.choose_conversation()
    command = [sys.executable, "-m", "tests.bench.inprocess"]
    command += [str(bench.database), conversation_id, str(bench.transcripts)]
    # As under gunicorn, where workers share what they count.
    shared = bench.folder / "metrics"
    shared.mkdir(exist_ok=True)
    env = bench.make_env(PROMETHEUS_MULTIPROC_DIR=str(shared))
    run = run_to_end(command, env=env, log=bench.folder / "inprocess.log")
    measured = orjson.loads(run.output.splitlines()[-1])
    bench.details["inprocess"] = measured
    refused = {name: got for name, got in measured["statuses"].items() if got[:3] != "200"}
    if refused:
        raise ProcessFailed(f"not answered with 200: {refused}")
    parse_mb_per_second = measured["parse_mb_per_second"]
    yield Figure("orjson parses, between requests in process", parse_mb_per_second, "MB/s")
    slower = _REFERENCE_PARSE_MB_PER_SECOND / parse_mb_per_second
    for name, taken_us in measured["us"].items():
        raw = measured["raw_us"].get(name)
        limit = _TARGETS_US.get(name)
        target = Target(at_most=limit * slower) if limit else None
        yield make_figure(f"in process, {name}", taken_us, "µs", target=target)
        if raw:
            yield make_figure(
                f"in process, {name} to raw SQLite",
                taken_us,
                "µs",
                floors=raw,
                target=Target(at_most=1.6, of_ratio=True),
            )
    for name, taken in measured["authentication_us"].items():
        for kind in ("key", "token"):
            yield make_figure(
                f"authentication by {kind}, {name}",
                taken[kind],
                "µs",
                floors=taken["nobody asked"],
                target=Target(at_most=_AUTHENTICATION_RATIO, of_ratio=True),
            )
    for name, taken in measured["counting_us"].items():
        pairs = zip(taken["counted"], taken["not counted"], strict=True)
        yield make_figure(
            f"counting a request for /metrics, {name}",
            [counted - not_counted for counted, not_counted in pairs],
            "µs",
            target=Target(at_most=_COUNTING_US * slower),
        )

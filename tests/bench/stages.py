"""What ``make bench`` measures, stage by stage; each returns figures."""

import os
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tests.bench.credentials import make_key
from tests.bench.figures import Figure, Target
from tests.bench.floor import RawQueries, make_bare_command
from tests.bench.inprocess import make_paths
from tests.bench.load import LoadResult, combine_loads, run_load
from tests.bench.processes import (
    Memory,
    ProcessFailed,
    find_free_port,
    run_to_end,
    serving,
    wait_until_idle,
    weigh,
)
from tests.bench.transcripts import Totals

MEBIBYTE = 1 << 20
_REFERENCE_PARSE_MB_PER_SECOND = 700  # the machine on which the targets in µs were set
_INPROCESS_TARGETS_US = {"list of 50": 120, "one": 20, "100 messages": 260}
_COUNTING_US = 10.0
_AUTHENTICATION_RATIO = 1.1  # of the same request, when nobody is asked who they are
_SHARE_OF_BARE = {"one": 0.6, "list of 50": 0.35}  # at 50 connections
_TAIL_TARGET_MS = 200  # at 1,000 connections, for the same two
_TURNS = 3
_MANY_CONNECTIONS = 1_000
_TOKEN_KINDS = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where one run of the bench works, and how much it does."""

    folder: Path
    transcripts: Path
    totals: Totals
    seconds: float
    connections: tuple[int, ...]
    is_live_only: bool = False
    details: dict[str, Any] = field(default_factory=dict)
    credentials: dict[str, str] = field(default_factory=dict)

    @property
    def database(self) -> Path:
        """The database that is made and measured."""
        return self.folder / "observatory.db"

    def make_env(self, **more: str) -> dict[str, str]:
        """Return the environment of the product's processes."""
        return {
            **os.environ,
            "DB_PATH": str(self.database),
            "TRANSCRIPTS_DIR": str(self.transcripts),
            "HOST": "127.0.0.1",
            "RATE_LIMIT_MAX_REQUESTS": "100000000",
            **more,
        }


def measure_ingest(bench: Bench, *, parse_mb_per_second: float) -> Iterator[Figure]:
    """Read the whole corpus into a new database, then look at it again unchanged."""
    for path in bench.folder.glob("observatory.db*"):
        path.unlink()
    command = [sys.executable, "-m", "observatory", "ingest", "--json", str(bench.transcripts)]
    run = run_to_end(command, env=bench.make_env(), log=bench.folder / "ingest.log")
    summary = orjson.loads(run.output)
    wal = bench.database.with_name("observatory.db-wal")
    size = bench.database.stat().st_size + (wal.stat().st_size if wal.exists() else 0)
    megabytes = bench.totals.source_bytes / 1e6
    yield Figure(
        "ingest, all with search index",
        megabytes / run.seconds,
        "MB/s",
        floor=parse_mb_per_second,
        target=Target(at_least=30),
    )
    if summary.get("rows_seconds"):
        rate = megabytes / summary["rows_seconds"]
        yield Figure("ingest, rows visible", rate, "MB/s", target=Target(at_least=60))
    yield Figure("ingest, per CPU second", megabytes / run.cpu_seconds, "MB")
    yield Figure("ingest, messages", summary["messages"] / run.seconds, "/s")
    yield Figure(
        "ingest, peak RSS", run.peak_rss_bytes / MEBIBYTE, "MiB", target=Target(at_most=200)
    )
    yield Figure(
        "database / source", size / bench.totals.source_bytes, "", target=Target(at_most=0.9)
    )
    yield from _check_counts(summary, bench.totals)
    again = run_to_end(command, env=bench.make_env(), log=bench.folder / "reingest.log")
    repeated = orjson.loads(again.output)
    yield Figure("unchanged re-ingest, process", again.seconds, "s")
    yield Figure(
        "unchanged re-ingest, per 600 files",
        repeated["seconds"] * 600 / bench.totals.files,
        "s",
        target=Target(at_most=0.1),
    )
    bench.details["ingest"] = {"first": summary, "again": repeated, "cpu_s": run.cpu_seconds}


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


def measure_inprocess(bench: Bench, conversation_id: str) -> Iterator[Figure]:
    """Call the WSGI application without a socket, beside the raw queries."""
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
        limit = _INPROCESS_TARGETS_US.get(name)
        target = Target(at_most=limit * slower) if limit else None
        yield Figure(f"in process, {name}", taken_us, "µs", target=target)
        if raw:
            yield Figure(
                f"in process, {name} to raw SQLite",
                taken_us,
                "µs",
                floor=raw,
                target=Target(at_most=1.6, of_ratio=True),
            )
    for name, taken in measured["authentication_us"].items():
        for kind in ("key", "token"):
            yield Figure(
                f"authentication by {kind}, {name}",
                taken[kind],
                "µs",
                floor=taken["nobody asked"],
                target=Target(at_most=_AUTHENTICATION_RATIO, of_ratio=True),
            )
    for name, taken in measured["counting_us"].items():
        yield Figure(
            f"counting a request for /metrics, {name}",
            taken["counted"] - taken["not counted"],
            "µs",
            target=Target(at_most=_COUNTING_US * slower),
        )


def measure_server(bench: Bench, conversation_id: str) -> Iterator[Figure]:
    """Load the whole server and the bare application in turns."""
    raise_open_files(4 * max(bench.connections))
    port, bare_port = find_free_port(), find_free_port()
    base, bare = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{bare_port}"
    bare_env = bench.make_env(PORT=str(bare_port), INGEST_ON_START="false")
    serve = [sys.executable, "-m", "observatory", "serve"]
    env, log = bench.make_env(PORT=str(port)), bench.folder / "serve.log"
    bench.credentials["Authorization"] = f"Bearer {make_key(env, log=bench.folder / 'key.log')}"
    with (
        serving(
            make_bare_command(bare_port),
            env=bare_env,
            url=f"{bare}/1",
            log=bench.folder / "bare.log",
        ),
        serving(serve, env=env, url=f"{base}/health/ready", log=log) as server,
    ):
        first = server.first_answer_seconds
        yield Figure("start to first ready answer", first, "s", target=Target(at_most=1))
        time.sleep(1)
        for connections in bench.connections:
            yield from _load_endpoints(bench, conversation_id, (base, bare), connections)
        yield from _judge_memory(bench.connections[-1], weigh(server.process.pid))


def _load_endpoints(
    bench: Bench, conversation_id: str, bases: tuple[str, str], connections: int
) -> Iterator[Figure]:
    base, bare = bases
    errors = 0
    for name, path in make_paths(conversation_id).items():
        size = bench.details["inprocess"]["body_bytes"][name]
        probes = (f"{base}/health", f"{bare}/1")
        urls = (base + path, f"{bare}/{size}")
        loaded, floor, waited = _load_in_turns(bench, urls, probes, connections)
        both = {"server": asdict(loaded), "bare": asdict(floor), "drained_seconds": waited}
        bench.details.setdefault("load", []).append({"name": name, **both})
        errors += loaded.errors + loaded.unanswered
        yield from _judge_load(name, f"{name}, {connections} connections", loaded, floor)
    yield Figure(
        f"errors and unanswered, {connections} connections", errors, "", target=Target(at_most=0)
    )


def _load_in_turns(
    bench: Bench, urls: tuple[str, str], probes: tuple[str, str], connections: int
) -> tuple[LoadResult, LoadResult, float]:
    """Load two URLs alternately, so that what disturbs one disturbs the other.

    With very many connections there is one turn only: each leaves that many requests behind.
    The last number is how long the first server took at most to work those off.
    """
    turns = _TURNS if bench.seconds >= _TURNS and connections < _MANY_CONNECTIONS else 1
    results: tuple[list[LoadResult], list[LoadResult]] = ([], [])
    waits: tuple[list[float], list[float]] = ([], [])
    for _ in range(turns):
        for server in (0, 1):
            seconds = bench.seconds / turns
            loaded = run_load(
                urls[server],
                connections=connections,
                seconds=seconds,
                headers=bench.credentials,
            )
            results[server].append(loaded)
            waits[server].append(wait_until_idle(probes[server]))
    return combine_loads(results[0]), combine_loads(results[1]), max(waits[0])


def _judge_load(name: str, label: str, loaded: LoadResult, bare: LoadResult) -> Iterator[Figure]:
    share = _SHARE_OF_BARE.get(name) if loaded.connections == 50 else None
    yield Figure(
        label,
        loaded.requests_per_second,
        "/s",
        floor=bare.requests_per_second,
        target=Target(at_least=share, of_ratio=True) if share else None,
    )
    is_bounded = loaded.connections >= _MANY_CONNECTIONS and name in _SHARE_OF_BARE
    yield Figure(
        f"{label}, p99",
        loaded.p99_ms,
        "ms",
        floor=bare.p99_ms,
        target=Target(at_most=_TAIL_TARGET_MS) if is_bounded else None,
    )


def _judge_memory(connections: int, memory: Memory) -> Iterator[Figure]:
    target = Target(at_most=256) if connections >= _MANY_CONNECTIONS else None
    label = f"server after {connections} connections"
    yield Figure(f"{label}, RSS", memory.rss_bytes / MEBIBYTE, "MiB", target=target)
    yield Figure(f"{label}, PSS", memory.pss_bytes / MEBIBYTE, "MiB")


def choose_conversation(bench: Bench) -> tuple[str, int]:
    """Return id and message count of the conversation that is asked for."""
    raw = RawQueries(bench.database)
    try:
        return raw.choose_conversation(at_least_messages=100)
    finally:
        raw.close()


def raise_open_files(wanted: int) -> None:
    """Let this process and those that it starts open so many files, as far as they may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))

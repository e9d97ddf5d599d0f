"""How soon the server is there, and what all its processes weigh on the default settings."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.endpoints import list_core
from tests.bench.figures import Figure, make_figure
from tests.bench.figures import Target as Bound
from tests.bench.load import run_load
from tests.bench.processes import wait_until_idle, weigh
from tests.bench.run import MEBIBYTE, Bench, choose_conversation, raise_open_files
from tests.bench.searching import make_search_database
from tests.bench.serving import serving_product

_WEIGHED_MIB = 256
_LOADED = ("list of 50", "one", "100 messages")


def measure_start(bench: Bench) -> Iterator[Figure]:
    """Start the server again and again, on the archive and on the largest database there is."""
    bench.need_archive()
    largest = make_search_database(bench.sizes.messages[-1])
    empty = bench.folder / "empty"
    empty.mkdir(exist_ok=True)
    places = {
        "the corpus": {},
        f"{bench.sizes.messages[-1]:,} messages": {
            "DB_PATH": str(largest),
            "TRANSCRIPTS_DIR": str(empty),
        },
    }
    seconds: dict[str, list[float]] = {name: [] for name in places}
    for _ in range(bench.sizes.starts):
        for name, env in places.items():
            with serving_product(bench, **env) as (_, server):
                seconds[name].append(server.first_answer_seconds)
    for name, taken in seconds.items():
        yield make_figure(
            f"start to first ready answer, {name}", taken, "s", target=Bound(at_most=1)
        )


def measure_memory(bench: Bench) -> Iterator[Figure]:
    """Weigh everything after each connection has asked, on the largest database there is."""
    messages, connections = bench.sizes.messages[-1], bench.sizes.connections[-1]
    database = make_search_database(messages)
    empty = bench.folder / "empty"
    empty.mkdir(exist_ok=True)
    raise_open_files(4 * connections)
    env = {"DB_PATH": str(database), "TRANSCRIPTS_DIR": str(empty)}
    heaviest = heaviest_shared = errors = 0
    with serving_product(bench, **env) as (place, server):
        time.sleep(1)
        before = weigh(server.process.pid)
        paths = list_core(choose_conversation(database))
        for path in (*(paths[name] for name in _LOADED), "/api/search?limit=20&q=et"):
            loaded = run_load(
                place.base + path,
                connections=connections,
                seconds=max(2.0, bench.seconds),
                headers=place.headers,
            )
            errors += loaded.errors
            after = weigh(server.process.pid)
            heaviest = max(heaviest, after.rss_bytes)
            heaviest_shared = max(heaviest_shared, after.pss_bytes)
            wait_until_idle(f"{place.base}/health", timeout_seconds=180)
    label = f"everything with {connections:,} connections and {messages:,} messages"
    yield Figure(f"{label}, RSS before", before.rss_bytes / MEBIBYTE, "MiB")
    yield Figure(f"{label}, RSS", heaviest / MEBIBYTE, "MiB", target=Bound(at_most=_WEIGHED_MIB))
    yield Figure(f"{label}, PSS", heaviest_shared / MEBIBYTE, "MiB")
    yield Figure(f"{label}, errors", errors, "", target=Bound(at_most=0))

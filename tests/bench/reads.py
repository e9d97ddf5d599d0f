"""Every endpoint that reads, under load, beside a bare answer of as many bytes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict

from tests.bench.endpoints import CORE, Place, list_core, list_others
from tests.bench.figures import Figure, make_figure
from tests.bench.figures import Target as Bound
from tests.bench.processes import ProcessFailed, weigh
from tests.bench.run import MANY_CONNECTIONS, MEBIBYTE, Bench, raise_open_files
from tests.bench.serving import (
    FEW_CONNECTIONS,
    Loaded,
    Target,
    load_in_turns,
    serving_bare,
    serving_product,
)

_SHARE_OF_BARE = {"one": 0.6, "list of 50": 0.35}  # at 50 connections
_TAIL_MS = 200  # at 1,000 connections, for the same two
# What is not asked for most is loaded so much shorter, but long enough that each connection has
# an answer.
_BRIEFLY = 0.2
_ENOUGH = 2.5
_LONGEST_SECONDS = 10.0


def measure_reads(bench: Bench) -> Iterator[Figure]:
    """Load the core endpoints with each number of connections, then all others."""
    bench.need_archive()
    conversation_id = bench.choose_conversation()
    raise_open_files(4 * max(bench.sizes.connections))
    with serving_bare(bench) as bare, serving_product(bench) as (place, server):
        time.sleep(1)
        sizes = _weigh_answers(place, list_core(conversation_id))
        for connections in bench.sizes.connections:
            yield from _measure_core(bench, place, bare, sizes, connections)
        memory = weigh(server.process.pid)
        label = f"server after {bench.sizes.connections[-1]} connections"
        yield Figure(f"{label}, RSS", memory.rss_bytes / MEBIBYTE, "MiB", target=Bound(at_most=256))
        yield Figure(f"{label}, PSS", memory.pss_bytes / MEBIBYTE, "MiB")
        yield from _measure_others(
            bench, place, bare, _weigh_answers(place, list_others(place, conversation_id))
        )


def _weigh_answers(place: Place, paths: dict[str, str]) -> dict[str, tuple[str, int]]:
    """Return paths with the size of their answers, which must be 200."""
    weighed = {}
    for name, path in paths.items():
        status, body = place.ask(path)
        if status != 200:
            raise ProcessFailed(f"{path} is answered with {status}: {body[:300]!r}")
        weighed[name] = (path, len(body))
    return weighed


def _measure_core(
    bench: Bench,
    place: Place,
    bare: Place,
    weighed: dict[str, tuple[str, int]],
    connections: int,
) -> Iterator[Figure]:
    errors = 0
    for name, (path, size) in weighed.items():
        targets = (Target(place, path), Target(bare, f"/{size}", probe="/1"))
        loaded, floor = load_in_turns(
            targets, connections=connections, seconds=bench.seconds, turns=bench.sizes.rounds
        )
        errors += loaded.errors
        _note(bench, name, loaded, floor)
        yield from _judge(name, connections, loaded, floor)
    label = f"errors and unanswered, {connections} connections"
    yield Figure(label, errors, "", target=Bound(at_most=0))


def _measure_others(
    bench: Bench, place: Place, bare: Place, weighed: dict[str, tuple[str, int]]
) -> Iterator[Figure]:
    errors = 0
    for name, (path, size) in weighed.items():
        one_ms = min(_time_ms(place, path) for _ in range(2))
        for connections in bench.sizes.brief_connections:
            # With two processors, as many requests as connections take so long.
            enough = _ENOUGH * connections * one_ms / 1000
            seconds = min(_LONGEST_SECONDS, max(_BRIEFLY * bench.seconds, enough))
            targets = [Target(place, path)]
            if connections <= FEW_CONNECTIONS:
                targets.append(Target(bare, f"/{size}", probe="/1"))
            loaded, *floor = load_in_turns(
                targets, connections=connections, seconds=seconds, turns=1
            )
            errors += loaded.errors
            _note(bench, name, loaded, *floor)
            yield from _judge(name, connections, loaded, *floor)
    yield Figure("errors and unanswered, other endpoints", errors, "", target=Bound(at_most=0))


def _time_ms(place: Place, path: str) -> float:
    started = time.perf_counter()
    place.ask(path)
    return 1000 * (time.perf_counter() - started)


def _note(bench: Bench, name: str, loaded: Loaded, floor: Loaded | None = None) -> None:
    bench.details.setdefault("load", []).append(
        {
            "name": name,
            "server": asdict(loaded.combined),
            "bare": None if floor is None else asdict(floor.combined),
            "drained_seconds": loaded.drained_seconds,
        }
    )


def _judge(
    name: str, connections: int, loaded: Loaded, bare: Loaded | None = None
) -> Iterator[Figure]:
    label = f"{name}, {connections} connections"
    share = _SHARE_OF_BARE.get(name) if connections == 50 else None
    yield make_figure(
        label,
        loaded.rates,
        "/s",
        floors=bare.rates if bare else (),
        target=Bound(at_least=share, of_ratio=True) if share else None,
    )
    if name not in CORE:
        return
    is_bounded = connections >= MANY_CONNECTIONS and name in _SHARE_OF_BARE
    yield make_figure(
        f"{label}, p99",
        loaded.tails_ms,
        "ms",
        floors=bare.tails_ms if bare else (),
        target=Bound(at_most=_TAIL_MS) if is_bounded else None,
    )

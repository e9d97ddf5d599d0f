"""Reads while an ingest runs at full speed, and that ingest, each in turns with either alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.bench.endpoints import list_core
from tests.bench.figures import Figure, make_figure
from tests.bench.figures import Target as Bound
from tests.bench.load import LoadResult, combine_loads, run_load
from tests.bench.run import Bench, choose_conversation, remove_database
from tests.bench.serving import serving_product

_CONNECTIONS = 50
_LOADED = ("list of 50", "one")
_ROUNDS = 2
# What is read to begin with, in peace and beside reads, as shares: the last has to take long.
_FIRST, _ALONE, _BESIDE = 2, 8, 16
# Short loads follow each other; those count that lie within the ingest so far.
_LOAD_SECONDS = 0.5
_WITHIN = 0.7


def measure_mixed(bench: Bench) -> Iterator[Figure]:
    """Read a corpus piece by piece: one in peace, the next while clients read."""
    database = bench.folder / "mixed.db"
    turns = _ROUNDS * len(_LOADED)
    first, *pieces = _divide(bench.transcripts, [_FIRST, *[_ALONE, _BESIDE] * turns])
    remove_database(database)
    env = {"DB_PATH": str(database), "INGEST_ON_START": "false"}
    bench.ingest(first, log="mixed", **env)
    piece = iter(pieces)
    with serving_product(bench, **env) as (place, _):
        paths = list_core(choose_conversation(database))
        for name in _LOADED:
            url = place.base + paths[name]
            alone: list[LoadResult] = []
            beside: list[LoadResult] = []
            rates: dict[str, list[float]] = {"alone": [], "beside": []}
            for _ in range(_ROUNDS):
                alone.append(_load(url, place.headers, bench.seconds))
                rates["alone"].append(_ingest(bench, next(piece), env)[0])
                with _Loading(url, place.headers) as loading:
                    rate, span = _ingest(bench, next(piece), env)
                rates["beside"].append(rate)
                beside.append(loading.combine(*span))
            yield from _judge(name, alone, beside, rates)


def _judge(
    name: str,
    alone: Sequence[LoadResult],
    beside: Sequence[LoadResult],
    rates: dict[str, list[float]],
) -> Iterator[Figure]:
    label = f"{name} while an ingest runs, {_CONNECTIONS} connections"
    yield make_figure(
        label,
        [load.requests_per_second for load in beside],
        "/s",
        floors=[load.requests_per_second for load in alone],
    )
    yield make_figure(
        f"{label}, p99",
        [load.p99_ms for load in beside],
        "ms",
        floors=[load.p99_ms for load in alone],
    )
    errors = sum(load.errors + load.unanswered for load in beside)
    yield Figure(f"{label}, errors", errors, "", target=Bound(at_most=0))
    yield make_figure(
        f"ingest while {name} is read", rates["beside"], "MB/s", floors=rates["alone"]
    )


def _divide(folder: Path, shares: Sequence[int]) -> list[list[Path]]:
    """Return all transcripts below a folder in lists whose sizes are about as some shares."""
    files = sorted(folder.rglob("*.jsonl"), key=lambda path: (-path.stat().st_size, path))
    pieces: list[list[Path]] = [[] for _ in shares]
    filled = [0.0] * len(shares)
    for path in files:
        size = path.stat().st_size
        # Where it leaves the piece emptiest, for its share.
        place = min(range(len(shares)), key=lambda n: (filled[n] + size) / shares[n])
        pieces[place].append(path)
        filled[place] += size
    return pieces


def _ingest(
    bench: Bench, piece: Sequence[Path], env: dict[str, str]
) -> tuple[float, tuple[float, float]]:
    """Read files; return how many million bytes a second, and from when to when."""
    _, summary = bench.ingest(piece, log="mixed", **env)
    ended, seconds = time.monotonic(), float(summary["seconds"])
    return summary["bytes"] / 1e6 / seconds, (ended - seconds, ended)


def _load(url: str, headers: dict[str, str], seconds: float) -> LoadResult:
    return run_load(url, connections=_CONNECTIONS, seconds=seconds, headers=headers)


class _Loading:
    """Loads a URL again and again while a block runs."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._url, self._headers = url, headers
        self._over = threading.Event()
        self._loads: list[tuple[float, float, LoadResult]] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> _Loading:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            loaded = _load(self._url, self._headers, _LOAD_SECONDS)
            self._loads.append((began, time.monotonic(), loaded))

    def combine(self, began: float, ended: float) -> LoadResult:
        """Return the loads that lie within a span of time, or the one that does most, as one."""
        shares = [
            (max(0.0, min(end, ended) - max(start, began)) / (end - start), load)
            for start, end, load in self._loads
        ]
        most = max(share for share, _ in shares)
        return combine_loads([load for share, load in shares if share >= min(most, _WITHIN)])

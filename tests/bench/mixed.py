"""Reads while an ingest runs at full speed, and that ingest, each in turns with either alone."""

from __future__ import annotations

import threading
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


def measure_mixed(bench: Bench) -> Iterator[Figure]:
    """Read a corpus piece by piece: one in peace, the next while clients read."""
    rounds = bench.sizes.rounds
    database = bench.folder / "mixed.db"
    pieces = _divide(bench.transcripts, 1 + 2 * rounds * len(_LOADED))
    remove_database(database)
    env = {"DB_PATH": str(database), "INGEST_ON_START": "false"}
    bench.ingest(pieces.pop(), log="mixed", **env)
    with serving_product(bench, **env) as (place, _):
        paths = list_core(choose_conversation(database))
        for name in _LOADED:
            url = place.base + paths[name]
            alone: list[LoadResult] = []
            beside: list[LoadResult] = []
            rates: dict[str, list[float]] = {"alone": [], "beside": []}
            for _ in range(rounds):
                alone.append(_load(url, place.headers, bench.seconds))
                rates["alone"].append(_ingest(bench, pieces.pop(), env))
                with _Loading(url, place.headers) as loading:
                    rates["beside"].append(_ingest(bench, pieces.pop(), env))
                beside.append(loading.combined())
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


def _divide(folder: Path, count: int) -> list[list[Path]]:
    """Return all transcripts below a folder in so many lists of about the same size."""
    files = sorted(folder.rglob("*.jsonl"), key=lambda path: (-path.stat().st_size, path))
    pieces: list[list[Path]] = [[] for _ in range(count)]
    sizes = [0] * count
    for path in files:
        least = sizes.index(min(sizes))
        pieces[least].append(path)
        sizes[least] += path.stat().st_size
    return pieces


def _ingest(bench: Bench, piece: Sequence[Path], env: dict[str, str]) -> float:
    """Read files and return how many million bytes a second, as the process itself tells."""
    _, summary = bench.ingest(piece, log="mixed", **env)
    return float(summary["bytes"] / 1e6 / summary["seconds"])


def _load(url: str, headers: dict[str, str], seconds: float) -> LoadResult:
    return run_load(url, connections=_CONNECTIONS, seconds=seconds, headers=headers)


class _Loading:
    """Loads a URL again and again while a block runs; each load is short, to end with it."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._url, self._headers = url, headers
        self._over = threading.Event()
        self._loads: list[LoadResult] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> _Loading:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            self._loads.append(_load(self._url, self._headers, 1))

    def combined(self) -> LoadResult:
        """Return the median of the loads."""
        return combine_loads(self._loads)

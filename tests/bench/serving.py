"""The whole server and the bare application beside it, to be loaded in turns."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.bench.credentials import make_key
from tests.bench.endpoints import Place
from tests.bench.floor import make_bare_command
from tests.bench.load import LoadResult, combine_loads, run_load
from tests.bench.processes import Server, find_free_port, serving, wait_until_idle
from tests.bench.run import Bench

# More take their time to be opened, and leave as many requests behind.
FEW_CONNECTIONS = 100
_LEAST_SECONDS = 0.3
SERVE = [sys.executable, "-m", "observatory", "serve"]


@contextmanager
def serving_product(bench: Bench, **env: str) -> Iterator[tuple[Place, Server]]:
    """Serve the archive of a run, or another that the environment names, for a block."""
    port = find_free_port()
    full = bench.make_env(PORT=str(port), **env)
    key = make_key(full, log=bench.folder / "key.log")
    url, log = f"http://127.0.0.1:{port}/health/ready", bench.folder / "serve.log"
    with serving(SERVE, env=full, url=url, log=log) as server:
        yield Place(port, key), server


@contextmanager
def serving_bare(bench: Bench) -> Iterator[Place]:
    """Serve as many fixed bytes as a path says, with the product's gunicorn settings."""
    port = find_free_port()
    env = bench.make_env(PORT=str(port), INGEST_ON_START="false")
    url, log = f"http://127.0.0.1:{port}/1", bench.folder / "bare.log"
    with serving(make_bare_command(port), env=env, url=url, log=log):
        yield Place(port, "none")


@dataclass(frozen=True, slots=True)
class Target:
    """What is loaded: a URL of a place, perhaps with a body to post; or several paths in turns."""

    place: Place
    path: str
    body: bytes | None = None
    probe: str = "/health"
    paths: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """Loads of one target in several turns, and how long it took at most to be done with them."""

    turns: Sequence[LoadResult]
    drained_seconds: float

    @property
    def rates(self) -> list[float]:
        """Requests a second, of each turn."""
        return [turn.requests_per_second for turn in self.turns]

    @property
    def tails_ms(self) -> list[float]:
        """The 99th percentile of the times, of each turn."""
        return [turn.p99_ms for turn in self.turns]

    @property
    def errors(self) -> int:
        """How many requests failed, or were never answered."""
        return sum(turn.errors + turn.unanswered for turn in self.turns)

    @property
    def combined(self) -> LoadResult:
        """All turns as one."""
        return combine_loads(self.turns)


def load_in_turns(
    targets: Sequence[Target], *, connections: int, seconds: float, turns: int
) -> list[Loaded]:
    """Load targets alternately, so that what disturbs one disturbs the other.

    With very many connections there is one turn only: each leaves that many requests behind.
    """
    if connections > FEW_CONNECTIONS:
        turns, seconds = 1, max(1.0, seconds)
    seconds = max(seconds, _LEAST_SECONDS * turns)
    results: list[list[LoadResult]] = [[] for _ in targets]
    waits = [0.0 for _ in targets]
    for _ in range(turns):
        for number, target in enumerate(targets):
            loaded = run_load(
                target.place.base + target.path,
                connections=connections,
                seconds=seconds / turns,
                headers=target.place.headers,
                body=target.body,
                paths=target.paths,
            )
            results[number].append(loaded)
            waited = wait_until_idle(target.place.base + target.probe)
            waits[number] = max(waits[number], waited)
    return [Loaded(*pair) for pair in zip(results, waits, strict=True)]

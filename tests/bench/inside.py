"""The application in this process, on a database that was made for it, asked without a socket."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from observatory.app import create_app
from observatory.log import configure_logging
from observatory.store.database import close, configure, connect, execute
from tests.api.keyed import KeyedApp, add_key
from tests.bench.run import BUILD


def make_once(name: str, make: Callable[[Path], Iterable[str]]) -> Path:
    """Return the path of a database in ``build/bench``, made unless it is there.

    Args:
        name: Of the file.
        make: Makes a database at a path, and says how far it is.
    """
    path = BUILD / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        making = path.with_suffix(".making")
        making.unlink(missing_ok=True)
        for line in make(making):
            print(f"{name}: {line}", file=sys.stderr)
        close()
        making.rename(path)
    return path


def open_inside(path: Path) -> KeyedApp:
    """Return a client of the application on a database, whose other keys are forgotten."""
    configure_logging(level="error", log_format="json")
    configure(path)
    connect()
    execute("DELETE FROM api_keys")
    add_key()
    client = KeyedApp(create_app(cors_origins=(), folders=()))
    # As the server does before it forks its workers: to look through all that is loaded for garbage
    # takes 30 ms, which would be those of some request.
    gc.collect()
    gc.freeze()
    return client


def time_in_turns(
    calls: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return the milliseconds of each call in each round, all of them taking turns.

    Args:
        calls: What to do, by name.
        rounds: How often, after one round that fills the caches.
        clock: In seconds; ``time.process_time`` leaves out what others do meanwhile.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            started = clock()
            call()
            if number:
                times[name].append(1000 * (clock() - started))
    return times


def find_share(times: Iterable[float], share: float) -> float:
    """Return the time within which a share of some lie."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def thirds(times: list[float]) -> list[float]:
    """Return the medians of three thirds of some times: how far those differ is noise."""
    size = max(1, len(times) // 3)
    return [statistics.median(times[n : n + size]) for n in range(0, len(times), size)][:3]

"""The same figures at some times as many rows: what costs more than they do is named.

They are of the processor's time, so that others on the machine do not look like growth.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from functools import partial
from time import process_time

from observatory.store.database import close, writing
from tests.api.keyed import KeyedApp
from tests.bench import analytics, corpus
from tests.bench.endpoints import list_core
from tests.bench.figures import Figure, Target
from tests.bench.inside import open_inside, time_in_turns
from tests.bench.run import BUILD, Bench, choose_conversation, remove_database
from tests.bench.searching import list_queries, make_search_database

_ROUNDS = 15
# What is lost in the noise of so short a time does not grow.
_LEAST_MS = 0.05
_REPORT_PERIOD = {"day": 20, "first": "02"}


def measure_growth(bench: Bench) -> Iterator[Figure]:
    """Yield for each cost how much more it is at the largest size than at the smallest.

    The target is that of n log n. The milliseconds at each size are in the details.
    """
    sizes = bench.sizes.growth
    costs: dict[str, list[float]] = {}
    for rows in sizes:
        for name, cost in _measure_size(bench, rows):
            costs.setdefault(name, []).append(cost)
    bench.details["growth"] = {"rows": sizes, "ms": costs}
    least, most = sizes[0], sizes[-1]
    bound = most * math.log(most) / (least * math.log(least))
    for name, taken in costs.items():
        factor = max(taken[-1], _LEAST_MS) / max(taken[0], _LEAST_MS)
        yield Figure(
            f"growth at {most // least}x rows: {name}, {_describe(factor, most / least)}",
            factor,
            "x",
            target=Target(at_most=bound),
        )


def _describe(factor: float, rows: float) -> str:
    """Say in words how a cost grows."""
    exponent = math.log(factor) / math.log(rows)
    kinds = ((0.15, "constant"), (0.85, f"as n^{exponent:.2f}"), (1.1, "linear"))
    return next((kind for limit, kind in kinds if exponent < limit), f"as n^{exponent:.2f}")


def _measure_size(bench: Bench, rows: int) -> Iterator[tuple[str, float]]:
    """Yield the milliseconds of requests on as many messages, and of reading as much."""
    yield from _measure_requests(rows)
    yield from _measure_search(rows)
    yield "ingest of a corpus", _measure_ingest(bench, rows)


def _measure_requests(rows: int) -> Iterator[tuple[str, float]]:
    database = analytics.make_reports_database(rows)
    client = open_inside(database)
    paths = list_core(choose_conversation(database))
    paths |= {
        "list, 200 rows further": "/api/conversations?limit=50&offset=200",
        "list by tokens": "/api/conversations?limit=50&sort_by=total_tokens",
        "list of a project": "/api/conversations?limit=50&project_path=/home/ada/project3",
        "tool uses": f"{paths['one']}/tool-uses?limit=50",
        "one message": "/api/messages/m1",
        "one project": "/api/projects/4",
        "events": "/api/events?limit=50",
    }
    calls = {name: lambda path=path: client.get(path) for name, path in paths.items()}
    yield from _medians(time_in_turns(calls, rounds=_ROUNDS, clock=process_time))
    for name, question in analytics.QUESTIONS.items():
        path = f"/api/analytics/{question.format(**_REPORT_PERIOD)}"
        call = partial(_ask_anew, client, path)
        times = time_in_turns({name: call}, rounds=_ROUNDS, clock=process_time)
        yield f"report: {name}", statistics.median(times[name])
    close()


def _ask_anew(client: KeyedApp, path: str) -> None:
    with writing():
        pass  # Another revision: nothing that was kept is current.
    client.get(path)


def _measure_search(rows: int) -> Iterator[tuple[str, float]]:
    client = open_inside(make_search_database(rows))
    calls = {
        f"search: {name}, {sort}": lambda q=query, sort=sort: client.get(
            "/api/search", {"q": q, "sort": sort, "limit": "20"}
        )
        for name, query in list_queries().items()
        for sort in ("relevance", "time")
    }
    yield from _medians(time_in_turns(calls, rounds=_ROUNDS, clock=process_time))
    close()


def _medians(times: dict[str, list[float]]) -> Iterator[tuple[str, float]]:
    for name, taken in times.items():
        yield name, statistics.median(taken)


def _measure_ingest(bench: Bench, rows: int) -> float:
    """Return the milliseconds of an ingest: of 200 MB where others have 2,000,000 messages."""
    megabytes = rows / 10_000
    folder = BUILD / f"growth-{megabytes:g}-r{corpus.REVISION}" / "projects"
    if not folder.exists():
        corpus.write_corpus(folder, megabytes=megabytes, seed=1)
    database = bench.folder / "growth.db"
    remove_database(database)
    run, _ = bench.ingest([folder], log="growth", DB_PATH=str(database))
    remove_database(database)
    return 1000 * run.cpu_seconds

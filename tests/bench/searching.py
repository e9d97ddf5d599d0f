"""Search over many small messages, in this process, beside the bare statement of SQLite."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

from observatory.store.database import close, fetch_all
from observatory.store.search_parts import list_parts
from tests.bench.figures import Figure, Target, make_figure
from tests.bench.inside import find_share, make_once, open_inside, thirds, time_in_turns
from tests.bench.run import Bench
from tests.bench.search_rows import make_database, words

MESSAGES_PER_CONVERSATION = 100
_ROUNDS = 30
_MANY_MESSAGES = 2_000_000
# Milliseconds: best first whatever is asked for, and newest first.
_BEST, _BEST_OF_MANY, _NEWEST = 5.0, 10.0, 2.0
_RAW = (
    "SELECT m.id, snippet({table}, -1, '[', ']', '…', 24) FROM {table}"
    " JOIN messages m ON m.key = {table}.rowid WHERE {table} MATCH ?"
    " ORDER BY {order} LIMIT ?"
)
_ORDERS = {"best first": "rank", "newest first": "{table}.rowid DESC"}
_HITS = 20


def make_search_database(messages: int) -> Path:
    """Return the path of a database of so many messages, made unless it is there."""

    def make(path: Path) -> Iterator[str]:
        conversations = max(1, messages // MESSAGES_PER_CONVERSATION)
        yield from make_database(path, conversations=conversations, messages=messages)

    return make_once(f"search-{messages}.db", make)


def list_queries() -> dict[str, str]:
    """Return queries by how much they find, in words of the database."""
    vocabulary, _ = words(random.Random(1))
    first, second = vocabulary[0], vocabulary[1]
    return {
        "rare word": vocabulary[20_000],
        "medium word": vocabulary[300],
        "common word": first,
        "two common words": f"{first} {second}",
        "phrase of common words": f'"{first} {second}"',
        "beginning of a word": f"{vocabulary[40][:3]}*",
    }


def measure_search(bench: Bench) -> Iterator[Figure]:
    """Ask each query, best and newest first, at each size."""
    for messages in bench.sizes.messages:
        client = open_inside(make_search_database(messages))
        for name, query in list_queries().items():
            for order, by in _ORDERS.items():
                sort = "time" if order == "newest first" else "relevance"
                path = f"/api/search?limit={_HITS}&sort={sort}&q={quote(query)}"
                # The product looks for a word alone as a phrase of one.
                match = query if query[0] == '"' or query[-1] == "*" else _quoted(query)
                times = time_in_turns(
                    {
                        "ours": partial(client.get, path),
                        "raw": partial(_ask_parts, match, by),
                    },
                    rounds=_ROUNDS,
                )
                label = f"search of {messages:,}: {name}, {order}"
                yield make_figure(
                    f"{label}, p50",
                    thirds(times["ours"]),
                    "ms",
                    floors=[statistics.median(times["raw"])],
                    target=_target(order, messages),
                )
                yield Figure(f"{label}, p95", find_share(times["ours"], 0.95), "ms")
        close()


def _ask_parts(match: str, order: str) -> None:
    """Ask the parts of the index, the newest first, until they gave a page."""
    missing = _HITS
    for part in reversed(list_parts()):
        rows = fetch_all(
            _RAW.format(table=part.table, order=order.format(table=part.table)), (match, missing)
        )
        missing -= len(rows)
        if not missing:
            break


def _quoted(query: str) -> str:
    return " ".join(f'"{word}"' for word in query.split())


def _target(order: str, messages: int) -> Target:
    if messages >= _MANY_MESSAGES:
        return Target(at_most=_BEST_OF_MANY)
    return Target(at_most=_NEWEST if order == "newest first" else _BEST)

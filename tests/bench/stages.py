"""What ``make bench`` measures, by name; each stage can be run alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.bench import analytics
from tests.bench.direct import measure_direct
from tests.bench.figures import Figure
from tests.bench.growth import measure_growth
from tests.bench.ingesting import measure_ingest
from tests.bench.live import measure_idle, measure_live
from tests.bench.mixed import measure_mixed
from tests.bench.reads import measure_reads
from tests.bench.run import Bench
from tests.bench.searching import measure_search
from tests.bench.standing import measure_memory, measure_start
from tests.bench.writes import measure_writes


def measure_reports(bench: Bench) -> Iterator[Figure]:
    """Ask for each report at each size."""
    for messages in bench.sizes.messages:
        yield from analytics.measure(messages)


Stage = Callable[[Bench], Iterator[Figure]]
STAGES: dict[str, tuple[Stage, str]] = {
    "ingest": (measure_ingest, "reading the corpus, and looking at it again unchanged"),
    "direct": (measure_direct, "requests in process, beside raw SQLite"),
    "start": (measure_start, "from `observatory serve` to the first answer"),
    "reads": (measure_reads, "every read endpoint under load, beside a bare WSGI answer"),
    "mixed": (measure_mixed, "reads while an ingest runs at full speed"),
    "live": (measure_live, "from a line to whoever waits for it; many streams"),
    "idle": (measure_idle, "watching many files that do not change"),
    "search": (measure_search, "rare, common and phrase queries, best and newest first"),
    "reports": (measure_reports, "each report over months and a year"),
    "memory": (measure_memory, "all processes with 1,000 connections and 2,000,000 messages"),
    # Last of those on the corpus: it writes into the archive.
    "writes": (measure_writes, "conversations and messages that clients write"),
}
# Asked for by ``--growth``.
GROWTH: dict[str, tuple[Stage, str]] = {
    "growth": (measure_growth, "the same figures at ten and a hundred times as many rows"),
}

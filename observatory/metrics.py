"""What is counted, by prometheus-client; right over several workers in its multiprocess mode.

Web workers share files in memory. The watcher is another process, maybe of another service: what
it counts, it leaves in a file beside the database (store/watcher_status.py), and servers add that
to their own (docs/decisions/0015-metrics.md).
"""

from __future__ import annotations

import platform
from collections import Counter as CountOf
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from time import perf_counter

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.values import MutexValue, ValueClass

# Of each counter another series that tells when it was made, which nobody asks for.
disable_created_metrics()

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0)
_FEW_BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0)

HTTP_REQUESTS = Counter(
    "observatory_http_requests_total",
    "HTTP requests that were answered.",
    ("route", "method", "status"),
)
HTTP_DURATION = Histogram(
    "observatory_http_request_duration_seconds",
    "Time from the request's arrival in the application to its answer.",
    ("route", "method"),
    buckets=_BUCKETS,
)
# A histogram would have a dozen series for each route, and cost two microseconds a request more.
HTTP_RESPONSE_BYTES = Counter(
    "observatory_http_response_bytes_total",
    "Size of bodies as they were sent, but for what is made while it is sent (streams, exports).",
    ("route", "method"),
)
HTTP_IN_FLIGHT = Gauge(
    "observatory_http_requests_in_flight",
    "Requests that are being worked on, but for scrapes; a second old of other workers.",
    ("route", "method"),
    multiprocess_mode="livesum",
)
AUTH_FAILURES = Counter(
    "observatory_auth_failures_total",
    "Requests that were refused for who sent them, or from where.",
    ("reason",),
)
RATE_LIMITED = Counter(
    "observatory_rate_limited_requests_total",
    "Requests that were one too many for a limit.",
    ("limit",),
)
SEARCH_DURATION = Histogram(
    "observatory_search_duration_seconds",
    "Time that a search took in the database.",
    ("kind",),
    buckets=_BUCKETS,
)
REPORT_DURATION = Histogram(
    "observatory_report_duration_seconds",
    "Time that a report took to make; one that is kept from before is not made.",
    ("report",),
    buckets=_BUCKETS,
)
STREAMS = Gauge(
    "observatory_streams",
    "Open streams of events.",
    ("kind",),
    multiprocess_mode="livesum",
)
STREAM_QUEUE = Gauge(
    "observatory_stream_queue_bytes",
    "What clients of streams were sent and have not taken.",
    multiprocess_mode="livesum",
)
STREAM_EVENTS = Counter(
    "observatory_stream_events_total", "Events that were sent on streams.", ("kind",)
)
STREAM_RESYNCS = Counter(
    "observatory_stream_resyncs_total", "Times that a client was too slow for its stream."
)

# What every process does, told apart by the label ``process`` when it is shown.
WRITE_WAIT = Histogram(
    "observatory_database_write_wait_seconds",
    "Time that a write transaction waited for the lock of the database.",
    buckets=_FEW_BUCKETS,
)
WRITE_DURATION = Histogram(
    "observatory_database_write_duration_seconds",
    "Time that a write transaction had the lock of the database.",
    buckets=_FEW_BUCKETS,
)
WRITE_TIMEOUTS = Counter(
    "observatory_database_write_timeouts_total",
    "Write transactions that did not get the lock of the database in their time.",
)
OF_EACH_PROCESS = (WRITE_WAIT, WRITE_DURATION, WRITE_TIMEOUTS)
# What only the watcher counts.
CHECKPOINTS = Counter(
    "observatory_database_checkpoints_total",
    "Times that the write-ahead log was begun anew, as all of it was in the database.",
)
WATCHER_FAILURES = Counter(
    "observatory_watcher_failures_total",
    "Times that the watcher could not go on at once, as when the database refuses.",
)
OF_THE_WATCHER = (CHECKPOINTS, WATCHER_FAILURES)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
AUTH_REASONS = (
    "missing", "malformed", "key", "token", "expired", "session", "ticket", "password", "refresh",
    "permission", "host", "origin",
)  # fmt: skip
LIMITS = ("address", "identity", "sign_in")
SEARCHES = ("messages", "conversations")

# There from the start: a rate of what appears with its first count misses that one.
for _reason in AUTH_REASONS:
    AUTH_FAILURES.labels(_reason)
for _limit in LIMITS:
    RATE_LIMITED.labels(_limit)


# Sums of such steps of a second (a microsecond or so) are exact, whatever is added first. Else the
# sum over workers differs in its last digit from one scrape to the next, and one that is less by
# that is a restart to Prometheus, which adds all of it again.
_STEPS = 2**20


def _in_steps(seconds: float) -> float:
    return int(seconds * _STEPS) / _STEPS


@lru_cache(maxsize=4096)
def _children(route: str, method: str, status: str) -> tuple[Counter, Histogram, Counter]:
    HTTP_IN_FLIGHT.labels(route, method)
    return (
        HTTP_REQUESTS.labels(route, method, status),
        HTTP_DURATION.labels(route, method),
        HTTP_RESPONSE_BYTES.labels(route, method),
    )


def observe_request(
    route: str | None, method: str, status: str, seconds: float, *, body_bytes: int = 0
) -> None:
    """Count one request. Labels come from small sets: the route's template, never the path."""
    counter, histogram, sizes = _children(
        route or "(none)", method if method in METHODS else "OTHER", status
    )
    counter.inc()
    histogram.observe(_in_steps(seconds))
    if body_bytes:
        sizes.inc(body_bytes)


# Requests of this process, by something that each has for itself.
_running: dict[int, tuple[str, str]] = {}
_telling = Lock()
_told: set[tuple[str, str]] = set()


def begin_request(number: int, route: str | None, method: str) -> None:
    """Note a request that is being worked on, until its end."""
    _running[number] = (route or "(none)", method)


def end_request(number: int) -> None:
    """Note that it is not any more."""
    _running.pop(number, None)


def tell_in_flight() -> None:
    """Tell other processes of the requests that are being worked on.

    It is called each second: told at its beginning and end, a request would cost a quarter more.
    """
    with _telling:
        counts = CountOf(
            (route, method if method in METHODS else "OTHER")
            for route, method in _running.copy().values()
        )
        for labels in _told | counts.keys():
            HTTP_IN_FLIGHT.labels(*labels).set(counts[labels])
        _told.clear()
        _told.update(counts)


@contextmanager
def timed(histogram: Histogram, label: str) -> Iterator[None]:
    """Observe how long a block takes that does not fail."""
    began = perf_counter()
    yield
    histogram.labels(label).observe(_in_steps(perf_counter() - began))


def observe_write(*, began: float, locked: float) -> None:
    """Count a write transaction that ends now; times are by ``perf_counter``."""
    WRITE_WAIT.observe(_in_steps(locked - began))
    WRITE_DURATION.observe(_in_steps(perf_counter() - locked))


def keep_samples() -> dict[str, list[tuple[str, dict[str, str], float]]]:
    """Return what this process, the watcher, has counted, to be kept in a file.

    By the names of metrics; of each sample its name, its labels and its value.
    """
    metrics: Iterable[Counter | Histogram] = (*OF_EACH_PROCESS, *OF_THE_WATCHER)
    return {
        family.name: [(sample.name, dict(sample.labels), sample.value) for sample in family.samples]
        for metric in metrics
        for family in metric.collect()
    }


def is_multiprocess() -> bool:
    """Tell whether this process shares its metrics with others through files."""
    return ValueClass is not MutexValue


def python_version() -> str:
    """Return the version of Python."""
    return platform.python_version()

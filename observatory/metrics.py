"""What is counted, by prometheus-client; right over several workers in its multiprocess mode."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.values import MutexValue, ValueClass

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

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
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@lru_cache(maxsize=4096)
def _children(route: str, method: str, status: str) -> tuple[Counter, Histogram]:
    return HTTP_REQUESTS.labels(route, method, status), HTTP_DURATION.labels(route, method)


def observe_request(route: str | None, method: str, status: str, seconds: float) -> None:
    """Count one request. Labels come from small sets: the route's template, never the path."""
    counter, histogram = _children(
        route or "(none)", method if method in METHODS else "OTHER", status
    )
    counter.inc()
    histogram.observe(seconds)


def is_multiprocess() -> bool:
    """Tell whether this process shares its metrics with others through files."""
    return ValueClass is not MutexValue

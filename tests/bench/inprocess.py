"""Microseconds per request through the WSGI callable, without a socket, beside raw SQLite.

Run by ``tests.bench`` in a process of its own, with the product's settings in the environment:

    python -m tests.bench.inprocess DATABASE CONVERSATION_ID TRANSCRIPTS
"""

import gc
import importlib
import io
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson

from observatory.api import exchange
from tests.bench.credentials import build_believing, make_credentials
from tests.bench.endpoints import list_core
from tests.bench.floor import ParseSample, RawQueries
from tests.bench.processes import find_free_port

_ROUNDS = 60
_CALLS_PER_ROUND = 15
_PARTS = 3
# Asked for again and again: what finding out who asks may add to.
_HOT = ("list of 50", "one")
_FLOORS = ("list of 50", "one", "100 messages")

# Requests of which it is told what counting them costs.
_COUNTED = ("health", "list of 50", "one")
_COUNTING: Any = (exchange.begin_request, exchange.end_request, exchange.observe_request)

Application = Callable[..., Iterable[bytes]]


class Caller:
    """A WSGI server without sockets."""

    def __init__(self, application: Application, path: str, port: int, *, credentials: str) -> None:
        self._application = application
        self._environ = _make_environ(path, port)
        self._environ["HTTP_AUTHORIZATION"] = f"Bearer {credentials}"
        self.status = ""

    def call(self) -> int:
        """Make one request and return the length of the body."""
        environ = {**self._environ, "wsgi.input": io.BytesIO()}
        answer = self._application(environ, self._start_response)
        try:
            return sum(map(len, answer))
        finally:
            close = getattr(answer, "close", None)
            if close:
                close()

    def _start_response(self, status: str, *_: object) -> None:
        self.status = status


def _count_nothing(*_: object, **__: object) -> None:
    pass


class CountingCaller(Caller):
    """A caller of an application that counts its requests, or does not; both are set each time."""

    def __init__(self, *args: Any, is_counted: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        self._used = _COUNTING if is_counted else (_count_nothing,) * 3

    def call(self) -> int:
        """Make one request and return the length of the body."""
        exchange.begin_request, exchange.end_request, exchange.observe_request = self._used
        try:
            return super().call()
        finally:
            exchange.begin_request, exchange.end_request, exchange.observe_request = _COUNTING


def _make_environ(path: str, port: int) -> dict[str, Any]:
    plain, _, query = path.partition("?")
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": plain,
        "RAW_URI": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": f"{port}",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "50000",
        "HTTP_HOST": f"127.0.0.1:{port}",
        "HTTP_ACCEPT": "application/json",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def measure(calls: dict[str, Callable[[], int]]) -> dict[str, list[float]]:
    """Return the median microseconds of each call, in each part of the run; they take turns."""
    times: dict[str, list[int]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(_ROUNDS):
        for name, call in calls.items():
            gc.collect(0)
            for _ in range(_CALLS_PER_ROUND):
                started = time.perf_counter_ns()
                call()
                times[name].append(time.perf_counter_ns() - started)
    size = _ROUNDS // _PARTS * _CALLS_PER_ROUND
    return {
        name: [statistics.median(taken[n : n + size]) / 1000 for n in range(0, len(taken), size)]
        for name, taken in times.items()
    }


def main(arguments: list[str]) -> int:
    """Measure and print one line of JSON: microseconds, their floors, body sizes."""
    database, conversation_id, transcripts = arguments
    application = importlib.import_module("observatory.wsgi").application
    port, raw = find_free_port(), RawQueries(Path(database))
    credentials, paths = make_credentials(), list_core(conversation_id)
    callers = {
        name: Caller(application, path, port, credentials=credentials["key"])
        for name, path in paths.items()
    }
    believing = build_believing()
    known = {
        (name, kind): Caller(app, paths[name], port, credentials=credentials[sent])
        for name in _HOT
        for kind, app, sent in (
            ("nobody asked", believing, "key"),
            ("key", application, "key"),
            ("token", application, "token"),
        )
    }
    body_bytes = {name: caller.call() for name, caller in callers.items()}
    statuses = {name: caller.status for name, caller in callers.items()}
    calls = {name: caller.call for name, caller in callers.items()}
    floors = {f"raw {name}": raw.for_endpoint(name, conversation_id) for name in _FLOORS}
    sample = ParseSample(Path(transcripts))
    medians = measure({**calls, **floors, "parse": sample.parse_piece})
    raw.close()
    hot = measure({f"{name}, {kind}": caller.call for (name, kind), caller in known.items()})
    statuses |= {f"{name}, {kind}": caller.status for (name, kind), caller in known.items()}
    counting = {
        (name, kind): CountingCaller(
            application, paths[name], port, credentials=credentials["key"], is_counted=is_counted
        )
        for name in _COUNTED
        for kind, is_counted in (("counted", True), ("not counted", False))
    }
    costs = measure({f"{name}, {kind}": caller.call for (name, kind), caller in counting.items()})
    result = {
        "us": {name: medians[name] for name in calls},
        "raw_us": {name: medians[f"raw {name}"] for name in _FLOORS},
        "parse_mb_per_second": sample.mean_bytes / statistics.median(medians["parse"]),
        "body_bytes": body_bytes,
        "statuses": statuses,
        "authentication_us": {
            name: {kind: hot[f"{name}, {kind}"] for of, kind in known if of == name}
            for name in _HOT
        },
        "counting_us": {
            name: {kind: costs[f"{name}, {kind}"] for of, kind in counting if of == name}
            for name in _COUNTED
        },
    }
    print(orjson.dumps(result).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

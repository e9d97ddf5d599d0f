"""Logging: one line per event, as JSON or for people, on standard error.

Lines never hold what a client sent: exceptions are told by their kinds and places, and of what
they say only the part that programs say, see ``describe_exception``. What an event holds besides
is up to who logs it.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from contextlib import suppress
from typing import IO, Any, BinaryIO, TextIO, cast

import orjson

from observatory.plain_structlog import structlog
from observatory.timestamps import now

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
# What follows in messages of Python and SQLite may be a value: near "...", no such column: ...
_REASON = re.compile(r"[A-Za-z /\[\]_.0-9]*")
_MAX_CAUSES = 8
# What a terminal might obey.
_CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F, *range(0x80, 0xA0)) if code != 0x0A
} | {0x2028: "\\u2028", 0x2029: "\\u2029"}


def escape_controls(text: str) -> str:
    """Return a text as one line that a terminal shows and does not obey."""
    return text.translate(_CONTROLS).replace("\n", "\\x0a")


def describe_exception(error: BaseException) -> list[dict[str, Any]]:
    """Return an exception and its causes, the last one first, without the values they speak of.

    Returns:
        For each its ``type``, the beginning of its message up to the first quote, colon or other
        sign (``reason``), and its ``frames``, outermost first, as ``file:line function``.
    """
    described: list[dict[str, Any]] = []
    current: BaseException | None = error
    while current is not None and len(described) < _MAX_CAUSES:
        kind = type(current)
        frames = traceback.extract_tb(current.__traceback__, limit=-50)
        described.append(
            {
                "type": f"{kind.__module__}.{kind.__qualname__}",
                "reason": _REASON.match(str(current))[0].strip(),  # type: ignore[index]
                "frames": [f"{f.filename}:{f.lineno} {f.name}" for f in frames],
            }
        )
        hidden = current.__suppress_context__
        current = current.__cause__ or (None if hidden else current.__context__)
    return described


def _add_time(_logger: Any, _method: str, event: structlog.typing.EventDict) -> Any:
    event["timestamp"] = now()
    return event


def _add_exception(_logger: Any, _method: str, event: structlog.typing.EventDict) -> Any:
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["exception"] = describe_exception(error)
    return event


def _write_json(_logger: Any, _method: str, event: structlog.typing.EventDict) -> bytes:
    try:
        line = orjson.dumps(event, default=str)
    except TypeError:
        line = b"\xff"  # Surrogates, as in names of files that are no UTF-8.
    if line.isascii():
        return line
    return json.dumps(event, default=str).encode()


def _lay_out_exception(_logger: Any, _method: str, event: structlog.typing.EventDict) -> Any:
    """Turn an exception to lines for people, and escape what a terminal might obey."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = escape_controls(value)
    causes = event.pop("exception", None)
    if causes is not None:
        lines = [
            line
            for cause in causes
            for line in (
                f"{cause['type']}: {cause['reason']}",
                *(f"  {f}" for f in cause["frames"]),
            )
        ]
        event["exception"] = "\n".join(lines).translate(_CONTROLS)
    return event


class _Lines:
    """A stream that loses what can not be written: no work ends for the sake of its log.

    The disk may be full on which a log lies, and the terminal may be closed.
    """

    def __init__(self, stream: IO[Any]) -> None:
        self._stream = stream

    def write(self, data: Any) -> int:
        """Write, if that can be."""
        with suppress(OSError):
            self._stream.write(data)
        return len(data)

    def flush(self) -> None:
        """Hand on what was written, if that can be."""
        with suppress(OSError):
            self._stream.flush()


def configure_logging(*, level: str, log_format: str) -> None:
    """Set up structlog.

    Args:
        level: Least serious level that is written: ``debug``, ``info``, ``warn`` or ``error``.
        log_format: ``json`` for an object a line, ``pretty`` for people.
    """
    factory: structlog.PrintLoggerFactory | structlog.BytesLoggerFactory
    if log_format == "json":
        last: list[structlog.typing.Processor] = [_write_json]
        lines = _Lines(sys.stderr.buffer)
        factory = structlog.BytesLoggerFactory(file=cast(BinaryIO, lines))
    else:
        console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        last = [_lay_out_exception, console]
        lines = _Lines(sys.stderr)
        factory = structlog.PrintLoggerFactory(file=cast(TextIO, lines))
    _requests.least = _LEVELS[level]
    _requests.stream = lines if log_format == "json" else None
    structlog.configure(
        processors=[structlog.processors.add_log_level, _add_time, _add_exception, *last],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )


def log_request(
    *,
    is_watched: bool,
    request_id: str,
    method: str | None,
    route: str | None,
    status: int,
    seconds: float,
    identity: str | None,
    address: str | None,
) -> None:
    """Log one request. As JSON it is written by hand: structlog takes four times as long.

    Args:
        is_watched: Whether programs ask for this again and again; it is told at ``debug`` then.
        request_id: The id of the exchange.
        method: One of the methods that are counted, or ``OTHER``.
        route: The template of the address, never the address.
        status: Of the answer.
        seconds: How long it took.
        identity: Who asked, if that is known.
        address: From where.
    """
    level = "debug" if is_watched else "info"
    if _LEVELS[level] < _requests.least:
        return
    fields = {
        "request_id": request_id,
        "method": method,
        "route": route,
        "status": status,
        "duration_ms": round(seconds * 1000, 2),
        "identity": identity,
        "address": address,
    }
    stream = _requests.stream
    if stream is None:
        getattr(log, level)("request", **fields)
        return
    fields |= {"event": "request", "level": level, "timestamp": now()}
    stream.write(orjson.dumps(fields) + b"\n")
    stream.flush()


class _Requests:
    """How requests are logged: from which level on, and where to as JSON."""

    least = logging.INFO
    stream: _Lines | None = None


_requests = _Requests()
log: structlog.typing.FilteringBoundLogger = structlog.get_logger("observatory")

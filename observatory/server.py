"""What gunicorn is taught: to refuse in our envelope, and to log nothing that a client sent."""

from __future__ import annotations

import socket
from http import HTTPStatus
from time import perf_counter
from typing import Any, NamedTuple

from gunicorn.glogging import Logger
from gunicorn.http import errors
from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import ThreadWorker

from observatory.api.answers import JSON, make_error
from observatory.api.exchange import PROTECTING_HEADERS, make_request_id
from observatory.log import log
from observatory.metrics import observe_request


class Refusal(NamedTuple):
    """How what never reaches the application is answered."""

    status: int
    code: str
    message: str


_FAILURE = Refusal(500, "INTERNAL_ERROR", "Something went wrong here; the log tells what.")
# The first kind that fits counts.
_REFUSALS: tuple[tuple[type[Exception], Refusal], ...] = (
    (errors.LimitRequestLine, Refusal(414, "URI_TOO_LONG", "The address is too long.")),
    (
        errors.LimitRequestHeaders,
        Refusal(431, "HEADERS_TOO_LARGE", "Headers are too many or too long."),
    ),
    (
        errors.ExpectationFailed,
        Refusal(417, "VALIDATION_ERROR", "Expect takes 100-continue only."),
    ),
    (
        errors.UnsupportedTransferCoding,
        Refusal(501, "VALIDATION_ERROR", "Transfer-Encoding takes chunked only."),
    ),
    (errors.ParseException, Refusal(400, "VALIDATION_ERROR", "This is no request of HTTP/1.1.")),
)


class ServerLog(Logger):
    """Gunicorn's log, but what fails in a request is told without the request's own text."""

    def exception(self, msg: Any, *_args: Any, **_kwargs: Any) -> None:
        """Log the exception at hand; what is put into the message may be an address."""
        log.error("server_failed", message=str(msg), exc_info=True)


def find_refusal(error: BaseException) -> Refusal:
    """Return how to answer what stopped a request before or beside the application."""
    return next((refusal for kind, refusal in _REFUSALS if isinstance(error, kind)), _FAILURE)


def write_refusal(client: socket.socket, address: Any, refusal: Refusal) -> None:
    """Answer in the envelope, with the headers that every answer has, and end the connection."""
    status = refusal.status
    started = perf_counter()
    request_id = make_request_id()
    body = make_error(code=refusal.code, message=refusal.message, request_id=request_id)
    headers = {
        "Content-Type": JSON,
        "Content-Length": str(len(body)),
        "Connection": "close",
        "Cache-Control": "no-store",
        "X-Request-ID": request_id,
        **dict(PROTECTING_HEADERS),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
    seconds = perf_counter() - started
    observe_request(None, "OTHER", str(status), seconds)
    log.info(
        "request",
        request_id=request_id,
        method=None,
        route=None,
        status=status,
        duration_ms=round(seconds * 1000, 2),
        identity=None,
        address=address[0] if isinstance(address, tuple) else None,
    )
    try:
        write_nonblock(client, f"{first}{head}\r\n".encode("latin-1") + body)
    except OSError:
        log.debug("refusal_not_sent", request_id=request_id)


class Worker(ThreadWorker):
    """A gthread worker that refuses what is no request as the application refuses."""

    def handle_error(self, _req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer what can not be read, or failed outside of the application."""
        refusal = find_refusal(exc)
        if refusal is _FAILURE:
            log.error("server_failed", message="Error handling request", exc_info=exc)
        write_refusal(client, addr, refusal)

"""Small reads that the event loop answers itself, and small writes that share a thread.

Handing a request to a thread and back costs more than answering it: two switches of the
interpreter's lock, a parser that is made for everything, and two calls of the system for the
poller. So a request that is known to be small, and is written as programs and browsers write it,
is read here. All others, and whatever is the least unusual, go the ordinary way: what is read
here is read exactly as gunicorn would read it.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from gunicorn import SERVER
from gunicorn.util import http_date, is_hoppish

_ID = rb"[A-Za-z0-9_-]{1,128}"
# Pages that are asked for by a key: what they cost does not grow with the archive.
_PLACE = (rb"limit=(?:[1-9][0-9]?|100)", rb"cursor=[A-Za-z0-9_-]{1,512}")
# There is an index of each order.
_ORDER = (
    rb"sort_by=(?:updated_at|created_at|title|message_count|total_tokens)",
    rb"sort_order=(?:asc|desc)",
)


def _query(*parameters: bytes) -> bytes:
    """Return the pattern of a query with some parameters, or of none."""
    given = rb"(?:" + rb"|".join(parameters) + rb")(?:&(?!\ )|(?=\ ))"
    return rb"(?:\?(?:" + given + rb"){1,%d})?" % len(parameters)


_LINE = re.compile(
    rb"GET (?=/)("
    rb"/health"
    rb"|/api/conversations"
    + _query(*_PLACE, *_ORDER)
    + rb"|/api/conversations/(?!search)"
    + _ID
    + rb"(?:/messages"
    + _query(*_PLACE)
    + rb")?"
    rb"|/api/messages/" + _ID + rb") HTTP/1\.1\r\n"
)
_WRITE_LINE = re.compile(
    rb"POST (?=/)(/api/conversations(?:/" + _ID + rb"/messages)?) HTTP/1\.1\r\n"
)
_HEAD_END = b"\r\n\r\n"
_HEADER = re.compile(
    rb"([!#$%&'*+.^`|~0-9A-Za-z-]{1,64}):[ \t]*((?:[!-~](?:[ \t!-~]*[!-~])?)?)[ \t]*\r\n"
)
# What tells of a body.
_OF_BODIES = frozenset({"HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE"})
# What changes how a request is to be read, or where it came from.
_UNUSUAL = frozenset(
    {
        "HTTP_EXPECT",
        "HTTP_SCRIPT_NAME",
        "HTTP_PATH_INFO",
        "HTTP_TRANSFER_ENCODING",
        "HTTP_UPGRADE",
        "HTTP_HTTP2_SETTINGS",
    }
)
_WITHOUT_BODY = ("1", "204", "304")
# Of headers of answers: what they tell of.
_ORDINARY, _LENGTH, _OF_CONNECTIONS = range(3)
_MOST_HEADERS = 50
_MOST_BYTES = 8000


class Kept:
    """What is known of a connection, and of its last request: the next one is like it, mostly.

    Args:
        variables: What every request has as variables of WSGI.
        client: Address and port of the client.
        server: Address and port that it came to.
        scheme_headers: Which variables tell the scheme, and what they hold where it is TLS.
    """

    __slots__ = ("_headers", "_scheme_headers", "_told", "_variables")

    def __init__(
        self,
        variables: Mapping[str, Any],
        *,
        client: tuple[Any, ...],
        server: tuple[Any, ...],
        scheme_headers: Mapping[str, str],
    ) -> None:
        self._variables = {
            **variables,
            "REMOTE_ADDR": client[0],
            "REMOTE_PORT": str(client[1]),
            "SERVER_NAME": server[0],
            "SERVER_PORT": str(server[1]),
        }
        self._scheme_headers = scheme_headers
        # Headers as they came, and whether a body came with them.
        self._told: tuple[bytes, bool] | None = None
        self._headers: dict[str, Any] = {}

    def read(self, arrived: bytes | bytearray) -> dict[str, Any] | None:
        """Return a small read as variables of WSGI, or ``None`` for another request.

        Args:
            arrived: A request, and perhaps something behind it.
        """
        line = _LINE.match(arrived)
        if line is None or len(arrived) > _MOST_BYTES:
            return None
        return self._make_variables(line, bytes(arrived[line.end() :]), body=b"")

    def read_write(self, arrived: bytes | bytearray) -> dict[str, Any] | None:
        """Return a small write as variables of WSGI, or ``None`` for another request.

        Args:
            arrived: A request with all of its body, and perhaps something behind it.
        """
        line = _WRITE_LINE.match(arrived)
        if line is None:
            return None
        end = arrived.find(_HEAD_END, 0, _MOST_BYTES) + len(_HEAD_END)
        if end < line.end():
            return None
        body = bytes(arrived[end:])
        variables = self._make_variables(line, bytes(arrived[line.end() : end]), body=body)
        if variables is None or variables.get("CONTENT_LENGTH") != str(len(body)):
            return None
        variables["REQUEST_METHOD"] = "POST"
        return variables

    def _make_variables(
        self, line: re.Match[bytes], head: bytes, *, body: bytes
    ) -> dict[str, Any] | None:
        told = head, bool(body)
        if told != self._told:
            headers = _read_headers(head, has_body=bool(body))
            if headers is None or not self._tell_scheme(headers):
                return None
            self._told, self._headers = told, {**self._variables, **headers}
        target = line[1].decode("ascii")
        path, _, query = target.partition("?")
        variables = self._headers.copy()
        variables["PATH_INFO"] = path
        variables["QUERY_STRING"] = query
        variables["RAW_URI"] = target
        variables["wsgi.input"] = io.BytesIO(body)
        return variables

    def _tell_scheme(self, headers: dict[str, Any]) -> bool:
        """Add the scheme, and tell whether there is no doubt about it."""
        told = [name for name in self._scheme_headers if name in headers]
        if len(told) == 1:
            is_tls = headers[told[0]] == self._scheme_headers[told[0]]
            headers["wsgi.url_scheme"] = "https" if is_tls else "http"
        return len(told) < 2


def _read_headers(head: bytes, *, has_body: bool) -> dict[str, Any] | None:
    """Return headers as variables of WSGI, or ``None`` where anything is unusual."""
    headers: dict[str, Any] = {}
    position = 0
    for _ in range(_MOST_HEADERS):
        found = _HEADER.match(head, position)
        if found is None:
            break
        name = f"HTTP_{found[1].decode('ascii').upper().replace('-', '_')}"
        if name in _OF_BODIES and has_body:
            name = name.removeprefix("HTTP_")
        if name in headers or name in _UNUSUAL or name in _OF_BODIES:
            return None
        headers[name] = found[2].decode("ascii")
        position = found.end()
    if head[position:] != b"\r\n":
        return None
    if headers.get("HTTP_CONNECTION", "keep-alive").lower() != "keep-alive":
        return None
    return headers


def write_answer(
    status: str, headers: Iterable[tuple[str, str]], *, body: bytes, ends: bool
) -> bytes:
    """Return an answer as it is sent.

    Args:
        status: As WSGI has it, such as ``200 OK``.
        headers: The application's.
        body: All of it.
        ends: Whether the connection ends with it.

    Raises:
        ValueError: A header would become two.
    """
    has_body = not status.startswith(_WITHOUT_BODY)
    lines = [
        f"HTTP/1.1 {status}",
        f"Server: {SERVER}",
        f"Date: {_write_date(int(time.time()))}",
        f"Connection: {'close' if ends else 'keep-alive'}",
    ]
    has_length = not has_body
    for name, value in headers:
        kind = _tell_kind(name)
        if kind is _LENGTH:
            has_length = True
            if status.startswith("204"):
                continue
        elif kind is _OF_CONNECTIONS:
            continue
        lines.append(f"{name}: {value}")
    if not has_length:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1:
        raise ValueError("A header of an answer has several lines.")
    return b"".join((head.encode("latin-1"), b"\r\n\r\n", body if has_body else b""))


@lru_cache(maxsize=128)
def _tell_kind(name: str) -> int:
    lowered = name.lower()
    if lowered == "content-length":
        return _LENGTH
    return _OF_CONNECTIONS if is_hoppish(lowered) else _ORDINARY


@lru_cache(maxsize=2)
def _write_date(second: int) -> str:
    return str(http_date(second))

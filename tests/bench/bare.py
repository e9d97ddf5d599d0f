"""The least that a WSGI application can do: ``GET /N`` is answered with N fixed bytes."""

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


@lru_cache(maxsize=64)
def _make_answer(path: str) -> tuple[bytes, list[tuple[str, str]]]:
    body = b"x" * int(path.lstrip("/") or 0)
    return body, [("Content-Type", "application/json"), ("Content-Length", f"{len(body)}")]


def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """Answer with as many bytes as the path says."""
    body, headers = _make_answer(environ["PATH_INFO"])
    start_response("200 OK", headers)
    return (body,)

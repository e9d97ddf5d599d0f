"""Answers in the one envelope: ``{success, data | error, timestamp, request_id}``."""

from __future__ import annotations

from typing import Any

import falcon
import orjson

from observatory.api.columns import choose
from observatory.api.links import add_links
from observatory.store.pages import Page
from observatory.timestamps import now

JSON = "application/json"


def answer(req: falcon.Request, resp: falcon.Response, data: Any) -> None:
    """Answer with data, or with those of its fields that were asked for."""
    columns = getattr(req.context, "columns", None)
    if columns is not None:
        data = choose(data, columns)
    _answer(req, resp, data)


def answer_page(req: falcon.Request, resp: falcon.Response, noun: str, page: Page) -> None:
    """Answer with a page of a list under its plural noun, and with links to other pages."""
    answer_rows(req, resp, noun, page.rows, page.pagination())


def answer_rows(
    req: falcon.Request,
    resp: falcon.Response,
    noun: str,
    rows: Any,
    pagination: dict[str, Any],
    **others: Any,
) -> None:
    """Answer with rows, which ``fields`` and ``Link`` speak of, and others beside them."""
    add_links(req, resp, pagination)
    columns = getattr(req.context, "columns", None)
    if columns is not None:
        rows = choose(rows, columns)
    _answer(req, resp, {noun: rows, **others, "pagination": pagination})


def _answer(req: falcon.Request, resp: falcon.Response, data: Any) -> None:
    resp.content_type = JSON
    resp.data = make_answer(data, req.context.request_id)


def make_answer(data: Any, request_id: str) -> bytes:
    """Return the body of an answer with data."""
    return orjson.dumps(
        {"success": True, "data": data, "timestamp": now(), "request_id": request_id}
    )


def answer_error(
    req: falcon.Request,
    resp: falcon.Response,
    *,
    status: str,
    code: str,
    message: str,
    fields: dict[str, Any] | None = None,
) -> None:
    """Answer with what went wrong and what to do."""
    resp.status = status
    resp.content_type = JSON
    resp.data = make_error(
        code=code,
        message=message,
        request_id=getattr(req.context, "request_id", ""),
        fields=fields,
    )


def make_error(
    *, code: str, message: str, request_id: str, fields: dict[str, Any] | None = None
) -> bytes:
    """Return the body of an answer that tells what went wrong."""
    body = {
        "success": False,
        "error": message,
        "code": code,
        "details": {"fields": fields} if fields else {},
        "timestamp": now(),
        "request_id": request_id,
    }
    # The place of a wrong item in a list is a number.
    return orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)

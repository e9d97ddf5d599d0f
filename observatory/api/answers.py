"""Answers in the one envelope: ``{success, data | error, timestamp, request_id}``."""

from __future__ import annotations

from typing import Any

import falcon
import orjson

from observatory.store.pages import Page
from observatory.timestamps import now

JSON = "application/json"


def answer(req: falcon.Request, resp: falcon.Response, data: Any) -> None:
    """Answer with data."""
    resp.content_type = JSON
    resp.data = b"".join(
        (
            b'{"success":true,"data":',
            orjson.dumps(data),
            b',"timestamp":"',
            now().encode(),
            b'","request_id":"',
            req.context.request_id.encode(),
            b'"}',
        )
    )


def answer_page(req: falcon.Request, resp: falcon.Response, noun: str, page: Page) -> None:
    """Answer with a page of a list under its plural noun."""
    answer(req, resp, {noun: page.rows, "pagination": page.pagination()})


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
    body = {
        "success": False,
        "error": message,
        "code": code,
        "details": {"fields": fields} if fields else {},
        "timestamp": now(),
        "request_id": getattr(req.context, "request_id", ""),
    }
    resp.data = orjson.dumps(body)

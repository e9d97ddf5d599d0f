"""Questions to the API, with what holds for every answer checked on the way."""

from __future__ import annotations

from typing import Any

from observatory.api import schemas


def ask(client: Any, path: str, **params: Any) -> dict[str, Any]:
    """Return the data of an answer that must be a good one."""
    answer = client.get(path, params or None)
    assert answer.content_type == "application/json"
    assert set(answer.json) == {"success", "data", "timestamp", "request_id"}
    assert answer.json["success"] is True
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]
    schemas.Time().deserialize(answer.json["timestamp"])
    data: dict[str, Any] = answer.json["data"]
    return data


def check_refusal(answer: Any, status: int, code: str) -> dict[str, Any]:
    """Check that an answer says no in the envelope, and return its JSON."""
    assert (answer.status_int, answer.content_type) == (status, "application/json")
    error: dict[str, Any] = schemas.Error().load(answer.json)
    assert error["code"] == code
    assert error["request_id"] == answer.headers["X-Request-ID"]
    return answer.json


def refuse(client: Any, path: str, params: Any = None, *, status: int = 400) -> dict[str, Any]:
    """Return what is said of the fields of a request that must be refused."""
    codes = {400: "VALIDATION_ERROR", 404: "NOT_FOUND"}
    answer = client.get(path, params, expect_errors=True)
    fields: dict[str, Any] = check_refusal(answer, status, codes[status])["details"].get("fields")
    return fields


def walk(client: Any, path: str, **params: Any) -> list[str]:
    """Return the ids on all pages, followed by their cursors."""
    found, cursor = [], {}
    while True:
        data = ask(client, path, **params, **cursor)
        pagination = data.pop("pagination")
        [rows] = data.values()
        found += [row["id"] for row in rows]
        assert pagination["has_more"] == (pagination["next_cursor"] is not None)
        if not pagination["has_more"]:
            return found
        assert len(rows) == pagination["limit"]
        cursor = {"cursor": pagination["next_cursor"]}


def ids(client: Any, path: str, **params: Any) -> list[str]:
    """Return the ids on one page, checked against its total when it is the only one."""
    data = ask(client, path, **params)
    pagination = data.pop("pagination")
    [rows] = data.values()
    assert pagination["total"] >= len(rows)
    if not pagination["has_more"] and not pagination["offset"] and "cursor" not in params:
        assert pagination["total"] == len(rows)
    return [row["id"] for row in rows]

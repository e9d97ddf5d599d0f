"""Whatever is asked: the answer is a good one or a refusal, in the envelope, and never a 500."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import falcon.inspect
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from observatory.api import schemas
from observatory.app import Application, create_app
from observatory.page.shell import VIEWS
from tests.api.keyed import ENVIRON
from tests.api.sessions import SESSION

OTHER = (
    *VIEWS, "/metrics", "/docs", "/docs.css", "/openapi.json", "/login",
    "/api/events/stream",
)  # fmt: skip
EXAMPLES = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
CHECKED = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
BAD_STATUSES = {
    400: "VALIDATION_ERROR",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    415: "UNSUPPORTED_MEDIA_TYPE",
    426: "UPGRADE_REQUIRED",
}
ROUTES = [
    route.path for route in falcon.inspect.inspect_routes(create_app(cors_origins=(), folders=()))
]
PARAMETERS = (
    "limit", "offset", "cursor", "search", "project_path", "date_from", "date_to", "model",
    "has_errors", "kind", "parent_id", "sort_by", "sort_order", "name", "status",
    "conversation", "not_counted_cursor",
    "token", "owner", "action", "actor", "target", "after", "types", "role", "tool", "ticket",
)  # fmt: skip
VALUES = (
    "", "0", "1", "50", "-1", "true", "asc", "title", "session", SESSION, "2026-03-04", "error",
    "2026-03-04T05:06:07.890Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "*",
    "9" * 30, "NaN", "é\U0001f600", "\x00", "\ud800", 'a" OR b*', "(" * 60, "[]", "null",
)  # fmt: skip

# WSGI hands on bytes as Latin-1; a server has undone the percent-encoding of paths before.
raw_text = st.text(st.characters(max_codepoint=255), max_size=60)
any_text = st.text(max_size=60) | st.text(st.characters(codec=None), max_size=20)
values = st.sampled_from(VALUES) | any_text
pairs = st.lists(st.tuples(st.sampled_from(PARAMETERS) | any_text, values), max_size=5)
query_strings = raw_text | pairs.map(
    lambda found: "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in found)
)
header_text = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=80)
header_names = st.sampled_from(
    ("HTTP_X_REQUEST_ID", "HTTP_ORIGIN", "HTTP_ACCEPT", "HTTP_HOST", "HTTP_RANGE", "HTTP_COOKIE",
     "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_AUTHORIZATION", "HTTP_FORWARDED",
     "HTTP_X_FORWARDED_FOR", "HTTP_ACCEPT_ENCODING", "HTTP_EXPECT", "HTTP_USER_AGENT",
     "HTTP_X_API_KEY", "HTTP_X_CSRF_TOKEN")
)  # fmt: skip
methods = st.sampled_from(
    ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "WEBSOCKET",
     "REPORT", "get", "BREW")
)  # fmt: skip


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"))


@pytest.fixture
def app(session) -> Application:
    return create_app(cors_origins=("http://localhost:3000",), folders=("/nowhere",))


def call(app: Application, path: str, query: str = "", **environ: str) -> tuple[int, bytes]:
    """Return status and body of what a WSGI server would hand on, with WSGI's rules checked."""
    method = environ.get("REQUEST_METHOD", "GET")
    target = {"SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": query}
    asked: dict[str, Any] = {**ENVIRON, **environ, **target}
    setup_testing_defaults(asked)
    started: list[tuple[str, list[tuple[str, str]]]] = []
    # wsgiref's validator knows no other methods and warns of them.
    wsgi = validator(app) if method in CHECKED else app
    body = wsgi(asked, lambda status, headers, _=None: started.append((status, headers)))
    content = b"".join(body)
    if hasattr(body, "close"):
        body.close()
    [(status, headers)] = started
    assert all(len(value) < 9000 and value.isprintable() for _, value in headers)
    return int(status[:3]), content


def is_view(path: str) -> bool:
    """Tell whether an address is one of the page's, with slashes more, too."""
    trimmed = "/" + path.strip("/")
    return any(re.fullmatch(re.sub(r"{\w+}", "[^/]+", view), trimmed, re.DOTALL) for view in VIEWS)


def check(status: int, body: bytes, *, path: str) -> None:
    """Check that an answer to a GET is a good one or a refusal in the envelope."""
    if status == 200 and is_view(path) and body.startswith(b"<!doctype html>"):
        return
    if status == 200 and ((path.rstrip("/") or "/") in OTHER or path.endswith("/export")):
        return
    if status == 200 and path.startswith("/api/analytics/") and not body.startswith(b'{"success"'):
        return  # CSV, or lines of JSON.
    if path.rstrip("/") == "/login" and status == 303 and body == b"":
        return  # Who is signed in needs no form.
    if path == "/login" and status == 401 and body.startswith(b"<!doctype html>"):
        return  # A link that does not hold.
    answer = json.loads(body)
    if status in (200, 201):
        assert list(answer) == ["success", "data", "timestamp", "request_id"]
        assert answer["success"] is True
        return
    assert schemas.Error().load(answer)["code"] == BAD_STATUSES[status]


@EXAMPLES
@given(route=st.sampled_from(ROUTES), query=query_strings)
@example(route="/api/conversations", query="search=%22%00")
@example(route="/api/conversations", query="=&&=;%")
def test_any_query_string(app, route, query):
    path = route.replace(":path}", "}").format(
        conversation_id=SESSION, message_id="aaaaaaaa-0000-4000-8000-000000000001",
        project_id="1", file_id="1", tag="later", user_id="1", key_id="1",
        webhook_id="1", delivery_id="x", budget_id="1", digest="0", path="css/page.css",
        section="keys",
    )  # fmt: skip
    check(*call(app, path, query), path=path)


@EXAMPLES
@given(search=values)
def test_any_search(app, search):
    status, body = call(app, "/api/conversations", f"search={_quoted(search)}")
    check(status, body, path="/api/conversations")


@EXAMPLES
@given(cursor=values, sort_by=st.sampled_from(["title", "updated_at", "total_tokens"]))
def test_any_cursor(app, cursor, sort_by):
    status, body = call(app, "/api/conversations", f"sort_by={sort_by}&cursor={_quoted(cursor)}")
    check(status, body, path="/api/conversations")


@EXAMPLES
@given(route=st.sampled_from(ROUTES), identifier=raw_text)
def test_any_id(app, route, identifier):
    path = route.replace(":path}", "}").format(
        conversation_id=identifier, message_id=identifier, project_id=identifier,
        file_id=identifier, tag=identifier, user_id=identifier, key_id=identifier,
        webhook_id=identifier, delivery_id=identifier, budget_id=identifier, digest=identifier,
        path=identifier, section=identifier,
    )  # fmt: skip
    check(*call(app, path), path=path)


@EXAMPLES
@given(path=raw_text)
def test_any_path(app, path):
    check(*call(app, f"/{path}"), path=f"/{path}")


@EXAMPLES
@given(
    route=st.sampled_from(ROUTES),
    method=methods,
    headers=st.dictionaries(header_names, header_text, max_size=5),
)
def test_any_method_and_header(app, route, method, headers):
    status, body = call(app, route, REQUEST_METHOD=method, **headers)
    if route == "/logout" and "HTTP_AUTHORIZATION" in headers and status == 303:
        return  # Who is not signed in goes back to the page too.
    if status == 303 and (
        route == "/login" or (route in VIEWS and "HTTP_AUTHORIZATION" in headers)
    ):
        # Who is not signed in goes from a view to the page that lets in.
        assert body == b""
        return
    # A ticket takes no body.
    assert status in (200, 201, *BAD_STATUSES)
    assert status != 201 or route == "/api/events/tickets"
    # Nobody needs a cookie or a second key beside a key that holds.
    assert status != 401 or "HTTP_AUTHORIZATION" in headers or route == "/login"
    if method == "HEAD" or (status == 200 and method == "OPTIONS"):
        assert body == b""
    else:
        check(status, body, path=route)

"""What every request gets and every answer carries, whichever resource it is for."""

from __future__ import annotations

import re
from typing import Any

import peewee
import pytest
import webtest

from observatory.api import conversations, errors, exchange
from observatory.app import create_app
from tests.api.asking import check_refusal, refuse
from tests.api.keyed import KeyedApp
from tests.api.sessions import SESSION

PATHS = ("/health", "/health/ready", "/metrics", "/api/conversations")
FAILING = ("/nothing", "/api/conversations/nothing", "/api/conversations?limit=0", "/api/files/x")


@pytest.mark.parametrize("path", [*PATHS, "/login", *FAILING])
def test_headers_that_protect_are_on_every_answer(client, path):
    headers = client.get(path, expect_errors=True).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    # Browsers tell where a form was only where they may tell it in Referer.
    has_form = path == "/login"
    assert headers["Referrer-Policy"] == ("same-origin" if has_form else "no-referrer")
    is_tagged = path in ("/api/conversations", "/openapi.json")
    assert headers["Cache-Control"] == ("private, no-cache" if is_tagged else "no-store")
    assert re.fullmatch(r"[0-9]+\.[0-9]{2}ms", headers["X-Response-Time"])


# Request ids


@pytest.mark.parametrize("path", [*PATHS, *FAILING])
@pytest.mark.parametrize("given", ["a", "abc-123_x.Y", "0" * 64])
def test_a_short_token_is_taken_over_as_request_id(client, path, given):
    answer = client.get(path, headers={"X-Request-ID": given}, expect_errors=True)
    assert answer.headers["X-Request-ID"] == given
    if answer.content_type == "application/json":
        assert answer.json["request_id"] == given


@pytest.mark.parametrize("given", ["", "0" * 65, "a b", "a,b", 'a"b', "<x>", "é", "a/b", "a\tb"])
def test_anything_else_is_replaced(client, given):
    answer = client.get("/health", headers={"X-Request-ID": given})
    made = answer.headers["X-Request-ID"]
    assert re.fullmatch(r"[0-9a-f]+-[0-9a-f]+-[0-9a-f]+", made)
    assert answer.json["request_id"] == made


def test_request_ids_differ(client):
    made = {client.get("/health").json["request_id"] for _ in range(100)}
    assert len(made) == 100


# Methods


@pytest.mark.parametrize("path", [*PATHS, *FAILING, f"/api/conversations/{SESSION}/messages"])
def test_head_has_the_headers_of_get_and_no_body(client, session, path):
    got, head = (
        client.request(path, method=method, headers={"X-Request-ID": "same"}, expect_errors=True)
        for method in ("GET", "HEAD")
    )
    assert (head.status, head.body) == (got.status, b"")
    assert int(got.headers["Content-Length"]) == len(got.body)
    # /metrics counts the request that asked for it.
    changing = {"x-response-time"} | ({"content-length"} if path == "/metrics" else set())
    for name in {*got.headers, *head.headers}:
        if name.lower() not in changing:
            assert head.headers[name] == got.headers[name]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "path", [*PATHS[:-1], "/api/projects", "/api/conversations/x/tool-uses", "/api/files/x/errors"]
)
def test_other_methods_are_refused_with_those_that_are_taken(client, path, method):
    answer = client.request(path, method=method, expect_errors=True)
    check_refusal(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_a_body_with_a_refused_method_changes_nothing(client):
    answer = client.post("/api/projects", b"{" * 100_000, expect_errors=True)
    check_refusal(answer, 405, "METHOD_NOT_ALLOWED")


def test_options_tells_the_methods(client):
    answer = client.options("/api/projects")
    assert (answer.status_int, answer.body) == (200, b"")
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("method", ["BREW", "WEBSOCKET", "get", "CONNECT", "TRACE"])
def test_a_strange_method_is_refused(unchecked, method):
    answer = unchecked.request("/api/files", method=method, expect_errors=True)
    assert answer.status_int in (400, 405)
    assert answer.json["request_id"] == answer.headers["X-Request-ID"] != ""


@pytest.mark.parametrize(
    "path",
    ["/api", "/api/", "/nothing", "/api/conversation", "/api/conversations/a/b/c", "/metrics/x",
     "/index.html", "/.env", "/API/conversations", "/%00", "/%ED%A0%80", "/health%2Fready/x",
     "/api/conversations/" + "a/" * 500, "/../../etc/passwd"],
)  # fmt: skip
def test_there_is_nothing_at_other_paths(client, path):
    refuse(client, path, status=404)


def test_wrong_methods_at_unknown_paths_find_nothing(client):
    check_refusal(client.post("/nothing", expect_errors=True), 404, "NOT_FOUND")


# Failures


def test_a_failure_is_not_told_in_detail(client, monkeypatch):
    def fail(**_: object) -> None:
        raise RuntimeError("inner secret")

    monkeypatch.setattr(conversations, "list_conversations", fail)
    answer = client.get("/api/conversations", expect_errors=True)
    error = check_refusal(answer, 500, "INTERNAL_ERROR")
    assert "inner secret" not in answer.text
    assert error["request_id"] in error["error"]


class Recorded:
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append({"event": event, **fields})

    error = debug = info


def test_a_failure_is_logged_under_the_id_of_its_request(client, monkeypatch):
    def fail(**_: object) -> None:
        raise RuntimeError("inner secret")

    recorded = Recorded()
    monkeypatch.setattr(conversations, "list_conversations", fail)
    monkeypatch.setattr(exchange, "log_request", lambda **fields: recorded.lines.append(fields))
    monkeypatch.setattr(errors, "log", recorded)
    answer = client.get("/api/conversations?search=x", status=500)
    failed, request = recorded.lines
    assert failed["event"] == "request_failed"
    assert failed["request_id"] == request["request_id"] == answer.json["request_id"]
    assert isinstance(failed["exc_info"], RuntimeError)
    assert (request["route"], request["status"]) == ("/api/conversations", 500)


def test_a_locked_database_asks_for_patience(client, monkeypatch):
    def fail(**_: object) -> None:
        raise peewee.OperationalError("database is locked")

    monkeypatch.setattr(conversations, "list_conversations", fail)
    answer = client.get("/api/conversations", expect_errors=True)
    check_refusal(answer, 503, "DATABASE_BUSY")
    assert answer.headers["Retry-After"] == "1"


# CORS

ORIGIN = "http://localhost:3000"


@pytest.fixture
def cors(db) -> webtest.TestApp:
    """A client of an application that allows one origin."""
    return KeyedApp(create_app(cors_origins=(ORIGIN,), folders=()), lint=True)


@pytest.mark.parametrize("path", [*PATHS, *FAILING])
def test_an_allowed_origin_may_read(cors, path):
    answer = cors.get(path, headers={"Origin": ORIGIN}, expect_errors=True)
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    exposed = set(answer.headers["Access-Control-Expose-Headers"].split(", "))
    assert exposed >= {
        "ETag", "Link", "X-Request-ID", "Retry-After", "X-RateLimit-Limit",
        "X-RateLimit-Remaining", "X-RateLimit-Reset",
    }  # fmt: skip
    assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:3001", "https://localhost:3000", "http://evil.example", "null", "*", "",
        "http://localhost:3000/", "HTTP://LOCALHOST:3000", "http://localhost:3000.evil.example",
        "http://localhost:3000, http://evil.example", "http://localhost",
    ],
)  # fmt: skip
def test_another_origin_may_not(cors, origin):
    answer = cors.get("/api/conversations", headers={"Origin": origin})
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


def preflight(app: webtest.TestApp, path: str, method: str, *, origin: str = ORIGIN) -> Any:
    """Ask as a browser does before a page sends what a form can not."""
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers":
            "authorization,content-type,idempotency-key,if-match,x-api-key",
    }  # fmt: skip
    return app.options(path, headers=asked, expect_errors=True)


def check_permitted(headers: Any, method: str) -> None:
    """Check what a browser checks before it sends the request itself."""
    assert headers["Access-Control-Allow-Origin"] == ORIGIN
    assert headers["Access-Control-Allow-Credentials"] == "true"
    assert method in headers["Access-Control-Allow-Methods"].split(", ")
    allowed = {name.lower() for name in headers["Access-Control-Allow-Headers"].split(", ")}
    asked = {"authorization", "content-type", "idempotency-key", "if-match", "x-api-key"}
    assert asked <= allowed
    assert "*" not in allowed
    assert headers["Access-Control-Max-Age"] == "86400"
    assert "Origin" in headers["Vary"].split(", ")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/conversations"),
        ("POST", "/api/conversations"),
        ("PATCH", "/api/conversations/x"),
        ("PUT", "/api/conversations/x"),
        ("DELETE", "/api/conversations/x"),
        ("DELETE", "/api/conversations/x/tags/y"),
    ],
)
def test_a_preflight_permits_what_the_address_takes(cors, method, path):
    answer = preflight(cors, path, method)
    assert answer.status_int == 200
    check_permitted(answer.headers, method)


def test_a_preflight_does_not_permit_what_the_address_does_not_take(cors):
    headers = preflight(cors, "/api/projects", "DELETE").headers
    assert headers["Access-Control-Allow-Methods"] == "GET"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:3001"])
def test_a_preflight_from_another_origin_is_told_nothing(cors, client, origin):
    for app in (cors, client):
        answer = preflight(app, "/api/conversations", "PATCH", origin=origin)
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


def test_a_preflight_of_nothing_permits_nothing(cors):
    answer = preflight(cors, "/api/nothing", "PATCH")
    assert answer.status_int == 404
    assert "Access-Control-Allow-Methods" not in answer.headers


# TLS


@pytest.fixture
def proxied(db) -> webtest.TestApp:
    """A client of an application behind a trusted proxy."""
    app = create_app(cors_origins=(ORIGIN,), folders=(), trusted_proxies=("127.0.0.1",))
    return KeyedApp(app, lint=True)


@pytest.mark.parametrize("path", [*PATHS, *FAILING])
def test_browsers_stay_with_tls_when_it_was_used(proxied, path):
    headers = {"X-Forwarded-Proto": "https"}
    answer = proxied.get(path, headers=headers, expect_errors=True)
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    preflighted = proxied.options(path, headers={**headers, "Origin": ORIGIN}, expect_errors=True)
    assert preflighted.headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("127.0.0.1", {}),
        ("127.0.0.1", {"X-Forwarded-Proto": "http"}),
        ("203.0.113.9", {"X-Forwarded-Proto": "https"}),
    ],
)
def test_nothing_is_said_of_tls_that_was_not_used(proxied, client, peer, headers):
    for app in (proxied, client):
        answer = app.get("/health", headers=headers, extra_environ={"REMOTE_ADDR": peer})
        assert "Strict-Transport-Security" not in answer.headers
    answer = client.get("/health", headers={"X-Forwarded-Proto": "https"})
    assert "Strict-Transport-Security" not in answer.headers


def test_an_answer_that_was_not_changed_may_be_read_too(cors):
    tag = cors.get("/api/conversations", headers={"Origin": ORIGIN}).headers["ETag"]
    headers = {"Origin": ORIGIN, "If-None-Match": tag}
    answer = cors.get("/api/conversations", headers=headers, status=304)
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_without_origins_nobody_may(client):
    answer = client.get("/health", headers={"Origin": ORIGIN})
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:3001", "127.0.0.1.evil.example"])
def test_a_name_that_is_not_this_machines_is_refused(host, client):
    response = client.get("/api/conversations", headers={"Host": host}, status=403)
    assert response.json["code"] == "FORBIDDEN"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:3001", "[::1]:3001", "127.8.9.1"])
def test_any_name_of_this_machine_is_answered(host, client):
    assert client.get("/health", headers={"Host": host}).status_int == 200


# Pages of other sites


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:9999"])
@pytest.mark.parametrize(
    ("method", "path", "content_type"),
    [
        ("POST", "/api/conversations/x/restore", ""),
        ("POST", "/api/files/upload", "multipart/form-data; boundary=b"),
        ("POST", "/api/files/1/reprocess", ""),
        ("DELETE", "/api/conversations/x", ""),
    ],
)
def test_a_change_asked_for_by_a_page_elsewhere_is_refused(
    client, origin, method, path, content_type
):
    """A browser sends such requests without asking first; it always says whose page it was."""
    headers = {"Origin": origin, "Content-Type": content_type}
    answer = client.request(path, method=method, headers=headers, expect_errors=True)
    check_refusal(answer, 403, "FORBIDDEN")


@pytest.mark.parametrize("origin", ["http://localhost", "http://localhost:3000", None])
def test_a_change_of_our_own_page_or_a_program_is_taken(db, origin):
    client = KeyedApp(create_app(cors_origins=("http://localhost:3000",), folders=()))
    headers = {"Host": "localhost"} | ({"Origin": origin} if origin else {})
    client.post_json("/api/conversations", {"title": "x"}, headers=headers, status=201)


def test_reads_do_not_mind_where_they_are_asked_from(client):
    client.get("/api/conversations", headers={"Origin": "https://evil.example"}, status=200)


@pytest.mark.parametrize("origin", [None, ORIGIN, "http://elsewhere.example"])
def test_caches_keep_an_answer_for_each_origin_apart(cors, client, origin):
    headers = {} if origin is None else {"Origin": origin}
    answer = cors.get("/api/conversations", headers=headers)
    assert answer.headers["Vary"] == "Accept-Encoding, Origin"
    assert client.get("/api/conversations").headers["Vary"] == "Accept-Encoding"

"""Every route keeps the promises of DESIGN.md, those of later versions too."""

from __future__ import annotations

import re

import falcon.inspect
import pytest
import webtest

from observatory.accounts.signing_in import make_random_accounts
from observatory.api import schemas
from observatory.api.cookies import csrf_token
from observatory.app import create_app
from observatory.page.assets import read_assets
from observatory.page.shell import VIEWS
from observatory.store.budgets import insert_budget
from observatory.store.scopes import WHOLE
from observatory.store.users import insert_user
from observatory.store.webhooks import insert_webhook
from tests.api.asking import check_refusal
from tests.api.described import DescribedApp
from tests.api.keyed import SHORT_STREAMS
from tests.api.sessions import SESSION

# What is no JSON: pages for people, numbers for Prometheus.
OTHER = {
    **dict.fromkeys(VIEWS, "text/html"), "/login": "text/html", "/metrics": "text/plain",
    "/assets/{digest}/{path:path}": "text/css",
    "/api/events/stream": "text/event-stream",
    "/docs": "text/html", "/docs.css": "text/css", "/openapi.json": "application/json",
    "/api/conversations/{conversation_id}/export": "application/x-ndjson",
}  # fmt: skip
# What a good question can not do without.
QUERIES = {
    "/api/search": {"q": "count"}, "/api/analytics/reconcile": {"conversation": SESSION},
}  # fmt: skip
FORMS = {
    "conversation_id": SESSION, "message_id": "aaaaaaaa-0000-4000-8000-000000000001",
    "digest": read_assets().digest, "path": "css/page.css",
}  # fmt: skip
ROUTES = {
    route.path: {m.method for m in route.methods if not m.internal}
    for route in falcon.inspect.inspect_routes(create_app(cors_origins=(), folders=()))
}
# A WebSocket is no answer.
READ = [route for route, methods in ROUTES.items() if "GET" in methods and route != "/ws"]


@pytest.fixture
def client(db) -> webtest.TestApp:
    """A client that a person has signed in with: some routes are for people alone."""
    ada = insert_user(email="ada@example.org", name="Ada", role="admin", password_hash="x")
    insert_webhook(
        url="https://example.org/", description="", events=(), filters={}, secret="s" * 16,
        is_active=True, scope=WHOLE,
    )  # fmt: skip
    insert_budget(
        name="all", period="day", timezone="UTC", project_path=None, model=None,
        limit_microdollars=None, limit_tokens=1, scope=WHOLE,
    )  # fmt: skip
    cookie = make_random_accounts().begin_session(ada, kind="cookie").token.text
    app = DescribedApp(create_app(cors_origins=(), folders=()), lint=True)
    app.extra_environ = {
        **SHORT_STREAMS,
        "HTTP_COOKIE": f"observatory-80={cookie}",
        "HTTP_X_CSRF_TOKEN": csrf_token(cookie),
    }
    return app


def fill(route: str, unknown: str | None = None) -> str:
    """Return a path of a route, of something that is there unless told otherwise."""
    return re.sub(
        r"{(\w+)(?::path)?}", lambda found: unknown or FORMS.get(found.group(1), "1"), route
    )


@pytest.mark.parametrize("route", READ)
def test_a_good_answer_is_in_the_envelope(client, session, route):
    answer = client.get(fill(route), QUERIES.get(route))
    if route == "/login":
        # Who is signed in already needs no form.
        answer = answer.follow()
    assert answer.status_int == 200
    if route in OTHER:
        assert answer.content_type == OTHER[route]
        return
    assert list(answer.json) == ["success", "data", "timestamp", "request_id"]
    assert isinstance(answer.json["data"], dict)


@pytest.mark.parametrize("route", [route for route in READ if "{" in route and route not in VIEWS])
def test_an_unknown_id_is_not_found(client, session, route):
    check_refusal(client.get(fill(route, "404404"), expect_errors=True), 404, "NOT_FOUND")


@pytest.mark.parametrize("route", [route for route in READ if route not in VIEWS])
def test_an_unknown_parameter_is_named(client, session, route):
    query = {**QUERIES.get(route, {}), "no_such_parameter": "1"}
    answer = client.get(fill(route), query, expect_errors=True)
    error = check_refusal(answer, 400, "VALIDATION_ERROR")
    assert list(error["details"]["fields"]) == ["no_such_parameter"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("route", ROUTES)
def test_a_method_is_taken_or_refused(client, session, route, method):
    if method in ROUTES[route]:
        return
    answer = client.request(fill(route), method=method, expect_errors=True)
    check_refusal(answer, 405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (schemas.Time(), "2026-01-02T03:04:05Z"),
        (schemas.Time(), "2026-01-02T03:04:05.678+00:00"),
        (schemas.Time(), "0001-01-02T03:04:05.678Z"),
        (schemas.Count(), -1),
        (schemas.Count(), 1.0),
        (schemas.Count(), "1"),
        (schemas.Flag(), 1),
        (schemas.Flag(), "true"),
    ],
)
def test_the_schemas_take_nothing_that_only_resembles(schema, value):
    with pytest.raises(schemas.fields.ValidationError):
        schema.deserialize(value)

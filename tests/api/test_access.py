"""Who may do what: every route with every role, made from the routes themselves."""

from __future__ import annotations

import falcon.inspect
import pytest

from observatory.accounts.permissions import ADMIN, ALL, ROLES
from observatory.api.access import PUBLIC, RULES
from observatory.api.analytics import REPORTS
from observatory.api.operations import OPERATIONS, PAGES
from observatory.app import create_app
from observatory.page.shell import VIEWS
from tests.api.asking import check_refusal
from tests.api.people import add_key, bare, make_person
from tests.api.sessions import SESSION

ROUTES = {
    (method.method, route.path)
    for route in falcon.inspect.inspect_routes(create_app(cors_origins=(), folders=()))
    for method in route.methods
    if not method.internal
}
PLACES = {
    "{conversation_id}": SESSION, "{message_id}": "a" * 8, "{project_id}": "1", "{file_id}": "1",
    "{tag}": "later", "{user_id}": "1", "{key_id}": "1",
    "{webhook_id}": "1", "{delivery_id}": "b" * 8, "{budget_id}": "1",
}  # fmt: skip
GUARDED = sorted(key for key, rule in RULES.items() if rule is not PUBLIC)
EACH = pytest.mark.parametrize(("method", "path"), GUARDED, ids=lambda part: part)
WHO = ("admin", "member", "viewer", "analyst", "operator")
# What the roles may do, said once more than in the code: a change of the table must be meant.
OPEN_TO_ALL = {
    *(("GET", page) for page in VIEWS), ("GET", "/assets/{digest}/{path:path}"),
    ("GET", "/docs"), ("GET", "/docs.css"),
    ("GET", "/openapi.json"), ("GET", "/health"), ("GET", "/health/ready"), ("GET", "/login"),
    ("POST", "/login"), ("POST", "/logout"), ("POST", "/api/auth/register"),
    ("POST", "/api/auth/login"), ("POST", "/api/auth/refresh"),
}  # fmt: skip
OF_EVERY_PERSON = {
    ("POST", "/api/auth/logout"), ("GET", "/api/auth/profile"), ("PATCH", "/api/auth/profile"),
    ("POST", "/api/auth/password"), ("GET", "/api/api-keys"), ("POST", "/api/api-keys"),
    ("GET", "/api/api-keys/{key_id}"), ("DELETE", "/api/api-keys/{key_id}"),
}  # fmt: skip
PATHS_OF_ADMINS = ("/api/users", "/api/admin", "/api/webhooks")
OF_ANALYSTS = {
    ("GET", "/metrics"), ("GET", "/api/live/status"), ("GET", "/api/projects"),
    ("GET", "/api/projects/{project_id}"), ("GET", "/api/analytics/reconcile"),
    *(("GET", f"/api/analytics/{name}") for name in {*REPORTS, "compare"} - {"files"}),
    ("GET", "/api/budgets"), ("GET", "/api/budgets/{budget_id}"),
}  # fmt: skip


def ask(client, method, path, **options):
    if path == "/api/analytics/reconcile":
        path += f"?conversation={SESSION}"
    for name, value in PLACES.items():
        path = path.replace(name, value)
    if method in ("POST", "PUT", "PATCH"):
        return client._gen_request(
            method, path, params=b"{}", content_type="application/json", expect_errors=True,
            **options,
        )  # fmt: skip
    return client._gen_request(method, path, expect_errors=True, **options)


def test_every_route_has_a_rule_and_every_rule_a_route():
    assert set(RULES) == ROUTES
    assert {key for key in RULES if key[1] not in PAGES} == set(OPERATIONS)


def test_what_is_open_to_strangers_is_a_short_list():
    assert {key for key, rule in RULES.items() if rule is PUBLIC} == OPEN_TO_ALL


def test_what_analysts_may_do_is_a_short_list():
    permissions = ROLES["analyst"] | {"person"}
    allowed = {key for key, rule in RULES.items() if rule & permissions}
    assert allowed == OF_ANALYSTS | OF_EVERY_PERSON


def test_what_viewers_may_do_changes_nothing():
    permissions = ROLES["viewer"] | {"person"}
    allowed = {key for key, rule in RULES.items() if rule & permissions}
    changing = {key for key in allowed - OF_EVERY_PERSON if key[0] != "GET"}
    assert changing == {("POST", "/api/conversations/search"), ("POST", "/api/events/tickets")}


def test_only_admins_look_after_others():
    of_admins = {key for key, rule in RULES.items() if rule == {ADMIN}}
    assert {key for key in RULES if key[1].startswith(PATHS_OF_ADMINS)} <= of_admins


@EACH
def test_a_stranger_is_told_to_sign_in(client, session, method, path):
    answer = ask(bare(client), method, path)
    check_refusal(answer, 401, "UNAUTHORIZED")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert SESSION not in answer.text


@pytest.mark.parametrize("role", sorted(ROLES))
@EACH
def test_a_role_may_do_what_its_permissions_say(client, session, method, path, role):
    person = make_person(client, role)
    answer = ask(bare(client), method, path, headers=person.headers)
    if RULES[method, path] & (ROLES[role] | {"person"}):
        assert answer.status_int not in (401, 403), answer.text
    else:
        check_refusal(answer, 403, "FORBIDDEN")


@pytest.mark.parametrize("scope", sorted(ALL))
@EACH
def test_a_key_may_do_what_its_scopes_say(client, session, method, path, scope):
    _, key = add_key([scope])
    answer = ask(bare(client), method, path, headers={"X-API-Key": key})
    allowed = ALL if scope == ADMIN else {scope}
    if RULES[method, path] & allowed:
        assert answer.status_int not in (401, 403), answer.text
    else:
        check_refusal(answer, 403, "FORBIDDEN")


@pytest.mark.parametrize("role", ["viewer", "analyst"])
def test_who_may_not_learns_nothing_of_what_there_is(client, session, role):
    person = make_person(client, role)
    known = bare(client).delete(
        f"/api/conversations/{SESSION}", headers=person.headers, expect_errors=True
    )
    unknown = bare(client).delete(
        "/api/conversations/nothing", headers=person.headers, expect_errors=True
    )
    assert (known.status_int, known.json["error"]) == (unknown.status_int, unknown.json["error"])


def test_an_analyst_sees_sums_and_no_text(client, session):
    person = make_person(client, "analyst")
    answer = bare(client).get("/api/projects", headers=person.headers)
    assert answer.json["data"]["projects"][0]["message_count"] > 0
    for path in ("/api/conversations", f"/api/conversations/{SESSION}/messages", "/api/search?q=a"):
        check_refusal(
            bare(client).get(path, headers=person.headers, expect_errors=True), 403, "FORBIDDEN"
        )

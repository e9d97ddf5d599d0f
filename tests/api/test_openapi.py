"""The OpenAPI document says what holds: routes, methods, parameters, bodies, answers."""

from __future__ import annotations

import inspect
import re

import falcon.inspect
import pytest

from observatory.api import openapi
from observatory.api.analytics import REPORTS
from observatory.api.errors import BY_STATUS
from observatory.api.operations import LINKS, OPERATIONS, PAGES, AnyOf, Operation
from observatory.api.schemas import ERROR_CODES
from observatory.app import create_app
from observatory.page.assets import read_assets
from tests.api.described import check_answer
from tests.api.sessions import SESSION

DOCUMENT = openapi.build_document()
APP = create_app(cors_origins=(), folders=())
ROUTES = {
    (method.method, route.path)
    for route in falcon.inspect.inspect_routes(APP)
    for method in route.methods
    if not method.internal and route.path not in PAGES
}
EACH = pytest.mark.parametrize("key", sorted(OPERATIONS), ids=lambda key: f"{key[0]} {key[1]}")


def source_of(method: str, path: str) -> str:
    """Return the source of a responder, and of the methods of its own that it calls."""
    resource = APP._router.find(re.sub(r"{\w+}", "1", path))[0]
    text = inspect.getsource(getattr(resource, f"on_{method.lower()}"))
    own = set(re.findall(r"self\.(_\w+)\(", text))
    return text + "".join(inspect.getsource(getattr(resource, name)) for name in own)


def described(method: str, path: str) -> dict:
    return DOCUMENT["paths"][path][method.lower()]


def test_every_method_of_every_route_is_in_the_document():
    assert set(OPERATIONS) == ROUTES
    found = {(m.upper(), p) for p, methods in DOCUMENT["paths"].items() for m in methods}
    assert found == ROUTES


@EACH
def test_the_table_names_the_schemas_that_the_responder_loads(key):
    operation, source = OPERATIONS[key], source_of(*key)
    params = re.findall(r"read_params\(req, (?:schemas\.)?(\w+)\)", source)
    name = key[1].removeprefix("/api/analytics/")
    if name in REPORTS:
        assert operation.params is REPORTS[name].params
    else:
        assert params == [operation.params.__name__]
    loaded = set(re.findall(r"(?:read_json\(req, |loader\()(?:schemas\.)?(\w+)\)", source))
    bodies = operation.body.forms if isinstance(operation.body, AnyOf) else (operation.body,)
    wanted = {body.__name__ for body in bodies if body is not None}
    assert loaded == wanted


@EACH
def test_the_table_knows_the_headers_that_the_responder_looks_at(key):
    operation, source = OPERATIONS[key], source_of(*key)
    assert operation.takes_key == ("answer_once(" in source)
    assert operation.takes_match == ("read_wanted_revision(" in source)


@EACH
def test_every_parameter_is_in_the_document(key):
    operation = OPERATIONS[key]
    shown = described(*key)["parameters"]
    query = {p["name"] for p in shown if p.get("in") == "query"}
    fields = operation.params().fields
    assert query == {field.data_key or name for name, field in fields.items()}
    path = {p["name"] for p in shown if p.get("in") == "path"}
    assert path == set(re.findall(r"{(\w+)}", key[1]))


@pytest.mark.parametrize("key", [k for k, o in OPERATIONS.items() if isinstance(o.body, type)])
def test_every_field_of_a_body_is_in_the_document(key):
    schema = OPERATIONS[key].body()
    shown = DOCUMENT["components"]["schemas"][type(schema).__name__]
    names = {field.data_key or name for name, field in schema.fields.items()}
    assert set(shown["properties"]) == names
    required = {name for name, field in schema.fields.items() if field.required}
    assert set(shown.get("required", ())) == required


@EACH
def test_every_status_of_an_operation_is_in_the_document(key):
    operation = OPERATIONS[key]
    wanted = {*operation.statuses, *openapi.list_refusals(key, operation)}
    wanted |= {304} if operation.is_cached else set()
    assert set(described(*key)["responses"]) == set(map(str, wanted))


def test_names_are_unique_and_tags_are_known():
    assert len({operation.id for operation in OPERATIONS.values()}) == len(OPERATIONS)
    assert {o.tag for o in OPERATIONS.values()} == {tag["name"] for tag in DOCUMENT["tags"]}


def test_links_lead_to_parameters_of_operations():
    known = {o.id: path for (_, path), o in OPERATIONS.items()}
    for source, targets in LINKS.items():
        assert source in known
        assert all(f"{{{name}}}" in known[target] for target, name, _ in targets)


def test_every_code_of_an_error_is_in_the_document():
    assert {failure.code for failure in BY_STATUS.values()} <= set(ERROR_CODES)
    assert DOCUMENT["components"]["schemas"]["Error"]["properties"]["code"]["enum"] == list(
        ERROR_CODES
    )


def test_references_lead_somewhere():
    def walk(value):
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                place = DOCUMENT
                for name in value["$ref"].removeprefix("#/").split("/"):
                    place = place[name]
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(DOCUMENT)


def test_a_wrong_answer_is_noticed(client):
    answer = client.get("/health")
    answer.body = answer.body.replace(b'"ok"', b'"well"')
    with pytest.raises(AssertionError, match="well"):
        check_answer(answer)


def test_a_status_that_is_not_in_the_document_is_noticed(client):
    answer = client.get("/health")
    answer.status = 202
    with pytest.raises(AssertionError, match="202"):
        check_answer(answer)


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs.css"])
def test_a_description_is_answered_from_what_the_client_has(client, path):
    first = client.get(path)
    assert first.headers["Cache-Control"] == "private, no-cache"
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_int, again.body) == (304, b"")
    zipped = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert zipped.headers["ETag"] != first.headers["ETag"]


def test_the_document_is_served(client):
    assert client.get("/openapi.json").json == DOCUMENT


def test_the_page_needs_nothing_from_elsewhere(client):
    answer = client.get("/docs")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "<script" not in answer.text and "style=" not in answer.text
    addresses = set(re.findall(r'(?:href|src)="([^#"][^"]*)"', answer.text))
    icon = f"{read_assets().base}/icon.svg"
    assert addresses == {"/docs.css", "/openapi.json", "/", icon}


def test_the_page_shows_every_operation_and_its_anchors_are_there(client):
    text = client.get("/docs").text
    anchors = set(re.findall(r' id="([^"]+)"', text))
    assert {operation.id for operation in OPERATIONS.values()} <= anchors
    assert set(re.findall(r'href="#([^"]+)"', text)) <= anchors


def test_an_operation_is_refused_in_few_ways_by_default():
    plain = Operation("Server", "x", "x", openapi.Error, needs_database=False)
    assert openapi.list_refusals(("GET", "/health"), plain) == {400, 403, 414, 431, 500}


def test_chosen_fields_are_described(client, session):
    check_answer(client.get("/api/conversations?fields=id,usage.input_tokens"))
    check_answer(client.get(f"/api/conversations/{SESSION}?fields=title"))

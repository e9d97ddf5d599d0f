"""``/api/projects/{id}/retention``: rules of projects."""

from __future__ import annotations

import pytest

from observatory.app import create_app
from observatory.store.database import fetch_all
from observatory.store.scopes import Scope
from tests.api.asking import check_refusal
from tests.api.described import DescribedApp
from tests.api.viewers import sign_in

PATH = "/api/projects/1/retention"


def test_a_project_is_kept_for_ever_by_default(client, session):
    assert client.get(PATH).json["data"] == {
        "project_id": 1, "days": None, "action": "trash", "is_default": True, "updated_at": None,
    }  # fmt: skip


def test_the_servers_rule_is_told(db, session):
    client = DescribedApp(create_app(cors_origins=(), folders=(), retention_days=90), lint=True)
    told = client.get(PATH).json["data"]
    assert (told["days"], told["action"], told["is_default"]) == (90, "trash", True)


def test_a_rule_is_set_told_and_taken_back(client, session):
    told = client.put_json(PATH, {"days": 30, "action": "remove"}).json["data"]
    assert (told["days"], told["action"], told["is_default"]) == (30, "remove", False)
    assert client.get(PATH).json["data"] == told
    told = client.put_json(PATH, {"days": None}).json["data"]
    assert (told["days"], told["action"], told["is_default"]) == (None, "trash", False)
    assert client.delete(PATH).json["data"]["is_default"]
    assert client.delete(PATH).json["data"]["is_default"]
    noted = fetch_all("SELECT action, target, details FROM audit_log ORDER BY key")
    assert noted[0] == ("project.retention", "project:1", '{"days":30,"then":"remove"}')
    assert len(noted) == 4


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "days"),
        ({"days": 0}, "days"),
        ({"days": -1}, "days"),
        ({"days": 1.5}, "days"),
        ({"days": "30"}, "days"),
        ({"days": True}, "days"),
        ({"days": 36_501}, "days"),
        ({"days": 30, "action": "burn"}, "action"),
        ({"days": 30, "action": None}, "action"),
        ({"days": 30, "more": 1}, "more"),
    ],
)
def test_a_wrong_rule_is_named(client, session, body, field):
    answer = client.put_json(PATH, body, expect_errors=True)
    error = check_refusal(answer, 400, "VALIDATION_ERROR")
    assert list(error["details"]["fields"]) == [field]
    assert fetch_all("SELECT * FROM project_retention") == []


@pytest.mark.parametrize("method", ["get", "delete"])
def test_a_project_that_is_not_there_has_no_rule(client, session, method):
    address = "/api/projects/77/retention"
    answer = getattr(client, method)(address, expect_errors=True)
    check_refusal(answer, 404, "NOT_FOUND")


def test_a_hidden_project_gets_no_rule(client, session):
    hidden = sign_in(Scope(only=frozenset({5})), permissions=("admin",))
    answer = hidden.put_json(PATH, {"days": 3}, expect_errors=True)
    check_refusal(answer, 404, "NOT_FOUND")
    assert fetch_all("SELECT * FROM project_retention") == []

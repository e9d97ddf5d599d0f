"""``/api/budgets``: what they take, for whom they are there, and how far they are used."""

from __future__ import annotations

import pytest

from observatory import timestamps
from observatory.accounts.permissions import ADMIN
from observatory.store import budgets
from observatory.store.database import execute, fetch_all
from observatory.store.scopes import Scope
from observatory.store.totals import read_totals
from observatory.timestamps import seconds_of
from tests.api.asking import ask, check_refusal
from tests.api.people import add_key, bare, make_person
from tests.api.viewers import project_key, sign_in
from tests.transcripts_for_tests import Transcript

ENGINE, WHEEL = "/home/ada/engine", "/home/ada/wheel"
NOON = "2026-03-04T12:00:00.000Z"
OPUS, HAIKU, NO_PRICE = "claude-opus-4-5", "claude-haiku-4-5", "model-of-another"
BODY = {"name": "Team", "period": "day", "limit_microdollars": 1_000_000}
# Of the output of each a dollar is so many tokens.
PER_DOLLAR = {OPUS: 40_000, HAIKU: 200_000}


@pytest.fixture(autouse=True)
def at(monkeypatch):
    """Says what time it is; noon on a Wednesday unless told otherwise."""

    def set_clock(moment: str) -> None:
        monkeypatch.setattr(timestamps, "present", lambda: int(seconds_of(moment)))

    set_clock(NOON)
    return set_clock


@pytest.fixture
def spend(add):
    """Reads a conversation in which so many tokens were written."""
    number = iter(range(1, 1000))

    def tokens(count, *, at=NOON, model=OPUS, cwd=ENGINE):
        usage = {"input_tokens": 0, "output_tokens": count}
        return add(next(number), at=at, cwd=cwd, model=model, usage=usage)

    return tokens


def make(client, **body):
    given = {**BODY, **body}
    if "limit_tokens" in body:
        del given["limit_microdollars"]
    return client.post_json("/api/budgets", given, status=201).json["data"]


def state_of(client, budget):
    return ask(client, f"/api/budgets/{budget['id']}")["state"]


def numbers(state, *names):
    return tuple(state[name] for name in names)


# What they take


def test_a_budget_is_made_listed_and_shown(client):
    made = make(client, name="Engine", timezone="Europe/Berlin", project_path=ENGINE, model=OPUS)
    state = made.pop("state")
    assert {name: made[name] for name in ("name", "period", "timezone", "project_path")} == {
        "name": "Engine", "period": "day", "timezone": "Europe/Berlin", "project_path": ENGINE,
    }  # fmt: skip
    assert (made["model"], made["limit_microdollars"], made["limit_tokens"]) == (
        OPUS, 1_000_000, None,
    )  # fmt: skip
    assert state == {
        "period_from": "2026-03-03T23:00:00.000Z", "period_to": "2026-03-04T23:00:00.000Z",
        "spent_microdollars": 0, "spent_tokens": 0, "cost_complete": True, "unpriced_tokens": 0,
        "used_percent": 0.0, "level": 0, "remaining": 1_000_000, "projected_percent": 0.0,
    }  # fmt: skip
    assert ask(client, f"/api/budgets/{made['id']}") == {**made, "state": state}
    assert ask(client, "/api/budgets")["budgets"] == [{**made, "state": state}]


def test_a_budget_is_over_everything_in_utc_unless_told_otherwise(client):
    made = make(client, limit_tokens=5)
    assert (made["timezone"], made["project_path"], made["model"]) == ("UTC", None, None)
    assert (made["limit_microdollars"], made["limit_tokens"]) == (None, 5)


def test_what_is_changed_changes_and_the_rest_stays(client):
    made = make(client, project_path=ENGINE)
    path = f"/api/budgets/{made['id']}"
    changed = client.patch_json(path, {"name": "x"}).json["data"]
    assert changed["updated_at"] >= made["updated_at"]
    assert {**changed, "updated_at": 0} == {**made, "name": "x", "updated_at": 0}
    body = {"period": "month", "timezone": "Asia/Kolkata", "project_path": None, "model": HAIKU}
    changed = client.patch_json(path, body).json["data"]
    assert {name: changed[name] for name in body} == body
    assert changed["state"]["period_from"] == "2026-02-28T18:30:00.000Z"


def test_a_limit_takes_the_place_of_the_other(client):
    path = f"/api/budgets/{make(client)['id']}"
    for body, limits in (
        ({"limit_tokens": 7}, (None, 7)),
        ({"limit_microdollars": 8, "limit_tokens": None}, (8, None)),
        ({"limit_microdollars": 9.0}, (9, None)),
    ):
        told = client.patch_json(path, body).json["data"]
        assert (told["limit_microdollars"], told["limit_tokens"]) == limits


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", None), ("name", ""), ("name", "x" * 101), ("name", 5), ("name", "a\0"),
        ("period", "year"), ("period", None), ("period", ""),
        ("timezone", "Mars/Olympus"), ("timezone", ""), ("timezone", None),
        ("timezone", "localtime"), ("timezone", 5),
        ("project_path", ""), ("project_path", "x" * 5000), ("project_path", 5),
        ("model", ""), ("model", "x" * 201), ("model", []),
        ("limit_microdollars", 0), ("limit_microdollars", -1), ("limit_microdollars", 1.5),
        ("limit_microdollars", "5"), ("limit_microdollars", True),
        ("limit_microdollars", 10**15 + 1), ("limit_microdollars", 10**30),
        ("limit_microdollars", None), ("limit_tokens", 5),
        ("id", 1), ("state", {}), ("noted_percent", 0), ("created_at", NOON),
    ],
)  # fmt: skip
def test_what_can_not_be_taken_is_named(client, field, value):
    answer = client.post_json("/api/budgets", {**BODY, field: value}, expect_errors=True)
    assert list(check_refusal(answer, 400, "VALIDATION_ERROR")["details"]["fields"]) == [field]
    assert fetch_all("SELECT key FROM budgets") == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"), ({"limit_tokens": None}, "limit_microdollars"),
        ({"limit_microdollars": None, "limit_tokens": None}, "limit_microdollars"),
        ({"limit_microdollars": 1, "limit_tokens": 1}, "limit_tokens"),
        ({"limit_tokens": 0}, "limit_tokens"), ({"name": None}, "name"),
    ],
)  # fmt: skip
def test_a_change_that_leaves_no_budget_is_refused(client, body, field):
    made = make(client)
    before = fetch_all("SELECT * FROM budgets")
    answer = client.patch_json(f"/api/budgets/{made['id']}", body, expect_errors=True)
    assert list(check_refusal(answer, 400, "VALIDATION_ERROR")["details"]["fields"]) == [field]
    assert fetch_all("SELECT * FROM budgets") == before


@pytest.mark.parametrize("name", ["name", "period"])
def test_name_period_and_a_limit_have_to_be_given(client, name):
    body = {key: value for key, value in BODY.items() if key != name}
    answer = client.post_json("/api/budgets", body, expect_errors=True)
    assert list(check_refusal(answer, 400, "VALIDATION_ERROR")["details"]["fields"]) == [name]
    answer = client.post_json("/api/budgets", {"name": "x", "period": "day"}, expect_errors=True)
    told = check_refusal(answer, 400, "VALIDATION_ERROR")["details"]["fields"]
    assert told == {"limit_microdollars": ["Give limit_microdollars or limit_tokens."]}


def test_there_is_a_largest_number_of_budgets(client, monkeypatch):
    monkeypatch.setattr(budgets, "MAX_BUDGETS", 2)
    make(client), make(client)
    answer = client.post_json("/api/budgets", BODY, expect_errors=True)
    check_refusal(answer, 409, "CONFLICT")


def test_budgets_are_paged(client):
    ids = [make(client)["id"] for _ in range(3)]
    data = ask(client, "/api/budgets", limit="2")
    assert ([b["id"] for b in data["budgets"]], data["pagination"]["has_more"]) == (ids[:2], True)
    data = ask(client, "/api/budgets", limit="2", offset="2")
    assert ([b["id"] for b in data["budgets"]], data["pagination"]["has_more"]) == (ids[2:], False)
    assert data["pagination"]["total"] == 3


def test_an_id_is_never_given_again(client):
    first = make(client)
    assert client.delete(f"/api/budgets/{first['id']}").json["data"] == {"id": first["id"]}
    assert make(client)["id"] > first["id"]


def test_what_does_not_exist_is_not_found(client):
    for method, body in (("get", None), ("delete", None), ("patch_json", {"name": "x"})):
        options = {"params": body} if body else {}
        answer = getattr(client, method)("/api/budgets/1", expect_errors=True, **options)
        told = check_refusal(answer, 404, "NOT_FOUND")
        assert told["error"] == "There is no budget with the id '1'."
    answer = client.get("/api/budgets/first", expect_errors=True)
    check_refusal(answer, 400, "VALIDATION_ERROR")


def test_changes_are_in_the_audit_log(client):
    path = f"/api/budgets/{make(client)['id']}"
    client.patch_json(path, {"name": "x", "limit_tokens": 7})
    client.delete(path)
    client.patch_json(path, {"name": "y"}, status=404)
    entries = ask(client, "/api/admin/audit", target="budget:1")["entries"]
    assert [(entry["action"], entry["details"]) for entry in entries] == [
        ("budget.delete", {}),
        ("budget.update", {"changed": ["limit_tokens", "name"]}),
        ("budget.create", {}),
    ]


# How far they are used


def test_spending_is_told_exactly_and_at_once(client, spend):
    budget = make(client)
    spend(20_000, at="2026-03-04T06:00:00.000Z")
    state = state_of(client, budget)
    names = ("spent_microdollars", "spent_tokens", "used_percent", "level", "remaining")
    assert numbers(state, *names) == (500_000, 20_000, 50.0, 50, 500_000)
    # Half of the day is over.
    assert state["projected_percent"] == 100.0
    spend(20_004)
    assert numbers(state_of(client, budget), *names) == (1_000_100, 40_004, 100.0, 100, 0)


@pytest.mark.parametrize(
    ("tokens", "percent", "level"),
    [
        (19_999, 49.9, 0), (20_000, 50.0, 50), (31_999, 79.9, 50), (32_000, 80.0, 80),
        (39_999, 99.9, 80), (40_000, 100.0, 100), (40_020, 100.0, 100), (90_000, 225.0, 100),
        (13_333, 33.3, 0), (26_667, 66.7, 50),
    ],
)  # fmt: skip
def test_a_level_is_reached_exactly(client, spend, tokens, percent, level):
    for budget in (make(client), make(client, limit_tokens=40_000)):
        if not fetch_all("SELECT 1 FROM conversations"):
            spend(tokens)
        assert numbers(state_of(client, budget), "used_percent", "level") == (percent, level)


def test_tokens_of_all_four_kinds_count(client, add):
    budget = make(client, limit_tokens=1000)
    usage = {
        "input_tokens": 1, "output_tokens": 20, "cache_creation_input_tokens": 300,
        "cache_read_input_tokens": 400,
    }  # fmt: skip
    add(1, at=NOON, usage=usage)
    state = state_of(client, budget)
    assert numbers(state, "spent_tokens", "remaining", "used_percent") == (721, 279, 72.1)


def test_a_budget_counts_its_project_and_its_model(client, spend):
    made = {
        name: make(client, name=name, limit_tokens=100_000, **only)
        for name, only in {
            "all": {}, "engine": {"project_path": ENGINE}, "haiku": {"model": HAIKU},
            "both": {"project_path": ENGINE, "model": HAIKU}, "later": {"project_path": "/later"},
            "no such": {"model": "none"},
        }.items()
    }  # fmt: skip
    spend(1)
    spend(20, model=HAIKU)
    spend(300, cwd=WHEEL, model=HAIKU)
    found = {b["name"]: b["state"]["spent_tokens"] for b in ask(client, "/api/budgets")["budgets"]}
    assert found == {"all": 321, "engine": 21, "haiku": 320, "both": 20, "later": 0, "no such": 0}
    spend(4000, cwd="/later")
    assert state_of(client, made["later"])["spent_tokens"] == 4000


def test_what_has_no_price_is_unknown_and_not_nothing(client, spend):
    dollars, tokens = make(client), make(client, limit_tokens=1000)
    spend(500, model=NO_PRICE)
    names = ("spent_microdollars", "used_percent", "remaining", "projected_percent")
    state = state_of(client, dollars)
    assert numbers(state, *names) == (None, None, None, None)
    assert numbers(state, "cost_complete", "unpriced_tokens", "level") == (False, 500, 0)
    assert numbers(state_of(client, tokens), "used_percent", "unpriced_tokens") == (50.0, 500)
    spend(32_000)
    # It is the least that it can be.
    state = state_of(client, dollars)
    assert numbers(state, *names[:3]) == (800_000, 80.0, 200_000)
    assert numbers(state, "cost_complete", "unpriced_tokens", "level") == (False, 500, 80)


def test_a_pace_is_none_in_the_first_hour(client, spend, at):
    budget = make(client)
    spend(10_000, at="2026-03-04T00:00:00.000Z")
    at("2026-03-04T00:59:59.000Z")
    assert state_of(client, budget)["projected_percent"] is None
    at("2026-03-04T01:00:00.000Z")
    assert state_of(client, budget)["projected_percent"] == 600.0


@pytest.mark.parametrize(
    ("period", "zone", "moment", "start", "end"),
    [
        # Days on which the clock is set have 23 or 25 hours.
        ("day", "Europe/Berlin", "2026-03-29T10:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("day", "Europe/Berlin", "2026-10-25T10:00", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("week", "Europe/Berlin", "2026-03-29T21:59", "2026-03-22T23:00", "2026-03-29T22:00"),
        ("week", "Europe/Berlin", "2026-03-29T22:00", "2026-03-29T22:00", "2026-04-05T22:00"),
        ("month", "Europe/Berlin", "2026-03-31T21:59", "2026-02-28T23:00", "2026-03-31T22:00"),
        ("month", "Europe/Berlin", "2026-03-31T22:00", "2026-03-31T22:00", "2026-04-30T22:00"),
        ("month", "UTC", "2028-02-29T23:59", "2028-02-01T00:00", "2028-03-01T00:00"),
        ("month", "UTC", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("day", "Asia/Kolkata", "2026-03-04T18:29", "2026-03-03T18:30", "2026-03-04T18:30"),
        ("day", "Asia/Kathmandu", "2026-03-04T18:15", "2026-03-04T18:15", "2026-03-05T18:15"),
        # There is no midnight on this day.
        ("day", "America/Havana", "2026-03-08T12:00", "2026-03-08T05:00", "2026-03-09T04:00"),
        # The hour before midnight comes twice.
        ("day", "America/Godthab", "2026-10-25T00:30", "2026-10-24T01:00", "2026-10-25T02:00"),
        ("month", "Pacific/Kiritimati", "2026-01-31T10:00", "2026-01-31T10:00",
         "2026-02-28T10:00"),
    ],
)  # fmt: skip
def test_a_period_is_of_the_clock_of_its_zone(client, spend, at, period, zone, moment, start, end):
    budget = make(client, period=period, timezone=zone, limit_tokens=10_000)
    for tokens, edge, seconds in ((1, start, -1), (20, start, 0), (300, end, -1), (4000, end, 0)):
        instant = timestamps.datetime.fromisoformat(f"{edge}:00Z").timestamp() + seconds
        text = timestamps.format_timestamp(
            timestamps.datetime.fromtimestamp(instant, timestamps.UTC)
        )
        spend(tokens, at=text)
    at(f"{moment}:00.000Z")
    state = state_of(client, budget)
    assert numbers(state, "period_from", "period_to") == (f"{start}:00.000Z", f"{end}:00.000Z")
    assert state["spent_tokens"] == 320


def test_what_is_removed_counts_no_more(client, spend):
    budget = make(client, limit_tokens=1000)
    conversation = spend(500)
    client.delete(f"/api/conversations/{conversation}")
    assert state_of(client, budget)["spent_tokens"] == 0


def test_reading_writes_nothing(client, spend):
    budget = make(client)
    spend(40_000)
    before = read_totals(), fetch_all("SELECT * FROM budgets")
    ask(client, "/api/budgets"), state_of(client, budget), client.get("/metrics")
    assert (read_totals(), fetch_all("SELECT * FROM budgets")) == before


# For whom


@pytest.fixture
def three(client, spend):
    """Budgets over everything, of a project and of another, by their names."""
    spend(1)
    spend(20, cwd=WHEEL)
    return {
        name: make(client, name=name, limit_tokens=100, project_path=path)["id"]
        for name, path in {"all": None, "engine": ENGINE, "wheel": WHEEL, "later": "/x"}.items()
    }


def shown_to(app, **options):
    data = app.get("/api/budgets", **options).json["data"]
    assert data["pagination"]["total"] == len(data["budgets"])
    return {budget["name"] for budget in data["budgets"]}


def test_an_analyst_sees_all_until_a_project_is_hidden(client, three):
    ann = make_person(client, "analyst")
    assert shown_to(bare(client), headers=ann.headers) == set(three)
    execute("UPDATE projects SET visibility = 'listed' WHERE path = ?", (WHEEL,))
    execute("UPDATE totals SET value = value + 1 WHERE name = 'auth_revision'")
    assert shown_to(bare(client), headers=ann.headers) == {"engine"}
    for name, status in {"all": 404, "engine": 200, "wheel": 404, "later": 404}.items():
        path = f"/api/budgets/{three[name]}"
        answer = bare(client).get(path, headers=ann.headers, expect_errors=True)
        assert answer.status_int == status
    body = {"name": "x"}
    answer = bare(client).patch_json(
        f"/api/budgets/{three['engine']}", body, headers=ann.headers, expect_errors=True
    )
    check_refusal(answer, 403, "FORBIDDEN")


def test_a_key_that_is_limited_to_a_project_sees_its_budgets(client, three):
    _, key = add_key(["analytics:read"], project_keys=[project_key(WHEEL)])
    assert shown_to(bare(client), headers={"X-API-Key": key}) == {"wheel"}


def limited(path):
    return sign_in(Scope(only=frozenset({project_key(path)})), permissions=(ADMIN,))


def test_a_limited_admin_changes_what_is_there(client, three):
    app, before = limited(WHEEL), fetch_all("SELECT * FROM budgets WHERE name <> 'wheel'")
    for name in ("all", "engine", "later"):
        path = f"/api/budgets/{three[name]}"
        check_refusal(app.delete(path, expect_errors=True), 404, "NOT_FOUND")
        answer = app.patch_json(path, {"name": "x"}, expect_errors=True)
        check_refusal(answer, 404, "NOT_FOUND")
    mine = f"/api/budgets/{three['wheel']}"
    for target, status, code in ((ENGINE, 404, "NOT_FOUND"), (None, 403, "FORBIDDEN")):
        answer = app.patch_json(mine, {"project_path": target}, expect_errors=True)
        check_refusal(answer, status, code)
        answer = app.post_json("/api/budgets", {**BODY, "project_path": target}, expect_errors=True)
        check_refusal(answer, status, code)
    hidden = app.post_json("/api/budgets", {**BODY, "project_path": ENGINE}, expect_errors=True)
    nothing = app.post_json("/api/budgets", {**BODY, "project_path": "/none"}, expect_errors=True)
    assert hidden.json["error"] == nothing.json["error"].replace("/none", ENGINE)
    assert app.patch_json(mine, {"name": "wheel"}).status_int == 200
    assert make(app, project_path=WHEEL)["project_path"] == WHEEL
    assert fetch_all("SELECT * FROM budgets WHERE name NOT IN ('wheel', 'Team')") == before


def test_what_a_hidden_session_spent_is_not_in_the_sum(client, write, ingest, three):
    session = Transcript("secret-1", prefix="q", cwd=WHEEL)
    session.prompt("go")
    write(session)
    run = Transcript("secret-1", prefix="r", cwd=ENGINE)
    run.common |= {"isSidechain": True, "agentId": "abc"}
    run.answer("done", usage={"input_tokens": 0, "output_tokens": 700}, timestamp=NOON)
    write(run, "-work/secret-1/subagents/agent-abc.jsonl")
    ingest()
    path = f"/api/budgets/{three['engine']}"
    assert ask(client, path)["state"]["spent_tokens"] == 701
    assert ask(limited(ENGINE), path)["state"]["spent_tokens"] == 1


# Metrics


def read_budget_metrics(app, **options):
    text = app.get("/metrics", **options).text
    found = {}
    for line in text.splitlines():
        if line.startswith("observatory_budget_"):
            name, _, value = line.rpartition(" ")
            found[name.removeprefix("observatory_budget_")] = float(value)
    return found


def test_budgets_are_metrics(client, spend):
    make(client, name='the "team"')
    make(client, name="tokens", limit_tokens=50_000)
    spend(20_000)
    dollars, tokens = '{budget="1",name="the \\"team\\""}', '{budget="2",name="tokens"}'
    assert read_budget_metrics(client) == {
        f"spent_dollars{dollars}": 0.5, f"limit_dollars{dollars}": 1.0,
        f"used_ratio{dollars}": 0.5, f"unpriced_tokens{dollars}": 0.0,
        f"spent_tokens{tokens}": 20_000.0, f"limit_tokens{tokens}": 50_000.0,
        f"used_ratio{tokens}": 0.4, f"unpriced_tokens{tokens}": 0.0,
    }  # fmt: skip


def test_an_unknown_cost_is_no_number(client, spend):
    make(client)
    spend(70, model=NO_PRICE)
    found = {name.partition("{")[0]: value for name, value in read_budget_metrics(client).items()}
    assert found["unpriced_tokens"] == 70
    assert found["spent_dollars"] != found["spent_dollars"]
    assert found["used_ratio"] != found["used_ratio"]


def test_metrics_are_of_the_budgets_that_are_there(client, three):
    _, key = add_key(["metrics:read"], project_keys=[project_key(WHEEL)])
    found = read_budget_metrics(bare(client), headers={"X-API-Key": key})
    assert found and all('name="wheel"' in name for name in found)

"""Thresholds of budgets: each told once in a period, to whom its budget is there for."""

from __future__ import annotations

import pytest

from observatory import __main__ as command_line
from observatory import endings, timestamps
from observatory.live import upkeep
from observatory.store import budget_checks
from observatory.store.database import connect, execute, fetch_all, writing
from observatory.store.scopes import Scope
from observatory.store.secret_rows import update_project
from observatory.timestamps import seconds_of
from observatory.watch_command import list_chores
from tests.api.asking import ask
from tests.api.test_budgets import (
    BODY,
    ENGINE,
    HAIKU,
    NO_PRICE,
    NOON,
    WHEEL,
    at,
    make,
    spend,
)
from tests.api.test_events import read_stream
from tests.api.viewers import project_key, sign_in
from tests.transcripts_for_tests import Transcript

__all__ = ["at", "spend"]
NEXT_DAY = "2026-03-05T12:00:00.000Z"


@pytest.fixture
def check(db):
    """Looks at budgets as the watcher does."""
    return upkeep.BudgetChecks()


def events_of(client):
    page = ask(client, "/api/events", after="0", types="budget_threshold", limit="500")
    return page["events"]


def told(client):
    """Return budget and percent of what was told, in order."""
    return [(e["data"]["budget"]["id"], e["data"]["percent"]) for e in events_of(client)]


def test_a_threshold_is_told_with_its_numbers(client, spend, check):
    make(client, name="Engine", project_path=ENGINE)
    spend(20_004)
    check()
    [event] = events_of(client)
    assert (event["conversation_id"], event["project_path"]) == (None, ENGINE)
    assert event["data"] == {
        "budget": {"id": 1, "name": "Engine"}, "percent": 50, "used_percent": 50.0,
        "period_from": "2026-03-04T00:00:00.000Z", "period_to": "2026-03-05T00:00:00.000Z",
        "spent_microdollars": 500_100, "limit_microdollars": 1_000_000, "spent_tokens": 20_004,
        "limit_tokens": None, "cost_complete": True, "unpriced_tokens": 0,
    }  # fmt: skip


def test_each_threshold_is_told_once(client, spend, check):
    make(client)
    for tokens, percents in ((19_999, []), (1, [50]), (12_000, [50, 80]), (50_000, [50, 80, 100])):
        spend(tokens)
        for _ in range(2):
            check()
            # As after a restart.
            upkeep.BudgetChecks()()
        assert told(client) == [(1, percent) for percent in percents]


def test_of_several_that_are_crossed_at_once_the_highest_is_told(client, spend, check):
    make(client), make(client, limit_tokens=40_000)
    spend(35_000)
    check()
    assert told(client) == [(1, 80), (2, 80)]
    spend(5_000)
    check()
    assert told(client) == [(1, 80), (2, 80), (1, 100), (2, 100)]


def test_what_sinks_and_rises_again_is_not_told_twice(client, spend, check):
    make(client)
    conversation = spend(35_000)
    check()
    client.delete(f"/api/conversations/{conversation}")
    check()
    spend(25_000)
    check()
    client.post(f"/api/conversations/{conversation}/restore")
    check()
    assert told(client) == [(1, 80), (1, 100)]


def test_a_period_begins_anew(client, spend, check, at):
    make(client)
    spend(40_000)
    check()
    at(NEXT_DAY)
    check()
    assert told(client) == [(1, 100)]
    spend(20_000, at=NEXT_DAY)
    check()
    assert told(client) == [(1, 100), (1, 50)]


def test_a_period_that_turns_is_noticed_without_a_change(client, spend, check, at):
    make(client)
    # Written by a clock that is ahead.
    spend(40_000, at=NEXT_DAY)
    check()
    assert told(client) == []
    at(NEXT_DAY)
    check()
    assert told(client) == [(1, 100)]


def test_a_clock_that_is_set_tells_nothing_twice(client, spend, check, at):
    make(client)
    spend(40_000)
    spend(40_000, at=NEXT_DAY)
    check()
    for moment in (NEXT_DAY, NOON, NEXT_DAY, NOON):
        at(moment)
        check()
    assert told(client) == [(1, 100), (1, 100)]


def test_nothing_is_looked_at_while_nothing_changes(client, spend, check, monkeypatch):
    looks = []

    def count(moment):
        looks.append(moment)
        return budget_checks.check_budgets(moment)

    monkeypatch.setattr(upkeep, "check_budgets", count)
    make(client)
    for number in (1, 1, 2, 2):
        if len(looks) < number:
            spend(1)
        check()
        assert len(looks) == number
    client.delete("/api/budgets/1")
    check(), check()
    assert len(looks) == 3


@pytest.mark.parametrize(
    "change",
    [{"limit_microdollars": 999_999}, {"period": "week"}, {"timezone": "Europe/Berlin"},
     {"project_path": ENGINE}, {"limit_tokens": 40_000}],
)  # fmt: skip
def test_a_budget_that_measures_something_else_begins_anew(client, spend, check, change):
    make(client)
    spend(40_000)
    check()
    before = events_of(client)
    client.patch_json("/api/budgets/1", change)
    check()
    kept = [] if "project_path" in change else before
    [*earlier, last] = events_of(client)
    assert (earlier, last["data"]["percent"]) == (kept, 100)


def test_a_budget_of_another_model_begins_anew(client, spend, check):
    make(client, limit_tokens=100)
    spend(100)
    spend(60, model=HAIKU)
    check()
    client.patch_json("/api/budgets/1", {"model": HAIKU})
    check()
    assert told(client) == [(1, 100), (1, 50)]


@pytest.mark.parametrize(
    "change", [{"name": "x"}, {"limit_microdollars": 1_000_000}, {"timezone": "UTC"}]
)
def test_a_change_of_nothing_that_counts_tells_nothing(client, spend, check, change):
    make(client)
    spend(40_000)
    check()
    client.patch_json("/api/budgets/1", change)
    check()
    assert told(client) == [(1, 100)]


def test_an_event_has_the_name_that_the_budget_has_now(client, spend, check):
    make(client, name="secret plan")
    spend(40_000)
    check()
    client.patch_json("/api/budgets/1", {"name": "plan"})
    assert events_of(client)[0]["data"]["budget"]["name"] == "plan"
    assert "secret" not in str(fetch_all("SELECT * FROM events"))


def test_a_budget_that_goes_takes_its_events_along(client, spend, check):
    make(client), make(client)
    spend(40_000)
    check()
    client.delete("/api/budgets/1")
    assert told(client) == [(2, 100)]
    assert fetch_all("SELECT count(*) FROM events WHERE type = 'budget_threshold'") == [(1,)]


def test_an_unknown_cost_crosses_nothing(client, spend, check):
    make(client)
    spend(1_000_000, model=NO_PRICE)
    check()
    assert told(client) == []
    spend(20_000)
    check()
    data = events_of(client)[0]["data"]
    assert (data["percent"], data["cost_complete"], data["unpriced_tokens"]) == (
        50, False, 1_000_000,
    )  # fmt: skip


def test_what_could_not_be_told_is_told_later_and_whole(client, spend, check):
    make(client)
    spend(40_000)
    execute("CREATE TRIGGER refuse BEFORE UPDATE ON budgets BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(Exception, match="full"):
        check()
    assert told(client) == []
    execute("DROP TRIGGER refuse")
    check()
    assert told(client) == [(1, 100)]


def test_two_who_look_at_once_tell_it_once(client, spend, check, monkeypatch):
    make(client)
    spend(40_000)
    tell = budget_checks._tell

    def be_late(moment):
        monkeypatch.setattr(budget_checks, "_tell", tell)
        # Another process looked and told before the lock was ours.
        tell(moment)
        tell(moment)

    monkeypatch.setattr(budget_checks, "_tell", be_late)
    check()
    assert told(client) == [(1, 100)]


def test_an_ingest_looks_at_its_end(client, db, write, projects, monkeypatch, capsys):
    make(client, limit_tokens=10)
    transcript = Transcript()
    usage = {"input_tokens": 0, "output_tokens": 10}
    transcript.answer("hi", timestamp=NOON, usage=usage)
    write(transcript)
    monkeypatch.setenv("DB_PATH", str(db))
    # Lines of the log would go to this test's standard error for good.
    monkeypatch.setattr(endings, "configure_logging", lambda **_: None)
    assert command_line.main(["ingest", str(projects)]) == 0
    capsys.readouterr()
    # The command closes its connection.
    connect()
    assert told(client) == [(1, 100)]


def test_the_watcher_looks_every_few_seconds():
    [chore] = [chore for chore in list_chores() if chore.name == "budgets"]
    assert 1 <= chore.interval_seconds <= 10


# For whom


def test_events_are_for_whom_the_budget_is_there(client, spend, check):
    make(client, limit_tokens=10), make(client, limit_tokens=10, project_path=ENGINE)
    make(client, limit_tokens=10, project_path=WHEEL)
    spend(10), spend(10, cwd=WHEEL)
    check()
    assert told(client) == [(1, 100), (2, 100), (3, 100)]
    engine = project_key(ENGINE)
    for scope in (Scope(only=frozenset({engine})), Scope(hidden=frozenset({project_key(WHEEL)}))):
        viewer = sign_in(scope)
        assert told(viewer) == [(2, 100)]
        stream = read_stream(viewer.get("/api/events/stream", {"after": 0}).text)
        found = [event["data"]["budget"]["id"] for _, kind, event in stream if "budget" in kind]
        assert found == [2]


def test_events_that_count_what_is_hidden_are_not_told(client, spend, write, ingest, check):
    """A session in a hidden project ran something in this one: the sum would tell of it."""
    make(client, limit_tokens=1000, project_path=ENGINE)
    spend(500)
    spend(0, cwd=WHEEL)
    check()
    session = Transcript("secret-1", prefix="q", cwd=WHEEL)
    session.prompt("go")
    write(session)
    run = Transcript("secret-1", prefix="r", cwd=ENGINE)
    run.common |= {"isSidechain": True, "agentId": "abc"}
    run.answer("done", usage={"input_tokens": 0, "output_tokens": 700}, timestamp=NOON)
    write(run, "-work/secret-1/subagents/agent-abc.jsonl")
    ingest()
    check()
    assert told(client) == [(1, 50), (1, 100)]
    assert told(sign_in(Scope(only=frozenset({project_key(ENGINE)})))) == [(1, 50)]


def test_events_of_a_project_that_goes_are_for_who_sees_all(client, spend, check):
    make(client, limit_tokens=10, project_path=ENGINE)
    conversation = spend(10)
    spend(10, cwd=WHEEL)
    check()
    scope = Scope(hidden=frozenset({project_key(WHEEL)}))
    assert told(sign_in(scope)) == [(1, 100)]
    client.delete(f"/api/conversations/{conversation}?permanent=true")
    assert (told(client), told(sign_in(scope))) == ([(1, 100)], [])


@pytest.mark.parametrize("path", ["/home/ada/masked", WHEEL])
def test_a_budget_goes_with_its_project(client, spend, check, path):
    """Its path is masked, which may make it one with another project."""
    make(client, limit_tokens=10, project_path=ENGINE)
    spend(10)
    spend(0, cwd=WHEEL)
    check()
    with writing():
        update_project(project_key(ENGINE), path=path, name="x")
    check()
    budget = ask(client, "/api/budgets/1")
    assert (budget["project_path"], budget["state"]["spent_tokens"]) == (path, 10)
    assert told(client) == told(sign_in(Scope(only=frozenset({project_key(path)})))) == [(1, 100)]
    assert ENGINE not in str(fetch_all("SELECT * FROM budgets"))


def test_events_are_filtered_by_project(client, spend, check):
    make(client, limit_tokens=10), make(client, limit_tokens=10, project_path=ENGINE)
    spend(10)
    check()
    found = ask(client, "/api/events", after="0", project_path=ENGINE, types="budget_threshold")
    assert [event["data"]["budget"]["id"] for event in found["events"]] == [2]


def test_streams_tell_thresholds(client, spend, check):
    client.post_json("/api/budgets", BODY)
    spend(40_000)
    check()
    params = {"after": 0, "types": "budget_threshold"}
    [(_, kind, event)] = read_stream(client.get("/api/events/stream", params).text)
    assert (kind, event["data"]["percent"]) == ("budget_threshold", 100)


def test_the_present_is_a_whole_second():
    assert isinstance(timestamps.present(), int)
    assert timestamps.present() == int(seconds_of(NOON))

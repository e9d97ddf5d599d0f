"""Thresholds of budgets go out to webhooks as other events do."""

from __future__ import annotations

from observatory.live import upkeep
from observatory.store.database import execute, fetch_all
from observatory.timestamps import now
from tests.transcripts_for_tests import Transcript

WANTED = {"events": ["budget_threshold"]}


def use_up(client, write, ingest, **budget):
    """Make a budget that is used up."""
    body = {"name": "Team", "period": "month", "limit_tokens": 10, **budget}
    client.post_json("/api/budgets", body)
    transcript = Transcript()
    transcript.answer("hi", usage={"input_tokens": 0, "output_tokens": 12}, timestamp=now())
    write(transcript)
    ingest()
    upkeep.BudgetChecks()()


def test_a_threshold_is_sent(hooks, receiver, dispatching, write, ingest):
    hook = hooks.make(receiver, **WANTED)
    with dispatching():
        use_up(hooks.client, write, ingest)
        [request] = receiver.wait_for(1)
        hooks.wait_for(hook, "delivered")
    event = request.json["event"]
    assert request.headers["X-Observatory-Event"] == event["type"] == "budget_threshold"
    assert event["data"]["budget"] == {"id": 1, "name": "Team"}
    assert (event["data"]["percent"], event["data"]["used_percent"]) == (100, 120.0)


def test_a_limited_webhook_hears_of_budgets_of_its_projects(
    hooks, receivers, dispatching, write, ingest
):
    mine, whole = receivers(), receivers()
    hooks.make(mine, **WANTED)
    hook = hooks.make(whole, **WANTED)
    hooks.client.post_json("/api/budgets", {"name": "all", "period": "month", "limit_tokens": 10})
    use_up(hooks.client, write, ingest, project_path="/home/ada/engine")
    execute("UPDATE webhooks SET is_limited = 1 WHERE key = 1")
    execute("INSERT INTO webhook_projects SELECT 1, key FROM projects")
    with dispatching():
        hooks.wait_for(hook, "delivered", 2)
        mine.wait_for(1)
    names = [request.json["event"]["data"]["budget"]["name"] for request in mine.requests]
    assert names == ["Team"]


def test_what_was_deleted_meanwhile_is_not_sent(hooks, receiver, dispatching, write, ingest):
    hook = hooks.make(receiver, **WANTED)
    receiver.answer = lambda *_: 500
    use_up(hooks.client, write, ingest)
    with dispatching():
        hooks.wait_for_attempts(hook, 1)
    hooks.client.delete("/api/budgets/1")
    execute("UPDATE webhook_deliveries SET next_attempt_at = created_at")
    with dispatching():
        hooks.wait_for(hook, "dropped")
    assert fetch_all("SELECT count(*) FROM webhook_deliveries") == [(1,)]
    assert len(receiver.requests) == 1

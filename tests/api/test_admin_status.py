"""``/api/admin/status``: how the server and its database are."""

from __future__ import annotations

from observatory import __version__
from observatory.app import create_app
from observatory.settings import list_shown, read_settings
from observatory.store.database import execute, fetch_all
from observatory.store.locks import held
from observatory.store.maintenance import record_run
from observatory.store.rollup_building import build_rollups
from observatory.store.scopes import Scope
from tests.api.described import DescribedApp
from tests.api.viewers import sign_in

PATH = "/api/admin/status"


def test_it_tells_how_much_there_is(client, session, db):
    build_rollups()
    told = client.get(PATH).json["data"]
    assert told["version"] == __version__
    assert told["uptime_seconds"] >= 0
    assert told["database"]["schema"] == fetch_all("SELECT max(name) FROM schema_migrations")[0][0]
    assert told["database"]["size_bytes"] == db.stat().st_size
    assert 0 < told["database"]["disk_free_bytes"] <= told["database"]["disk_total_bytes"]
    assert told["counts"]["conversations"] == 1
    assert told["counts"]["messages"] == fetch_all("SELECT count(*) FROM messages")[0][0]
    assert told["counts"]["tool_uses"] == 2
    assert told["ingest"]["last_read_at"] is not None
    assert told["ingest"]["waiting_messages"] == 0
    assert told["ingest"]["search_segments"] == 1
    assert told["ingest"]["are_sums_built"] and told["ingest"]["are_prices_applied"]
    assert told["watcher"]["state"] == "stopped"
    assert told["locks"] == []


def test_what_is_missing_in_reports_is_told(client, session):
    execute("UPDATE totals SET value = 0 WHERE name IN ('rollups_version', 'priced_with')")
    told = client.get(PATH).json["data"]["ingest"]
    assert not told["are_sums_built"]
    assert not told["are_prices_applied"]


def test_locks_are_told_with_who_holds_them(client, db):
    with held(db, "ingest"):
        [lock] = client.get(PATH).json["data"]["locks"]
    assert lock["name"] == "ingest"
    assert lock["holder"].startswith("Process ")


def test_upkeep_is_told_here_and_to_prometheus(client):
    record_run("quick_check", duration_ms=1500, result="damaged", is_good=False, next_seconds=5)
    [run] = client.get(PATH).json["data"]["maintenance"]
    assert (run["name"], run["duration_ms"], run["result"]) == ("quick_check", 1500, "damaged")
    text = client.get("/metrics").text
    assert 'observatory_maintenance_good{name="quick_check"} 0.0' in text
    assert 'observatory_maintenance_duration_seconds{name="quick_check"} 1.5' in text
    assert 'observatory_maintenance_last_run_timestamp_seconds{name="quick_check"} 1' in text


def test_settings_are_told_without_secrets(db, monkeypatch):
    monkeypatch.setenv("JWT_SECRET", "s" * 40)
    shown = list_shown(read_settings(env_file=None))
    client = DescribedApp(create_app(cors_origins=(), folders=(), shown_settings=shown), lint=True)
    answer = client.get(PATH)
    assert answer.json["data"]["settings"]["RETENTION_DAYS"] == 0
    assert "s" * 40 not in answer.text
    part = sign_in(Scope(only=frozenset({5})), permissions=("admin",)).get(PATH)
    assert "DB_PATH" not in part.json["data"]["settings"]


def test_looking_changes_nothing(client, session):
    client.get(PATH)
    before = fetch_all("SELECT total_changes()")
    client.get(PATH)
    assert fetch_all("SELECT total_changes()") == before


def test_it_is_never_answered_from_a_cache(client):
    assert "ETag" not in client.get(PATH).headers

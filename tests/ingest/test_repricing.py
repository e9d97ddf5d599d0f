"""Calls are priced by the prices of their day, and anew when prices are others."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from observatory.ingest import pricing
from observatory.ingest.repricing import finish_pricing
from observatory.ingest.running import mend_interrupted
from observatory.store import prices as stored
from observatory.store.database import close, configure, connect, execute, fetch_all, writing
from observatory.store.prices import ALL_PRICED, OwnPrice, read_pricing_state
from observatory.transcripts import prices
from observatory.transcripts.prices import ALWAYS, fingerprint, hash_prices
from tests.ingest.dumps import check_sound, dump
from tests.processes import wait_for
from tests.transcripts_for_tests import Transcript

MOMENT = "2026-01-01T00:00:00.000Z"
USAGE = {
    "input_tokens": 3,
    "output_tokens": 20,
    "cache_creation_input_tokens": 100,
    "cache_read_input_tokens": 1000,
}
COSTS = f"SELECT {', '.join(stored.COST_COLUMNS)} FROM api_calls ORDER BY key"
BUNDLED_COST = 3 * 5000 + 20 * 25000 + 100 * 6250 + 1000 * 500
UNCACHED_COST = 1103 * 5000 + 20 * 25000


def own(model: str, dollars: int, valid_from: str = ALWAYS) -> OwnPrice:
    """Return a price in dollars per million tokens of whatever kind."""
    rates = [dollars * 1_000_000] * 5
    return OwnPrice(model, valid_from, *rates, 1, "ours", MOMENT)


def set_prices(*rows: OwnPrice) -> None:
    """Have these own prices and no others."""
    removed = [(row.model, row.valid_from) for row in stored.list_own_prices()]
    with writing():
        stored.replace_own_prices(
            rows, removed=removed, own_prices=hash_prices(pricing.as_model_prices(rows))
        )


def transcript_of(*models: str, session: int = 1, day: str = "2026-03-04") -> Transcript:
    transcript = Transcript(f"{session:08d}-1111-4111-8111-111111111111", prefix=f"{session}")
    for number, model in enumerate(models):
        record = transcript.answer(f"{number}", model=model, usage=USAGE)
        record["timestamp"] = f"{day}T05:06:07.890Z"
    return transcript


def is_all_priced() -> bool:
    state = read_pricing_state()
    return state[1:] == (fingerprint(state.own_prices), ALL_PRICED)


def test_what_is_read_has_its_cost_in_parts(write, ingest):
    write(transcript_of("claude-opus-4-5", "glm-5"))
    ingest()
    parts = (3 * 5000, 20 * 25000, 100 * 6250, 1000 * 500)
    assert fetch_all(COSTS) == [
        (BUNDLED_COST, *parts, UNCACHED_COST, 0), (None, None, None, None, None, None, 0),
    ]  # fmt: skip
    assert is_all_priced()


@pytest.mark.parametrize(("day", "dollars"), [("2026-03-04", 7), ("2026-03-03", 5)])
def test_what_is_read_is_priced_as_on_its_day(write, ingest, day, dollars):
    set_prices(own("glm-5", 5), own("glm-5", 7, "2026-03-04"))
    write(transcript_of("glm-5-20260101", day=day))
    ingest()
    assert fetch_all("SELECT cost_nanodollars FROM api_calls") == [(1123 * dollars * 1000,)]


def test_a_day_begins_at_midnight_utc(write, ingest):
    set_prices(own("glm-5", 1), own("glm-5", 2, "2026-03-04"))
    transcript = transcript_of("glm-5", "glm-5")
    moments = ("2026-03-04T01:59:59.999+02:00", "2026-03-03T22:00:00-02:00")
    for record, moment in zip(transcript.records, moments, strict=True):
        record["timestamp"] = moment
    write(transcript)
    ingest()
    assert fetch_all("SELECT cost_nanodollars FROM api_calls") == [(1_123_000,), (2_246_000,)]


def test_reported_costs_are_left_alone(write, ingest):
    transcript = transcript_of("claude-opus-4-5")
    transcript.records[0]["costUSD"] = 0.5
    write(transcript)
    ingest()
    reported = [(500_000_000, None, None, None, None, None, 1)]
    assert fetch_all(COSTS) == reported
    set_prices(own("claude-opus-4-5", 9))
    assert finish_pricing().changed_calls == 0
    assert fetch_all(COSTS) == reported
    assert is_all_priced()


def test_a_later_line_takes_the_place_of_a_reported_cost(write, ingest):
    transcript = Transcript()
    transcript.answer("a", message_id="m", usage=USAGE, costUSD=0.5)
    transcript.answer("b", message_id="m", usage=USAGE)
    write(transcript)
    ingest()
    assert fetch_all(COSTS)[0][0] == BUNDLED_COST
    assert fetch_all(COSTS)[0][-1] == 0


def test_other_prices_price_anew_what_they_concern(write, ingest):
    write(transcript_of("claude-opus-4-5", "glm-5"))
    write(transcript_of("claude-opus-4-5", session=2))
    ingest()
    revisions = dict(fetch_all("SELECT id, revision FROM conversations"))
    set_prices(own("glm-5", 1))
    done = finish_pricing()
    assert (done.calls, done.changed_calls, done.changed_conversations) == (3, 1, 1)
    assert done.nanodollars == 1_123_000
    assert is_all_priced()
    changed = [
        key
        for key, revision in fetch_all("SELECT id, revision FROM conversations")
        if revision != revisions[key]
    ]
    assert changed == ["00000001-1111-4111-8111-111111111111"]
    assert fetch_all(
        "SELECT cost_nanodollars, unpriced_call_count, document ->> 'cost_microdollars'"
        " FROM conversations ORDER BY id LIMIT 1"
    ) == [(BUNDLED_COST + 1_123_000, 0, round(BUNDLED_COST / 1000 + 1123))]
    set_prices()
    assert finish_pricing().changed_calls == 1
    assert fetch_all("SELECT unpriced_call_count FROM conversations ORDER BY id") == [(1,), (0,)]


def test_pricing_again_changes_nothing(write, ingest):
    write(transcript_of("claude-opus-4-5"))
    ingest()
    before = fetch_all("SELECT name, value FROM totals")
    assert finish_pricing().calls == 0
    assert fetch_all("SELECT name, value FROM totals") == before


def test_another_bundled_table_prices_anew(write, ingest, monkeypatch):
    write(transcript_of("claude-opus-4-5"))
    ingest()
    table = prices.read_price_table()
    dearer = {**table["models"], "claude-opus-4-5": dict.fromkeys(
        ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read"), 9000)}  # fmt: skip
    prices.read_bundled_prices.cache_clear()
    monkeypatch.setattr(prices, "read_price_table", lambda: {**table, "models": dearer})
    monkeypatch.setattr(pricing, "_last", (0, prices.PriceBook()))
    try:
        ingest()
        assert fetch_all("SELECT cost_nanodollars FROM conversations") == [(1123 * 9000,)]
    finally:
        prices.read_bundled_prices.cache_clear()


def test_what_was_priced_before_there_were_parts_gets_them(write, ingest):
    old = transcript_of("claude-opus-4-5", "claude-opus-4-5", "glm-5", day="2025-06-01")
    old.records[1]["costUSD"] = 0.5
    old.records[2]["costUSD"] = 0.25
    write(old)
    write(transcript_of("claude-opus-4-5", "glm-5", session=2))
    ingest()
    told = fetch_all(COSTS)
    conversations = fetch_all("SELECT * FROM conversations ORDER BY key")
    execute(
        "UPDATE api_calls SET is_cost_reported = 0, "
        + ", ".join(f"{name} = NULL" for name in stored.COST_COLUMNS[1:-1])
    )
    execute("UPDATE totals SET value = 0 WHERE name IN ('priced_with', 'priced_key')")
    mend_interrupted()
    assert fetch_all(COSTS) == told
    assert fetch_all("SELECT * FROM conversations ORDER BY key") == conversations
    assert is_all_priced()


def test_being_told_to_stop_ends_after_a_batch_and_goes_on_later(write, ingest):
    for session in range(1, 5):
        write(transcript_of("glm-5", session=session))
    ingest()
    set_prices(own("glm-5", 1))
    done = finish_pricing(should_stop=lambda: True, batch_calls=1)
    assert (done.is_complete, done.changed_calls) == (False, 1)
    assert not is_all_priced()
    rest = finish_pricing(batch_calls=2)
    assert (rest.is_complete, rest.calls) == (True, 3)
    assert is_all_priced()


def test_prices_that_change_again_meanwhile_begin_anew(write, ingest):
    for session in range(1, 4):
        write(transcript_of("glm-5", session=session))
    ingest()
    set_prices(own("glm-5", 1))
    finish_pricing(should_stop=lambda: True, batch_calls=1)
    set_prices(own("glm-5", 2))
    finish_pricing(batch_calls=1)
    assert fetch_all("SELECT DISTINCT cost_nanodollars FROM api_calls") == [(2_246_000,)]


def test_hostile_numbers_stop_nothing(write, ingest, client):
    transcript = Transcript()
    for number in range(1200):
        usage = dict.fromkeys(USAGE, 2**53 - 1) if number % 2 else dict.fromkeys(USAGE, 2**40 - 1)
        usage["server_tool_use"] = {"web_search_requests": 2**40 - 1}
        transcript.answer("x", usage=usage, costUSD=1e300 if number % 3 else float("inf"))
    write(transcript)
    summary = ingest()
    assert not summary.has_failures
    [(most,)] = fetch_all("SELECT max(cost_nanodollars) FROM api_calls")
    assert most == prices.MAX_CALL_NANODOLLARS
    assert client.get("/api/conversations").json["data"]["conversations"][0]["cost_complete"]


PROGRAM = """
import sys
from observatory.ingest.repricing import finish_pricing
from observatory.store.database import configure, connect
configure(sys.argv[1])
connect()
def tell(done, total):
    print(done, flush=True)
    sys.stdin.readline()
finish_pricing(on_progress=tell, batch_calls=3)
"""


@pytest.mark.parametrize("batches", [0, 1, 4, 9])
def test_a_pricing_that_was_killed_is_finished_by_the_next_ingest(
    write, ingest, db, tmp_path, batches
):
    for session in range(1, 12):
        write(transcript_of("glm-5", "claude-opus-4-5", "glm-5", session=session))
    ingest()
    set_prices(own("glm-5", 1), own("claude-opus-4-5", 2, "2026-03-01"))
    whole, killed = tmp_path / "whole.db", tmp_path / "killed.db"
    close()
    for path in (whole, killed):
        shutil.copy(db, path)
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(killed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None and child.stdout is not None
    for _ in range(batches):
        assert child.stdout.readline()
        child.stdin.write(b"\n")
        child.stdin.flush()
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    held = {}
    for path in (whole, killed):
        configure(path)
        connect()
        before = is_all_priced()
        ingest()
        assert (before, is_all_priced()) == (False, True)
        check_sound()
        held[path] = dump()
        close()
    assert held[whole] == held[killed]
    assert not [row for row in held[killed]["api_calls"] if row[18] is None]


def test_what_clients_write_has_the_price_of_its_day(client):
    set_prices(own("glm-5", 1), own("glm-5", 2, "2026-03-04"))
    made = client.post_json("/api/conversations", {"title": "mine"}).json["data"]["id"]
    for moment in ("2026-03-03T23:59:59Z", "2026-03-04T00:00:00Z"):
        metadata = {"model": "glm-5", "usage": {"input_tokens": 3, "output_tokens": 20}}
        body = {"role": "assistant", "content": "x", "timestamp": moment, "metadata": metadata}
        client.post_json(f"/api/conversations/{made}/messages", body)
    assert fetch_all("SELECT cost_nanodollars, output_cost_nanodollars FROM api_calls") == [
        (23_000, 20_000), (46_000, 40_000),
    ]  # fmt: skip
    assert finish_pricing().changed_calls == 0


def test_a_reader_of_prices_asks_for_them_once(write, ingest, monkeypatch):
    set_prices(own("glm-5", 1))
    asked = []
    read = stored.list_own_prices
    monkeypatch.setattr(pricing, "list_own_prices", lambda: asked.append(1) or read())
    for session in range(1, 4):
        write(transcript_of("glm-5", session=session))
        ingest()
    assert len(asked) <= 1


def test_the_watcher_prices_anew_what_an_update_left(db, write, ingest, projects):
    write(transcript_of("glm-5"))
    ingest()
    set_prices(own("glm-5", 1))
    close()
    environment = {**os.environ, "DB_PATH": str(db), "TRANSCRIPTS_DIR": str(projects)}
    child = subprocess.Popen(
        [sys.executable, "-m", "observatory", "watch"],
        env=environment, cwd=Path(db).parent, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        configure(db)
        connect()
        wait_for(is_all_priced, what="the watcher to price anew")
    finally:
        child.terminate()
        child.wait(timeout=30)
    assert fetch_all("SELECT cost_nanodollars FROM api_calls") == [(1_123_000,)]

"""Reports over real transcripts add up to what an independent reader counts, day by day."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from observatory.app import create_app
from observatory.ingest.running import ingest
from observatory.store.rollup_building import verify_rollups
from tests.api.keyed import KeyedApp

# Without summer time, with it, and with quarters of an hour.
ZONES = ("UTC", "America/New_York", "Asia/Kathmandu")
TOKENS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_creation_input_tokens": "cache_creation_input_tokens",
    "cache_creation_5m_input_tokens": "cache_creation_5m",
    "cache_creation_1h_input_tokens": "cache_creation_1h",
    "cache_read_input_tokens": "cache_read_input_tokens",
    "web_search_requests": "web_search_requests",
}


def load_truth(shared: Path) -> ModuleType:
    """Return the independent reader."""
    spec = importlib.util.spec_from_file_location("truth", shared / "truth.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def responses(shared: Path) -> list[dict[str, Any]]:
    """Each response once, as the truth counts: the copy with the most output in its source."""
    truth = load_truth(shared)
    prices = json.loads((shared / "prices.json").read_text())
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for path in sorted((shared / "dev").rglob("*.jsonl")):
        source = path.relative_to(shared / "dev").parts[0]
        _, records, _ = truth.read_lines(path.read_bytes())
        for identifier, found in truth.api_messages(records).items():
            known = best.get((source, identifier))
            more = (
                known is None or found["usage"]["output_tokens"] > known["usage"]["output_tokens"]
            )
            if more:
                best[source, identifier] = found
    for found in best.values():
        found["cost"] = truth.price(found["model"], found["usage"], prices)
    return list(best.values())


@pytest.fixture
def client(db, shared) -> KeyedApp:
    """A client of an archive of all real transcripts."""
    ingest([str(shared / "dev")])
    return KeyedApp(create_app(cors_origins=(), folders=()), lint=True)


def test_the_sums_that_are_kept_equal_a_recount(client):
    found = verify_rollups()
    assert found.are_none
    assert found.checked > 1000


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("unit", ["day", "month", "hour"])
def test_tokens_and_costs_of_each_day_and_model_are_right(client, responses, zone, unit):
    tokens: dict[tuple[str, str], Counter[str]] = {}
    costs: Counter[tuple[str, str]] = Counter()
    unknown: Counter[tuple[str, str]] = Counter()
    for response in responses:
        moment = datetime.fromisoformat(response["first"]).astimezone(ZoneInfo(zone))
        place = (name_of(moment, unit), response["model"])
        found = tokens.setdefault(place, Counter())
        found["api_calls"] += 1
        for ours, theirs in TOKENS.items():
            found[ours] += response["usage"].get(theirs, 0)
        if response["cost"] is None:
            unknown[place] += 1
        else:
            costs[place] += response["cost"]

    rows = ask_in_parts(client, "token-usage", zone, unit)
    assert {(row["date"], row["model"]) for row in rows} == set(tokens)
    for row in rows:
        place = (row["date"], row["model"])
        names = ("api_calls", *TOKENS)
        assert [row[n] for n in names] == [tokens[place][n] for n in names], place
        assert row["unpriced_calls"] == unknown[place]
        if unknown[place] == tokens[place]["api_calls"]:
            assert row["cost_microdollars"] is None
        else:
            assert abs(row["cost_microdollars"] - costs[place] * 1e6) <= 0.51, place

    rows = ask_in_parts(client, "costs", zone, unit)
    for row in rows:
        if row["cost_microdollars"] is not None:
            parts = ("input", "output", "cache_write", "cache_read", "other")
            whole = sum(row[f"{part}_cost_microdollars"] for part in parts)
            assert abs(whole - row["cost_microdollars"]) <= 3


def name_of(moment: datetime, unit: str) -> str:
    if unit == "hour":
        return moment.replace(minute=0, second=0, microsecond=0).isoformat(timespec="minutes")
    return moment.strftime("%Y-%m" if unit == "month" else "%Y-%m-%d")


def ask_in_parts(client: KeyedApp, report: str, zone: str, unit: str) -> list[dict[str, Any]]:
    """Return the rows of a report over all time; hours of a month at once are few enough."""
    spans = [("2025-01-01", "2027-12-31")]
    if unit == "hour":
        months = [f"{year}-{month:02d}" for year in (2025, 2026) for month in range(1, 13)]
        spans = [
            (f"{a}-01", f"{b}-01T00:00")
            for a, b in zip(months, [*months[1:], "2027-01"], strict=True)
        ]
    rows = []
    for start, end in spans:
        data = client.get(
            f"/api/analytics/{report}",
            {"from": start, "to": end, "timezone": zone, "group_by": unit, "breakdown": "model"},
        ).json["data"]
        rows += data["rows"]
    return rows


def test_everything_together_is_right(client, responses):
    total = client.get("/api/analytics/token-usage?from=2025-01-01&group_by=model").json["data"]
    assert total["totals"]["api_calls"] == len(responses)
    for ours, theirs in TOKENS.items():
        wanted = sum(response["usage"].get(theirs, 0) for response in responses)
        assert total["totals"][ours] == wanted
        assert sum(row[ours] for row in total["rows"]) == wanted
    known = sum(response["cost"] or 0 for response in responses)
    assert abs(total["totals"]["cost_microdollars"] - known * 1e6) <= 0.51
    unpriced = {r["model"] for r in responses if r["cost"] is None}
    assert {row["model"] for row in total["unpriced_models"]} == unpriced


def test_conversations_add_up_to_the_whole(client, responses):
    path = "/api/analytics/token-usage?from=2025-01-01&group_by=conversation&limit=500"
    data = client.get(path).json["data"]
    for name in ("api_calls", "total_tokens", "output_tokens"):
        assert sum(row[name] for row in data["rows"]) == data["totals"][name]
    costs = [row["cost_microdollars"] or 0 for row in data["rows"]]
    assert costs == sorted(costs, reverse=True)


def test_a_period_that_cuts_conversations_adds_up(client, responses):
    times = sorted(datetime.fromisoformat(r["first"]) for r in responses)
    middle = times[len(times) // 2].astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    wanted = Counter[str]()
    for response in responses:
        if datetime.fromisoformat(response["first"]) < middle:
            wanted["output_tokens"] += response["usage"]["output_tokens"]
    span = {
        "from": "2025-01-01",
        "to": middle.isoformat(),
        "group_by": "conversation",
        "limit": 500,
    }
    data = client.get("/api/analytics/token-usage", span).json["data"]
    assert data["totals"]["output_tokens"] == wanted["output_tokens"]
    assert sum(row["output_tokens"] for row in data["rows"]) == wanted["output_tokens"]

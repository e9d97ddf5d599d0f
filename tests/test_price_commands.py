"""``observatory prices show | update | remove``, as processes."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from typing import Any

import pytest

from tests.ingest.test_repricing import transcript_of
from tests.processes import Home, finish, wait_for

GLM = {"models": {"glm-5": {"input": 1, "output": 3.2}}}
GLM_COST = 3 * 1000 + 20 * 3200 + 100 * 1250 + 1000 * 100
HOLDER = """
import signal, sys
from observatory.store.locks import held
with held(sys.argv[1], "ingest"):
    print("held", flush=True)
    signal.pause()
"""


@pytest.fixture
def home(tmp_path) -> Home:
    """A home whose archive has calls of a model with a price and of one without."""
    home = Home(tmp_path)
    write(home, "claude-opus-4-5-20251101", "glm-5")
    assert home.run("ingest").returncode == 0
    return home


def write(home: Home, *models: str, session: int = 1, cost_usd: float | None = None) -> None:
    transcript = transcript_of(*models, session=session)
    if cost_usd is not None:
        transcript.records[0]["costUSD"] = cost_usd
    path = home.projects / "-work" / f"{transcript.session_id}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(transcript.bytes())


def listed(home: Home, value: Any, name: str = "prices.json") -> str:
    path = home.folder / name
    path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    return str(path)


def query(home: Home, sql: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(home.database)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def show(home: Home, *options: str) -> list[dict[str, Any]]:
    ended = home.run("prices", "show", "--json", *options)
    assert ended.returncode == 0, ended.stderr
    prices: list[dict[str, Any]] = json.loads(ended.stdout)["prices"]
    return prices


def test_prices_of_what_there_are_calls_of_are_shown(home):
    opus, glm = show(home)
    assert opus == {
        "model": "claude-opus-4-5-20251101", "priced_as": "claude-opus-4-5-20251101",
        "valid_from": "0001-01-01", "source": "bundled", "input": 5.0, "output": 25.0,
        "cache_write_5m": 6.25, "cache_write_1h": 10.0, "cache_read": 0.5, "fast_multiplier": 1,
        "calls": 1, "reported_calls": 0, "tokens": 1123,
    }  # fmt: skip
    assert (glm["model"], glm["priced_as"], glm["input"], glm["calls"]) == ("glm-5", None, None, 1)
    text = home.run("prices", "show").stdout
    assert "2026-06-13" in text and "LiteLLM" in text
    assert [line.split()[0] for line in text.splitlines()[:3]] == [
        "model", "claude-opus-4-5-20251101", "glm-5",
    ]  # fmt: skip
    assert "no price" in text and "6.25" in text and "always" in text
    everything = show(home, "--all")
    assert len(everything) > 20
    assert [row for row in everything if row["calls"]] == [opus, glm]


def test_prices_change_what_is_known_and_what_is_read_later(home):
    ended = home.run("prices", "update", listed(home, GLM))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Prices: 1 changed, 0 held already." in ended.stdout
    assert "Calls: 1 priced anew in 1 conversations" in ended.stdout
    assert query(home, "SELECT cost_nanodollars FROM api_calls WHERE model = 'glm-5'") == [
        (GLM_COST,)
    ]
    write(home, "glm-5", session=2)
    home.run("ingest")
    costs = query(home, "SELECT cost_nanodollars FROM api_calls WHERE model = 'glm-5'")
    assert costs == [(GLM_COST,), (GLM_COST,)]
    glm = show(home)[1]
    assert (glm["source"], glm["calls"], glm["output"]) == ("prices.json", 2, 3.2)
    again = home.run("prices", "update", listed(home, GLM))
    assert "Prices: 0 changed, 1 held already." in again.stdout
    assert "Calls: 0 priced anew" in again.stdout


def test_an_update_tells_what_it_changed_as_json(home):
    value = {"source": "a contract", "models": {"claude-opus-4-5": {"input": 4, "output": 20}}}
    ended = home.run("prices", "update", listed(home, value), "--from", "2026-03-01", "--json")
    told = json.loads(ended.stdout)
    [change] = told["changes"]
    assert (change["valid_from"], change["valid_until"]) == ("2026-03-01", None)
    assert (change["before"]["input"], change["after"]["cache_read"]) == (5.0, 0.4)
    assert (told["calls_priced_anew"], told["conversations_changed"]) == (1, 1)
    assert told["is_complete"] and not told["is_dry_run"]
    before, after = told["cost_before_microdollars"], told["cost_after_microdollars"]
    assert (before, after) == (1640, 1312)
    assert query(home, "SELECT sum(cost_nanodollars) FROM conversations") == [(1_312_000,)]


def test_a_dry_run_says_what_would_change(home):
    path = listed(home, GLM)
    ended = home.run("prices", "update", path, "--dry-run")
    assert ended.returncode == 0
    assert "1 would be changed" in ended.stdout and "1 would be priced anew" in ended.stdout
    assert query(home, "SELECT count(*) FROM prices") == [(0,)]
    assert home.run("prices", "update", path, "--from", "always").returncode == 0
    assert query(home, "SELECT valid_from FROM prices") == [("0001-01-01",)]


def test_what_is_passed_over_is_named(home):
    tokens = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "mode": "chat"}
    value = {
        "anthropic/sized": {**tokens, "input_cost_per_token_above_200k_tokens": 2e-6},
        "picture": {"mode": "image_generation", "litellm_provider": "openai"},
        "glm-5": {**tokens, "litellm_provider": "zai"},
        "bad\u001b[31m": {**tokens, "input_cost_per_token_above_200k_tokens": 2e-6},
    }
    ended = home.run("prices", "update", listed(home, value))
    assert ended.returncode == 0
    assert "anthropic/sized" in ended.stdout and "no price per token: 1" in ended.stdout
    assert "\x1b" not in ended.stdout
    assert query(home, "SELECT model FROM prices") == [("glm-5",)]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"nothing", "prices.json: It is no JSON"),
        ({"models": {"glm-5": {"input": "1", "output": 2}}}, "glm-5: input takes a number"),
        ({"models": {"glm-5": {"input": 1, "output": 2}, "x": {"input": -1}}}, "x: input is below"),
    ],
)
def test_a_file_that_can_not_be_used_changes_nothing(home, value, said):
    ended = home.run("prices", "update", listed(home, value))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert said in ended.stderr and "Traceback" not in ended.stderr
    assert query(home, "SELECT count(*) FROM prices") == [(0,)]


def test_a_file_that_is_not_there_is_named(home):
    ended = home.run("prices", "update", "nowhere.json")
    assert (ended.returncode, ended.stderr) == (1, "nowhere.json: No such file or directory\n")


@pytest.mark.parametrize(
    "arguments",
    [(), ("show", "--from", "always"), ("update",), ("update", "f", "--from", "soon"),
     ("update", "f", "--from", "20260101"), ("update", "f", "--from", "2026-02-30"),
     ("update", "f", "--wait", "nan")],
)  # fmt: skip
def test_a_wrong_command_line_is_a_usage_error(tmp_path, arguments):
    ended = Home(tmp_path).run("prices", *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("usage: observatory")


def test_an_update_waits_for_an_ingest(home):
    path = listed(home, GLM)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home.database)], stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        refused = home.run("prices", "update", path)
        assert (refused.returncode, refused.stdout) == (75, "")
        assert home.run("prices", "update", path, "--dry-run").returncode == 0
        waiting = home.popen("-m", "observatory", "prices", "update", path, "--wait", "60")
    finally:
        holder.kill()
        holder.communicate()
    assert finish(waiting).returncode == 0
    assert query(home, "SELECT model FROM prices") == [("glm-5",)]


def test_costs_that_clients_reported_are_told_apart(home):
    write(home, "glm-5", session=2, cost_usd=0.25)
    home.run("ingest")
    home.run("prices", "update", listed(home, GLM))
    glm = show(home)[1]
    assert (glm["calls"], glm["reported_calls"]) == (2, 1)
    assert "(1 reported)" in home.run("prices", "show").stdout
    assert query(
        home, "SELECT cost_nanodollars FROM api_calls WHERE model = 'glm-5' ORDER BY key"
    ) == [(GLM_COST,), (250_000_000,)]


def test_an_update_that_is_killed_is_finished_by_the_next_ingest(home):
    for session in range(2, 400):
        write(home, *["glm-5"] * 5, session=session)
    home.run("ingest")
    process = home.popen("-m", "observatory", "prices", "update", listed(home, GLM))
    wait_for(
        lambda: query(home, "SELECT count(*) FROM prices") == [(1,)] or process.poll() is not None,
        what="the prices to be set",
    )
    process.send_signal(signal.SIGKILL)
    finish(process)
    assert home.run("ingest").returncode == 0
    assert query(home, "SELECT count(*) FROM api_calls WHERE cost_nanodollars IS NULL") == [(0,)]
    assert query(home, "SELECT sum(unpriced_call_count) FROM conversations") == [(0,)]


def test_a_reader_that_is_gone_is_no_failure(home):
    process = home.popen("-m", "observatory", "prices", "show", "--all")
    with process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode in (0, 141)


def test_own_prices_are_taken_away(home):
    before = query(home, "SELECT * FROM api_calls")
    opus = {"claude-opus-4-5": {"input": 1, "output": 1}}
    home.run("prices", "update", listed(home, {"models": {**GLM["models"], **opus}}))
    foreseen = home.run("prices", "remove", "glm-5", "--dry-run")
    assert foreseen.stdout.splitlines()[:2] == ["glm-5 (always)", "Prices: 1 would be removed."]
    ended = home.run("prices", "remove", "glm-5")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Prices: 1 removed.\nCalls: 1 priced anew in 1 conversations" in ended.stdout
    again = home.run("prices", "remove", "glm-5")
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.startswith("There is no own price of glm-5; ")
    told = json.loads(home.run("prices", "remove", "--all", "--json").stdout)
    assert [row["model"] for row in told["removed"]] == ["claude-opus-4-5"]
    assert query(home, "SELECT * FROM api_calls") == before
    assert home.run("verify", "--rollups").returncode == 0


def test_whose_prices_go_is_said(home):
    assert home.run("prices", "remove").returncode == 2
    assert home.run("prices", "remove", "glm-5", "--all").returncode == 2


def test_a_file_without_an_end_is_refused(home):
    ended = home.run("prices", "update", "/dev/zero")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "/dev/zero: It has more than 64 MiB; no list of prices has.\n"

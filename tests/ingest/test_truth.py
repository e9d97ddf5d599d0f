"""Every number of the real transcripts, from the database and from the API, to the token."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import webtest

from observatory.app import create_app
from observatory.ingest.running import ingest
from observatory.store.database import close, configure, connect, fetch_all, fetch_one
from tests.api.keyed import KeyedApp

TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cache_creation_5m_input_tokens",
    "cache_creation_1h_input_tokens",
    "web_search_requests",
)
TRUTH_NAMES = {
    "cache_creation_5m_input_tokens": "cache_creation_5m",
    "cache_creation_1h_input_tokens": "cache_creation_1h",
}
# Where the truth differs: it reads a file alone, top to bottom, and does not compare uuids.
EXPLAINED = {
    # Two lines hold the same record, uuid and all: it was said once.
    "86cc3044-7515-43f1-9c25-1444738c64c9": {"assistant": (141, 142)},
    # A tool use copied from another session has its result there.
    "e1bc91d1-2731-4b12-bf00-44f4dcddffd1": {"tool_pairs": (1, 0), "tool_duration_ms": (33786, 0)},
    # A result stands before its use, so the truth does not time the pair.
    "0c182e15-59de-4856-8a94-00f26880354c": {"tool_duration_ms": (114574, 114491)},
}


@pytest.fixture(scope="module")
def truth(shared: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((shared / "TRUTH.json").read_text())
    return loaded


@pytest.fixture(scope="module")
def archive(
    shared: Path, empty_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """All real transcripts in one database."""
    path = tmp_path_factory.mktemp("truth") / "observatory.db"
    shutil.copy(empty_database, path)
    configure(path)
    connect()
    ingest([str(shared / "dev")])
    yield shared / "dev"
    close()


def test_every_file_says_what_the_truth_says(archive: Path, truth: dict[str, Any]) -> None:
    different = {}
    for name, file in truth["files"].items():
        row = fetch_one("SELECT key FROM transcript_files WHERE path = ?", (str(archive / name),))
        assert row is not None, name
        found, expected = numbers_in_database(row[0]), numbers_of_truth(file)
        # Sums here are exact, the truth's are floats: at a half microdollar it may round down.
        assert abs(found.pop("cost_microdollars") - expected.pop("cost_microdollars")) <= 0.5001
        if found != expected:
            different[Path(name).stem] = {
                k: (found[k], expected[k]) for k in found if found[k] != expected[k]
            }
    assert len(truth["files"]) == 110
    assert different == EXPLAINED


def numbers_of_truth(file: dict[str, Any]) -> dict[str, Any]:
    """Return what the truth says of a file, after the recovery of glued lines."""
    said = file.get("recovered", file)
    models = {
        model: {
            "api_calls": usage["api_messages"],
            **{name: usage[TRUTH_NAMES.get(name, name)] for name in TOKENS},
        }
        for model, usage in said["usage_by_model"].items()
    }
    return {
        "lines": file["lines"],
        "bad_lines": file["invalid_lines"] - file["glued_lines"],
        "user": said["user_records"],
        "assistant": said["assistant_records"],
        "system": said["system_records"],
        "prompts": said["user_kinds"].get("prompt", 0),
        "tool_uses": said["tool_use_by_name"],
        "tool_results": said["tool_result_total"],
        "tool_errors": said["tool_errors"],
        "tool_pairs": said["tool_pairs"],
        "tool_duration_ms": said["tool_duration_ms_sum"],
        "models": models,
        "cost_microdollars": said["cost_usd"] * 1e6,
    }


def numbers_in_database(file_key: int) -> dict[str, Any]:
    """Return what the database holds of a file; a copied message counts as its original."""
    lines, bad = fetch_all(
        "SELECT line_count + has_open_line, bad_line_count FROM transcript_files WHERE key = ?",
        (file_key,),
    )[0]
    roles = dict(
        fetch_all(
            "SELECT role, count(*) FROM messages WHERE file_key = ? AND kind <> 'queued_prompt'"
            " GROUP BY role",
            (file_key,),
        )
    )
    prompts = fetch_all(
        # The truth takes what VS Code puts in front of a prompt for the whole of it.
        "SELECT count(*) FROM messages WHERE file_key = ? AND kind = 'prompt'"
        " AND ltrim(content) NOT LIKE '<ide\\_%' ESCAPE '\\'",
        (file_key,),
    )[0][0]
    said = "(SELECT coalesce(copy_of_key, key) FROM messages WHERE file_key = ?)"
    uses = fetch_all(
        "SELECT name, count(*), sum(result_message_key IS NOT NULL),"
        f" coalesce(sum(execution_time_ms), 0) FROM tool_uses WHERE message_key IN {said}"
        " GROUP BY name",
        (file_key,),
    )
    results, errors = fetch_all(
        "SELECT count(*), coalesce(sum(is_error), 0) FROM tool_uses"
        f" WHERE result_message_key IN {said}",
        (file_key,),
    )[0]
    sums = ", ".join(f"sum({name})" for name in TOKENS)
    models = fetch_all(
        f"SELECT model, count(*), {sums}, sum(cost_nanodollars) FROM api_calls WHERE key IN"
        " (SELECT api_call_key FROM messages WHERE file_key = ?) GROUP BY model",
        (file_key,),
    )
    return {
        "lines": lines,
        "bad_lines": bad,
        "user": roles.get("user", 0),
        "assistant": roles.get("assistant", 0),
        "system": roles.get("system", 0),
        "prompts": prompts,
        "tool_uses": {row[0]: row[1] for row in uses},
        "tool_results": results,
        "tool_errors": errors,
        "tool_pairs": sum(row[2] for row in uses),
        "tool_duration_ms": sum(row[3] for row in uses),
        "models": {
            row[0]: {"api_calls": row[1], **dict(zip(TOKENS, row[2:-1], strict=True))}
            for row in models
        },
        "cost_microdollars": sum(row[-1] or 0 for row in models) / 1000,
    }


def test_every_source_sums_up_as_the_truth_says(archive: Path, truth: dict[str, Any]) -> None:
    for source, expected in truth["sources"].items():
        sums = ", ".join(f"coalesce(sum(a.{name}), 0)" for name in TOKENS)
        row = fetch_all(
            f"SELECT count(*), {sums}, coalesce(sum(a.cost_nanodollars), 0) FROM api_calls a"
            " JOIN transcript_files f ON f.key = a.file_key WHERE f.path LIKE ?",
            (f"{archive / source}/%",),
        )[0]
        assert row[0] == expected["api_messages"], source
        found = dict(zip(TOKENS, row[1:-1], strict=True))
        usage = expected["usage"]
        assert found == {n: usage.get(TRUTH_NAMES.get(n, n), 0) for n in TOKENS}, source
        assert abs(row[-1] / 1000 - expected["cost_usd"] * 1e6) <= 0.5001, source


def test_the_api_adds_up_to_the_truth(archive: Path, truth: dict[str, Any]) -> None:
    client = KeyedApp(create_app(cors_origins=(), folders=()), lint=True)
    conversations = all_of(client, "/api/conversations", "conversations")
    usage: Counter[str] = Counter()
    tools: Counter[str] = Counter()
    roles: Counter[str] = Counter()
    cost = 0
    for summary in conversations:
        address = f"/api/conversations/{summary['id']}"
        conversation = client.get(address).json["data"]
        usage.update(conversation["usage"])
        cost += conversation["cost_microdollars"] or 0
        messages = all_of(client, f"{address}/messages", "messages")
        assert len(messages) == conversation["message_count"]
        assert sum(m["token_count"] for m in messages) == conversation["total_tokens"]
        own = [m for m in messages if m["copied_from"] is None and m["kind"] != "queued_prompt"]
        roles.update(m["role"] for m in own)
        uses = all_of(client, f"{address}/tool-uses", "tool_uses")
        assert len(uses) == conversation["tool_use_count"]
        assert sum(use["is_error"] for use in uses) <= conversation["error_count"]
        tools.update(use["name"] for use in uses)
    expected_usage: Counter[str] = Counter()
    for source in truth["sources"].values():
        expected_usage.update({n: source["usage"].get(n, 0) for n in usage})
    assert usage == expected_usage
    assert abs(cost - sum(round(s["cost_usd"] * 1e6) for s in truth["sources"].values())) <= len(
        conversations
    )
    said = [file.get("recovered", file) for file in truth["files"].values()]
    copied = fetch_all("SELECT role, count(*) FROM messages WHERE copy_of_key > 0 GROUP BY role")
    for role in ("user", "assistant", "system"):
        total = sum(file[f"{role}_records"] for file in said)
        repeated = int(role == "assistant")  # see EXPLAINED
        assert roles[role] == total - repeated - dict(copied).get(role, 0)
    files = all_of(client, "/api/files", "files")
    assert sum(file["line_count"] for file in files) == truth["lines_total"]
    assert sum(file["bad_line_count"] for file in files) == 0


def test_the_responses_of_each_file_add_up_to_the_truth(
    archive: Path, truth: dict[str, Any]
) -> None:
    client = KeyedApp(create_app(cors_origins=(), folders=()), lint=True)
    sums: dict[str, Counter[str]] = {str(archive / name): Counter() for name in truth["files"]}
    paths = {file["id"]: file["file_path"] for file in all_of(client, "/api/files", "files")}
    lines: Counter[str] = Counter()
    for conversation in all_of(client, "/api/conversations", "conversations"):
        address = f"/api/analytics/reconcile?conversation={quote(conversation['id'])}"
        told = client.get(address).json["data"]
        assert told["matches_conversation"] is True
        assert told["totals"]["total_tokens"] == conversation["total_tokens"]
        calls = all_of(client, address, "calls")
        assert sum(call["output_tokens"] for call in calls) == told["totals"]["output_tokens"]
        lines["not counted"] += told["not_counted"]["total"]
        for call in calls:
            lines.update(str(line["is_counted"]) for line in call["lines"])
            for line in call["lines"]:
                if line["is_counted"]:
                    assert numbers_on_line(paths[line["file_id"]], line) == [
                        call[name] for name in TOKENS[:4]
                    ], line
            for file_id in {line["file_id"] for line in call["lines"]}:
                sums[paths[file_id]].update({name: call[name] for name in TOKENS})
                sums[paths[file_id]]["cost_nanodollars"] += call["cost_nanodollars"] or 0
    for name, file in truth["files"].items():
        said = file.get("recovered", file)
        found = sums[str(archive / name)]
        assert abs(found.pop("cost_nanodollars", 0) / 1000 - said["cost_usd"] * 1e6) <= 0.5001
        expected: Counter[str] = Counter()
        for usage in said["usage_by_model"].values():
            expected.update({n: usage[TRUTH_NAMES.get(n, n)] for n in TOKENS})
        assert +found == +expected, name
    # Of all but one response the line is known whose numbers count: that one's last record stands
    # on two lines (see EXPLAINED), and is stored where it stood first.
    responses = sum(source["api_messages"] for source in truth["sources"].values())
    assert (lines["True"], lines["None"]) == (responses - 1, 2)


def numbers_on_line(path: str, line: dict[str, Any]) -> list[int]:
    """Return the tokens in the record of a message, on the line where it is said to stand."""
    text = raw_lines(path)[line["line"] - 1].decode()
    decoder, place = json.JSONDecoder(), 0
    while True:
        record, place = decoder.raw_decode(text, place)
        if line["message_id"].endswith(record.get("uuid", "?")):
            usage = record["message"]["usage"]
            return [usage.get(name) or 0 for name in TOKENS[:4]]


@cache
def raw_lines(path: str) -> list[bytes]:
    return Path(path).read_bytes().split(b"\n")


def all_of(client: webtest.TestApp, address: str, noun: str) -> list[dict[str, Any]]:
    """Return all rows of a list, page by page."""
    rows: list[dict[str, Any]] = []
    while True:
        page = client.get(address, {"limit": 100, "offset": len(rows)}).json["data"]
        rows += page[noun]
        if not page["pagination"]["has_more"]:
            assert len(rows) == page["pagination"]["total"]
            return rows


def test_subagents_hang_below_the_tool_uses_that_started_them(
    archive: Path, truth: dict[str, Any]
) -> None:
    for file in truth["files"].values():
        for root in file["inline_sidechain_roots"]:
            if root["tool_use_id"] is None:
                continue
            row = fetch_one(
                "SELECT t.tool_use_id FROM conversations c JOIN tool_uses t"
                " ON t.subagent_id = c.agent_id AND t.conversation_key = c.parent_key"
                " WHERE c.agent_id = ?",
                (root["uuid"],),
            )
            assert row == (root["tool_use_id"],)
        for link in file["subagent_links"]:
            rows = fetch_all(
                "SELECT 1 FROM tool_uses WHERE tool_use_id = ? AND subagent_id = ?",
                (link["tool_use_id"], link["agent"]),
            )
            assert rows, link

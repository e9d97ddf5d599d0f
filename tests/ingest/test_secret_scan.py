"""Going over what is stored already: it ends as if it had been read with the setting of today."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import peewee
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observatory.ingest.running import ingest as run_ingest
from observatory.ingest.secret_scan import scan_secrets
from observatory.redaction import masking
from observatory.store import search, secret_rows
from observatory.store.database import close, configure, connect, execute, fetch_all
from observatory.store.scopes import WHOLE
from observatory.store.search_matches import SearchRequest, find_matches
from tests.ingest.dumps import check_sound, dump
from tests.ingest.test_any_reading import EXPLORES
from tests.ingest.test_secrets import PLACES, TOKEN, findings
from tests.planted import PLANTS, places_of
from tests.transcripts_for_tests import Transcript


@pytest.fixture(autouse=True)
def setting():
    masking.configure("off", "k" * 40)
    yield
    masking.configure("mask", "k" * 40)


def mask() -> None:
    masking.configure("mask", "k" * 40)


def count_hits(q: str) -> int:
    return len(find_matches(SearchRequest(q=q), scope=WHOLE).candidates)


def shown() -> dict[str, Any]:
    """Return what the archive holds, with details unpacked as they may be packed otherwise."""
    return {**dump(), "findings": sorted(findings(), key=str)}


@given(
    plant=st.sampled_from(PLANTS),
    seed=st.integers(0, 2**32),
    place=st.sampled_from(sorted(PLACES)),
    around=st.sampled_from(["%", "a %", "日本 % 語"]),
    batch_bytes=st.integers(1, 3000),
)
@settings(
    max_examples=1000 if EXPLORES else 50,
    deadline=None,
    derandomize=not EXPLORES,
    suppress_health_check=list(HealthCheck),
)
def test_scanning_ends_where_reading_would_have_ended(
    plant, seed, place, around, batch_bytes, tmp_path, empty_database
):
    planted = plant(random.Random(seed))
    transcript = Transcript()
    transcript.prompt("hello")
    PLACES[place](transcript, around.replace("%", planted.text))
    transcript.answer("bye")

    def read(mode: str) -> Path:
        folder = tmp_path / mode
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        shutil.copy(empty_database, folder / "observatory.db")
        configure(folder / "observatory.db")
        connect()
        target = folder / f"{transcript.session_id}.jsonl"
        target.write_bytes(transcript.bytes())
        masking.configure(mode, "k" * 40)
        run_ingest([str(target)])
        return folder / "observatory.db"

    read("mask")
    masked = shown()
    close()
    database = read("off")
    mask()
    scan_secrets(batch_bytes=batch_bytes)
    check_sound()
    # The title was cut from the text before it was masked, where it was no title of its own.
    is_cut = len(planted.text) > 150
    scanned = shown()
    if not is_cut:
        # A prompt's title is told of as well, and folders make projects.
        extra = {"findings", "conversations", "projects"}
        assert {n: r for n, r in scanned.items() if n not in extra} == {
            n: r for n, r in masked.items() if n not in extra
        }
        assert set(masked["findings"]) <= set(scanned["findings"])
        assert places_of(planted.secret, database) == []
    assert scan_secrets().changed_messages == 0
    close()


def archive(write, ingest) -> Transcript:
    transcript = Transcript()
    transcript.prompt(f"use {TOKEN} 调用")
    transcript.tool_use("Bash", {"command": f"echo {TOKEN} 函数"})
    transcript.tool_result(f"said {TOKEN}", toolUseResult={"stdout": TOKEN})
    transcript.side("summary", summary=f"about {TOKEN}", leafUuid=transcript.uuid(1))
    for number in range(5):
        transcript.answer(f"flux {number}")
    write(transcript)
    ingest()
    return transcript


def test_masking_takes_secrets_out_of_rows_index_and_file(write, ingest, db):
    archive(write, ingest)
    assert {"words", "titles", "messages", "tool_uses", "summaries"} <= set(places_of(TOKEN, db))
    mask()
    summary = scan_secrets()
    assert (summary.messages, summary.changed_messages) == (8, 3)
    assert summary.found["github_token"] >= 5
    assert places_of(TOKEN, db) == []
    assert [count_hits(q) for q in ("github_token", "调用", "函数", "flux", TOKEN)] == [
        3,
        1,
        1,
        5,
        0,
    ]
    check_sound()


@pytest.mark.parametrize("length", [10, 19, 30])
@pytest.mark.parametrize("plant", PLANTS)
def test_a_secret_that_a_title_cuts_is_taken_out_of_it(plant, length, write, ingest):
    planted = plant(random.Random(5))
    begins = planted.text.index(planted.secret)
    length = min(length, len(planted.secret) - 2)
    # So much of the secret is left.
    text = (200 * "w ")[begins + length - 199 :] + planted.text + 200 * " w"
    transcript = Transcript()
    transcript.prompt(text.replace("\n", " "))
    write(transcript)
    ingest()
    [(title,)] = fetch_all("SELECT title FROM conversations")
    assert planted.secret[:length] in title and planted.secret not in title
    mask()
    scan_secrets()
    [(title,)] = fetch_all("SELECT title FROM conversations")
    assert planted.secret[:10] not in title
    check_sound()
    assert scan_secrets().changed_conversations == 0


def test_a_cut_title_without_a_secret_stays(write, ingest):
    transcript = Transcript()
    transcript.prompt("ask for a token: words and task-lists of the password policy " * 9)
    write(transcript)
    ingest()
    before = fetch_all("SELECT title FROM conversations")
    assert before[0][0].endswith("\u2026")
    mask()
    scan_secrets()
    assert fetch_all("SELECT title FROM conversations") == before


def test_it_tells_when_the_log_keeps_what_was_masked(write, ingest, db):
    archive(write, ingest)
    # By the same library: two in one process drop each other's locks.
    reader = peewee.sqlite3.connect(db)  # type: ignore[attr-defined]
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM messages").fetchall()
    mask()
    summary = scan_secrets()
    assert (summary.is_complete, summary.is_log_empty) == (True, False)
    reader.close()
    assert scan_secrets().is_log_empty
    assert places_of(TOKEN, db) == []


def test_messages_that_wait_for_the_index_are_masked_too(write, ingest, db, monkeypatch):
    monkeypatch.setattr("observatory.ingest.running._Run.index", lambda *args: None)
    archive(write, ingest)
    mask()
    scan_secrets()
    while search.index_messages():
        pass
    assert places_of(TOKEN, db) == []
    assert count_hits("github_token") == 3
    check_sound()


def test_flagging_notes_and_changes_nothing(write, ingest):
    archive(write, ingest)
    before = dump()
    masking.configure("flag", "k" * 40)
    summary = scan_secrets()
    assert dump() == before
    assert summary.changed_messages == 0
    told = [(place, count) for _, _, _, place, count in findings()]
    assert sorted(told) == [
        ("content", 1), ("content", 1), ("details", 1), ("parameters", 1), ("summary", 1),
        ("title", 1),
    ]  # fmt: skip
    scan_secrets()
    assert len(findings()) == len(told)
    mask()
    scan_secrets()
    assert len(findings()) == len(told)


def test_a_scan_that_is_stopped_goes_on(write, ingest, db):
    archive(write, ingest)
    mask()
    first = scan_secrets(batch_bytes=1, should_stop=lambda: True)
    assert (first.is_complete, first.messages) == (False, 1)
    assert secret_rows.read_scanned_key("mask") == 1
    second = scan_secrets(batch_bytes=1)
    assert (second.is_complete, second.messages) == (True, 7)
    assert secret_rows.read_scanned_key("mask") == 0
    assert places_of(TOKEN, db) == []
    assert scan_secrets().messages == 8


def test_a_batch_is_bounded_in_bytes_and_never_empty(write, ingest):
    archive(write, ingest)
    assert secret_rows.list_message_keys(after=0, max_bytes=0) == [1]
    assert len(secret_rows.list_message_keys(after=0, max_bytes=10**6)) == 8
    assert secret_rows.list_message_keys(after=8, max_bytes=10) == []


def test_what_clients_wrote_is_masked(client, db):
    body = {
        "title": f"t {TOKEN}",
        "project_path": f"/home/{TOKEN}",
        "metadata": {"custom": {"x": TOKEN}, "tags": [f"{TOKEN}"[:50]]},
    }
    headers = {"Idempotency-Key": "a"}
    made = client.post_json("/api/conversations", body, headers=headers).json["data"]["id"]
    call = {"function": {"name": "X", "arguments": {"x": TOKEN}}, "result": f"{TOKEN} 函数"}
    message = {"role": "assistant", "content": "done", "tool_calls": [call]}
    client.post_json(f"/api/conversations/{made}/messages", message)
    assert "idempotency_keys" in places_of(TOKEN, db)
    mask()
    scan_secrets()
    assert places_of(TOKEN, db) == []
    assert [count_hits(q) for q in ("github_token", "函数")] == [1, 1]
    data = client.get(f"/api/conversations/{made}").json["data"]
    assert data["project_path"].startswith("/home/[secret:github_token:")
    assert data["metadata"]["custom"]["x"] == data["metadata"]["tags"][0]
    check_sound()


def test_a_project_that_is_there_already_takes_the_conversations_of_another(client, db):
    made = [
        client.post_json("/api/conversations", {"title": "x", "project_path": f"/x/{TOKEN}"})
        for _ in range(2)
    ]
    mask()
    masked = client.post_json("/api/conversations", {"title": "y", "project_path": f"/x/{TOKEN}"})
    scan_secrets()
    assert fetch_all("SELECT count(*) FROM projects") == [(1,)]
    path = masked.json["data"]["project_path"]
    for answer in made:
        data = client.get(f"/api/conversations/{answer.json['data']['id']}").json["data"]
        assert data["project_path"] == path
    assert places_of(TOKEN, db) == []


def test_a_result_that_lost_its_messages_is_masked(write, ingest, db):
    archive(write, ingest)
    execute("UPDATE tool_uses SET message_key = NULL, result_message_key = NULL")
    mask()
    scan_secrets()
    assert "tool_uses" not in places_of(TOKEN, db)

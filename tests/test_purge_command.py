"""``observatory purge``, as a process: what it lists, what it removes, and that nothing is left."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from observatory.app import create_app
from observatory.store import maintenance
from observatory.store.database import close, configure, connect, execute, fetch_all
from observatory.store.locks import held
from observatory.store.rollup_building import verify_rollups
from observatory.store.scopes import WHOLE
from observatory.store.webhooks import insert_webhook
from tests.api.keyed import KeyedApp, add_key
from tests.ingest.dumps import check_sound
from tests.planted import rows_of
from tests.processes import Home, wait_for
from tests.transcripts_for_tests import Transcript

GONE = "11111111-1111-4111-8111-111111111111"
KEPT = "22222222-2222-4222-8222-222222222222"
UPLOADED = "33333333-3333-4333-8333-333333333333"
# Each begins with letters of its own: the search index writes only how words differ.
PLACES = {
    "prompt": "aqzprompt", "answer": "bqzanswer", "thinking": "cqzthinking",
    "tool input": "dqzinput", "tool result": "eqzresult", "details": "fqzdetails",
    "title": "gqztitle", "summary": "hqzsummary", "tag": "iqztag", "metadata": "jqzmetadata",
    "file path": "kqzfilepath", "project": "lqzproject", "branch": "mqzbranch", "cwd": "nqzcwd",
    "upload": "oqzupload", "subagent": "pqzsubagent", "written": "qqzwritten",
    "restored": "rqzrestored", "chinese": "検索語彙", "server": "sqzserver", "tool": "tqztool",
    "model": "uqzmodel", "agent type": "vqzagent", "entrypoint": "wqzentry",
    "version": "xqzversion",
}  # fmt: skip


@pytest.fixture
def home(tmp_path) -> Home:
    """A folder of our own with a migrated database."""
    home = Home(tmp_path)
    assert home.run("migrate").returncode == 0
    return home


@pytest.fixture
def client(home):
    """A client of the application over that database, to which this thread is connected."""
    configure(home.database)
    connect()
    add_key()
    yield KeyedApp(create_app(cors_origins=(), folders=()), lint=True)
    close()


def write(home: Home, transcript: Transcript, path: str | None = None) -> Path:
    target = home.projects / (path or f"-work/{transcript.session_id}.jsonl")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(transcript.bytes())
    # The last activity is that of the records.
    os.utime(target, (1_772_600_000, 1_772_600_000))
    return target


def ingest(home: Home) -> None:
    assert home.run("ingest").returncode == 0


def purge(home: Home, *options: str, code: int = 0) -> dict:
    ended = home.run("purge", *options, "--json")
    assert ended.returncode == code, ended.stderr
    return json.loads(ended.stdout)


def said(session: str, *texts: str, cwd: str = "/home/ada/engine", prefix: str = "a") -> Transcript:
    transcript = Transcript(session, cwd=cwd, prefix=prefix)
    for text in texts:
        transcript.prompt(text)
    return transcript


def planted() -> Transcript:
    """Return a transcript with a word of its own in each place."""
    folder = f"/home/ada/{PLACES['project']}"
    transcript = Transcript(GONE, cwd=folder)
    transcript.common["gitBranch"] = PLACES["branch"]
    transcript.prompt(f"{PLACES['prompt']} and {PLACES['chinese']} here")
    transcript.common["cwd"] = f"{folder}/{PLACES['cwd']}"
    transcript.answer(blocks=[{"type": "thinking", "thinking": PLACES["thinking"]}])
    transcript.tool_use("Read", {"file_path": f"/x/{PLACES['file path']}", "why": "dqzinput"})
    details = {"file": {"content": PLACES["details"] * 40}}
    transcript.tool_result(PLACES["tool result"], toolUseResult=details)
    name = f"mcp__{PLACES['server']}__{PLACES['tool']}"
    transcript.tool_use(name, {}, tool_use_id="toolu_2", model=PLACES["model"])
    task = {"description": "x", "prompt": "y", "subagent_type": PLACES["agent type"]}
    transcript.tool_use("Task", task, tool_use_id="toolu_3")
    transcript.common |= {"entrypoint": PLACES["entrypoint"], "version": PLACES["version"]}
    transcript.answer(PLACES["answer"])
    transcript.side("summary", summary=PLACES["summary"], leafUuid=transcript.uuid(1))
    transcript.side("ai-title", aiTitle=PLACES["title"])
    return transcript


def plant_others(home: Home, client: KeyedApp) -> list[str]:
    """Plant what clients write; return the ids of the conversations that they are in."""
    client.put(f"/api/conversations/{GONE}/tags/{PLACES['tag']}")
    client.patch_json(
        f"/api/conversations/{GONE}", {"metadata": {"custom": {"note": PLACES["metadata"]}}}
    )
    body = {"title": PLACES["written"], "project_path": f"/home/ada/{PLACES['project']}"}
    own = client.post_json(
        "/api/conversations", body, headers={"Idempotency-Key": "a"}
    ).json["data"]["id"]  # fmt: skip
    message = {"role": "user", "content": PLACES["written"]}
    path = f"/api/conversations/{own}/messages"
    client.post_json(path, message, headers={"Idempotency-Key": "b"})
    client.patch_json(f"/api/conversations/{own}", {"title": PLACES["restored"]})
    client.delete(f"/api/conversations/{own}")
    client.post(f"/api/conversations/{own}/restore", headers={"Idempotency-Key": "c"})
    uploaded = said(UPLOADED, PLACES["upload"], cwd=f"/home/ada/{PLACES['project']}", prefix="d")
    name = f"{UPLOADED}.jsonl"
    client.post("/api/files/upload", upload_files=[("file", name, uploaded.bytes())])
    return [GONE, own, UPLOADED]


def plant(home: Home, client: KeyedApp) -> list[str]:
    hook = insert_webhook(
        url="https://example.org/", description="", events=(), filters={}, secret="s" * 16,
        is_active=True, scope=WHOLE,
    )  # fmt: skip
    write(home, planted(), f"-work/{PLACES['project']}/{GONE}.jsonl")
    agent = said(GONE, PLACES["subagent"], cwd=f"/home/ada/{PLACES['project']}", prefix="s")
    agent.common |= {"isSidechain": True, "agentId": "abc123"}
    write(home, agent, f"-work/{PLACES['project']}/{GONE}/subagents/agent-abc123.jsonl")
    write(home, said(KEPT, "this stays", prefix="b"))
    ingest(home)
    ids = plant_others(home, client)
    execute(
        "INSERT INTO webhook_deliveries (id, webhook_key, event_id, event_type, status, created_at,"
        " finished_at) SELECT 'd' || id, ?, id, type, 'delivered', created_at, created_at"
        " FROM events WHERE conversation_key IS NOT NULL",
        (hook.key,),
    )
    for statement in maintenance.list_stale_tables():
        maintenance.analyze(statement)
    return ids


def found(home: Home) -> dict[str, list[str]]:
    """Return in which tables, or in the bytes of which files, each planted word stands."""
    told = rows_of(home.database)
    told.pop("file")
    for path in home.folder.rglob("*"):
        if path.is_file() and home.projects not in path.parents:
            told[path.name] = path.read_bytes().decode("latin-1")
    places: dict[str, list[str]] = {}
    for place, word in PLACES.items():
        forms = [word, word.encode().decode("latin-1"), " ".join(word)]
        places[place] = [name for name, text in told.items() if any(form in text for form in forms)]
    return places


def test_nothing_of_a_purged_project_is_left(home, client):
    plant(home, client)
    before = found(home)
    assert [place for place, names in before.items() if not names] == []
    shutil.rmtree(home.projects / "-work" / PLACES["project"])
    close()
    told = purge(home, "--project", f"/home/ada/{PLACES['project']}", "--yes", "--compact")
    assert told["removed"] == 3
    assert (told["is_complete"], told["is_log_empty"], told["is_compacted"]) == (True, True, True)
    connect()
    assert {place: names for place, names in found(home).items() if names} == {}
    assert [row[0] for row in fetch_all("SELECT id FROM conversations")] == [KEPT]
    assert not list((home.folder / "data" / "uploads").rglob("*.jsonl"))
    check_sound()
    assert verify_rollups().are_none
    without = (
        "SELECT count(*) FROM webhook_deliveries WHERE event_id NOT IN (SELECT id FROM events)"
    )
    assert fetch_all(without) == [(0,)]
    assert fetch_all("SELECT count(*) FROM webhook_deliveries")[0][0] > 0
    actions = fetch_all("SELECT actor, action FROM audit_log")
    assert actions.count(("operator", "conversation.delete_permanently")) == 3


def test_the_labels_of_what_is_left_stay_and_those_that_are_free_are_given_again(home, client):
    def used(session: str, prefix: str, *tools: str) -> Transcript:
        made = said(session, "hello", cwd=f"/home/ada/{prefix}", prefix=prefix)
        for number, tool in enumerate(tools):
            made.tool_use(tool, {}, tool_use_id=f"toolu_{number}")
        return made

    def labels() -> list[tuple]:
        return fetch_all("SELECT name, number FROM label_names WHERE kind = 'tool' ORDER BY number")

    write(home, used(GONE, "a", "Alpha", "Beta"))
    write(home, used(KEPT, "b", "Beta", "Gamma"))
    ingest(home)
    assert labels() == [("Alpha", 1), ("Beta", 2), ("Gamma", 3)]
    purge(home, "--project", "/home/ada/a", "--yes")
    assert labels() == [("Beta", 2), ("Gamma", 3)]
    write(home, used(UPLOADED, "c", "Delta", "Epsilon"))
    ingest(home)
    assert labels() == [("Delta", 1), ("Beta", 2), ("Gamma", 3), ("Epsilon", 4)]


def test_a_purged_conversation_does_not_come_back(home, client):
    path = write(home, said(GONE, "hello"))
    ingest(home)
    close()
    assert purge(home, "--older-than", "1", "--yes")["removed"] == 1
    with path.open("ab") as stream:
        more = said(GONE, "hello", "again")
        stream.write(more.bytes()[len(more.bytes(1)) :])
    ingest(home)
    connect()
    assert fetch_all("SELECT count(*) FROM messages") == [(0,)]


def test_a_dry_run_tells_and_changes_nothing(home, client):
    write(home, said(GONE, "hello", "there"))
    write(home, said(KEPT, "other", cwd="/home/ada/other", prefix="b"))
    ingest(home)
    before = fetch_all("SELECT value FROM totals WHERE name = 'revision'")
    told = purge(home, "--project", "engine", "--dry-run")
    assert told == {
        "is_dry_run": True,
        "chosen": {
            "conversations": 1, "messages": 2, "bytes": told["chosen"]["bytes"], "live": 0,
            "oldest_at": "2026-03-04T05:06:08.890Z", "newest_at": "2026-03-04T05:06:09.890Z",
        },
    }  # fmt: skip
    assert told["chosen"]["bytes"] >= len("hello") + len("there")
    plain = home.run("purge", "--project", "engine", "--dry-run").stdout
    assert plain.startswith("Would remove 1 conversations with 2 messages")
    assert fetch_all("SELECT value FROM totals WHERE name = 'revision'") == before


def test_no_copy_that_a_killed_command_made_outlives_it(home, client):
    write(home, said(GONE, "hello"))
    ingest(home)
    left = home.database.parent / ".restoring-abc"
    left.mkdir()
    (left / "observatory.db").write_bytes(home.database.read_bytes())
    kept = home.database.with_name("observatory.db.before-20260101-000000")
    kept.write_bytes(home.database.read_bytes())
    assert kept.name in home.run("purge", "--older-than", "0", "--yes").stdout
    assert not left.exists()
    assert kept.exists()


def test_without_a_terminal_it_takes_yes(home, client):
    write(home, said(GONE, "hello"))
    ingest(home)
    ended = home.run("purge", "--older-than", "1")
    assert ended.returncode == 1
    assert "--yes" in ended.stderr
    assert fetch_all("SELECT count(*) FROM conversations") == [(1,)]


@pytest.mark.parametrize(("answer", "left"), [(b"y\n", 0), (b"n\n", 1), (b"\n", 1)])
def test_at_a_terminal_it_asks(home, client, answer, left):
    write(home, said(GONE, "hello"))
    ingest(home)
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "observatory", "purge", "--older-than", "1"],
        cwd=home.folder, env=home.environment(), stdin=theirs, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    os.write(ours, answer)
    _, told = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert b"Go on? [y/N]" in told
    assert fetch_all("SELECT count(*) FROM conversations") == [(left,)]


def test_what_changes_before_the_answer_stays(home, client):
    """Between the question and the yes somebody takes it out of the trash, or it goes on."""
    write(home, said(GONE, "hello"))
    ingest(home)
    client.delete(f"/api/conversations/{GONE}")
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "observatory", "purge", "--trash", "--json"],
        cwd=home.folder, env=home.environment(), stdin=theirs, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.read(13) == b"This removes "
    client.post(f"/api/conversations/{GONE}/restore")
    os.write(ours, b"y\n")
    told, _ = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert (json.loads(told)["removed"], json.loads(told)["spared"]) == (0, 1)
    assert fetch_all("SELECT count(*) FROM messages") == [(1,)]
    client.get(f"/api/conversations/{GONE}")


@pytest.mark.parametrize("options", [(), ("--yes",), ("--dry-run", "--compact")])
def test_what_to_remove_has_to_be_said(home, options):
    ended = home.run("purge", *options)
    assert ended.returncode == 2
    assert "--project" in ended.stderr


@pytest.mark.parametrize("days", ["-1", "many", "1.5", "99999999"])
def test_days_are_whole_numbers(home, days):
    ended = home.run("purge", "--older-than", days)
    assert ended.returncode == 2
    assert "invalid number of days value" in ended.stderr


def test_the_trash_goes_and_nothing_else(home, client):
    write(home, said(GONE, "hello"))
    write(home, said(KEPT, "other", prefix="b"))
    ingest(home)
    client.delete(f"/api/conversations/{GONE}")
    assert purge(home, "--trash", "--older-than", "1", "--yes")["removed"] == 0
    assert purge(home, "--trash", "--yes")["removed"] == 1
    assert fetch_all("SELECT id FROM conversations") == [(KEPT,)]


def test_what_changed_lately_is_not_old(home, client):
    path = write(home, said(GONE, "hello"))
    ingest(home)
    os.utime(path)
    assert purge(home, "--older-than", "1", "--yes")["removed"] == 0
    assert purge(home, "--project", "engine", "--yes")["removed"] == 1


def test_what_a_session_elsewhere_started_in_a_project_goes_with_it(home, client):
    write(home, said(KEPT, "start it", cwd="/home/ada/other", prefix="b"), f"-work/{KEPT}.jsonl")
    agent = said(KEPT, "explore", prefix="s")
    agent.common |= {"isSidechain": True, "agentId": "abc123"}
    write(home, agent, f"-work/{KEPT}/subagents/agent-abc123.jsonl")
    ingest(home)
    assert purge(home, "--project", "engine", "--yes")["removed"] == 1
    assert fetch_all("SELECT id FROM conversations") == [(KEPT,)]


def count(table: str) -> int:
    return fetch_all(f"SELECT count(*) FROM {table}")[0][0]


def kill_once(process: subprocess.Popen[str], condition) -> None:
    """Kill a process once something holds, unless it has ended by then."""
    wait_for(lambda: condition() or process.poll() is not None, what="the purge to begin")
    process.kill()
    process.communicate()


def test_a_killed_purge_is_ended_by_another(home, client):
    many = said(GONE, *(f"word{number} " * 300 for number in range(3000)))
    write(home, many)
    ingest(home)
    for left in (3000, 2000, 1000):
        process = home.popen("-m", "observatory", "purge", "--older-than", "1", "--yes")
        kill_once(process, lambda left=left: count("messages") < left and count("deleted_messages"))
    assert home.run("purge", "--compact").returncode == 0
    assert fetch_all("SELECT count(*) FROM messages") == [(0,)]
    assert fetch_all("SELECT count(*) FROM conversations") == [(0,)]
    check_sound()


def test_another_ingest_is_waited_for_or_told(home, client):
    with held(home.database, "ingest"):
        ended = home.run("purge", "--trash", "--yes")
    assert ended.returncode == 75
    assert re.search(r"Process \d+ on ", ended.stderr)


def test_too_little_room_is_told_before_anything_is_removed(home, client, monkeypatch):
    write(home, said(GONE, "hello"))
    ingest(home)
    monkeypatch.setattr(maintenance, "read_disk_space", lambda: (10, 10**12))
    with pytest.raises(maintenance.NoRoom, match="MiB on the disk for a while, and 0 MiB"):
        maintenance.check_room_to_compact()
    maintenance.check_room_to_compact(on_disk=False)
    monkeypatch.setattr(maintenance, "read_free_memory", lambda: 10)
    with pytest.raises(maintenance.NoRoom, match=r"of memory .*`observatory compact`"):
        maintenance.check_room_to_compact(on_disk=False)

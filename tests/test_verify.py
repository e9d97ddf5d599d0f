"""``observatory verify``: what is wrong in the database, and what the transcripts say otherwise."""

from __future__ import annotations

import http.client
import json
import shutil
from pathlib import Path

import pytest

from tests import moved_archives
from tests.filled_homes import change, fill, listing, read, transcript, write
from tests.ingest.test_copies import SESSION
from tests.processes import Home, serving

CONVERSATIONS = 8


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    """A home with conversations, which no process has open."""
    home = Home(tmp_path_factory.mktemp("filled"))
    fill(home, CONVERSATIONS)
    return home.folder


@pytest.fixture
def home(tmp_path, filled) -> Home:
    """A copy of it, whose transcripts are where the archive knows them."""
    shutil.copytree(filled / "data", tmp_path / "data")
    return Home(tmp_path, {"CLAUDE_CONFIG_DIR": str(filled / ".claude")})


def wrong(home: Home) -> dict[str, list[str]]:
    """Return what is wrong, by the check that found it."""
    ended = home.run("verify", "--json")
    assert ended.stderr == ""
    told = json.loads(ended.stdout)["database"]
    found = {check["name"]: check["examples"] for check in told["checks"] if check["wrong"]}
    assert ended.returncode == (1 if found else 0)
    assert told["is_sound"] is not bool(found)
    return found


def test_a_sound_database_is_left_as_it_is(home):
    before = listing(home.folder)
    ended = home.run("verify")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.endswith("Nothing is wrong with the database.\n")
    assert listing(home.folder) == before


def test_a_word_that_the_index_cuts_in_a_character_is_no_damage(home):
    made = transcript(90)
    for word in ("漢" * 11_000, "é" * 20_000):
        made.prompt(word)
    path = home.folder / "long.jsonl"
    path.write_bytes(made.bytes())
    assert home.run("ingest", str(path)).returncode == 0
    assert wrong(home) == {}


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        ("UPDATE conversations SET message_count = 9 WHERE key = 3", "counters"),
        ("UPDATE conversations SET cost_nanodollars = 1 WHERE key = 3", "counters"),
        ("UPDATE conversations SET document = '{}' WHERE key = 2", "documents"),
        ("UPDATE conversations SET details = '{}' WHERE key = 2", "documents"),
        ("UPDATE messages SET conversation_key = 77 WHERE key = 2", "references"),
        ("UPDATE tool_uses SET conversation_key = 1, tool_use_id = 'x' WHERE key = 2", "orphans"),
        ("UPDATE conversations SET place_key = 99 WHERE key = 1", "orphans"),
        ("UPDATE totals SET value = 1 WHERE name = 'conversations'", "totals"),
        ("UPDATE totals SET value = 0 WHERE name = 'revision'", "totals"),
        ("UPDATE totals SET value = 1 WHERE name = 'messages'", "totals"),
        ("UPDATE totals SET value = 1 WHERE name = 'tool_uses'", "totals"),
        ("UPDATE projects SET total_tokens = 1", "totals"),
        ("UPDATE messages SET content = 'another text' WHERE key = 4", "search index"),
        ('UPDATE tool_uses SET parameters = \'{"command": "rm"}\'', "search index"),
        ("UPDATE message_cjk SET spaced = '漢' WHERE message_key > 0", "search index"),
        ("DELETE FROM message_search_docsize WHERE id = 5", "search index"),
        ("UPDATE conversations SET cjk = 'x' WHERE key = 4", "title index"),
        ("DELETE FROM usage_rollups WHERE level = 2", "sums"),
        ("UPDATE totals SET value = 0 WHERE name = 'rollups_version'", "sums"),
        ("UPDATE places SET above = 'x' WHERE key = 1", "sums"),
    ],
)
def test_damage_is_found(home, damage, check):
    # A trigger would keep the title index right.
    change(home.database, "DROP TRIGGER conversations_retitled", damage)
    assert check in wrong(home)


def test_what_is_wrong_is_named_with_what_to_do(home):
    change(home.database, "UPDATE messages SET content = 'another text' WHERE key = 4")
    ended = home.run("verify")
    assert ended.returncode == 1
    assert "WRONG  search index" in ended.stdout
    assert "observatory compact --reindex" in ended.stdout
    assert "another text" not in ended.stdout


def test_a_damaged_file_is_told(home):
    data = bytearray(home.database.read_bytes())
    [(page,)] = read(home.database, "SELECT rootpage FROM sqlite_master WHERE name = 'tool_uses'")
    [(size,)] = read(home.database, "PRAGMA page_size")
    data[(page - 1) * size : page * size] = b"\xff" * size
    home.database.write_bytes(data)
    ended = home.run("verify")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "WRONG  integrity" in ended.stdout or "damaged" in ended.stderr


def test_it_reads_one_moment_beside_a_server_that_writes(home):
    with serving(home, "--no-ingest") as server:
        server.post("/api/conversations", {"title": "mine", "project_path": "/home/ada/1"})
        assert wrong(home) == {}


def test_the_archive_has_what_the_transcripts_say(home):
    before = listing(home.folder)
    ended = home.run("verify", "--transcripts")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "8 are in the archive as they are, 0 differ, 0 wait" in ended.stdout
    assert listing(home.folder) == before


def test_transcripts_that_changed_are_gone_or_new_are_told(home, tmp_path):
    shutil.copytree(home.variables.pop("CLAUDE_CONFIG_DIR"), tmp_path / ".claude")
    assert home.run("ingest").returncode == 0
    write(home, 0).unlink()
    longer = transcript(1)
    longer.prompt("more")
    write(home, 1, longer)
    write(home, 50)
    ended = home.run("verify", "--transcripts", "--json")
    told = json.loads(ended.stdout)["transcripts"]
    assert ended.returncode == 1
    assert (told["unread"], told["different"], told["failed"]) == (2, 0, 0)
    assert any("0000050" in line and "never read" in line for line in told["unread_files"])
    assert any("0000001" in line and "changed" in line for line in told["unread_files"])
    assert f"{home.projects}/-work/00000000-0000-4000-8000-000000000000.jsonl" in told["gone_files"]
    assert home.run("ingest").returncode == 0
    assert home.run("verify", "--transcripts").returncode == 0


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM messages WHERE key = 2",
        "UPDATE transcript_files SET record_counts = '{}' WHERE key = 2",
        "UPDATE transcript_files SET line_count = 1 WHERE key = 2",
        "UPDATE transcript_files SET byte_offset = 1 WHERE key = 2",
        "UPDATE messages SET position = 9 WHERE key = 2",
        "UPDATE messages SET content = 'another text' WHERE key = 3",
        "UPDATE messages SET kind = 'meta' WHERE key = 1",
        'UPDATE tool_uses SET parameters = \'{"command": "rm"}\' WHERE key = 1',
        "UPDATE tool_uses SET status = 'error' WHERE key = 1",
        "UPDATE tool_uses SET result = 'another' WHERE key = 1",
        "INSERT INTO transcript_errors (file_key, line, byte_start, byte_end, reason)"
        " VALUES (1, 2, 0, 1, 'none')",
    ],
)
def test_what_the_archive_has_otherwise_is_told(home, damage):
    change(home.database, damage)
    ended = home.run("verify", "--transcripts", "--json")
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["transcripts"]["different"] == 1


def test_what_a_transcript_counts_may_be_no_json(home):
    # As by another program: the schema does not take it.
    change(
        home.database,
        "PRAGMA ignore_check_constraints = 1",
        "UPDATE transcript_files SET record_counts = '{' WHERE key = 2",
    )
    ended = home.run("verify", "--transcripts")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "in no form that can be read" in ended.stdout


def test_archives_with_something_of_every_kind_say_what_their_transcripts_say(tmp_path):
    """Copies, subagents, secrets, summaries, bad lines; some removed for good, some renamed."""
    home = Home(tmp_path)
    moved_archives.fill(home)
    with moved_archives.asking(home.database) as client:
        assert home.run("verify", "--transcripts").returncode == 0
        client.delete(f"/api/conversations/{SESSION}?permanent=true")
        client.delete(f"/api/conversations/{moved_archives.TASKS}?permanent=true")
    [path] = home.projects.rglob(f"{moved_archives.TASKS}.jsonl")
    path.rename(path.with_name("renamed.jsonl"))
    assert home.run("ingest").returncode == 0
    assert home.run("verify", "--transcripts").stdout.count(" 0 differ, 0 wait") == 1
    change(home.database, "DELETE FROM summaries", "UPDATE tool_uses SET result = 'x'")
    assert home.run("verify", "--transcripts").returncode == 1


def test_a_summary_that_is_missing_is_told(tmp_path):
    home = Home(tmp_path)
    moved_archives.write_transcripts(home)
    assert home.run("ingest").returncode == 0
    assert home.run("verify", "--transcripts").returncode == 0
    change(home.database, "DELETE FROM summaries")
    assert "1 summaries are missing" in home.run("verify", "--transcripts").stdout


def test_what_was_removed_for_good_is_not_missing(home):
    with serving(home, "--no-ingest") as server:
        [*_, last] = server.data("/api/conversations")["conversations"]
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        for query in ("", "?permanent=true"):
            connection.request(
                "DELETE", f"/api/conversations/{last['id']}{query}", headers=server.credentials()
            )
            answer = connection.getresponse()
            answer.read()
            assert answer.status in (200, 204), answer.status
        connection.close()
    assert home.run("verify", "--transcripts").returncode == 0


def test_repair_is_of_the_sums(home):
    ended = home.run("verify", "--repair")
    assert ended.returncode == 2
    assert "--rollups" in ended.stderr

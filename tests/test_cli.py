"""The command line, as processes."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from observatory import __version__
from observatory.errors import SettingsError
from observatory.opening import check_exposure
from observatory.store import schema
from observatory.store.database import execute
from observatory.store.users import insert_user
from tests.api.sessions import numbered
from tests.planted import drawn
from tests.processes import ROOT, Home, finish, metrics_folders, wait_for

SUMMARY = {
    "files", "lines", "bad_lines", "conversations", "messages", "tool_uses", "tokens",
    "cost_microdollars", "seconds", "mb_per_second", "bytes", "unchanged_files", "failed_files",
    "rows_seconds", "is_complete", "failed_folders", "failures",
}  # fmt: skip
HOLDER = """
import signal, sys
from observatory.store.locks import held
with held(sys.argv[1], "ingest"):
    print("held", flush=True)
    signal.pause()
"""
# The command line with a further migration that this code does not have yet.
NEXT_VERSION = """
import sys
from pathlib import Path
from observatory.store import schema
schema.MIGRATIONS = Path(sys.argv.pop(1))
from observatory.__main__ import main
sys.exit(main())
"""


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def transcripts(home) -> Path:
    """Two transcripts in the default folder, of two lines each."""
    for number in (1, 2):
        write(home.projects, number)
    return home.projects


@pytest.fixture
def next_version(home) -> Path:
    """A folder with the migrations and one more."""
    folder = home.folder / "migrations"
    shutil.copytree(schema.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "0099_more.py").write_text(
        "def up(migrator, db):\n    db.execute_sql('CREATE TABLE more (key INTEGER PRIMARY KEY)')\n"
    )
    return folder


def write(folder: Path, number: int) -> Path:
    transcript = numbered(number)
    transcript.prompt("hello")
    transcript.answer("hi")
    path = folder / "-work" / f"{transcript.session_id}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(transcript.bytes())
    return path


def query(home: Home, sql: str) -> list[tuple]:
    """Ask or change the database while no process has it open."""
    connection = sqlite3.connect(home.database)
    try:
        with connection:
            return connection.execute(sql).fetchall()
    finally:
        connection.close()


def migrations() -> list[str]:
    return sorted(path.stem for path in schema.MIGRATIONS.glob("[0-9]*.py"))


# In general


def test_the_version_is_told(home):
    assert home.run("--version").stdout == f"{__version__}\n"


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("serve",),
        ("watch",),
        ("ingest",),
        ("migrate",),
        ("secrets",),
        ("prices",),
        ("prices", "update"),
        ("tail",),
        ("usage",),
        ("verify",),
        ("user", "add"),
        ("key",),
        ("link",),
    ],
)
def test_help_is_told(home, command):
    ended = home.run(*command, "--help")
    assert ended.returncode == 0
    assert ended.stdout.startswith("usage: observatory")
    assert not home.database.parent.exists()


@pytest.mark.parametrize(
    "arguments",
    [(), ("dance",), ("serve", "--port", "1"), ("migrate", "--status", "--dry-run"),
     ("ingest", "--wait", "soon"), ("ingest", "--wait", "nan"), ("ingest", "--wait", "-1"),
     ("secrets",), ("secrets", "dance"), ("watch", "--parent", "me")],
)  # fmt: skip
def test_a_wrong_command_line_is_a_usage_error(home, arguments):
    ended = home.run(*arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("usage: observatory")


@pytest.mark.parametrize("command", ["serve", "watch", "ingest", "migrate"])
def test_wrong_settings_stop_every_command(home, command):
    ended = home.run(command, PORT="x", LOG_LEVEL="loud", HOST="example.com")
    assert ended.returncode == 1
    lines = ended.stderr.splitlines()
    assert lines[0] == "These settings are wrong:"
    assert [line.split(":")[0] for line in lines[1:]] == ["  HOST", "  LOG_LEVEL", "  PORT"]
    assert not home.database.exists()


def test_settings_are_read_from_a_file_in_the_working_directory(home):
    (home.folder / ".env").write_text("DB_PATH=./elsewhere/o.db\n")
    assert home.run("migrate").returncode == 0
    assert (home.folder / "elsewhere" / "o.db").exists()


def test_a_folder_that_can_not_be_made_is_told_without_a_traceback(home):
    (home.folder / "data").write_text("in the way")
    for command in ("migrate", "ingest", "watch", "serve"):
        ended = home.run(command)
        assert ended.returncode == 1
        told = ended.stderr.splitlines()[-1]
        assert told.startswith("  DB_PATH: its folder data can not be made: ")
        assert told.endswith("name one that this user may make")


def test_a_file_that_is_no_database_is_told_without_a_traceback(home):
    home.database.parent.mkdir()
    home.database.write_text("This is no database. " * 100)
    for command in ("migrate", "ingest", "watch", "serve"):
        ended = home.run(command)
        assert ended.returncode == 1
        told = ended.stderr.splitlines()[-1]
        assert told.startswith(f"The database {home.database.relative_to(home.folder)} can not")
        assert "DB_PATH" in told
        assert "Traceback" not in ended.stderr


# migrate


def test_migrate_makes_a_database_for_its_owner_only(home):
    ended = home.run("migrate")
    assert ended.returncode == 0
    applied = [f"{name}  applied" for name in migrations()]
    assert ended.stdout.splitlines() == [*applied, "data/observatory.db: the schema is current."]
    assert stat.S_IMODE(home.database.stat().st_mode) == 0o600


def test_migrating_again_changes_nothing(home):
    home.run("migrate")
    before = query(home, "SELECT name, applied FROM schema_migrations")
    ended = home.run("migrate")
    assert (ended.returncode, ended.stdout) == (0, "data/observatory.db: the schema is current.\n")
    assert query(home, "SELECT name, applied FROM schema_migrations") == before


def test_processes_that_migrate_at_once_on_a_fresh_file_all_succeed(home):
    started = [home.popen("-m", "observatory", "migrate") for _ in range(4)]
    ended = [finish(process) for process in started]
    assert [process.returncode for process in ended] == [0] * 4, [p.stderr for p in ended]
    told = "".join(process.stdout for process in ended)
    assert [told.count(f"{name}  applied") for name in migrations()] == [1] * len(migrations())


@pytest.mark.parametrize("option", ["--status", "--dry-run"])
def test_looking_at_a_missing_database_makes_none(home, option):
    ended = home.run("migrate", option)
    assert ended.returncode == 0
    assert "observatory migrate" in ended.stdout
    assert not home.database.exists()


def test_status_and_dry_run_on_a_current_database(home):
    home.run("migrate")
    status = home.run("migrate", "--status")
    assert status.stdout.splitlines() == [f"{name}  applied" for name in migrations()]
    assert home.run("migrate", "--dry-run").stdout == "The schema is current.\n"


def test_status_and_dry_run_tell_what_is_pending_and_apply_nothing(home, next_version):
    home.run("migrate")
    status = finish(home.popen("-c", NEXT_VERSION, str(next_version), "migrate", "--status"))
    assert status.stdout.splitlines()[-1] == "0099_more  pending"
    dry = finish(home.popen("-c", NEXT_VERSION, str(next_version), "migrate", "--dry-run"))
    assert (dry.returncode, dry.stdout) == (0, "0099_more  would be applied\n")
    assert query(home, "SELECT name FROM sqlite_master WHERE name = 'more'") == []


def test_an_older_schema_is_migrated_on_demand(home, next_version):
    home.run("migrate")
    ended = finish(home.popen("-c", NEXT_VERSION, str(next_version), "migrate"))
    assert ended.stdout.splitlines()[0] == "0099_more  applied"
    assert query(home, "SELECT count(*) FROM more") == [(0,)]


def test_a_migration_that_fails_leaves_the_schema_as_it_was(home, next_version):
    home.run("migrate")
    failing = "    db.execute_sql('CREATE TABLE more (key)')\n    db.execute_sql('nonsense')\n"
    (next_version / "0099_more.py").write_text(f"def up(migrator, db):\n{failing}")
    ended = finish(home.popen("-c", NEXT_VERSION, str(next_version), "migrate"))
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert query(home, "SELECT name FROM sqlite_master WHERE name = 'more'") == []
    assert home.run("migrate", "--status").returncode == 0


@pytest.mark.parametrize("command", ["serve", "watch", "ingest"])
def test_an_older_schema_is_refused_with_the_command_that_mends_it(home, next_version, command):
    home.run("migrate")
    ended = finish(home.popen("-c", NEXT_VERSION, str(next_version), command))
    assert ended.returncode == 1
    assert "0099_more" in ended.stderr
    assert "Run `observatory migrate`." in ended.stderr


@pytest.mark.parametrize("command", ["serve", "watch", "ingest", "migrate"])
def test_a_newer_schema_is_refused(home, command):
    home.run("migrate")
    query(home, "INSERT INTO schema_migrations (name, applied) VALUES ('9999_later', '2030-01-01')")
    ended = home.run(command)
    assert ended.returncode == 1
    assert "written by a newer version of the Observatory (9999_later)" in ended.stderr
    status = home.run("migrate", "--status")
    assert status.returncode == 1
    assert status.stdout.splitlines()[-1] == "9999_later  applied by a newer version"


# ingest


def test_ingest_reads_the_default_folder_and_makes_the_database(home, transcripts):
    ended = home.run("ingest")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("Read 2 files, 4 lines (0 bad, 0 files unchanged)")
    assert "New: 4 messages in 2 conversations, 0 tool uses, 2,246 tokens, $0.00." in ended.stdout
    assert query(home, "SELECT count(*) FROM messages") == [(4,)]


def test_json_is_one_line_with_the_whole_summary(home, transcripts):
    ended = home.run("ingest", "--json")
    assert ended.stdout.count("\n") == 1
    summary = json.loads(ended.stdout)
    assert set(summary) == SUMMARY
    assert (summary["files"], summary["messages"], summary["is_complete"]) == (2, 4, True)
    assert sum(summary["tokens"].values()) == 2246


def test_a_second_run_reads_nothing(home, transcripts):
    home.run("ingest")
    summary = json.loads(home.run("ingest", "--json").stdout)
    assert (summary["files"], summary["bytes"], summary["unchanged_files"]) == (0, 0, 2)
    assert (summary["messages"], summary["conversations"]) == (0, 0)


def test_a_file_or_a_folder_or_both_can_be_named(home, transcripts):
    elsewhere = write(home.folder / "elsewhere", 3)
    [first, _] = sorted(transcripts.rglob("*.jsonl"))
    assert json.loads(home.run("ingest", "--json", str(first)).stdout)["files"] == 1
    both = home.run("ingest", "--json", str(transcripts), "elsewhere/-work/" + elsewhere.name)
    summary = json.loads(both.stdout)
    assert (summary["files"], summary["unchanged_files"]) == (2, 1)


def test_a_file_that_is_named_twice_is_read_once(home, transcripts):
    ended = home.run("ingest", "--json", str(transcripts), str(transcripts / "-work"))
    assert json.loads(ended.stdout)["files"] == 2


def test_a_path_that_is_not_there_is_a_usage_error(home, transcripts):
    ended = home.run("ingest", str(transcripts), "/no/such/path")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "There is no /no/such/path.\n"
    assert not home.database.exists()


def test_without_transcripts_it_says_where_it_looked(home):
    ended = home.run("ingest")
    assert ended.returncode == 0
    assert f"No transcripts in {home.projects} yet." in ended.stderr
    assert ended.stdout.startswith("Read 0 files")


def test_several_folders_are_read_and_the_missing_one_is_told(home, transcripts):
    write(home.folder / "b", 3)
    folders = f"{transcripts}, {home.folder / 'b'},/no/such/folder"
    ended = home.run("ingest", "--json", TRANSCRIPTS_DIR=folders)
    assert json.loads(ended.stdout)["files"] == 3
    assert "No transcripts in /no/such/folder yet." in ended.stderr


def test_bad_lines_are_counted_and_do_not_fail_the_run(home):
    path = write(home.projects, 1)
    path.write_bytes(path.read_bytes() + b"{broken\n")
    ended = home.run("ingest", "--json")
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["bad_lines"] == 1


@contextmanager
def ingesting(home: Home) -> Iterator[subprocess.Popen[str]]:
    """Hold the lock of an ingest in another process while a block runs."""
    process = home.popen("-c", HOLDER, str(home.database))
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_second_ingest_at_the_same_time_says_who_is_at_work(home, transcripts):
    home.run("migrate")
    with ingesting(home) as holder:
        ended = home.run("ingest")
    assert (ended.returncode, ended.stdout) == (75, "")
    assert ended.stderr.startswith(f"Process {holder.pid} on ")


def test_a_second_ingest_can_wait_for_the_first(home, transcripts):
    home.run("migrate")
    with ingesting(home) as holder:
        waiting = home.popen("-m", "observatory", "ingest", "--json", "--wait", "60")
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=1)
        holder.kill()
        ended = finish(waiting)
    assert (ended.returncode, json.loads(ended.stdout)["files"]) == (0, 2)


def test_an_ingest_that_is_told_to_stop_goes_on_next_time(home):
    for number in range(40):
        write(home.projects, number)
    process = home.popen("-m", "observatory", "ingest", "--json")
    lock = Path(f"{home.database}.ingest.lock")
    wait_for(lambda: lock.exists() or process.poll() is not None, what="the ingest to begin")
    process.send_signal(signal.SIGTERM)
    ended = finish(process)
    assert ended.returncode in (0, 128 + signal.SIGTERM, -signal.SIGTERM)
    assert home.run("ingest").returncode == 0
    assert query(home, "SELECT count(*) FROM messages") == [(80,)]


# secrets

TOKEN = "gh" + "p_" + drawn(random.Random(3), 36)


def plant(home: Home, number: int) -> None:
    transcript = numbered(number)
    transcript.prompt(f"use {TOKEN}")
    path = home.projects / "-work" / f"{transcript.session_id}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(transcript.bytes())


def test_an_ingest_masks_with_the_key_beside_the_database(home):
    for number in (1, 2):
        plant(home, number)
        assert home.run("ingest").returncode == 0
    [(text, count)] = query(home, "SELECT content, count(*) FROM messages GROUP BY content")
    assert re.fullmatch(r"use \[secret:github_token:[0-9a-f]{8}\]", text)
    assert count == 2
    plant(home, 3)
    home.run("ingest", JWT_SECRET="another one that is long enough to be taken")
    assert len(query(home, "SELECT DISTINCT hash FROM secret_findings")) == 1
    key = home.database.with_name("redaction_key")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.write_text("another one that is long enough to be taken")
    plant(home, 4)
    home.run("ingest")
    assert len(query(home, "SELECT DISTINCT hash FROM secret_findings")) == 2


def test_a_scan_flags_and_masks_what_is_stored(home):
    for number in (1, 2):
        plant(home, number)
    home.run("ingest", REDACT_SECRETS="off")
    assert query(home, "SELECT DISTINCT content FROM messages") == [(f"use {TOKEN}",)]
    flagged = home.run("secrets", "scan", REDACT_SECRETS="flag")
    assert flagged.returncode == 0
    assert "4 github_token" in flagged.stdout
    masked = home.run("secrets", "scan", "--json")
    assert masked.returncode == 0
    told = json.loads(masked.stdout)
    assert (told["mode"], told["messages"], told["changed_messages"]) == ("mask", 2, 2)
    assert told["found"] == {"github_token": 4}
    for path in home.database.parent.iterdir():
        assert TOKEN.encode() not in path.read_bytes()


def test_a_scan_can_leave_nothing_in_the_file_at_all(home):
    # Pages that split leave copies of rows in what is free of them.
    transcript = numbered(1)
    for number in range(60):
        transcript.prompt(f"{number} " + "words " * 60 + TOKEN)
    path = home.projects / "-work" / f"{transcript.session_id}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(transcript.bytes())
    home.run("ingest", REDACT_SECRETS="off")
    hint = home.run("secrets", "scan")
    assert "--vacuum" in hint.stdout
    cleaned = home.run("secrets", "scan", "--vacuum", "--json")
    assert json.loads(cleaned.stdout)["is_vacuumed"]
    assert TOKEN.encode() not in home.database.read_bytes()
    assert query(home, "SELECT count(*) FROM messages") == [(60,)]


def test_a_scan_with_nothing_to_look_for_says_so(home):
    ended = home.run("secrets", "scan", REDACT_SECRETS="off")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "REDACT_SECRETS" in ended.stderr


def test_a_scan_waits_for_an_ingest(home):
    home.run("migrate")
    with ingesting(home) as holder:
        ended = home.run("secrets", "scan")
    assert (ended.returncode, ended.stdout) == (75, "")
    assert ended.stderr.startswith(f"Process {holder.pid} on ")


def test_a_scan_that_is_told_to_stop_goes_on_next_time(home):
    for number in range(20):
        plant(home, number)
    home.run("ingest", REDACT_SECRETS="off")
    process = home.popen("-m", "observatory", "secrets", "scan", "--json")
    lock = Path(f"{home.database}.ingest.lock")
    lock.unlink()
    wait_for(lambda: lock.exists() or process.poll() is not None, what="the scan to begin")
    process.send_signal(signal.SIGTERM)
    ended = finish(process)
    assert ended.returncode in (0, 128 + signal.SIGTERM, -signal.SIGTERM)
    assert home.run("secrets", "scan").returncode == 0
    assert query(home, f"SELECT count(*) FROM messages WHERE content LIKE '%{TOKEN}%'") == [(0,)]


# serve


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2"])
def test_serve_refuses_to_listen_beyond_this_machine_without_accounts(home, host):
    ended = home.run("serve", HOST=host)
    assert ended.returncode == 1
    assert f"HOST: {host} can be reached from other machines" in ended.stderr
    assert "observatory user add EMAIL --role admin" in ended.stderr
    assert "is on http" not in ended.stderr


def test_a_key_is_no_account_to_listen_beyond_this_machine_with(home):
    home.make_key()
    ended = home.run("serve", HOST="0.0.0.0")
    assert ended.returncode == 1
    assert "there is no account yet" in ended.stderr


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "127.0.0.1:0,0.0.0.0:0"])
def test_gunicorn_refuses_to_listen_beyond_this_machine_without_accounts(home, address):
    home.run("migrate")
    bind = [part for each in address.split(",") for part in ("--bind", each)]
    config = ["-c", str(ROOT / "gunicorn.conf.py"), "observatory.wsgi:application"]
    process = home.popen("-m", "gunicorn", *bind, *config)
    ended = finish(process)
    assert ended.returncode != 0
    assert "can be reached from other machines" in ended.stderr
    assert "is on http" not in ended.stderr
    assert metrics_folders(process.pid) == []


@pytest.mark.parametrize(
    ("role", "is_disabled", "is_let"),
    [("admin", False, True), ("member", False, False), ("admin", True, False)],
)
def test_an_account_of_an_admin_lets_other_machines_in(db, role, is_disabled, is_let):
    ada = insert_user(email="ada@example.org", name="", role=role, password_hash="x")
    execute("UPDATE users SET is_disabled = ? WHERE key = ?", (is_disabled, ada.key))
    check_exposure(["127.0.0.1", "::1", "localhost"])
    if is_let:
        check_exposure(["127.0.0.1", "0.0.0.0"])
        return
    with pytest.raises(SettingsError, match=r"0\.0\.0\.0 can be reached"):
        check_exposure(["127.0.0.1", "0.0.0.0"])


def test_gunicorn_refuses_a_database_that_nobody_migrated(home):
    home.database.parent.mkdir()
    config = ["-c", str(ROOT / "gunicorn.conf.py"), "observatory.wsgi:application"]
    process = home.popen("-m", "gunicorn", *config)
    ended = finish(process)
    assert ended.returncode != 0
    assert "observatory migrate" in ended.stderr
    assert metrics_folders(process.pid) == []


def test_a_port_in_use_is_told(home):
    home.run("migrate")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = home.run("serve", PORT=str(port))
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "PORT" in ended.stderr


def test_a_line_of_the_settings_file_that_is_none_is_told(home):
    (home.folder / ".env").write_text("LOG_LEVEL=info\n\nthis is = no 'setting\n")
    ended = home.run("migrate")
    assert ended.returncode == 1
    assert ".env, line 3: takes NAME=value" in ended.stderr


def test_what_can_not_be_read_is_told_by_name_and_by_the_exit_code(home, transcripts):
    ended = home.run("ingest", str(transcripts), "/dev/null")
    assert ended.returncode == 3
    assert "/dev/null: Not a directory" in ended.stderr
    assert "Read 2 files" in ended.stdout


def test_a_folder_whose_name_is_no_text_is_told(home):
    folder = os.fsdecode(b"caf\xe9")
    ended = home.run("ingest", TRANSCRIPTS_DIR=str(home.folder / folder))
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr


def has_open(pid: int, ending: str) -> bool:
    """Tell whether a process has a file open whose name ends so."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(os.readlink(link))
    return any(name.endswith(ending) for name in found)


def test_control_c_while_waiting_for_another_ingest_is_quiet(home, transcripts):
    home.run("migrate")
    with ingesting(home):
        waiting = home.popen("-m", "observatory", "ingest", "--wait", "60")
        wait_for(lambda: has_open(waiting.pid, "ingest.lock"), what="it to ask for the lock")
        waiting.send_signal(signal.SIGINT)
        ended = finish(waiting)
    assert (ended.returncode, ended.stderr) == (130, "")


def test_a_reader_that_has_seen_enough_is_no_error(home, transcripts):
    process = home.popen("-m", "observatory", "ingest", "--json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    told = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=60), told) == (141, "")


def test_a_database_that_is_locked_is_told_with_its_own_exit_code(home, transcripts):
    home.run("migrate")
    connection = sqlite3.connect(home.database, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    ended = home.run("ingest")
    connection.close()
    assert ended.returncode == 75
    assert "lock" in ended.stderr
    assert "observatory.db" in ended.stderr

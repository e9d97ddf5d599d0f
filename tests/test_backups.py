"""``observatory backup`` and ``restore``: whole or not at all, beside whatever else goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.filled_homes import change, fill, listing, read, transcript, write
from tests.processes import Home, finish, serving, wait_for
from tests.watchers import start_watcher

CONVERSATIONS = 6
# Applies migrations up to one that an older version ended with.
MIGRATES_TO = """
import sys
from observatory.settings import read_settings
from observatory.opening import open_database
from observatory.store import schema
open_database(read_settings())
schema._runner().up(sys.argv[1])
"""
# Holds a connection as some other program would, idle.
HOLDS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM messages").fetchall()
print("open", flush=True)
sys.stdin.read()
"""
# Dies as by kill -9 at one of the steps of a restore.
DIES = """
import os, signal, sys
from pathlib import Path
name = sys.argv.pop(1)
def die(*args, **options):
    os.kill(os.getpid(), signal.SIGKILL)
if name == "prepare":
    from observatory import backup_commands
    backup_commands.put_in_place = die
elif name == "replace":
    Path.replace = die
elif name == "copy":
    from observatory.store import database
    from observatory import backup_commands
    backup_commands.check_copy = die
from observatory.__main__ import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    """A home with conversations, which no process has open."""
    home = Home(tmp_path_factory.mktemp("filled"))
    fill(home, CONVERSATIONS)
    return home.folder


@pytest.fixture
def home(tmp_path, filled) -> Home:
    """A copy of it, with the transcripts."""
    folder = tmp_path / "home"
    shutil.copytree(filled, folder)
    home = Home(folder)
    assert home.run("ingest").returncode == 0
    return home


@pytest.fixture
def backup(home) -> Path:
    """A backup of its database, outside."""
    path = home.folder.parent / "backup.db"
    assert home.run("backup", str(path)).returncode == 0
    return path


def messages(path: Path) -> list[tuple[str, str, str]]:
    """Return all that was said, in an order that depends on nothing else."""
    return read(path, "SELECT id, role, content FROM messages ORDER BY id")


def told(home: Home, *arguments: str) -> dict:
    ended = home.run(*arguments, "--json")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def is_sound(home: Home) -> bool:
    return home.run("verify").returncode == 0


# Backup


def test_a_backup_has_everything_and_is_for_its_owner(home, backup):
    assert messages(backup) == messages(home.database)
    assert backup.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in backup.parent.iterdir()) == ["backup.db", "home"]
    [(result,)] = read(backup, "PRAGMA integrity_check")
    assert result == "ok"


def test_a_backup_leaves_the_database_as_it_is(home):
    before = listing(home.folder / "data")
    assert home.run("backup", "b.db").returncode == 0
    assert listing(home.folder / "data") == before


def test_nothing_is_written_over(home, backup):
    before = backup.read_bytes()
    ended = home.run("backup", str(backup))
    assert ended.returncode == 1
    assert "--force" in ended.stderr
    assert backup.read_bytes() == before
    assert home.run("backup", str(backup), "--force", "--verify").returncode == 0


def test_the_database_itself_is_no_backup(home):
    before = messages(home.database)
    for command in (("backup", "--force"), ("restore",)):
        ended = home.run(*command, str(home.database))
        assert ended.returncode == 1
        assert "the database itself" in ended.stderr
    assert messages(home.database) == before


BESIDE = ("-wal", "-shm", "-journal", ".ingest.lock", ".watch.json")


def test_nothing_that_the_database_needs_is_written_over(home):
    names = [f"data/observatory.db{end}" for end in BESIDE] + ["data/redaction_key"]
    before = listing(home.folder / "data")
    for command in ("backup", "export"):
        for name in names:
            ended = home.run(command, name, "--force")
            assert ended.returncode == 1, name
            assert "belongs to the database" in ended.stderr
    assert listing(home.folder / "data") == before
    assert home.run("backup", "data/observatory.db.2026").returncode == 0


def test_what_is_no_file_is_not_replaced(home):
    (home.folder / "folder").mkdir()
    os.mkfifo(home.folder / "pipe")
    for command in ("backup", "export"):
        for name in ("folder", "pipe"):
            ended = home.run(command, name, "--force")
            assert ended.returncode == 1
            assert "no file that can be replaced" in ended.stderr
    assert (home.folder / "pipe").is_fifo()
    ended = home.run("backup", "-")
    assert ended.returncode == 1
    assert "export -" in ended.stderr
    assert not (home.folder / "-").exists()


def test_keys_come_along_when_they_are_asked_for(home):
    ended = home.run("backup", "plain.db")
    assert "redaction_key" in ended.stdout
    assert "secrets" in ended.stdout
    assert told(home, "backup", "b.db", "--with-keys")["keys"] == ["b.db.redaction_key"]
    saved = home.folder / "b.db.redaction_key"
    assert saved.read_bytes() == (home.database.parent / "redaction_key").read_bytes()
    assert saved.stat().st_mode & 0o777 == 0o600


def test_keys_of_an_earlier_backup_are_not_taken_for_those_of_this_one(home, tmp_path):
    assert home.run("backup", "b.db", "--with-keys").returncode == 0
    assert told(home, "backup", "b.db", "--force")["keys_set_aside"] == []
    saved, own = home.folder / "b.db.redaction_key", home.database.parent / "redaction_key"
    before = saved.read_bytes()
    assert before == own.read_bytes()
    own.write_bytes(b"another key of the same kind....")
    [other] = told(home, "backup", "b.db", "--force")["keys_set_aside"]
    assert not saved.exists()
    assert (home.folder / other).read_bytes() == before
    assert told(home, "restore", "b.db")["keys"] == []
    assert own.read_bytes() == b"another key of the same kind...."


def run_limited(home: Home, command: str, *, limit_kib: int) -> subprocess.CompletedProcess[str]:
    """Run a command that writes ``b.db`` where no file may be larger than that."""
    limited = ["bash", "-c", f'ulimit -f {limit_kib}; exec "$@"', "bash", sys.executable, "-m"]
    return subprocess.run(
        [*limited, "observatory", command, "b.db"],
        cwd=home.folder,
        env=home.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_full_disk_of_the_database_is_not_told_of_the_backups(home):
    """What a killed server left needs room beside the database to be looked at."""
    connection = sqlite3.connect(home.database)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("UPDATE totals SET value = value")
    connection.commit()
    log = home.database.with_name("observatory.db-wal")
    left = log.read_bytes()
    connection.close()
    log.write_bytes(left)
    ended = run_limited(home, "backup", limit_kib=16)
    assert ended.returncode == 1
    assert "no room for" not in ended.stderr
    assert str(home.database) in ended.stderr
    assert "disk is full" in ended.stderr


def test_a_damaged_database_is_not_backed_up(home):
    change(home.database, "UPDATE messages SET conversation_key = 77 WHERE key = 2")
    ended = home.run("backup", "b.db")
    assert ended.returncode == 1
    assert "damaged" in ended.stderr
    assert not (home.folder / "b.db").exists()
    assert not list(home.folder.glob(".b.db*"))


def test_what_is_counted_wrong_is_found_when_asked_for(home):
    change(home.database, "UPDATE conversations SET message_count = 9 WHERE key = 2")
    ended = home.run("backup", "b.db", "--verify")
    assert ended.returncode == 1
    assert "counters" in ended.stderr
    assert not list(home.folder.glob("*b.db*"))
    assert home.run("backup", "b.db").returncode == 0


def pad(home: Home) -> None:
    """Let a copy take long enough to be met at work."""
    connection = sqlite3.connect(home.database)
    connection.execute("CREATE TABLE padding (a)")
    connection.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)"
        " INSERT INTO padding SELECT randomblob(2000) FROM n"
    )
    connection.commit()
    connection.close()


@pytest.mark.parametrize(("command", "limit_kib"), [("backup", 30_000), ("export", 40)])
def test_no_room_leaves_nothing(home, command, limit_kib):
    pad(home)
    change(home.database, "UPDATE messages SET content = hex(zeroblob(100000)) WHERE key = 2")
    ended = run_limited(home, command, limit_kib=limit_kib)
    assert ended.returncode == 1
    assert "room" in ended.stderr
    assert "b.db" in ended.stderr
    assert not list(home.folder.glob("*b.db*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_interruption_leaves_nothing_that_counts(home, number):
    pad(home)
    process = home.popen("-m", "observatory", "backup", "b.db")
    draft = home.folder / ".b.db.partial"
    wait_for(lambda: draft.exists() and draft.stat().st_size > 2_000_000, what="a part of it")
    process.send_signal(number)
    ended = finish(process)
    assert ended.returncode == (143 if number == signal.SIGTERM else -number)
    assert not (home.folder / "b.db").exists()
    if number == signal.SIGTERM:
        assert not draft.exists()
    assert home.run("backup", "b.db").returncode == 0
    assert not draft.exists()


def test_a_backup_is_of_one_moment_while_others_write(home):
    ends = threading.Event()

    def write_on() -> None:
        number = 1000
        with serving(home, "--no-ingest") as server:
            is_up.set()
            while not ends.is_set():
                made = server.post("/api/conversations", {"title": f"n{number}"})
                body = {"role": "user", "content": "hello"}
                server.post(f"/api/conversations/{made['id']}/messages", body)
                number += 1

    is_up = threading.Event()
    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        assert is_up.wait(60)
        for name in ("a.db", "b.db", "c.db"):
            assert home.run("backup", name, "--verify").returncode == 0
    finally:
        ends.set()
        writer.join()
    for name in ("a.db", "b.db", "c.db"):
        [(value,)] = read(home.folder / name, "SELECT count(*) FROM conversations")
        [(total,)] = read(
            home.folder / name, "SELECT value FROM totals WHERE name = 'conversations'"
        )
        assert value == total


def test_any_name_will_do(home):
    odd = home.folder / "a b?c%20#d" / "archiv é.db"
    odd.parent.mkdir()
    shutil.copy(home.database, odd)
    odd.chmod(0o600)
    home.variables["DB_PATH"] = str(odd)
    backup = odd.with_name("b?mode=rw&x#.db")
    assert home.run("backup", str(backup), "--verify").returncode == 0
    assert messages(odd) == messages(home.database)
    assert home.run("restore", str(backup)).returncode == 0
    assert home.run("verify").returncode == 0
    assert home.run("compact").returncode == 0
    assert "0 errors" in home.run("doctor").stdout


# Restore


def test_what_grew_after_the_backup_is_read_again_once(home, backup):
    longer = transcript(2)
    longer.prompt("one more thing")
    write(home, 2, longer)
    write(home, 40)
    assert home.run("ingest").returncode == 0
    everything = messages(home.database)
    assert messages(backup) != everything
    kept = Path(told(home, "restore", str(backup))["kept"])
    assert messages(home.database) == messages(backup)
    assert messages(home.folder / kept) == everything
    assert kept.name.startswith("observatory.db.before-")
    # Still more, which neither has.
    longer.answer("of course")
    write(home, 2, longer)
    assert home.run("ingest").returncode == 0
    now = messages(home.database)
    assert set(everything) < set(now)
    assert len(now) == len(everything) + 1
    assert is_sound(home)
    assert home.run("verify", "--transcripts").returncode == 0
    assert home.run("ingest").returncode == 0
    assert messages(home.database) == now


def test_nobody_takes_the_old_for_the_new(home, backup):
    with serving(home, "--no-ingest") as server:
        made = server.post("/api/conversations", {"title": "lost"})
        server.post(f"/api/conversations/{made['id']}/messages", {"role": "user", "content": "x"})
        seen = server.data("/api/events")["events"][-1]["id"]
    [(revision,)] = read(home.database, "SELECT value FROM totals WHERE name = 'revision'")
    assert told(home, "restore", str(backup))
    [(after,)] = read(home.database, "SELECT value FROM totals WHERE name = 'revision'")
    assert after > revision + 10**12
    with serving(home, "--no-ingest") as server:
        page = server.data(f"/api/events?after={seen}")
        assert (page["events"], page["has_gap"]) == ([], True)
        server.post("/api/conversations", {"title": "new"})
        page = server.data(f"/api/events?after={page['next_after']}")
        assert page["has_gap"] is False
        assert page["events"][0]["id"] > seen + 10**12
        assert page["events"][-1]["id"] < 2**53
    lines = home.run("tail", "--once", "--json", "--since", str(seen)).stdout.splitlines()
    assert json.loads(lines[0])["type"] == "resync"
    # Another time goes on from there.
    ids = read(home.database, "SELECT max(seq) FROM sqlite_sequence WHERE name = 'events'")
    assert told(home, "restore", str(backup))
    assert read(home.database, "SELECT max(seq) FROM sqlite_sequence WHERE name = 'events'") > ids


def test_sign_ins_end_and_what_was_revoked_stays_so(home):
    add = home.popen("-m", "observatory", "user", "add", "ada@example.org")
    finish(add)
    key = told(home, "key", "add", "--name", "a", "--scopes", "admin")
    change(
        home.database,
        "INSERT INTO sessions (kind, selector, secret_hash, created_at, expires_at)"
        " VALUES ('cookie', 's', x'00', '2026-01-01', '2099-01-01')",
    )
    assert home.run("backup", "b.db").returncode == 0
    assert home.run("key", "revoke", str(key["id"])).returncode == 0
    assert told(home, "restore", "b.db")
    assert read(home.database, "SELECT count(*) FROM sessions") == [(0,)]
    [(revoked,)] = read(home.database, f"SELECT revoked_at FROM api_keys WHERE key = {key['id']}")
    assert revoked is not None
    [(action,)] = read(home.database, "SELECT action FROM audit_log ORDER BY key DESC LIMIT 1")
    assert action == "database.restore"


def test_a_server_is_not_robbed_of_its_database(home, backup):
    with serving(home, "--no-ingest") as server:
        before = listing(home.folder / "data")
        ended = home.run("restore", str(backup))
        assert ended.returncode == 1
        assert "serves it" in ended.stderr
        assert listing(home.folder / "data").keys() == before.keys()
        assert server.data("/api/conversations")["conversations"]
    assert home.run("restore", str(backup)).returncode == 0


def test_a_watcher_is_not_robbed_of_its_database(home, backup):
    watcher = start_watcher(home)
    try:
        wait_for(watcher.is_caught_up, what="the watcher")
        ended = home.run("restore", str(backup))
        assert ended.returncode == 1
        assert f"Process {watcher.process.pid}" in ended.stderr
    finally:
        watcher.end()
    assert home.run("restore", str(backup)).returncode == 0


def test_no_program_is_robbed_of_its_database(home, backup):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(home.database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        ended = home.run("restore", str(backup))
        assert ended.returncode == 1
        assert f"Process {process.pid}" in ended.stderr
    finally:
        process.communicate()
    assert home.run("restore", str(backup)).returncode == 0


def test_what_is_no_backup_is_refused(home):
    before = messages(home.database)
    (home.folder / "text.db").write_text("hello " * 1000)
    sqlite3.connect(home.folder / "other.db").execute("CREATE TABLE t (a)").connection.close()
    shutil.copy(home.database, home.folder / "newer.db")
    change(
        home.folder / "newer.db",
        "INSERT INTO schema_migrations (name, applied) VALUES ('9999_future', '2099-01-01')",
    )
    shutil.copy(home.database, home.folder / "damaged.db")
    change(home.folder / "damaged.db", "UPDATE messages SET conversation_key = 77 WHERE key = 2")
    for name, words in (
        ("missing.db", "no file"),
        ("text.db", "not a database"),
        ("other.db", "no database of the Observatory"),
        ("newer.db", "newer version"),
        ("damaged.db", "damaged"),
    ):
        ended = home.run("restore", name)
        assert (ended.returncode, ended.stdout) == (1, ""), name
        assert words in ended.stderr
        assert "Traceback" not in ended.stderr
    assert messages(home.database) == before
    assert not list(home.database.parent.glob(".restoring-*"))
    assert not list(home.database.parent.glob("*.before-*"))


def test_an_older_backup_is_migrated(home, tmp_path):
    older = Home(tmp_path / "older")
    older.folder.mkdir()
    ended = finish(older.popen("-c", MIGRATES_TO, "0010_prices"))
    assert ended.returncode == 0, ended.stderr
    assert older.run("backup", str(tmp_path / "older.db")).returncode == 0
    restored = told(home, "restore", str(tmp_path / "older.db"))
    assert "0011_rollups" in restored["migrations"]
    assert is_sound(home)
    assert home.run("ingest").returncode == 0
    assert read(home.database, "SELECT count(*) FROM conversations") == [(CONVERSATIONS,)]


def test_a_damaged_database_is_replaced_and_kept(home, backup):
    home.database.write_bytes(b"\xff" * 100_000)
    ended = home.run("restore", str(backup))
    assert ended.returncode == 0, ended.stderr
    assert "could not be read" in ended.stdout
    assert is_sound(home)
    [kept] = home.database.parent.glob("*.before-*")
    assert kept.read_bytes() == b"\xff" * 100_000


def test_what_a_killed_process_left_in_the_log_is_kept(home, backup):
    process = home.popen(
        "-c",
        "import os, signal, sys\n"
        "from observatory.settings import read_settings\n"
        "from observatory.opening import open_database\n"
        "from observatory.store.database import execute\n"
        "open_database(read_settings())\n"
        "execute(\"UPDATE projects SET name = 'in the log'\")\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n",
    )
    finish(process)
    log = home.database.with_name("observatory.db-wal")
    assert log.stat().st_size > 0
    kept = home.folder / told(home, "restore", str(backup))["kept"]
    assert not log.exists()
    assert read(kept, "SELECT DISTINCT name FROM projects") == [("in the log",)]
    assert is_sound(home)


def test_keys_beside_a_backup_are_put_in_place(home, tmp_path):
    assert home.run("backup", str(tmp_path / "b.db"), "--with-keys").returncode == 0
    key = (home.database.parent / "redaction_key").read_bytes()
    empty = Home(tmp_path / "empty")
    empty.folder.mkdir()
    restored = told(empty, "restore", str(tmp_path / "b.db"))
    assert restored["kept"] is None
    path = empty.database.parent / "redaction_key"
    assert path.read_bytes() == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert empty.database.stat().st_mode & 0o777 == 0o600
    assert messages(empty.database) == messages(home.database)


@pytest.mark.parametrize("step", ["copy", "prepare", "replace"])
def test_a_restore_that_dies_leaves_a_whole_database(home, backup, step):
    before = messages(home.database)
    killed = finish(home.popen("-c", DIES, step, "restore", str(backup)))
    assert killed.returncode == -signal.SIGKILL
    assert messages(home.database) == before
    assert is_sound(home)
    assert home.run("restore", str(backup)).returncode == 0
    assert not list(home.database.parent.glob(".restoring-*"))
    assert is_sound(home)

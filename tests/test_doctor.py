"""``observatory doctor``: says what is wrong and what mends it, and writes nothing."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from observatory.doctor.files import check_file_system
from observatory.doctor.transcripts import read_period
from tests.filled_homes import change, fill, listing, read, write
from tests.processes import Home, finish, serving, wait_for
from tests.watchers import start_watcher

NOBODY = 65534


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    home = Home(tmp_path_factory.mktemp("filled"))
    fill(home, 3)
    return home.folder


@pytest.fixture
def home(tmp_path, filled) -> Home:
    shutil.copytree(filled, tmp_path / "home")
    home = Home(tmp_path / "home")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        home.variables["PORT"] = str(listener.getsockname()[1])
    assert home.run("ingest").returncode == 0
    return home


def look(home: Home, *options: str, **variables: str) -> dict[str, dict[str, Any]]:
    """Return what the doctor finds by name, the worst of each; its exit code must fit."""
    ended = home.run("doctor", "--json", *options, **variables)
    assert ended.stderr == ""
    told = json.loads(ended.stdout)
    levels = [finding["level"] for finding in told["findings"]]
    assert ended.returncode == (1 if "error" in levels else 0)
    assert told["is_well"] is ("error" not in levels)
    order = ("ok", "warning", "error")
    found: dict[str, dict[str, Any]] = {}
    for finding in told["findings"]:
        assert (finding["mend"] is None) is (finding["level"] == "ok")
        known = found.get(finding["name"])
        if known is None or order.index(finding["level"]) > order.index(known["level"]):
            found[finding["name"]] = finding
    return found


def test_nothing_is_written_and_all_is_well_but_the_watcher(home):
    before = listing(home.folder)
    found = look(home)
    assert {name for name, finding in found.items() if finding["level"] != "ok"} == {"watcher"}
    assert listing(home.folder) == before
    ended = home.run("doctor", "--deep")
    assert ended.returncode == 0
    assert "integrity_check finds nothing" in ended.stdout
    assert "0 errors, 1 warnings." in ended.stdout
    assert listing(home.folder) == before


def test_it_works_without_a_database(tmp_path):
    found = look(Home(tmp_path))
    assert found["database"]["level"] == "warning"
    assert "observatory serve" in found["database"]["mend"]
    assert list(tmp_path.iterdir()) == []


def test_wrong_settings_are_told_and_the_rest_is_looked_at(home):
    (home.folder / ".env").write_text("WEB_WORKERS=none\n")
    found = look(home, PORT="many")
    assert found["settings"]["level"] == "error"
    assert found["schema"]["level"] == "ok"
    told = home.run("doctor", PORT="many").stdout
    assert "PORT takes" in told
    assert "WEB_WORKERS takes" in told


@pytest.mark.parametrize("damage", ["all", "beginning", "middle"])
def test_a_damaged_database_is_told(home, damage):
    data = bytearray(home.database.read_bytes())
    if damage == "all":
        data = bytearray(b"hello" * 1000)
    elif damage == "beginning":
        data[:100] = b"\0" * 100
    else:
        [(root,)] = read(home.database, "SELECT rootpage FROM sqlite_master WHERE name='messages'")
        data[(root - 1) * 4096 : root * 4096] = b"\xff" * 4096
    home.database.write_bytes(data)
    found = look(home)
    wrong = [finding for finding in found.values() if finding["level"] == "error"]
    assert wrong
    assert any("restore" in finding["mend"] for finding in wrong)
    assert home.database.read_bytes() == data


@pytest.mark.parametrize(
    ("statement", "name", "level", "mend"),
    [
        (
            "INSERT INTO schema_migrations (name, applied) VALUES ('9999_x', '2099-01-01')",
            "schema",
            "error",
            "Install",
        ),
        ("DELETE FROM schema_migrations WHERE name LIKE '0012%'", "schema", "error", "migrate"),
        (
            "UPDATE totals SET value = 0 WHERE name = 'rollups_version'",
            "sums",
            "warning",
            "migrate",
        ),
        ("UPDATE totals SET value = 1 WHERE name = 'priced_with'", "prices", "warning", "ingest"),
        (
            "UPDATE totals SET value = 2 WHERE name = 'indexed_message_key'",
            "search index",
            "warning",
            "ingest",
        ),
        ("UPDATE events SET created_at = '2099-01-01T00:00:00.000Z'", "clock", "error", "timedate"),
    ],
)
def test_what_is_not_current_is_told(home, statement, name, level, mend):
    change(home.database, statement)
    finding = look(home)[name]
    assert finding["level"] == level
    assert mend in finding["mend"]


def test_files_that_others_may_read_are_told(home):
    for path in (home.database, home.database.parent / "redaction_key"):
        path.chmod(0o644)
        finding = look(home)["permissions"]
        assert finding["level"] == "error"
        assert f"chmod 0600 data/{path.name}" in finding["mend"]
        path.chmod(0o600)
    home.database.parent.chmod(0o777)
    assert look(home)["permissions"]["level"] == "error"


def test_a_key_that_is_lost_is_told(home):
    (home.database.parent / "redaction_key").unlink()
    assert look(home)["keys"]["level"] == "warning"


def test_transcripts_about_to_be_deleted_unread_are_an_error(home):
    path = write(home, 70)
    found = look(home)
    assert found["unread"]["level"] == "warning"
    assert found["cleanup"]["level"] == "ok"
    old = time.time() - 25 * 86400
    os.utime(path, (old, old))
    finding = look(home)["cleanup"]
    assert finding["level"] == "error"
    assert "30 days (its default): 1 that" in finding["message"]
    settings = home.folder / ".claude" / "settings.json"
    settings.write_text('{"cleanupPeriodDays": 365}')
    assert look(home)["cleanup"]["level"] == "ok"
    settings.write_text('{"cleanupPeriodDays": 0}')
    assert look(home)["cleanup"]["level"] == "error"
    settings.write_text("{")
    assert look(home)["cleanup"]["level"] == "warning"
    settings.write_text('{"cleanupPeriodDays": 10}')
    assert look(home)["cleanup"]["level"] == "error"
    assert home.run("ingest").returncode == 0
    assert look(home)["cleanup"]["level"] == "ok"


def test_a_clock_that_is_behind_is_told(home):
    path = write(home, 1)
    later = time.time() + 86400
    os.utime(path, (later, later))
    finding = look(home)["clock"]
    assert finding["level"] == "warning"
    assert "1,440 minutes" in finding["message"]


def test_the_port_of_another_program_is_told(home):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        finding = look(home, PORT=str(listener.getsockname()[1]))["port"]
    assert finding["level"] == "error"
    if sys.platform == "linux":
        assert f"Process {os.getpid()}" in finding["message"]


def test_an_address_of_another_machine_is_told(home):
    finding = look(home, HOST="192.0.2.1")["port"]
    assert finding["level"] == "error"
    assert "can not be listened on" in finding["message"]
    assert "HOST" in finding["mend"]


def test_the_port_of_metrics_is_looked_at(home):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        finding = look(home, METRICS_PORT=str(listener.getsockname()[1]))["port"]
    assert finding["level"] == "error"
    assert "METRICS_PORT" in finding["mend"]


@pytest.mark.parametrize("name", ["jwt_secret", "redaction_key"])
def test_a_key_that_is_too_short_is_told_and_the_mend_mends(home, name):
    key = home.database.parent / name
    key.write_text("short\n")
    key.chmod(0o600)
    finding = look(home)["keys"]
    assert finding["level"] == "error"
    assert name in finding["message"]
    key.unlink()
    found = look(home)
    assert "keys" not in found or found["keys"]["level"] == "warning"


def test_what_a_killed_restore_left_is_told_and_compact_removes_it(home):
    left = home.database.parent / ".restoring-abc"
    left.mkdir()
    (left / "observatory.db").write_bytes(b"x")
    finding = look(home)["left over"]
    assert finding["level"] == "warning"
    assert str(left.name) in finding["message"]
    assert home.run("compact").returncode == 0
    assert not left.exists()
    assert "left over" not in look(home)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_files_of_another_owner_are_told_and_the_mend_mends(home):
    lock = next(home.database.parent.glob("*.lock"))
    os.chown(lock, NOBODY, NOBODY)
    finding = look(home)["owner"]
    assert finding["level"] == "error"
    assert home.shell(finding["mend"].strip("`")).returncode == 0
    assert look(home)["owner"]["level"] == "ok"
    os.chown(home.database, NOBODY, NOBODY)
    for path in home.database.parent.iterdir():
        os.chown(path, NOBODY, NOBODY)
    assert "this is root" in look(home)["owner"]["message"]


# Only what is started here sees that file system.
ON_ANOTHER_DISK = """
unshare --user --map-root-user --mount bash -c '
    mount -t tmpfs -o {options} none "$1" || exit 99
    mkdir "$1/data" && cp data/observatory.db data/redaction_key "$1/data/" && {then} || exit 99
    DB_PATH="$1/data/observatory.db" exec "$2" -m observatory doctor --json
' bash "$PWD/disk" {python} || exit $?
"""


@pytest.mark.parametrize(
    ("options", "then", "name", "told"),
    [
        ("size=900m", 'mount -o remount,ro "$1"', "writable", "can only be read"),
        ("size=900m,nr_inodes=50", "true", "disk", "inodes"),
    ],
)
def test_a_disk_that_takes_nothing_more_is_told(home, options, then, name, told):
    (home.folder / "disk").mkdir()
    ended = home.shell(ON_ANOTHER_DISK.format(options=options, then=then, python=sys.executable))
    if ended.returncode not in (0, 1):
        pytest.skip(f"no file system can be mounted here: {ended.stderr}")
    findings = json.loads(ended.stdout)["findings"]
    [finding] = [each for each in findings if each["name"] == name]
    assert finding["level"] == "error"
    assert told in finding["message"]


def test_what_administrators_say_of_cleanup_goes_first(tmp_path):
    (tmp_path / "settings.json").write_text('{"cleanupPeriodDays": 365}')
    managed = tmp_path / "managed-settings.json"
    assert read_period(tmp_path, [managed])[0] == 365
    managed.write_text("{}")
    assert read_period(tmp_path, [managed])[0] == 365
    managed.write_text('{"cleanupPeriodDays": 7}')
    assert read_period(tmp_path, [managed]) == (7, str(managed))
    managed.write_text("[]")
    assert read_period(tmp_path, [managed]) == (None, f"{managed} is no JSON object.")


def test_a_database_on_a_share_is_told(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text("1 1 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / /mnt rw - nfs4 host:/ rw\n")
    [finding] = check_file_system(Path("/mnt/data"), mounts=mounts)
    assert finding.level == "warning"
    assert "nfs4" in finding.message
    assert not list(check_file_system(Path("/srv/data"), mounts=mounts))


def test_a_server_and_its_watcher_are_told(home):
    with serving(home) as server:
        home.variables["PORT"] = str(server.port)
        wait_for(
            lambda: look(home)["watcher"]["level"] == "ok", what="the watcher to have caught up"
        )
        found = look(home)
        assert found["port"]["level"] == "ok"
        assert "serves" in found["locks"]["message"]
        assert "watches" in found["locks"]["message"]
        assert "has it open" in found["locks"]["message"]


def test_a_server_without_its_watcher_is_told(home):
    with serving(home, "--no-ingest"):
        assert look(home)["watcher"]["level"] == "error"
        assert look(home, INGEST_ON_START="false")["watcher"]["level"] == "warning"
    watcher = start_watcher(home)
    try:
        wait_for(watcher.is_caught_up, what="the watcher")
        assert look(home)["watcher"]["level"] == "ok"
    finally:
        watcher.end()


def test_a_server_for_everybody_without_an_account_is_told(home):
    finding = look(home, HOST="0.0.0.0")["exposure"]
    assert finding["level"] == "error"
    assert "user add" in finding["mend"]


def test_too_few_descriptors_are_told(home):
    limited = subprocess.run(
        ["bash", "-c", f"ulimit -n 1000; {sys.executable} -m observatory doctor --json"],
        cwd=home.folder,
        env=home.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    [finding] = [
        finding
        for finding in json.loads(limited.stdout)["findings"]
        if finding["name"] == "descriptors"
    ]
    assert finding["level"] == "warning"
    assert "1,000" in finding["message"]


# What belongs to Python may lie where only root may look: it is loaded before.
AS_NOBODY = f"""
import os, sys
import observatory.doctor_command
from observatory.__main__ import main
from observatory.transcripts.prices import read_price_table
read_price_table()
"localhost".encode("idna")
os.setgroups([])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
sys.exit(main(["doctor", "--json"]))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_another_user_is_told_what_that_user_may_not(filled):
    def as_nobody() -> dict[str, Any]:
        ended = finish(home.popen("-c", AS_NOBODY))
        assert ended.stderr == ""
        assert ended.returncode == 1
        return {finding["name"]: finding for finding in json.loads(ended.stdout)["findings"]}

    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        shutil.copytree(filled, home.folder)
        Path(folder).chmod(0o755)
        home.folder.chmod(0o755)
        home.database.parent.chmod(0o700)
        assert "may not look into" in as_nobody()["database"]["message"]
        home.database.parent.chmod(0o755)
        assert "may not read" in as_nobody()["database"]["message"]
        home.database.chmod(0o644)
        found = as_nobody()
        assert found["writable"]["level"] == "error"
        assert found["schema"]["level"] == "ok"

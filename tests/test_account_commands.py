"""``observatory user | key | link | rotate-secret``, as processes."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import DEADLINE_SECONDS, Home

PASSWORD = "a good long password"
KEY = ("key", "add", "--name", "n", "--scopes")


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory) -> Home:
    """A home whose database is there."""
    home = Home(tmp_path_factory.mktemp("home"))
    assert home.run("migrate").returncode == 0
    return home


@pytest.fixture
def home(tmp_path) -> Home:
    """A home without anything."""
    return Home(tmp_path)


def run(home: Home, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command with something piped in."""
    return subprocess.run(
        [sys.executable, "-m", "observatory", *arguments],
        cwd=home.folder,
        env=home.environment(),
        input=typed,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def test_accounts_are_added_listed_and_disabled(home):
    first = run(home, "user", "add", "Ada@example.org", "--name", "Ada", typed=f"{PASSWORD}\n")
    assert (first.returncode, first.stdout) == (0, "ada@example.org can sign in as admin.\n")
    second = run(home, "user", "add", "eve@example.org", "--json", typed=PASSWORD)
    assert json.loads(second.stdout)["role"] == "member"
    viewer = run(home, "user", "add", "v@example.org", "--role", "viewer", typed=PASSWORD)
    assert "viewer" in viewer.stdout
    listed = json.loads(run(home, "user", "list", "--json").stdout)
    assert [(row["email"], row["role"]) for row in listed] == [
        ("ada@example.org", "admin"), ("eve@example.org", "member"), ("v@example.org", "viewer"),
    ]  # fmt: skip
    assert run(home, "user", "disable", "eve@example.org").returncode == 0
    assert "eve@example.org\tdisabled" in run(home, "user", "list").stdout
    assert run(home, "user", "enable", "eve@example.org").returncode == 0
    passwd = run(home, "user", "passwd", "eve@example.org", typed="another good password")
    assert passwd.returncode == 0
    last = run(home, "user", "disable", "ada@example.org")
    assert last.returncode == 1 and "last admin" in last.stderr
    again = run(home, "user", "add", "ADA@example.org", typed=PASSWORD)
    assert again.returncode == 1 and "already" in again.stderr
    assert PASSWORD.encode() not in home.database.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "typed", "code", "said"),
    [
        (("user", "add", "no-address"), PASSWORD, 1, "email"),
        (("user", "add", "a@example.org"), "", 1, "password"),
        (("user", "add", "a@example.org"), "short", 1, "8 to 1024"),
        (("user", "add", "a@example.org", "--role", "root"), PASSWORD, 2, "invalid choice"),
        (("user", "disable", "nobody@example.org"), "", 1, "no account"),
        (("user", "passwd", "nobody@example.org"), PASSWORD, 1, "no account"),
        (("user",), "", 2, "required"),
        (("key", "add", "--name", "n"), "", 2, "--scopes"),
        ((*KEY, "root"), "", 2, "conversations:read"),
        ((*KEY, ""), "", 2, "conversations:read"),
        ((*KEY, "admin", "--expires", "soon"), "", 2, "expires"),
        ((*KEY, "admin", "--expires", "2020-01-01"), "", 2, "to come"),
        ((*KEY, "metrics:read", "--user", "x@example.org"), "", 1, "no account"),
        ((*KEY, "metrics:read", "--project", "/no"), "", 1, "no project"),
        (("key", "revoke", "12345"), "", 1, "no API key"),
        (("key", "revoke", "x"), "", 2, "invalid int"),
        (("key", "revoke", "9" * 20), "", 2, "invalid int"),
        (("user", "add", "\udcff@example.org"), PASSWORD, 1, "email"),
        (("user", "add", "a\x9b31m@example.org"), PASSWORD, 1, "email"),
        (("user", "add", "a@example.org", "--name", "\udcff"), PASSWORD, 2, "1 to 100"),
        (("key", "add", "--name", "", "--scopes", "admin"), "", 2, "1 to 100"),
        (("key", "add", "--name", "x" * 101, "--scopes", "admin"), "", 2, "1 to 100"),
        ((*KEY, "metrics:read", "--project", "/\udcff"), "", 1, "no project"),
    ],
)  # fmt: skip
def test_what_can_not_be_done_is_said(shared_home, arguments, typed, code, said):
    done = run(shared_home, *arguments, typed=typed)
    assert done.returncode == code
    assert said in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_key_is_added_listed_and_revoked(home):
    made = run(home, "key", "add", "--name", "prometheus", "--scopes", "metrics:read", "--json")
    answer = json.loads(made.stdout)
    assert set(answer) == {"id", "key"} and answer["key"].startswith("obs_")
    plain = run(
        home, "key", "add", "--name", "p", "--scopes", "analytics:read,metrics:read",
        "--expires", "30d",
    )  # fmt: skip
    assert plain.stdout.startswith("obs_") and plain.stdout.count("\n") == 1
    listed = json.loads(run(home, "key", "list", "--json").stdout)
    assert [row["scopes"] for row in listed] == [
        ["metrics:read"], ["analytics:read", "metrics:read"],
    ]  # fmt: skip
    assert listed[0]["expires_at"] is None and listed[1]["expires_at"] is not None
    assert "prometheus" in run(home, "key", "list").stdout
    assert run(home, "key", "revoke", str(answer["id"])).returncode == 0
    assert "prometheus" not in run(home, "key", "list").stdout
    stored = home.database.read_bytes()
    assert answer["key"].encode() not in stored and plain.stdout.strip().encode() not in stored


def test_names_are_shown_and_not_obeyed(home):
    name = "x\x1b]0;obey\x07\x9b31m\n9\tobs_x"
    made = run(home, "key", "add", "--name", name, "--scopes", "metrics:read", "--json")
    key = json.loads(made.stdout)["id"]
    assert run(home, "key", "list").stdout.count("\n") == 1
    for shown in (run(home, "key", "list").stdout, run(home, "key", "revoke", str(key)).stdout):
        assert r"x\x1b]0;obey\x07\x9b31m\x0a9\x09obs_x" in shown
        assert "\x1b" not in shown and "\x9b" not in shown


def test_a_key_of_somebody_allows_no_more_than_they_may_do(home):
    run(home, "user", "add", "root@example.org", typed=PASSWORD)
    run(home, "user", "add", "v@example.org", "--role", "viewer", typed=PASSWORD)
    refused = run(home, *KEY, "conversations:write", "--user", "v@example.org")
    assert refused.returncode == 1 and "conversations:write" in refused.stderr
    assert run(home, *KEY, "conversations:read", "--user", "v@example.org").returncode == 0


def test_a_link_is_printed_alone(home):
    printed = run(home, "link")
    assert printed.stdout.startswith("http://127.0.0.1:3001/login?token=")
    assert printed.stdout.count("\n") == 1


def test_secrets_are_for_their_owner_alone_and_take_turns(home):
    run(home, "link")
    run(home, "rotate-secret")
    folder = home.database.parent
    first = (folder / "jwt_secret").read_text()
    assert run(home, "rotate-secret").returncode == 0
    assert (folder / "jwt_secret.previous").read_text() == first
    assert (folder / "jwt_secret").read_text() != first
    for name in ("jwt_secret", "jwt_secret.previous", "observatory.db"):
        assert stat.S_IMODE(Path(folder / name).stat().st_mode) == 0o600


def test_a_secret_of_the_environment_is_not_ours_to_change(home):
    done = home.run("rotate-secret", JWT_SECRET="x" * 40)
    assert done.returncode == 1
    assert "JWT_SECRET_PREVIOUS" in done.stderr


def test_what_was_done_here_is_in_the_audit_log(home):
    import peewee

    run(home, "user", "add", "ada@example.org", typed=PASSWORD)
    run(home, "key", "add", "--name", "k", "--scopes", "admin")
    run(home, "user", "passwd", "ada@example.org", typed="another good password")
    database = peewee.SqliteDatabase(str(home.database))
    rows = database.execute_sql("SELECT action, actor FROM audit_log ORDER BY key").fetchall()
    database.close()
    assert rows == [
        ("user.create", "operator"), ("key.create", "operator"), ("user.password", "operator"),
    ]  # fmt: skip

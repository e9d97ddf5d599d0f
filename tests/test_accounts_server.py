"""Coming in, on a real server with its workers: what one knows, all know at once."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.processes import DEADLINE_SECONDS, Home, Server, finish, serving, wait_for
from tests.test_account_commands import PASSWORD, run

WORKERS = {"WEB_WORKERS": "3"}


class Answer(NamedTuple):
    """An answer, over a connection of its own."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def data(self) -> Any:
        """What a good answer holds."""
        return json.loads(self.body)["data"]


def ask(server: Server, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    encoded = None
    if body is not None:
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    try:
        connection.request(method, path, encoded, sent)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def find_link(text: str) -> str:
    match = re.search(r"http://127\.0\.0\.1:\d+(/login\?token=\S+)", text)
    assert match is not None, text
    return match[1]


def find_setup_token(text: str) -> str:
    match = re.search(r"Setup token of the first account: (\S+)", text)
    assert match is not None, text
    return match[1]


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def server(home) -> Iterator[Server]:
    with serving(home, "--no-ingest", **WORKERS) as running:
        yield running


def statuses(server: Server, path: str, *, times: int = 12, **headers: str) -> set[int]:
    """Return how all workers answer, most likely: the kernel spreads connections over them."""
    return {ask(server, "GET", path, **headers).status for _ in range(times)}


def test_the_printed_link_signs_a_browser_in_once(server):
    link = find_link(server.log.read_text())
    answer = ask(server, "GET", link)
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    assert cookie.startswith(f"observatory-{server.port}=")
    assert statuses(server, "/api/conversations", Cookie=cookie) == {200}
    assert b'id="page"' in ask(server, "GET", "/", Cookie=cookie).body
    assert ask(server, "GET", link).status == 401


def test_the_setup_token_makes_the_first_account_on_a_real_server(server):
    token = find_setup_token(server.log.read_text())
    body = {"email": "ada@example.org", "password": PASSWORD, "setup_token": token}
    data = ask(server, "POST", "/api/auth/register", body).data
    bearer = f"Bearer {data['access_token']}"
    assert statuses(server, "/api/users", Authorization=bearer) == {200}
    assert ask(server, "POST", "/api/auth/register", body).status == 403


def test_with_accounts_nothing_that_lets_in_is_printed(home):
    run(home, "user", "add", "ada@example.org", typed=PASSWORD)
    with serving(home, "--no-ingest") as server:
        text = server.log.read_text()
        assert "Observatory is on" in text
        assert "token" not in text


def test_what_is_revoked_is_out_in_every_worker_at_once(server, home):
    key = home.make_key("conversations:read")
    assert statuses(server, "/api/conversations", X_API_Key=key) == {200}
    listed = json.loads(home.run("key", "list", "--json").stdout)
    home.run("key", "revoke", str(listed[-1]["id"]))
    assert statuses(server, "/api/conversations", X_API_Key=key) == {401}


def test_who_is_disabled_is_out_in_every_worker_at_once(server, home):
    run(home, "user", "add", "ada@example.org", typed=PASSWORD)
    body = {"email": "ada@example.org", "password": PASSWORD}
    data = ask(server, "POST", "/api/auth/login", body).data
    bearer = f"Bearer {data['access_token']}"
    assert statuses(server, "/api/conversations", Authorization=bearer) == {200}
    run(home, "user", "add", "eve@example.org", "--role", "admin", typed=PASSWORD)
    run(home, "user", "disable", "ada@example.org")
    assert statuses(server, "/api/conversations", Authorization=bearer) == {401}
    assert ask(server, "POST", "/api/auth/login", body).status == 401


def test_what_is_hidden_is_gone_in_every_worker_at_once(server, home):
    run(home, "user", "add", "ada@example.org", "--role", "member", typed=PASSWORD)
    body = {"email": "ada@example.org", "password": PASSWORD}
    bearer = f"Bearer {ask(server, 'POST', '/api/auth/login', body).data['access_token']}"
    made = server.post("/api/conversations", {"title": "x", "project_path": "/p"})
    [project] = server.data("/api/projects")["projects"]
    path = f"/api/conversations/{made['id']}"
    tags = set()
    for visibility, status in [("listed", 404), ("everyone", 200)] * 5:
        address, key = f"/api/projects/{project['id']}", server.credentials()["Authorization"]
        change = {"visibility": visibility, "user_ids": []}
        assert ask(server, "PATCH", address, change, Authorization=key).status == 200
        known = ", ".join(tags) or '"none"'
        headers = {"Authorization": bearer, "If-None-Match": known}
        assert statuses(server, path, times=6, **headers) == {status}
        if status == 200:
            tags.add(ask(server, "GET", path, Authorization=bearer).headers["ETag"])


def test_wrong_passwords_are_counted_over_all_workers(server):
    body = {"email": "ada@example.org", "password": "wrong password"}
    found = [ask(server, "POST", "/api/auth/login", body).status for _ in range(13)]
    assert found == [401] * 10 + [429] * 3


def test_tokens_hold_over_a_restart_and_a_rotation_of_the_secret(home):
    run(home, "user", "add", "ada@example.org", typed=PASSWORD)
    body = {"email": "ada@example.org", "password": PASSWORD}
    with serving(home, "--no-ingest") as server:
        bearer = f"Bearer {ask(server, 'POST', '/api/auth/login', body).data['access_token']}"
    assert run(home, "rotate-secret").returncode == 0
    with serving(home, "--no-ingest") as server:
        assert statuses(server, "/api/conversations", Authorization=bearer) == {200}
    assert run(home, "rotate-secret").returncode == 0
    with serving(home, "--no-ingest") as server:
        assert statuses(server, "/api/conversations", Authorization=bearer) == {401}


def test_a_short_life_ends(home):
    run(home, "user", "add", "ada@example.org", typed=PASSWORD)
    body = {"email": "ada@example.org", "password": PASSWORD}
    with serving(home, "--no-ingest", JWT_EXPIRY="1s") as server:
        data = ask(server, "POST", "/api/auth/login", body).data
        bearer = f"Bearer {data['access_token']}"

        def has_ended() -> bool:
            return ask(server, "GET", "/api/conversations", Authorization=bearer).status == 401

        wait_for(has_ended, what="the token to end")


def test_prometheus_comes_in_with_its_key_and_nobody_else(server, home):
    key = home.make_key("metrics:read")
    assert ask(server, "GET", "/metrics").status == 401
    answer = ask(server, "GET", "/metrics", Authorization=f"Bearer {key}")
    assert answer.status == 200 and b"observatory_http_requests_total" in answer.body
    assert ask(server, "GET", "/api/conversations", Authorization=f"Bearer {key}").status == 403


def test_beyond_this_machine_it_takes_an_account(home):
    process = home.popen("-m", "observatory", "serve", HOST="0.0.0.0")
    ended = finish(process)
    assert ended.returncode == 1
    for word in ("observatory user add", "TLS", "ALLOWED_HOSTS", "TRUSTED_PROXIES"):
        assert word in ended.stderr
    # Nor when gunicorn is told so behind the settings' back.
    command = ("-c", "python:observatory.gunicorn_config", "-b", "0.0.0.0:0")
    process = home.popen("-m", "gunicorn", *command, "observatory.wsgi:application")
    ended = finish(process)
    assert ended.returncode != 0 and "observatory user add" in ended.stderr


def test_nothing_secret_is_ever_logged(home):
    """Every way in, right and wrong, and then the whole run's log is looked through."""
    planted = {"planted-password-1", "planted-password-2", "planted-cookie", "planted-text"}
    run(home, "user", "add", "ada@example.org", typed="planted-password-1")
    with serving(home, "--no-ingest", LOG_LEVEL="debug", **WORKERS) as server:
        key = server.home.make_key()
        planted.add(key)
        good = {"email": "ada@example.org", "password": "planted-password-1"}
        data = ask(server, "POST", "/api/auth/login", good).data
        bearer = f"Bearer {data['access_token']}"
        following = ask(
            server, "POST", "/api/auth/refresh", {"refresh_token": data["refresh_token"]}
        ).data
        planted |= {data["access_token"], data["refresh_token"], following["refresh_token"]}
        ask(server, "POST", "/api/auth/login", {**good, "password": "planted-password-2"})
        ask(server, "POST", "/login", b"email=a@b.c&password=planted-password-2",
            Content_Type="application/x-www-form-urlencoded")  # fmt: skip
        change = {"current_password": "planted-password-1", "new_password": "planted-password-2"}
        fresh = ask(server, "POST", "/api/auth/password", change, Authorization=bearer).data
        planted |= {fresh["access_token"], fresh["refresh_token"]}
        made = ask(
            server, "POST", "/api/api-keys", {"name": "k", "scopes": ["admin"]}, X_API_Key=key
        ).data
        planted.add(made["key"])
        text = {"title": "planted-text"}
        ask(server, "POST", "/api/conversations", text, X_API_Key=key)
        ask(server, "GET", "/api/search?q=planted-text", X_API_Key=key)
        ask(server, "GET", "/login?token=planted-cookie")
        ask(server, "GET", "/api/users", Cookie=f"observatory-{server.port}=obr_planted-cookie.x")
        ask(server, "GET", "/api/users", Authorization="Bearer planted-cookie.planted-text.x")
        ask(server, "POST", "/api/auth/login", b'{"email": "planted-text", "password": planted}')
        ask(server, "POST", "/api/auth/register", {"setup_token": "planted-cookie"})
        link = find_link(run(home, "link").stdout.replace(":3001", f":{server.port}"))
        planted.add(link.partition("=")[2])
        cookie = ask(server, "GET", link).headers["Set-Cookie"].partition(";")[0].partition("=")[2]
        planted.add(cookie)
        wait_for(lambda: server.log.read_text().count('"event":"request"') >= 15, what="all lines")
    log = server.log.read_text()
    secret = (home.database.parent / "jwt_secret").read_text().strip()
    for text in {*planted, secret}:
        assert text not in log


def test_who_signed_in_is_named_in_the_log(server, home):
    key = home.make_key()
    ask(server, "GET", "/api/conversations", X_API_Key=key)
    wait_for(lambda: re.search(r'"identity": ?"key:\d+"', server.log.read_text()), what="a line")


def test_a_killed_worker_loses_no_sign_in(server, home):
    run(home, "user", "add", "ada@example.org", typed=PASSWORD)
    body = {"email": "ada@example.org", "password": PASSWORD}
    data = ask(server, "POST", "/api/auth/login", body).data
    children = subprocess.run(
        ["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    for child in children:
        subprocess.run(["kill", "-9", child], check=True)
    wait_for(server.is_up, what="other workers")
    bearer = f"Bearer {data['access_token']}"
    assert statuses(server, "/api/auth/profile", Authorization=bearer) == {200}
    refresh = {"refresh_token": data["refresh_token"]}
    assert ask(server, "POST", "/api/auth/refresh", refresh).status == 200

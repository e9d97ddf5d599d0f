"""docs/api.md: its curl lines work with what they send and no more; every route stands in it."""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path
from typing import Any, NamedTuple

import falcon.inspect
import pytest
import webtest

from observatory.accounts.passwords import hash_password
from observatory.accounts.signing_in import make_setup_token
from observatory.api.operations import PAGES
from observatory.app import create_app
from observatory.live.handing_over import STREAM_SECONDS
from observatory.store.database import execute
from observatory.store.users import insert_user
from observatory.webhooks.signing import sign
from tests.api.keyed import KEY
from tests.transcripts_for_tests import Transcript

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "api.md").read_text()
BASE = "http://127.0.0.1:3001"
OWN = "CONVERSATION_ID/messages"
PASSWORD = "a good long one"


class Call(NamedTuple):
    """A request that a curl line makes."""

    method: str
    address: str
    headers: dict[str, str]
    body: bytes


def read_call(line: str) -> Call:
    """Return the request of a curl line."""
    words = shlex.split(line)
    method, headers, body, address = "GET", {}, b"", ""
    rest = iter(words[1:])
    for word in rest:
        if word == "-X":
            method = next(rest)
        elif word == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif word in ("-d", "--data-binary"):
            data = next(rest)
            # What stands in a file is one line of a transcript.
            body = b'{"type":"mode"}\n' if data.startswith("@") else data.encode()
        elif word == "-F":
            method, body = "POST", next(rest).encode()
        elif word == "-o":
            next(rest)
        elif not word.startswith("-"):
            address = word.removeprefix(BASE)
    return Call(method, address, headers, body)


LINES = re.findall(r"^ +(curl (?:.*\\\n)*.*)$", PAGE, re.MULTILINE)
CALLS = [read_call(line.replace("\\\n", " ")) for line in LINES]


def is_of_accounts(call: Call) -> bool:
    return call.address.startswith(("/api/auth/", "/api/users"))


def make_accounts(client: webtest.TestApp, call: Call) -> dict[str, str]:
    """Make what a line about accounts needs; return what stands in it for what."""
    if call.address.endswith("/register"):
        return {"SETUP_TOKEN": make_setup_token()}
    password_hash = hash_password(PASSWORD)
    for name in ("ada", "grace"):
        insert_user(email=f"{name}@example.org", name="", role="admin", password_hash=password_hash)
    credentials = {"email": "ada@example.org", "password": PASSWORD}
    tokens = client.post_json("/api/auth/login", credentials).json["data"]
    return {
        "$ACCESS_TOKEN": tokens["access_token"],
        "REFRESH_TOKEN": tokens["refresh_token"],
    }


def make_webhook(client: webtest.TestApp) -> str:
    """Make a webhook, and return the id of a delivery that was given up."""
    client.post_json("/api/webhooks", {"url": "https://example.org/"})
    delivery = client.post("/api/webhooks/1/test").json["data"]["id"]
    execute("UPDATE webhook_deliveries SET status = 'dead', next_attempt_at = NULL")
    return str(delivery)


def make_budget(client: webtest.TestApp) -> None:
    """Make a budget."""
    client.post_json("/api/budgets", {"name": "x", "period": "day", "limit_tokens": 5})


def is_tried(call: Call) -> bool:
    """Tell whether a line can be tried as it is: tests/test_uploading.py tries changes of files."""
    return "/api/files/" not in call.address or call.method == "GET"


@pytest.mark.parametrize(
    "call", list(filter(is_tried, CALLS)), ids=lambda c: f"{c.method} {c.address}"
)
def test_a_curl_line_works(call, client, write, ingest):
    transcript = Transcript()
    transcript.prompt("hello")
    write(transcript)
    ingest()
    session = transcript.session_id
    if call.method == "POST" and OWN in call.address:
        session = client.post_json("/api/conversations", {"title": "x"}).json["data"]["id"]
    delivery = make_webhook(client) if call.address.startswith("/api/webhooks") else ""
    if call.address.startswith("/api/budgets/"):
        make_budget(client)
    if call.address.endswith("/restore"):
        client.delete(f"/api/conversations/{session}")
    address = call.address.replace("CONVERSATION_ID", session)
    address = address.replace("DELIVERY_ID", delivery)
    address = address.replace("MESSAGE_ID", transcript.uuid(1)).replace("TAG", "later")
    meant = {"$KEY": KEY} | (make_accounts(client, call) if is_of_accounts(call) else {})
    headers, body = dict(call.headers), call.body
    for name, text in meant.items():
        headers = {header: value.replace(name, text) for header, value in headers.items()}
        body = body.replace(name.encode(), text.encode())
    client.extra_environ = {STREAM_SECONDS: 0.0}
    response = client.request(address, method=call.method, headers=headers, body=body or None)
    assert response.status_int in (200, 201, 202)


def test_the_example_of_a_receiver_tells_what_is_ours():
    """The page's function takes what we sign, and nothing else; what is old, neither."""
    [source] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(source, names)
    is_ours, body = names["is_ours"], b'{"delivery_id": "x"}'
    moment = int(time.time())
    header = sign(body, secret="s" * 16, timestamp=moment)
    assert is_ours("s" * 16, header, body)
    assert not is_ours("t" * 16, header, body)
    assert not is_ours("s" * 16, header, body + b" ")
    assert not is_ours("s" * 16, header.replace(f"t={moment}", f"t={moment + 1}"), body)
    assert not is_ours("s" * 16, sign(body, secret="s" * 16, timestamp=moment - 900), body)
    for wrong in ("", "t=", "v1=", "t=1,v1=", "x", "t=x,v1=y"):
        assert not is_ours("s" * 16, wrong, body)


def test_every_error_of_a_delivery_stands_in_the_page():
    for folder in ("webhooks", "store"):
        for path in (ROOT / "observatory" / folder).glob("*.py"):
            for name in re.findall(r'(?:_Failed|Outcome)\((?:None, )?"(\w+)"', path.read_text()):
                assert name == "stopped" or f"`{name}`" in PAGE, name


def test_every_route_stands_in_the_page():
    routes = falcon.inspect.inspect_routes(create_app(cors_origins=(), folders=()))
    shown = {
        re.sub(r"/([A-Z]+_ID|TAG|\d+)(?=/|$)", "/{}", call.address.partition("?")[0])
        for call in CALLS
    }
    wanted = {re.sub(r"\{[a-z_:]+\}", "{}", route.path) for route in routes}
    pages = {re.sub(r"\{[a-z_:]+\}", "{}", path) for path in PAGES} - {"/docs"}
    assert wanted - shown == {*pages, "/ws"}

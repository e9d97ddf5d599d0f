"""Small reads and writes that are not read by gunicorn: read and answered as all others are."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import get_parser, wsgi
from gunicorn.http.errors import ParseException
from hypothesis import given
from hypothesis import strategies as st

from observatory.quick_requests import Kept, write_answer
from observatory.server import find_scheme_headers
from observatory.store.conversations import SORT_COLUMNS
from tests.processes import DEADLINE_SECONDS, Home, Server, serving, wait_for

CLIENT = ("127.0.0.1", 40_000)
HERE = ("127.0.0.1", 3001)
OWN = {"wsgi.input", "wsgi.errors", "wsgi.early_hints", "gunicorn.socket", "wsgi.file_wrapper"}


def make_config() -> Config:
    config = Config()
    config.set("keepalive", 30)
    return config


CONFIG = make_config()


def keep() -> Kept:
    """Return what the worker keeps of a new connection."""
    variables = {
        **wsgi.base_environ(CONFIG),
        "wsgi.url_scheme": "http",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
    }
    headers = find_scheme_headers(CONFIG, CLIENT[0])
    return Kept(variables, client=CLIENT, server=HERE, scheme_headers=headers)


def read_as_gunicorn(request: bytes) -> dict[str, Any] | None:
    """Return the variables that gunicorn makes of a request, or ``None`` if it refuses it."""
    try:
        parsed = next(get_parser(CONFIG, iter([request]), CLIENT))
    except (ParseException, StopIteration):
        return None
    _, variables = wsgi.create(parsed, io.BytesIO(), CLIENT, HERE, CONFIG)
    return dict(variables)


# Reading

USUAL = b"Host: localhost:3001\r\nUser-Agent: curl/8\r\nAccept: */*\r\nX-API-Key: k\r\n\r\n"
QUICK = [
    b"/health",
    b"/api/conversations",
    b"/api/conversations?limit=50",
    b"/api/conversations?limit=100&cursor=abc_-9",
    b"/api/conversations?limit=100&sort_by=title&sort_order=asc&cursor=abc_-9",
    *(f"/api/conversations?sort_by={column}".encode() for column in SORT_COLUMNS),
    b"/api/conversations/4f2a-1",
    b"/api/conversations/4f2a-1/messages",
    b"/api/conversations/4f2a-1/messages?limit=9",
    b"/api/messages/m_1",
]
SLOW = [
    b"/",
    b"/metrics",
    b"/health/ready",
    b"/api/search?q=x",
    b"/api/conversations/search",
    b"/api/conversations/search?q=x",
    b"/api/conversations?",
    b"/api/conversations?limit=101",
    b"/api/conversations?limit=0",
    b"/api/conversations?limit=050",
    b"/api/conversations?limit=5&",
    b"/api/conversations?offset=100000",
    b"/api/conversations?limit=5&offset=5",
    b"/api/conversations?limit=5&limit=6&limit=7&limit=8&limit=9",
    b"/api/conversations?sort_by=cost",
    b"/api/conversations?sort_by=title&has_errors=true",
    b"/api/conversations?sort_by=title&",
    b"/api/conversations?sort_order=sideways",
    b"/api/conversations/a/messages?sort_by=title",
    b"/api/conversations/a%2Fb",
    b"/api/conversations/a/export",
    b"/api/conversations/a/messages?q=x",
    b"/api/conversations/",
    b"/api/analytics/overview",
    b"http://localhost/health",
    b"/health#x",
    b"//health",
]


@pytest.mark.parametrize("target", QUICK)
def test_small_reads_are_read_here(target):
    request = b"GET " + target + b" HTTP/1.1\r\n" + USUAL
    read = keep().read(request)
    assert read is not None
    assert read["RAW_URI"] == target.decode()


@pytest.mark.parametrize("target", SLOW)
def test_what_may_take_long_is_not(target):
    assert keep().read(b"GET " + target + b" HTTP/1.1\r\n" + USUAL) is None


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /health HTTP/1.1\r\n" + USUAL,
        b"HEAD /health HTTP/1.1\r\n" + USUAL,
        b"GET /health HTTP/1.0\r\n" + USUAL,
        b"GET  /health HTTP/1.1\r\n" + USUAL,
        b"GET /health HTTP/1.1\n" + USUAL,
        b"\r\nGET /health HTTP/1.1\r\n" + USUAL,
        b"GET /health HTTP/1.1\r\n" + USUAL + b"GET /health HTTP/1.1\r\n" + USUAL,
        b"GET /health HTTP/1.1\r\nContent-Length: 3\r\n" + USUAL + b"abc",
        b"GET /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + USUAL + b"0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: other\r\n" + USUAL,
        b"GET /health HTTP/1.1\r\nX_API_Key: k\r\n" + USUAL,
        b"GET /health HTTP/1.1\r\nA: b\r\n c\r\n" + USUAL,
        b"GET /health HTTP/1.1\r\nA : b\r\n" + USUAL,
        b"GET /health HTTP/1.1\r\nA: \xc3\xa9\r\n" + USUAL,
        b"GET /health HTTP/1.1\r\nA: \0\r\n" + USUAL,
        b"GET /health HTTP/1.1\r\nConnection: close\r\n" + USUAL,
        b"GET /health HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + USUAL,
        b"GET /health HTTP/1.1\r\nExpect: 100-continue\r\n" + USUAL,
        b"GET /health HTTP/1.1\r\nA: " + b"x" * 8000 + b"\r\n" + USUAL,
        b"GET /health HTTP/1.1\r\n" + b"".join(b"A%d: x\r\n" % i for i in range(60)) + USUAL,
        b"GET /health HTTP/1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n" + USUAL,
    ],
)
def test_the_unusual_is_read_by_gunicorn(request_):
    assert keep().read(request_) is None


WRITES = [b"/api/conversations", b"/api/conversations/4f2a-1/messages"]
OF_JSON = b"Content-Type: application/json\r\nContent-Length: 7\r\n" + USUAL


@pytest.mark.parametrize("target", WRITES)
def test_small_writes_are_read_here(target):
    request = b"POST " + target + b" HTTP/1.1\r\n" + OF_JSON + b'{"a":1}'
    read = keep().read_write(request)
    assert read is not None
    compare(request, read, body=b'{"a":1}')


@pytest.mark.parametrize(
    "request_",
    [
        b"PUT /api/conversations HTTP/1.1\r\n" + OF_JSON + b'{"a":1}',
        b"POST /api/conversations?a=b HTTP/1.1\r\n" + OF_JSON + b'{"a":1}',
        b"POST /api/conversations/ HTTP/1.1\r\n" + OF_JSON + b'{"a":1}',
        b"POST /api/conversations/4f2a-1/restore HTTP/1.1\r\n" + OF_JSON + b'{"a":1}',
        b"POST /api/files/upload HTTP/1.1\r\n" + OF_JSON + b'{"a":1}',
        b"POST /api/conversations HTTP/1.0\r\n" + OF_JSON + b'{"a":1}',
        b"POST /api/conversations HTTP/1.1\r\n" + OF_JSON + b'{"a":1',
        b"POST /api/conversations HTTP/1.1\r\n" + OF_JSON + b'{"a":1} ',
        b"POST /api/conversations HTTP/1.1\r\nConnection: close\r\n" + OF_JSON + b'{"a":1}',
        b"POST /api/conversations HTTP/1.1\r\nExpect: 100-continue\r\n" + OF_JSON + b'{"a":1}',
        b"POST /api/conversations HTTP/1.1\r\nContent-Length: 7\r\n" + OF_JSON + b'{"a":1}',
        b"POST /api/conversations HTTP/1.1\r\nContent-Length: 07\r\n" + USUAL + b'{"a":1}',
        b"POST /api/conversations HTTP/1.1\r\nContent-Length: 0\r\n" + USUAL,
        b"POST /api/conversations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + USUAL + b"0\r\n",
        b"POST /api/conversations HTTP/1.1\r\n" + USUAL,
        b"POST /api/conversations HTTP/1.1\r\nA: " + b"x" * 8000 + b"\r\n" + OF_JSON + b'{"a":1}',
        b"POST /api/conversations HTTP/1.1\r\n",
    ],
)
def test_other_writes_are_read_by_gunicorn(request_):
    assert keep().read_write(request_) is None


def compare(request: bytes, read: dict[str, Any], *, body: bytes = b"") -> None:
    """Fail unless gunicorn reads a request in the same way."""
    expected = read_as_gunicorn(request)
    assert expected is not None, request
    assert read.pop("wsgi.input").read() == body
    assert {name: value for name, value in read.items() if name not in OWN} == {
        name: value for name, value in expected.items() if name not in OWN
    }


names = st.one_of(
    st.sampled_from(
        ["Accept", "Cookie", "Connection", "X-Forwarded-Proto", "X-Forwarded-For", "Expect", "TE",
         "Content-Type", "Range", "x-request-id", "Script-Name", "Path_Info", "Via", "Upgrade",
         "Keep-Alive", "X-Forwarded-Ssl", "If-None-Match", "Content-Length"]
    ),
    st.from_regex(r"[!-~]{1,12}", fullmatch=True),
)  # fmt: skip
values = st.one_of(
    st.sampled_from(
        ["", "keep-alive", "Keep-Alive", "close", "https", "http", "on", "0", " a  b\t"]
    ),
    st.text(st.characters(max_codepoint=255), max_size=20),
)
spaces = st.sampled_from(["", " ", "\t", "  "])
lines = st.builds("{}:{}{}{}".format, names, spaces, values, spaces)
targets = st.one_of(
    st.sampled_from([target.decode() for target in (*QUICK, *SLOW)]),
    st.from_regex(r"/api/conversations(/[!-~]{1,8})?(\?[!-~]{0,20})?", fullmatch=True),
)


@given(targets, st.lists(lines, max_size=8), st.booleans())
def test_what_is_read_here_is_what_gunicorn_reads(target, headers, has_host):
    host = ["Host: localhost"] if has_host else []
    head = "\r\n".join([f"GET {target} HTTP/1.1", *host, *headers, "", ""])
    request = head.encode("latin-1")
    read = keep().read(request)
    if read is not None:
        compare(request, read)


@given(
    st.sampled_from([target.decode() for target in WRITES]),
    st.lists(lines, max_size=8),
    st.binary(max_size=30),
    st.sampled_from([0, 0, 0, -1, 1]),
)
def test_writes_that_are_read_here_are_what_gunicorn_reads(target, headers, body, more):
    length = f"Content-Length: {len(body) + more}"
    head = "\r\n".join([f"POST {target} HTTP/1.1", *headers, length, "", ""])
    request = head.encode("latin-1") + body
    read = keep().read_write(request)
    if read is not None:
        compare(request, read, body=body)


def test_reads_and_writes_of_one_connection_do_not_mix():
    kept = keep()
    for method, target, headers, body in (
        (b"GET", b"/health", USUAL, b""),
        (b"POST", b"/api/conversations", OF_JSON, b'{"a":1}'),
        (b"POST", b"/api/conversations", OF_JSON, b'{"b":2}'),
        (b"GET", b"/health", USUAL, b""),
    ):
        request = method + b" " + target + b" HTTP/1.1\r\n" + headers + body
        read = kept.read_write(request) if body else kept.read(request)
        assert read is not None
        compare(request, read, body=body)


def test_the_next_request_of_a_connection_brings_what_it_asks_for():
    kept = keep()
    for target, headers in (
        (b"/health", USUAL),
        (b"/api/conversations?limit=5", USUAL),
        (b"/health", b"Cookie: a=b\r\n" + USUAL),
        (b"/health", USUAL),
    ):
        request = b"GET " + target + b" HTTP/1.1\r\n" + headers
        read = kept.read(request)
        assert read is not None
        compare(request, read)


def test_a_proxy_is_believed_as_gunicorn_believes_it():
    for told in (b"https", b"http", b"HTTPS"):
        request = b"GET /health HTTP/1.1\r\nX-Forwarded-Proto: " + told + b"\r\n" + USUAL
        read = keep().read(request)
        assert read is not None
        compare(request, read)


# Answering


def test_an_answer_can_not_be_given_another_header():
    with pytest.raises(ValueError, match="several lines"):
        write_answer("200 OK", [("X-Title", "a\r\nSet-Cookie: b")], body=b"", ends=False)


def test_an_answer_without_a_body_has_none():
    told = write_answer("304 Not Modified", [("ETag", '"1"')], body=b"x", ends=True)
    assert told.endswith(b'Connection: close\r\nETag: "1"\r\n\r\n')


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    home = Home(tmp_path_factory.mktemp("quick"))
    home.projects.mkdir(parents=True)
    with serving(home, WEB_WORKERS="1", WEB_THREADS="2", LOG_LEVEL="info") as server:
        yield server


@pytest.fixture(scope="module")
def conversation(server) -> str:
    """A conversation whose page of messages is more than a socket takes at once."""
    made = server.post("/api/conversations", {"title": "large"})["id"]
    for _ in range(20):
        body = {"role": "user", "content": "x" * 500_000}
        server.post(f"/api/conversations/{made}/messages", body)
    return str(made)


class Client:
    """One connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.socket = socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS)
        self.file = self.socket.makefile("rb")

    def ask(self, target: str, *headers: str) -> None:
        """Send a request."""
        lines = [f"GET {target} HTTP/1.1", "Host: localhost", *headers, "", ""]
        self.socket.sendall(self._server.signed("\r\n".join(lines).encode()))

    def answer(self) -> tuple[bytes, dict[str, str], bytes]:
        """Return status line, headers and body of the next answer."""
        status = self.file.readline()
        headers = {}
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, self.file.read(int(headers.get("content-length", 0)))

    def close(self) -> None:
        """Leave."""
        self.file.close()
        self.socket.close()

    def is_closed(self) -> bool:
        """Tell whether the server has closed it."""
        self.socket.setblocking(False)
        try:
            return self.socket.recv(1) == b""
        except BlockingIOError:
            return False
        finally:
            self.socket.settimeout(DEADLINE_SECONDS)


@pytest.fixture
def connect(server) -> Iterator[Callable[..., Client]]:
    """Makes connections, which end with the test."""
    with ExitStack() as ending:

        def make(to: Server = server) -> Client:
            client = Client(to)
            ending.callback(client.close)
            return client

        yield make


ORDINARY = "Content-Type: text/plain"
VARYING = {"date", "x-request-id", "x-response-time"}


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/health", ()),
        ("/api/conversations", ()),
        ("/api/conversations?limit=1", ("Accept-Encoding: gzip",)),
        ("/api/conversations?limit=1&cursor=nonsense", ()),
        ("/api/conversations/{}", ()),
        ("/api/conversations/{}", ("If-None-Match: *",)),
        ("/api/conversations/{}", ("Origin: http://localhost:3000",)),
        ("/api/conversations/nobody", ()),
        ("/api/conversations/{}/messages?limit=2", ("X-Request-ID: mine",)),
        ("/api/messages/nothing", ()),
    ],
)
def test_answers_are_the_same_as_by_a_thread(server, connect, conversation, target, headers):
    client = connect()
    client.ask(target.format(conversation), *headers)
    status, quick, body = client.answer()
    client.ask(target.format(conversation), *headers, ORDINARY)
    ordinary_status, ordinary, ordinary_body = client.answer()
    assert status == ordinary_status
    assert list(quick) == list(ordinary)
    assert {name for name in quick if quick[name] != ordinary[name]} <= VARYING
    if not body.startswith(b'{"success":false') and target != "/health":
        assert body[:200] == ordinary_body[:200]
    assert len(body) == int(quick.get("content-length", 0))


def test_requests_of_all_kinds_share_a_connection(server, connect, conversation):
    client = connect()
    for target in ("/health", "/api/projects", "/api/conversations", "/docs") * 3:
        client.ask(target)
        assert client.answer()[0] == b"HTTP/1.1 200 OK\r\n"


def test_requests_that_come_together_are_answered_in_turn(server, connect, conversation):
    client = connect()
    ids = [f"r{number}" for number in range(20)]
    for number, name in enumerate(ids):
        target = "/health" if number % 3 else f"/api/conversations/{conversation}"
        client.ask(target, f"X-Request-ID: {name}")
    assert [client.answer()[1]["x-request-id"] for _ in ids] == ids


def test_a_request_that_comes_in_two_parts_is_answered(server, connect):
    client = connect()
    for _ in range(3):
        client.socket.sendall(b"GET /health HTTP/1.1\r\nHost: loc")
        other = connect()
        other.ask("/health")
        assert other.answer()[0] == b"HTTP/1.1 200 OK\r\n"
        client.socket.sendall(b"alhost\r\n\r\n")
        assert client.answer()[0] == b"HTTP/1.1 200 OK\r\n"


def test_who_does_not_read_stops_nobody_and_gets_all_of_it_in_the_end(
    server, connect, conversation
):
    slow = connect()
    slow.ask(f"/api/conversations/{conversation}/messages?limit=20")
    others = [connect() for _ in range(5)]
    for other in others:
        for target in ("/health", "/api/projects"):
            other.ask(target)
            assert other.answer()[0] == b"HTTP/1.1 200 OK\r\n"
    status, headers, body = slow.answer()
    assert status == b"HTTP/1.1 200 OK\r\n"
    assert len(body) == int(headers["content-length"]) > 10_000_000
    slow.ask("/health")
    assert slow.answer()[0] == b"HTTP/1.1 200 OK\r\n"


def test_who_leaves_in_the_middle_of_an_answer_harms_nobody(server, connect, conversation):
    for _ in range(5):
        client = connect()
        client.ask(f"/api/conversations/{conversation}/messages?limit=20")
        client.close()
    assert server.is_up()
    assert "server_failed" not in server.log.read_text()


def test_a_connection_without_requests_ends_and_one_with_requests_does_not(connect, tmp_path):
    home = Home(tmp_path)
    home.projects.mkdir(parents=True)
    with serving(home, WEB_WORKERS="1", GUNICORN_CMD_ARGS="--keep-alive 2") as server:
        busy, idle = connect(server), connect(server)
        for client in (busy, idle):
            client.ask("/health")
            client.answer()

        def ask_until_idle_ends() -> bool:
            busy.ask("/health")
            assert busy.answer()[0] == b"HTTP/1.1 200 OK\r\n"
            return idle.is_closed()

        wait_for(ask_until_idle_ends, what="the idle connection to be closed")
        busy.ask("/health")
        assert busy.answer()[0] == b"HTTP/1.1 200 OK\r\n"
        wait_for(busy.is_closed, what="the other one to be closed, too")

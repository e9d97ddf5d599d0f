"""One attempt: to the address that was looked at, within its time, whatever the receiver does."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from observatory.webhooks import sending
from observatory.webhooks.addresses import parse_networks
from observatory.webhooks.sending import Attempt, Outcome
from tests.processes import DEADLINE_SECONDS, free_port
from tests.programs import find_program
from tests.webhooks.receivers import Answer, Receiver, receiving

LOCAL = parse_networks(["127.0.0.0/8"])
BODY = b'{"a":1}'
NOW = 1_800_000_000.0


def send(url: str, *, allowed=LOCAL, **options) -> Outcome:
    attempt = Attempt(allowed=allowed, **options)
    return attempt.send(url, BODY, {"X-Test": "yes"}, moment=NOW)


class Resolver:
    """Says of a name what a test wants, each time the next."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0)


@pytest.fixture
def other() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_good_answer_is_one_of_2xx(receiver, status):
    receiver.answer = lambda *_: status
    assert send(receiver.url) == Outcome(status, None)
    [request] = receiver.requests
    assert (request.body, request.headers["X-Test"]) == (BODY, "yes")
    assert request.headers["Host"] == f"127.0.0.1:{receiver.port}"


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 400, 404, 410, 429, 500, 503])
def test_others_are_failures(receiver, other, status):
    receiver.answer = lambda *_: Answer(status, {"Location": other.url})
    assert send(receiver.url) == Outcome(status, "http_status")
    assert other.requests == []


@pytest.mark.parametrize(("status", "seconds"), [(429, 7.0), (503, 7.0), (500, None)])
def test_a_receiver_that_is_busy_says_for_how_long(receiver, status, seconds):
    receiver.answer = lambda *_: Answer(status, {"Retry-After": "7"})
    assert send(receiver.url).retry_after == seconds


# Redirects


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_that_keeps_the_body_is_followed(receiver, other, status):
    receiver.answer = lambda *_: Answer(status, {"Location": other.url})
    assert send(receiver.url) == Outcome(200, None)
    [request] = other.requests
    assert (request.body, request.headers["X-Test"]) == (BODY, "yes")


def test_three_redirects_are_followed_and_no_more(receiver):
    receiver.answer = lambda *_: 200 if len(receiver.requests) == 4 else to("/next")
    assert send(receiver.url) == Outcome(200, None)
    receiver.requests.clear()
    receiver.answer = lambda *_: to("/next")
    assert send(receiver.url) == Outcome(307, "too_many_redirects")
    assert len(receiver.requests) == 4


def to(location: str) -> Answer:
    return Answer(307, {"Location": location})


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("http://169.254.169.254/latest/meta-data", "address_refused"),
        ("http://[::ffff:169.254.169.254]/", "address_refused"),
        ("http://10.0.0.1/", "address_refused"), ("http://[::1]:80/", "address_refused"),
        ("", "redirect_refused"), ("ftp://127.0.0.1/", "redirect_refused"),
        ("http://u:p@127.0.0.1/", "redirect_refused"), ("http://2130706433/", "redirect_refused"),
    ],
)  # fmt: skip
def test_a_redirect_does_not_lead_where_nothing_may_be_sent(receiver, location, error):
    receiver.answer = lambda *_: to(location)
    assert send(receiver.url).error == error


# Names


def test_an_address_is_refused_before_anything_is_sent(receiver):
    assert send(receiver.url, allowed=()) == Outcome(None, "address_refused")
    assert send("http://u@127.0.0.1/") == Outcome(None, "url_refused")
    assert receiver.requests == []


def test_a_name_that_means_something_else_a_moment_later_is_asked_for_once(receiver):
    """DNS rebinding: what was looked at is what is connected to."""
    resolver = Resolver(["127.0.0.1"], ["169.254.169.254"])
    url = f"http://hook.example:{receiver.port}/"
    assert send(url, resolver=resolver) == Outcome(200, None)
    assert resolver.asked == ["hook.example"]
    assert receiver.requests[0].headers["Host"] == f"hook.example:{receiver.port}"


def test_a_redirect_to_the_same_name_is_looked_at_anew(receiver):
    resolver = Resolver(["127.0.0.1"], ["169.254.169.254"])
    receiver.answer = lambda *_: to("/again")
    outcome = send(f"http://hook.example:{receiver.port}/", resolver=resolver)
    assert outcome == Outcome(None, "address_refused")
    assert len(receiver.requests) == 1


def test_addresses_that_are_refused_are_passed_over(receiver):
    resolver = Resolver(["10.0.0.1", "fe80::1%lo", "::1", "127.0.0.1"])
    assert send(f"http://hook.example:{receiver.port}/", resolver=resolver).error is None
    assert send("http://x.example/", resolver=Resolver(["10.0.0.1"])).error == "address_refused"
    assert send("http://x.example/", resolver=Resolver([])).error == "address_refused"


def test_the_next_address_is_tried_when_one_does_not_answer(receiver):
    resolver = Resolver(["127.0.0.2", "127.0.0.1"])
    assert send(f"http://hook.example:{receiver.port}/", resolver=resolver).error is None


def test_the_systems_resolver_knows_this_machine(receiver):
    assert send(f"http://localhost:{receiver.port}/").error is None


def test_a_name_that_is_unknown_or_takes_too_long_is_a_failure(monkeypatch):
    def fail(*_: object) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    assert send("http://x.example/", resolver=fail) == Outcome(None, "name_unknown")
    monkeypatch.setattr(sending, "CONNECT_SECONDS", 0.05)
    released = threading.Event()

    def wait(*_: object) -> list[str]:
        released.wait()
        return []

    assert send("http://x.example/", resolver=wait) == Outcome(None, "name_timeout")
    released.set()


def test_nobody_listening_is_a_failure():
    assert send(f"http://127.0.0.1:{free_port()}/") == Outcome(None, "connection_refused")


def test_proxies_of_the_environment_are_not_asked(receiver, other, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{other.port}")
    assert send(receiver.url).error is None
    assert (len(receiver.requests), other.requests) == (1, [])


# Receivers that do what they should not


def drip(data: bytes, receiver: Receiver) -> Callable[..., None]:
    """Write some bytes again and again, until the end."""

    def answer(_request: object, handler) -> None:
        while not receiver.released.wait(0.01):
            handler.wfile.write(data)

    return answer


def test_an_answer_that_comes_little_by_little_is_given_up(receiver, monkeypatch):
    monkeypatch.setattr(sending, "TOTAL_SECONDS", 0.3)
    receiver.answer = receiver.hang
    assert send(receiver.url) == Outcome(None, "timeout")
    receiver.answer = drip(b"H", receiver)
    assert send(receiver.url) == Outcome(None, "timeout")


def test_a_body_that_does_not_end_changes_nothing(receiver, monkeypatch):
    monkeypatch.setattr(sending, "_BODY_SECONDS", 0.2)

    def answer(request: object, handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        drip(b"x", receiver)(request, handler)

    receiver.answer = answer
    assert send(receiver.url) == Outcome(200, None)


def test_a_redirect_that_takes_all_the_time_is_given_up(receiver, monkeypatch):
    """A name, for which there is no time left to be resolved."""
    monkeypatch.setattr(sending, "TOTAL_SECONDS", 0.3)

    def answer(request: object, handler) -> None:
        handler.wfile.write(b"HTTP/1.1 307 Moved\r\nLocation: http://x.example/\r\n\r\n")
        drip(b"x", receiver)(request, handler)

    receiver.answer = answer
    assert send(receiver.url, resolver=Resolver(["127.0.0.1"])) == Outcome(None, "timeout")


def test_of_a_huge_answer_little_is_read(receiver):
    written = []

    def answer(_request: object, handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while not receiver.released.is_set():
            handler.wfile.write(b"x" * 1_000_000)
            written.append(1)

    receiver.answer = answer
    assert send(receiver.url) == Outcome(200, None)
    assert len(written) < 1000


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "connection_lost"), (b"HTTP/1.1 2", "bad_answer"), (b"hello\r\n", "bad_answer"),
        (b"HTTP/1.1 abc x\r\n\r\n", "bad_answer"), (b"\0" * 70_000, "bad_answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200, "bad_answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: " + b"b" * 200_000, "bad_answer"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000, "bad_answer"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_a_failure(receiver, data, error):
    def answer(_request: object, handler) -> None:
        handler.wfile.write(data)

    receiver.answer = answer
    assert send(receiver.url) == Outcome(None, error)


def test_an_attempt_can_be_ended_from_outside(receiver):
    attempt = Attempt(allowed=LOCAL)
    found: list[Outcome] = []
    receiver.answer = receiver.hang
    thread = threading.Thread(
        target=lambda: found.append(attempt.send(receiver.url, BODY, {}, moment=NOW))
    )
    thread.start()
    receiver.wait_for(1)
    attempt.stop()
    thread.join(DEADLINE_SECONDS)
    assert found == [Outcome(None, "stopped", was_stopped=True)]
    assert attempt.send(receiver.url, BODY, {}, moment=NOW).was_stopped


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for hook.example, signed by itself, with its key."""
    openssl = find_program("openssl")
    path = tmp_path_factory.mktemp("tls") / "pair.pem"
    subprocess.run(
        [
            openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=hook.example", "-addext",
            "subjectAltName=DNS:hook.example", "-keyout", f"{path}.key", "-out", path,
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    return path


@pytest.fixture
def secure(certificate: Path) -> Iterator[tuple[Receiver, ssl.SSLContext, list[str | None]]]:
    """A receiver with TLS, how to trust it, and the names that it was called by."""
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, f"{certificate}.key")
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    trusting = ssl.create_default_context(cafile=str(certificate))

    def wrap(listener: socket.socket) -> socket.socket:
        return context.wrap_socket(listener, server_side=True, do_handshake_on_connect=False)

    with receiving(wrap=wrap) as receiver:
        yield receiver, trusting, names


def test_tls_is_for_the_name_though_the_address_was_chosen(secure):
    receiver, trusting, names = secure
    url = f"https://hook.example:{receiver.port}/"
    assert send(url, resolver=Resolver(["127.0.0.1"]), tls=trusting) == Outcome(200, None)
    assert names == ["hook.example"]
    assert receiver.requests[0].body == BODY


def test_a_certificate_for_another_name_or_of_nobody_known_is_refused(secure):
    receiver, trusting, _ = secure
    for host, options in (("other.example", {"tls": trusting}), ("hook.example", {})):
        url = f"https://{host}:{receiver.port}/"
        outcome = send(url, resolver=Resolver(["127.0.0.1"]), **options)
        assert outcome == Outcome(None, "certificate")
    assert receiver.requests == []


def test_nothing_goes_from_https_to_http(secure, other):
    receiver, trusting, _ = secure
    receiver.answer = lambda *_: to(other.url)
    url = f"https://hook.example:{receiver.port}/"
    outcome = send(url, resolver=Resolver(["127.0.0.1"]), tls=trusting)
    assert outcome == Outcome(307, "redirect_refused")
    assert other.requests == []


def test_who_speaks_no_tls_is_a_failure(receiver, monkeypatch):
    assert send(f"https://localhost:{receiver.port}/").error == "tls"
    monkeypatch.setattr(sending, "TOTAL_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        assert send(url) == Outcome(None, "timeout")

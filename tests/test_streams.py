"""Streams on a real server: nothing left out, nothing twice, whoever is slow or goes."""

from __future__ import annotations

import http.client
import json
import os
import resource
import signal
import socket
import threading
from contextlib import ExitStack

import pytest
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, TextMessage

from tests.listening import Listener, WebSocketClient, websocket_request
from tests.processes import Home, Server, serving, wait_for

TOLD = "conversation_started"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    home = Home(tmp_path_factory.mktemp("home"))
    assert home.run("migrate").returncode == 0
    return home


@pytest.fixture(scope="module")
def server(home):
    """A server of one worker with two threads, which fewer streams than tests open would stop."""
    with serving(
        home, "--no-ingest", WEB_WORKERS="1", WEB_THREADS="2", MAX_STREAMS="40",
        RATE_LIMIT_MAX_REQUESTS="0",
    ) as server:  # fmt: skip
        yield server


def make(server: Server, title: str = "hello", **more: object) -> str:
    body = {"title": title, "project_path": "/home/ada/engine", **more}
    return str(server.post("/api/conversations", body)["id"])


def say(server: Server, conversation: str, text: str, *, role: str = "user") -> None:
    server.post(f"/api/conversations/{conversation}/messages", {"role": role, "content": text})


def request(server: Server, method: str, path: str, body: object = None) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    headers = {"Content-Type": "application/json", **server.credentials()}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    assert connection.getresponse().status == 200
    connection.close()


def title_of(event: dict) -> str:
    return str(event["data"]["conversation"]["title"])


def open_streams(server: Server) -> int:
    return sum(server.data("/api/live/status")["streams"]["open"].values())


def sign_in_viewer(server: Server, email: str) -> str:
    """Make an account for somebody who may read, and return an access token of theirs."""
    login = {"email": email, "password": "a good long password"}
    server.post("/api/users", {**login, "role": "viewer"})
    return str(server.post("/api/auth/login", login)["access_token"])


def test_a_stream_is_told_what_happens(server):
    with Listener(server) as listener:
        begun = listener.begin()
        made = make(server)
        event = listener.until(TOLD)
    assert event["conversation_id"] == made
    assert event["id"] > begun


def test_a_stream_ends_where_it_left_off_and_goes_on_there(server):
    with Listener(server, "?types=conversation_started") as listener:
        listener.begin()
        make(server, "one")
        assert title_of(listener.until(TOLD)) == "one"
        position = listener.position
    make(server, "two")
    make(server, "three")
    with Listener(server, **{"Last-Event-ID": str(position)}) as again:
        assert [title_of(again.until(TOLD)) for _ in range(2)] == ["two", "three"]


def test_streams_hold_no_threads(server):
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(Listener(server)).begin()
            stack.enter_context(WebSocketClient(server))
        assert server.get("/health")[0] == 200
        status = server.data("/api/live/status")
        assert status["streams"]["open"] == {"sse": 10, "websocket": 10, "poll": 0}
    wait_for(lambda: open_streams(server) == 0, what="the streams to be closed")


def test_filters_choose_what_is_told(server):
    with Listener(server, "?role=assistant") as listener:
        listener.begin()
        made = make(server)
        say(server, made, "question")
        say(server, made, "answer", role="assistant")
        assert listener.until("message_added")["data"]["message"]["content"] == "answer"
    with Listener(server, f"?conversation_id={made}&after=0") as listener:
        assert listener.next()["conversation_id"] == made


def test_one_client_may_not_have_all_streams(server):
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(Listener(server)).begin()
        status, body = server.get("/api/events/stream")
        assert (status, json.loads(body)["code"]) == (503, "TOO_MANY_STREAMS")
        assert server.get("/api/conversations")[0] == 200
        assert websocket_request(server)[0] == 503
    wait_for(lambda: open_streams(server) == 0, what="the streams to be closed")


def test_a_waiting_question_holds_no_thread_and_is_answered(server):
    make(server, "so that there is the project")
    latest = server.data("/api/events")["latest_id"]
    answers = []

    def ask() -> None:
        answers.append(server.data(f"/api/events?after={latest}&wait=50"))

    waiting = [threading.Thread(target=ask) for _ in range(5)]
    for thread in waiting:
        thread.start()
    wait_for(
        lambda: server.data("/api/live/status")["streams"]["open"]["poll"] == 5,
        what="the questions to wait",
    )
    made = make(server)
    for thread in waiting:
        thread.join()
    assert len(answers) == 5
    for answer in answers:
        assert answer["events"][0]["conversation_id"] == made
        assert answer["next_after"] >= answer["events"][-1]["id"]


def test_a_websocket_is_told_what_it_subscribes_to(server):
    with WebSocketClient(server) as client:
        assert isinstance(client.accepted, AcceptConnection)
        hello = client.until("connection_established")
        client.send({"type": "subscribe", "id": "mine", "filters": {"types": [TOLD]}})
        assert client.until("subscription_confirmed")["id"] == "mine"
        made = make(server, "for the socket")
        event = client.next()
        assert (event["type"], event["conversation_id"]) == (TOLD, made)
        assert event["id"] > hello["position"]
        client.send({"type": "unsubscribe", "id": "mine"})
        client.until("unsubscribed")
        make(server, "for nobody")
        client.send({"type": "ping"})
        assert client.next() == {"type": "pong"}


def test_a_websocket_goes_on_behind_an_event(server):
    make(server, "one")
    latest = server.data("/api/events")["latest_id"]
    make(server, "two")
    with WebSocketClient(server) as client:
        client.send({"type": "subscribe", "after": latest})
        assert title_of(client.until(TOLD)) == "two"


def test_what_several_subscriptions_want_comes_once(server):
    with WebSocketClient(server) as client:
        client.send({"type": "subscribe", "id": "a", "filters": {"types": [TOLD]}})
        client.send({"type": "subscribe", "id": "b"})
        client.until("subscription_confirmed")
        client.until("subscription_confirmed")
        make(server, "once")
        make(server, "twice")
        assert [title_of(client.until(TOLD)) for _ in range(2)] == ["once", "twice"]


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ([], "JSON object"), ({"type": "dance"}, "subscribe"), ({"type": []}, "subscribe"),
        ({"type": "subscribe", "id": 5}, "id"),
        ({"type": "subscribe", "after": "x"}, "after"), ({"type": "subscribe", "x": 1}, "takes id"),
        ({"type": "subscribe", "filters": {"role": "robot"}}, "filters"),
        ({"type": "subscribe", "filters": [1]}, "filters"), ({"type": "unsubscribe"}, "no such"),
    ],
)  # fmt: skip
def test_a_wrong_message_is_told_what_is_wrong(server, message, says):
    with WebSocketClient(server) as client:
        client.send(message)
        error = client.until("error")
        assert error["code"] == "VALIDATION_ERROR"
        assert says in error["error"]


def test_after_is_for_the_first_subscription(server):
    with WebSocketClient(server) as client:
        client.send({"type": "subscribe"})
        client.send({"type": "subscribe", "id": "b", "after": 0})
        assert "first" in client.until("error")["error"]


def test_subscriptions_are_bounded(server):
    with WebSocketClient(server) as client:
        for number in range(21):
            client.send({"type": "subscribe", "id": str(number)})
        assert "already" in client.until("error")["error"]


@pytest.mark.parametrize("event", [BytesMessage(b"x"), TextMessage("x" * 100_000)])
def test_what_is_no_message_ends_the_connection(server, event):
    with WebSocketClient(server) as client:
        client.send_event(event)
        while not isinstance(message := client.next(), CloseConnection):
            assert message["type"] == "connection_established"


def test_a_ping_is_answered_and_a_goodbye_too(server):
    with WebSocketClient(server) as client:
        client.send_event(Ping(b"hello"))
        client.send_event(CloseConnection(1000))
        while not isinstance(message := client.next(), CloseConnection):
            assert message["type"] == "connection_established"
        assert message.code == 1000


def test_frames_that_are_none_end_the_connection(server):
    with WebSocketClient(server) as client:
        client.socket.sendall(b"\xff" * 100)
        while True:
            data = client.socket.recv(65536)
            if not data:
                break


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-WebSocket-Key": "short"}, 400), ({"Sec-WebSocket-Version": "8"}, 426),
        ({"Upgrade": "h2c"}, 426), ({"Connection": "keep-alive"}, 426),
        ({"Authorization": "Bearer nothing"}, 401),
    ],
)  # fmt: skip
def test_a_wrong_handshake_is_refused(server, headers, status):
    assert websocket_request(server, **headers)[0] == status


def test_pages_of_other_sites_get_no_websocket_with_the_cookie(server):
    token = server.home.run("link").stdout.strip().rpartition("token=")[2].split()[0]
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", f"/login?token={token}")
    cookie = connection.getresponse().getheader("Set-Cookie").partition(";")[0]
    connection.close()
    own = {"Cookie": cookie, "Authorization": "", "Host": f"127.0.0.1:{server.port}"}
    other = {**own, "Origin": "http://evil.example"}
    for path in ("/ws", "/api/events/stream"):
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", path, headers={k: v for k, v in other.items() if v})
        assert connection.getresponse().status == 401
        connection.close()


def test_a_ticket_opens_a_websocket_once(server):
    ticket = server.post("/api/events/tickets", {})["ticket"]
    with WebSocketClient(server, f"?ticket={ticket}") as client:
        assert client.until("connection_established")
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", f"/api/events/stream?ticket={ticket}")
    assert connection.getresponse().status == 401
    connection.close()
    assert ticket not in server.log.read_text()


def test_who_may_not_read_any_more_is_told_no_more(server):
    made = server.post("/api/api-keys", {"name": "short", "scopes": ["conversations:read"]})
    with Listener(server, Authorization=f"Bearer {made['key']}") as listener:
        listener.begin()
        request(server, "DELETE", f"/api/api-keys/{made['id']}")
        make(server, "not for them")
        assert listener.next()["code"] == "UNAUTHORIZED"
        assert listener.next() is None


def test_who_may_see_less_is_told_less(server):
    project = server.post("/api/conversations", {"title": "x", "project_path": "/home/ada/secret"})
    projects = {p["path"]: p["id"] for p in server.data("/api/projects")["projects"]}
    token = sign_in_viewer(server, "viewer@example.org")
    with Listener(server, Authorization=f"Bearer {token}") as listener:
        listener.begin()
        say(server, project["id"], "before")
        assert listener.until("message_added")["data"]["message"]["content"] == "before"
        secret = projects["/home/ada/secret"]
        request(server, "PATCH", f"/api/projects/{secret}", {"visibility": "listed"})
        say(server, project["id"], "after")
        open_one = make(server, "open")
        say(server, open_one, "for all")
        assert listener.until("message_added")["data"]["message"]["content"] == "for all"


def test_what_is_gone_is_not_told_to_who_comes_again(server):
    """Another client was told of it while it was there."""
    make(server, "the oldest that is kept")
    with Listener(server) as listener:
        position = listener.begin()
        made = make(server)
        say(server, made, "taken back")
        listener.until("message_added")
        request(server, "DELETE", f"/api/conversations/{made}")
        listener.until("conversation_deleted")
        with Listener(server, f"?after={position}") as again:
            assert again.next()["type"] == "conversation_deleted"


def test_a_waiting_question_is_answered_with_what_is_there_then(server):
    secret = server.post("/api/conversations", {"title": "x", "project_path": "/home/ada/vault"})
    projects = {p["path"]: p["id"] for p in server.data("/api/projects")["projects"]}
    token = sign_in_viewer(server, "asks@example.org")
    latest = server.data("/api/events")["latest_id"]
    answers = []
    path = f"/api/events?after={latest}&wait=50"
    waiting = threading.Thread(
        target=lambda: answers.append(server.get(path, Authorization=f"Bearer {token}"))
    )
    waiting.start()
    wait_for(
        lambda: server.data("/api/live/status")["streams"]["open"]["poll"] == 1,
        what="the question to wait",
    )
    project = projects["/home/ada/vault"]
    request(server, "PATCH", f"/api/projects/{project}", {"visibility": "listed"})
    say(server, secret["id"], "not for them")
    made = make(server, "for all")
    waiting.join()
    [(status, body)] = answers
    assert status == 200
    assert [e["conversation_id"] for e in json.loads(body)["data"]["events"]] == [made]


def test_a_slow_client_gets_the_rest_and_nothing_twice(server):
    """It takes nothing while more is said than may wait for it."""
    made = make(server, "slow")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", server.port))
    sock.sendall(server.signed(b"GET /api/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    assert sock.recv(4096, socket.MSG_PEEK)
    before = server.data("/api/live/status")["streams"]["resyncs"]
    body = {"messages": [{"role": "user", "content": "x" * 4000}] * 100}
    sent = 0
    while server.data("/api/live/status")["streams"]["resyncs"] == before:
        server.post(f"/api/conversations/{made}/messages", body)
        sent += 100
        assert sent < 20_000, "a client that takes nothing is never behind"
    server.post(f"/api/conversations/{made}/messages", {"role": "user", "content": "the last"})
    sock.settimeout(30)
    seen: list[int] = []
    notices = []
    with sock, sock.makefile("rb") as stream:
        for line in stream:
            if line.startswith(b"data: "):
                event = json.loads(line[6:])
                if "id" not in event:
                    notices.append(event)
                    continue
                seen.append(event["id"])
                if event["data"].get("message", {}).get("content") == "the last":
                    break
    assert [notice["reason"] for notice in notices] == ["slow"]
    page = server.data(f"/api/events?after={seen[0] - 1}&limit=1")
    assert page["events"][0]["id"] == seen[0]
    assert seen == sorted(set(seen))
    messages = [
        event
        for after in range(seen[0] - 1, seen[-1], 500)
        for event in server.data(f"/api/events?after={after}&limit=500")["events"]
    ]
    assert set(seen) == {event["id"] for event in messages if event["id"] <= seen[-1]}


def test_the_end_of_the_server_is_told(tmp_path):
    home = Home(tmp_path)
    with serving(home, "--no-ingest", WEB_WORKERS="2") as server:
        with Listener(server) as listener, WebSocketClient(server) as client:
            listener.begin()
            client.until("connection_established")
            latest = server.data("/api/events")["latest_id"]
            answers = []
            waiting = threading.Thread(
                target=lambda: answers.append(server.data(f"/api/events?after={latest}&wait=50"))
            )
            waiting.start()
            wait_for(
                lambda: server.data("/api/live/status")["streams"]["open"]["poll"] == 1,
                what="a question to wait",
            )
            server.process.send_signal(signal.SIGTERM)
            assert listener.until("server_shutdown")
            assert listener.next() is None
            assert client.until("server_shutdown")
            assert isinstance(client.next(), CloseConnection)
            waiting.join()
            assert answers[0]["events"] == []
        assert server.stop() == 0


def test_a_killed_worker_costs_a_stream_nothing_but_a_reconnect(tmp_path):
    home = Home(tmp_path)
    with serving(home, "--no-ingest", WEB_WORKERS="1") as server:
        with Listener(server) as listener:
            listener.begin()
            make(server, "one")
            assert title_of(listener.until(TOLD)) == "one"
            position = listener.position
            [worker] = children(server.process.pid)
            os.kill(worker, signal.SIGKILL)
            assert listener.next() is None
        wait_for(server.is_up, what="another worker")
        wait_for(
            lambda: open_streams(server) == 0, what="the dead worker's streams to be forgotten"
        )
        make(server, "two")
        with Listener(server, **{"Last-Event-ID": str(position)}) as again:
            assert title_of(again.until(TOLD)) == "two"


def test_a_worker_without_descriptors_goes_on(tmp_path):
    home = Home(tmp_path)
    with serving(home, "--no-ingest", WEB_WORKERS="1") as server, ExitStack() as stack:
        server.credentials()
        [worker] = children(server.process.pid)
        _, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (40, hard))
        asked = server.signed(b"GET /api/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for _ in range(60):
            client = socket.create_connection(("127.0.0.1", server.port))
            stack.callback(client.close)
            client.sendall(asked)
        wait_for(lambda: "no_connection_taken" in server.log.read_text(), what="the limit")
        stack.close()
        wait_for(lambda: server.get("/api/conversations")[0] == 200, what="descriptors")
        # Those that were waiting have left, but each is still let in, and holds one for a moment.
        wait_for(lambda: find_beginning(server) == 0, what="a stream that begins")
        assert children(server.process.pid) == [worker], server.log.read_text()


def find_beginning(server: Server) -> int | None:
    """Return where a stream begins, or ``None`` when it is refused."""
    with Listener(server) as listener:
        return listener.begin() if listener.status == 200 else None


def test_a_server_takes_as_many_descriptors_as_it_may(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2000 + 1000 if hard == resource.RLIM_INFINITY else min(3000, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        with serving(Home(tmp_path), "--no-ingest", WEB_WORKERS="1") as server:
            [worker] = children(server.process.pid)
            assert resource.prlimit(worker, resource.RLIMIT_NOFILE)[0] >= wanted
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def children(pid: int) -> list[int]:
    """Return the workers of a server."""
    with open(f"/proc/{pid}/task/{pid}/children") as stream:  # noqa: PTH123
        return [int(child) for child in stream.read().split()]

"""A clock that is set back by a day under a server and its watcher, and forward again."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from tests.faults.clients import Answer, check_kept, send
from tests.listening import Listener
from tests.processes import Home, Server, serving
from tests.test_account_commands import PASSWORD, run
from tests.transcripts_for_tests import Transcript
from tests.watchers import append, session_path, wait_for_texts

DAY_SECONDS = 86_400
ADA = "ada@example.org"
ME = "/api/auth/profile"


class Clock:
    """The time that the processes of a home believe in."""

    def __init__(self, home: Home) -> None:
        self._path = home.folder / "clock"
        self.set(0)
        folder = str(Path(__file__).parent / "clock")
        home.variables |= {"PYTHONPATH": folder, "CLOCK_OFFSET_FILE": str(self._path)}

    def set(self, seconds: int) -> None:
        """Let it be off by so many seconds."""
        draft = self._path.with_suffix(".new")
        draft.write_text(str(seconds))
        os.replace(draft, self._path)


def by(server: Server, method: str, path: str, token: str, body: object = None) -> Answer:
    """Ask with a token."""
    return send(server, method, path, body, Authorization=f"Bearer {token}")


def sign_in(server: Server) -> dict:
    """Sign in, and return both tokens."""
    answer = send(server, "POST", "/api/auth/login", {"email": ADA, "password": PASSWORD})
    assert answer.status == 200, answer
    return answer.body["data"]


def test_it_is_set_back_by_a_day_and_forward_again(tmp_path):
    home = Home(tmp_path)
    clock = Clock(home)
    spoken = Transcript()
    spoken.prompt("first")
    path = session_path(home, spoken)
    path.write_bytes(spoken.bytes())
    added = run(home, "user", "add", ADA, typed=PASSWORD)
    assert added.returncode == 0, added.stderr
    week = {"JWT_EXPIRY": "7d"}
    with serving(home, WEB_WORKERS="2", **week) as server, Listener(server, "?after=0") as stream:
        wait_for_texts(home, "first", session=spoken.session_id)
        tokens = [sign_in(server)]
        made = server.post("/api/conversations", {"title": "mine"})["id"]
        messages = f"/api/conversations/{made}/messages"
        # Each worker has let it in, and need not look again for a while.
        answers = [by(server, "GET", ME, tokens[0]["access_token"]) for _ in range(16)]
        assert {answer.status for answer in answers} == {200}
        for number, offset in enumerate((0, -DAY_SECONDS, 0)):
            clock.set(offset)
            text = f"client 1 says {number}"
            once = {"Idempotency-Key": "once"}
            body = {"role": "user", "content": text}
            assert send(server, "POST", messages, body).status == 201
            # What was answered before is answered again, whatever time it is.
            again = send(server, "POST", "/api/conversations", {"title": "once"}, **once)
            assert again.status == 201
            assert ("idempotency-replayed" in again.headers) is (number > 0)
            spoken.answer(f"spoken {number}")
            append(path, spoken.bytes()[path.stat().st_size :])
            if offset:
                # A token of the future is refused by all workers, and none remembers it for a day.
                early = [by(server, "GET", ME, tokens[0]["access_token"]) for _ in range(16)]
                assert {answer.status for answer in early} == {401}
            # Who was let in goes on: with the token, or with the next one.
            for each in list(tokens):
                tokens.append(refresh(server, each))
                tokens.remove(each)
            tokens.append(sign_in(server))
            for each in tokens:
                assert by(server, "GET", ME, each["access_token"]).status == 200
            told = datetime.fromisoformat(again.body["timestamp"])
            assert abs(told - datetime.now(UTC) - timedelta(seconds=offset)) < timedelta(hours=1)
        expected = [f"spoken {number}" for number in range(3)]
        wait_for_texts(home, "first", *expected, session=spoken.session_id)
        said = server.data(messages)["messages"]
        assert [each["content"] for each in said] == [f"client 1 says {n}" for n in range(3)]
        events = server.data("/api/events?after=0&limit=500")["events"]
        ids = [event["id"] for event in events]
        assert all(earlier < later for earlier, later in pairwise(ids))
        seen = [stream.next() for _ in events]
        assert [event["id"] for event in seen if event and "id" in event] == ids
        assert "request_failed" not in server.log.read_text()
        assert "watch_failed" not in server.log.read_text()
        assert server.stop() == 0
    check_kept(home, [f"client 1 says {number}" for number in range(3)])


def refresh(server: Server, tokens: dict) -> dict:
    """Return the next tokens."""
    body = {"refresh_token": tokens["refresh_token"]}
    answer = send(server, "POST", "/api/auth/refresh", body)
    assert answer.status == 200, answer
    return answer.body["data"]

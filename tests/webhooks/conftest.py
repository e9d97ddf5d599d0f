"""A dispatcher in a thread, receivers, and a clock that a test moves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import webtest

from observatory.app import create_app
from observatory.webhooks.dispatching import run_dispatcher
from tests.api.described import DescribedApp
from tests.processes import DEADLINE_SECONDS, wait_for
from tests.transcripts_for_tests import Transcript
from tests.webhooks.receivers import Receiver, receiving

LOCAL = ("127.0.0.0/8",)


class Clock:
    """The present, which can be moved ahead."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead

    def advance(self, seconds: float) -> None:
        self.ahead += seconds


class Hooks:
    """What a test says of webhooks, through the API."""

    def __init__(self, client: webtest.TestApp) -> None:
        self.client = client

    def make(self, receiver: Receiver | str, **body: Any) -> dict[str, Any]:
        url = receiver if isinstance(receiver, str) else receiver.url
        data: dict[str, Any] = self.client.post_json("/api/webhooks", {"url": url, **body}).json[
            "data"
        ]
        return data

    def get(self, hook: dict[str, Any]) -> dict[str, Any]:
        data: dict[str, Any] = self.client.get(f"/api/webhooks/{hook['id']}").json["data"]
        return data

    def test(self, hook: dict[str, Any]) -> str:
        answer = self.client.post(f"/api/webhooks/{hook['id']}/test", status=202)
        return str(answer.json["data"]["id"])

    def deliveries(self, hook: dict[str, Any], status: str | None = None) -> list[dict[str, Any]]:
        """Return all deliveries, the oldest first."""
        query = f"&status={status}" if status else ""
        path = f"/api/webhooks/{hook['id']}/deliveries?limit=100{query}"
        rows: list[dict[str, Any]] = self.client.get(path).json["data"]["deliveries"]
        return rows[::-1]

    def wait_for(self, hook: dict[str, Any], status: str, number: int = 1) -> list[dict[str, Any]]:
        def found() -> list[dict[str, Any]] | None:
            rows = self.deliveries(hook, status)
            return rows if len(rows) >= number else None

        rows: list[dict[str, Any]] = wait_for(found, what=f"{number} {status}")
        return rows

    def wait_for_attempts(self, hook: dict[str, Any], number: int) -> dict[str, Any]:
        """Return the first delivery when an attempt that failed was written."""

        def found() -> dict[str, Any] | None:
            rows = self.deliveries(hook)
            return rows[0] if rows and rows[0]["attempts"] >= number else None

        row: dict[str, Any] = wait_for(found, what=f"{number} attempts")
        return row


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hooks(db) -> Hooks:
    app = create_app(cors_origins=(), folders=(), webhook_networks=LOCAL)
    return Hooks(DescribedApp(app, lint=True))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@pytest.fixture
def receivers() -> Iterator[Callable[[], Receiver]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(receiving())


@pytest.fixture
def dispatching(db, clock) -> Callable[..., Any]:
    """Runs a dispatcher in a thread of its own while a block runs."""

    @contextmanager
    def run(**options: Any) -> Iterator[threading.Event]:
        stop = threading.Event()
        options = {
            "allowed_networks": LOCAL, "poll_seconds": 0.02, "clock": clock,
            "chance": lambda: 1.0, **options,
        }  # fmt: skip
        thread = threading.Thread(target=run_dispatcher, args=(stop,), kwargs=options)
        thread.start()
        try:
            yield stop
        finally:
            stop.set()
            thread.join(DEADLINE_SECONDS)
            assert not thread.is_alive()

    return run


@pytest.fixture
def say(write, ingest) -> Callable[..., Transcript]:
    """Adds prompts to a conversation and reads them."""
    known: dict[str, Transcript] = {}

    def prompts(*texts: str, session: str = "1" * 8, **options: Any) -> Transcript:
        name = f"{session}-1111-4111-8111-111111111111"
        transcript = known.setdefault(name, Transcript(name, prefix=session[0], **options))
        for text in texts:
            transcript.prompt(text)
        write(transcript)
        ingest()
        return transcript

    return prompts

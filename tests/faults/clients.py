"""Clients that go on when the server fails, and know what they were promised."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from observatory.store.database import close, configure, connect
from tests.ingest.dumps import check_sound
from tests.processes import DEADLINE_SECONDS, Home, Server
from tests.watchers import rows


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    # By name in small letters.
    headers: dict[str, str]
    body: dict[str, Any]


def send(server: Server, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """Send JSON, or bytes as they are, over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)
    try:
        is_raw = body is None or isinstance(body, bytes)
        kind = {} if "Content-Type" in headers else {"Content-Type": "application/json"}
        data = body if is_raw else json.dumps(body)
        connection.request(method, path, data, {**kind, **server.credentials(), **headers})
        answer = connection.getresponse()
        told = answer.read()
        headers_told = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, headers_told, json.loads(told) if told else {})
    finally:
        connection.close()


@dataclass(slots=True)
class Writers:
    """Clients that write until they are stopped, each the next message once one is promised."""

    server: Server
    number: int
    size: int = 0
    prefix: str = ""
    promised: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    is_over: Event = field(default_factory=Event)

    def write(self, client: int) -> None:
        """Write as one client; what fails is sent again with the same key until it is promised."""
        name = f"{self.prefix}{client}"
        made = self._insist("/api/conversations", {"title": name}, f"c{name}")
        number = 0
        while made is not None and not self.is_over.is_set():
            text = f"client {name} says {number} " + "word " * self.size
            body = {"role": "user", "content": text}
            path = f"/api/conversations/{made['data']['id']}/messages"
            if self._insist(path, body, f"c{name}-{number}") is not None:
                self.promised.append(text)
            number += 1

    def have_promised(self, number: int) -> bool:
        """Tell whether so many messages were promised."""
        return len(self.promised) >= number

    def _insist(self, path: str, body: dict[str, Any], key: str) -> dict[str, Any] | None:
        while not self.is_over.is_set():
            try:
                answer = send(self.server, "POST", path, body, **{"Idempotency-Key": key})
            except (OSError, http.client.HTTPException):
                self.is_over.wait(0.02)  # Nobody listens, or the connection broke.
                continue
            self.statuses.append(answer.status)
            if answer.status == 201:
                return answer.body
            self.is_over.wait(0.02)
        return None


@contextmanager
def writing_clients(
    server: Server, number: int = 16, *, size: int = 0, prefix: str = ""
) -> Iterator[Writers]:
    """Let clients write while a block runs.

    Args:
        size: Words that each message has beyond those that tell it from others.
        prefix: What tells these clients from others who wrote to the archive before.
    """
    server.credentials()
    writers = Writers(server, number, size, prefix)
    with ThreadPoolExecutor(number) as pool:
        running = [pool.submit(writers.write, client) for client in range(number)]
        try:
            yield writers
        finally:
            writers.is_over.set()
    for each in running:
        each.result()


def check_kept(home: Home, promised: list[str]) -> None:
    """Assert that the archive is sound, its sums are right, and what was promised is there once."""
    configure(home.database)
    connect()
    try:
        check_sound()
    finally:
        close()
    said = [
        row[0] for row in rows(home, "SELECT content FROM messages WHERE content LIKE 'client %'")
    ]
    assert len(said) == len(set(said)), "something was written twice"
    missing = set(promised) - set(said)
    assert not missing, f"{len(missing)} of {len(promised)} promised messages are lost"
    verified = home.run("verify", "--rollups")
    assert verified.returncode == 0, verified.stdout + verified.stderr

"""Many clients write to a real server while an ingest runs at full speed beside it."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from observatory.store.database import close, configure, connect, fetch_all, fetch_one
from tests.ingest.dumps import check_sound
from tests.processes import DEADLINE_SECONDS, Home, Server, finish, serving
from tests.transcripts_for_tests import Transcript

CLIENTS = 16
MESSAGES = 25


def write_as_client(server: Server, number: int) -> Iterator[tuple[int, float]]:
    """Yield status and seconds of each request of one client, who repeats every fifth."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)

    def post(path: str, body: dict, key: str) -> tuple[int, float, dict]:
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        headers |= server.credentials()
        began = time.perf_counter()
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        data = json.loads(answer.read())
        return answer.status, time.perf_counter() - began, data

    status, seconds, made = post("/api/conversations", {"title": f"client {number}"}, f"c{number}")
    yield status, seconds
    path = f"/api/conversations/{made['data']['id']}/messages"
    for message in range(MESSAGES):
        body = {"role": "user", "content": f"client {number} says {message}"}
        for _ in range(2 if message % 5 == 0 else 1):
            status, seconds, _ = post(path, body, f"c{number}-{message}")
            yield status, seconds
    connection.close()


def test_nothing_is_lost_or_doubled_or_refused(tmp_path):
    home = Home(tmp_path)
    home.projects.mkdir(parents=True)
    for session in range(40):
        transcript = Transcript(f"{session:08d}-1111-4111-8111-111111111111", prefix=f"{session}")
        for turn in range(60):
            transcript.prompt(f"turn {turn} " + "word " * 4000)
            transcript.answer("yes")
        path = home.projects / "-w" / f"{transcript.session_id}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(transcript.bytes())
    with serving(home, "--no-ingest", WEB_WORKERS="2", WEB_THREADS="4") as server:
        reading = home.popen("-m", "observatory", "ingest", "--json")
        with ThreadPoolExecutor(CLIENTS) as pool:
            answers = pool.map(lambda n: list(write_as_client(server, n)), range(CLIENTS))
            results = [result for client in answers for result in client]
        ended = finish(reading)
        assert ended.returncode == 0, ended.stderr
        assert {status for status, _ in results} == {201}
        times = sorted(seconds for _, seconds in results)
        print(f"p99 of {len(times)} writes: {times[int(len(times) * 0.99)] * 1000:.0f} ms")
    configure(home.database)
    connect()
    try:
        check_sound()
        assert fetch_one("SELECT count(*) FROM conversations WHERE source = 'api'") == (CLIENTS,)
        said = fetch_all("SELECT content FROM messages WHERE content LIKE 'client %'")
        assert sorted(row[0] for row in said) == sorted(
            f"client {number} says {message}"
            for number in range(CLIENTS)
            for message in range(MESSAGES)
        )
        assert fetch_one("SELECT count(*) FROM messages") == (40 * 120 + CLIENTS * MESSAGES,)
        assert fetch_one("SELECT sum(message_count) FROM conversations") == (
            40 * 120 + CLIENTS * MESSAGES,
        )
    finally:
        close()

"""A database whose lock another program holds longer than requests wait for it.

What the watcher does then is in ingest/test_watching.py, what commands do in test_cli.py.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import pytest

from tests.faults.clients import Answer, check_kept, send, writing_clients
from tests.processes import Home, Server, serving, wait_for

THREADS = 2


@contextmanager
def lock_held(home: Home) -> Iterator[None]:
    """Hold the lock of the database while a block runs."""
    holder = sqlite3.connect(home.database, isolation_level=None, timeout=60)
    try:
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.execute("ROLLBACK")
    finally:
        holder.close()


def count_in_flight(server: Server) -> int:
    """Return how many writes are being worked on, as threads were given to that."""
    metric = rb'_in_flight\{method="POST",route="[^"]+"\} (\d+)'
    return sum(map(int, re.findall(metric, server.get("/metrics")[1])))


def start_writes(pool: ThreadPoolExecutor, server: Server, number: int) -> list[Future[Answer]]:
    """Let clients write, and return once all threads for that wait.

    Small writes share one of them, but for those that end their connections.
    """
    path, body = "/api/conversations", {"title": "during"}
    ends = [{}, {"Connection": "close"}]
    started = [
        pool.submit(send, server, "POST", path, body, **ends[each % 2]) for each in range(number)
    ]
    wait_for(lambda: count_in_flight(server) >= THREADS, what="writes to wait")
    return started


def check_reads(server: Server) -> None:
    """Assert that reads are answered."""
    for _ in range(20):
        assert server.data("/api/conversations")["pagination"]["total"] == 1
        assert server.get("/api/search?q=word")[0] == 200
    assert server.get("/health/ready")[0] == 200


@pytest.mark.parametrize("threads", [1, THREADS])
def test_reads_go_on_while_more_writes_wait_than_there_are_threads(tmp_path, monkeypatch, threads):
    monkeypatch.setattr(f"{__name__}.THREADS", threads)
    home = Home(tmp_path)
    with serving(home, "--no-ingest", WEB_WORKERS="1", WEB_THREADS=str(threads)) as server:
        server.post("/api/conversations", {"title": "before"})
        with ThreadPoolExecutor(4 * threads) as pool:
            with lock_held(home):
                waiting = start_writes(pool, server, 4 * threads)
                check_reads(server)
                assert not any(each.done() for each in waiting)
            assert [each.result().status for each in waiting] == [201] * len(waiting)
        titles = [c["title"] for c in server.data("/api/conversations")["conversations"]]
        assert sorted(titles) == ["before", *["during"] * len(waiting)]


def test_writes_are_told_to_come_again(tmp_path):
    """A request that may take a second waits for no lock longer than that."""
    home = Home(tmp_path)
    limits = {"WEB_THREADS": str(THREADS), "REQUEST_TIMEOUT_MS": "1000"}
    with serving(home, "--no-ingest", WEB_WORKERS="1", **limits) as server:
        server.post("/api/conversations", {"title": "before"})
        with ThreadPoolExecutor(16) as pool:
            with lock_held(home):
                waiting = start_writes(pool, server, 16)
                answers = [each.result() for each in waiting]
                check_reads(server)
            for answer in answers:
                assert (answer.status, answer.body["code"]) == (503, "DATABASE_BUSY"), answer
                assert answer.headers["retry-after"] == "1"
        assert send(server, "POST", "/api/conversations", {"title": "after"}).status == 201
        titles = [c["title"] for c in server.data("/api/conversations")["conversations"]]
        assert sorted(titles) == ["after", "before"]
        assert "request_failed" not in server.log.read_text()


def test_who_comes_again_gets_through(tmp_path):
    home = Home(tmp_path)
    limits = {"WEB_THREADS": str(THREADS), "REQUEST_TIMEOUT_MS": "1000"}
    with serving(home, "--no-ingest", WEB_WORKERS="1", **limits) as server:
        with writing_clients(server, 4 * THREADS) as writers:
            wait_for(lambda: writers.promised, what="a write")
            with lock_held(home):
                wait_for(lambda: 503 in writers.statuses, what="a refusal")
                before = len(writers.promised)
            wait_for(partial(writers.have_promised, before + 20), what="writes to go on")
        assert set(writers.statuses) == {201, 503}
        assert server.stop() == 0
    check_kept(home, writers.promised)


def test_no_writer_starves_among_many(tmp_path):
    """Each of many clients gets through again and again, whichever worker it came to."""
    home = Home(tmp_path)
    with serving(home, "--no-ingest", WEB_WORKERS="2", WEB_THREADS=str(THREADS)) as server:
        with writing_clients(server, 16) as writers:

            def have_all_written() -> bool:
                said = [text.split(maxsplit=2)[1] for text in list(writers.promised)]
                return all(said.count(str(client)) >= 5 for client in range(16))

            wait_for(have_all_written, what="everybody to write")
        assert set(writers.statuses) == {201}
        # Who wrote the least while all wrote as often as they could.
        assert len(writers.promised) < 16 * 5 * 10
        assert server.stop() == 0
    check_kept(home, writers.promised)

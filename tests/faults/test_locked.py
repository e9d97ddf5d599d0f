"""A database whose lock another program holds longer than requests wait for it.

What the watcher does then is in ingest/test_watching.py, what commands do in test_cli.py.
"""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor

from tests.faults.clients import send, writing_clients
from tests.processes import Home, serving, wait_for


def test_writes_are_told_to_come_again_and_reads_go_on(tmp_path):
    """A request that may take two seconds waits for no lock longer than that."""
    home = Home(tmp_path)
    with serving(home, "--no-ingest", WEB_WORKERS="2", REQUEST_TIMEOUT_MS="2000") as server:
        server.post("/api/conversations", {"title": "before"})
        holder = sqlite3.connect(home.database, isolation_level=None)
        try:
            holder.execute("BEGIN IMMEDIATE")
            with ThreadPoolExecutor(4) as pool:
                # As many writes wait as there are threads in one worker.
                waiting = [
                    pool.submit(send, server, "POST", "/api/conversations", {"title": "during"})
                    for _ in range(4)
                ]
                for _ in range(20):
                    assert server.data("/api/conversations")["pagination"]["total"] == 1
                answers = [each.result() for each in waiting]
            for answer in answers:
                assert (answer.status, answer.body["code"]) == (503, "DATABASE_BUSY"), answer
                assert answer.headers["retry-after"] == "1"
            holder.execute("ROLLBACK")
        finally:
            holder.close()
        assert send(server, "POST", "/api/conversations", {"title": "after"}).status == 201
        titles = [c["title"] for c in server.data("/api/conversations")["conversations"]]
        assert sorted(titles) == ["after", "before"]
        assert "request_failed" not in server.log.read_text()


def test_who_comes_again_gets_through(tmp_path):
    home = Home(tmp_path)
    with serving(home, "--no-ingest", WEB_WORKERS="1", REQUEST_TIMEOUT_MS="1000") as server:
        with writing_clients(server, 4) as writers:
            wait_for(lambda: writers.promised, what="a write")
            holder = sqlite3.connect(home.database, isolation_level=None, timeout=30)
            try:
                holder.execute("BEGIN IMMEDIATE")
                wait_for(lambda: 503 in writers.statuses, what="a refusal")
                before = len(writers.promised)
                holder.execute("ROLLBACK")
            finally:
                holder.close()
            wait_for(lambda: len(writers.promised) > before + 20, what="writes to go on")
        assert set(writers.statuses) == {201, 503}

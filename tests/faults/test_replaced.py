"""A database whose files are moved, deleted or replaced under a running server."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.clients import Answer, check_kept, send, writing_clients
from tests.faults.process_trees import watcher_of
from tests.processes import Home, serving, wait_for
from tests.watchers import rows


def check_told(answer: Answer) -> None:
    """Assert that an answer says what is the matter and what to do."""
    assert (answer.status, answer.body["code"]) == (503, "NOT_READY"), answer
    assert "moved, deleted or replaced" in answer.body["error"]
    assert "start what uses it again" in answer.body["error"]
    assert "retry-after" in answer.headers


def delete(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    """Put a copy in its place, as who restores one by hand does."""
    copy = path.with_suffix(".copy")
    shutil.copy(path, copy)
    copy.replace(path)


def delete_log(path: Path) -> None:
    path.with_name(path.name + "-wal").unlink()


def delete_index(path: Path) -> None:
    path.with_name(path.name + "-shm").unlink()


@pytest.mark.parametrize("harm", [delete, replace, delete_log, delete_index])
def test_nothing_more_is_promised(tmp_path, harm: Callable[[Path], None]):
    home = Home(tmp_path)
    with serving(home, "--no-ingest", WEB_WORKERS="2") as server:
        server.post("/api/conversations", {"title": "before"})
        harm(home.database)
        for _ in range(10):
            check_told(send(server, "POST", "/api/conversations", {"title": "lost"}))
        check_told(send(server, "GET", "/health/ready"))
        wait_for(lambda: server.get("/api/conversations")[0] == 503, what="reads to be told")
        check_told(send(server, "GET", "/api/search?q=word"))
        assert server.get("/health")[0] == 200
        assert harm is not delete or not home.database.exists(), "another one was made"
        assert "request_failed" not in server.log.read_text()
        assert server.stop() == 0
    if harm in (delete_log, delete_index):
        # Who has it open last takes all of it into the file at the end, if two do not end at once.
        with serving(home, "--no-ingest") as server:
            assert send(server, "POST", "/api/conversations", {"title": "after"}).status == 201
            titles = {c["title"] for c in server.data("/api/conversations")["conversations"]}
            assert titles in ({"after", "before"}, {"after"} if harm is delete_log else None)
        check_kept(home, [])


def test_one_that_is_put_back_is_used_again(tmp_path):
    home = Home(tmp_path)
    aside = home.database.with_name("aside.db")
    with serving(home, "--no-ingest", WEB_WORKERS="2") as server:
        with writing_clients(server, 4) as writers:
            wait_for(lambda: len(writers.promised) > 10, what="writes")
            home.database.rename(aside)
            wait_for(lambda: 503 in writers.statuses, what="a refusal")
            check_told(send(server, "POST", "/api/conversations", {"title": "meanwhile"}))
            aside.rename(home.database)
            before = len(writers.promised)
            wait_for(lambda: len(writers.promised) > before + 10, what="writes to go on")
        assert set(writers.statuses) <= {201, 503}
        assert server.stop() == 0
    check_kept(home, writers.promised)
    assert not rows(home, "SELECT 1 FROM conversations WHERE title = 'meanwhile'")


def test_the_watcher_ends_when_the_log_is_gone(tmp_path):
    """It would write to a file that nobody reads."""
    home = Home(tmp_path)
    with serving(home, WEB_WORKERS="1") as server:
        watcher_of(home)
        delete_log(home.database)
        wait_for(lambda: "The watcher ended (exit code 1)" in server.log.read_text(), what="it")
        assert "moved, deleted or replaced" in server.log.read_text()

"""What an answer needs for a moment stays with the process: it is not asked of the system anew."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.processes import Home, serving
from tests.test_server import workers_of
from tests.test_small_writes import Client

MESSAGES, WORDS = 100, 500
REQUESTS = 60
# The page of 260 KB fills 64 pages of memory, and is there three times before it is sent.
MOST_FAULTS = 20


def count_faults(pid: int) -> int:
    """Return how many pages the system has given to a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells it")
def test_pages_of_messages_touch_no_new_memory(tmp_path):
    home = Home(tmp_path, {"WEB_WORKERS": "1", "INGEST_ON_START": "false"})
    with serving(home) as server:
        said = [{"role": "user", "content": "word " * WORDS}] * MESSAGES
        made = server.post("/api/conversations", {"title": "Large"})
        path = f"/api/conversations/{made['id']}/messages"
        server.post(path, {"messages": said})
        [worker] = workers_of(server.process.pid, 1)
        with closing(Client(server)) as client:
            counts = []
            for _ in range(2):
                for _ in range(REQUESTS):
                    client.get(f"{path}?limit={MESSAGES}")
                counts.append(count_faults(worker))
        assert (counts[1] - counts[0]) / REQUESTS <= MOST_FAULTS

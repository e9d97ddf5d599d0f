"""Sessions that go on while they are looked at: a record every second or so."""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import orjson

from tests.bench.transcripts import Totals, format_ms
from tests.demo.sessions import Session
from tests.demo.shapes import look_into, work_on
from tests.demo.specials import find_project
from tests.demo.topics import Project, read_projects

_SECONDS = (0.5, 1.8)
_PROJECT = "lantern-shop"


def go_on(projects: Path, *, seed: int = 1, sleep: Callable[[float], None] = time.sleep) -> None:
    """Write one session after the other, record by record as they happen, without an end.

    Args:
        projects: The folder of transcripts, with the demo in it.
        seed: Where all chance comes from; times are those of the clock.
        sleep: Waits between two records, for so many seconds.
    """
    # Not the demo's own chance: its sessions would get the same ids.
    rng = random.Random(f"live {seed} {time.time_ns()}")
    project = find_project(read_projects(), _PROJECT)
    [folder] = projects.glob(f"*{_PROJECT}")
    while True:
        session = _make_session(project, rng)
        with (folder / session.files[-1].path).open("ab", buffering=0) as stream:
            for line in session.files[-1].lines:
                stream.write(_set_time(line))
                sleep(rng.uniform(*_SECONDS))


def _make_session(project: Project, rng: random.Random) -> Session:
    now = datetime.now(UTC)
    session = Session(project, rng=rng, start=now, now=now, totals=Totals())
    topic = rng.choice(project.topics)
    look_into(session, topic, 0)
    work_on(session, topic, 0)
    session.end()
    return session


def _set_time(line: bytes) -> bytes:
    record = orjson.loads(line)
    if "timestamp" in record:
        record["timestamp"] = format_ms(time.time_ns() // 1_000_000)
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)

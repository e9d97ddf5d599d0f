"""The two archives, made once, and a server on a copy of each."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from observatory import timestamps
from observatory.log import configure_logging
from observatory.store.database import close
from tests.guards.archives import make_archive
from tests.guards.asking import Asker, open_archive

SESSIONS = 150
# How many times as many rows the larger archive has.
TIMES = 4


@pytest.fixture(scope="session")
def small_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of the smaller archive."""
    return make_archive(tmp_path_factory.mktemp("small"), sessions=SESSIONS, is_analyzed=True)


@pytest.fixture(scope="session")
def large_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of the larger archive."""
    folder = tmp_path_factory.mktemp("large")
    return make_archive(folder, sessions=TIMES * SESSIONS, is_analyzed=True)


@pytest.fixture(scope="session")
def new_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of one of which SQLite knows nothing yet, as after a first ingest."""
    return make_archive(tmp_path_factory.mktemp("new"), sessions=SESSIONS, is_analyzed=False)


@pytest.fixture(autouse=True)
def few_lines_of_log() -> None:
    """Log no requests, whatever tests before this one wanted."""
    configure_logging(level="error", log_format="json")


@pytest.fixture(autouse=True)
def still_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the archive's clock: what is written at the turn of an hour belongs to two of them."""
    moment = time.time()
    monkeypatch.setattr(timestamps, "time", lambda: moment)


def _open(archive: Path, folder: Path) -> Iterator[Asker]:
    path = folder / archive.name
    shutil.copy(archive, path)
    yield open_archive(path)
    close()


@pytest.fixture
def small(still_clock: None, small_archive: Path, tmp_path: Path) -> Iterator[Asker]:
    """A server on the smaller archive."""
    yield from _open(small_archive, tmp_path)


@pytest.fixture
def large(still_clock: None, large_archive: Path, tmp_path: Path) -> Iterator[Asker]:
    """A server on the larger archive."""
    yield from _open(large_archive, tmp_path)


@pytest.fixture
def open_server(still_clock: None, tmp_path: Path) -> Iterator[Callable[[Path], Asker]]:
    """Opens one archive after the other."""

    def open_one(archive: Path) -> Asker:
        folder = tmp_path / archive.parent.name
        folder.mkdir()
        shutil.copy(archive, folder)
        return open_archive(folder / archive.name)

    yield open_one
    close()


@pytest.fixture(params=["analyzed", "new"])
def either(request: pytest.FixtureRequest, still_clock: None, tmp_path: Path) -> Iterator[Asker]:
    """A server on the larger archive, and one on an archive that SQLite has not looked at."""
    names = {"analyzed": "large_archive", "new": "new_archive"}
    for asker in _open(request.getfixturevalue(names[request.param]), tmp_path):
        asker.is_analyzed = request.param == "analyzed"
        yield asker

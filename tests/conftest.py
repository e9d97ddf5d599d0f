"""Real SQLite files, really migrated; transcripts that a test writes itself."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import webtest

from observatory.app import create_app
from observatory.ingest.running import RunSummary
from observatory.ingest.running import ingest as run_ingest
from observatory.log import configure_logging
from observatory.store import schema
from observatory.store.database import close, configure, connect
from tests.api.described import DescribedApp
from tests.api.keyed import add_key
from tests.transcripts_for_tests import Transcript

configure_logging(level="error", log_format="json")


def pytest_xdist_auto_num_workers() -> int:
    """Run more tests at once than there are processors: many wait for servers of their own."""
    return 2 * (os.cpu_count() or 1)


SHARED = Path(__file__).resolve().parents[2] / "shared" / "transcripts"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real transcripts, which are not part of this repository."""
    if not (SHARED / "TRUTH.json").is_file():
        pytest.skip(f"real transcripts are not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database without rows, to copy while nobody has it open."""
    path = tmp_path_factory.mktemp("empty") / "observatory.db"
    configure(path)
    connect()
    schema.migrate()
    add_key()
    close()
    return path


@pytest.fixture
def db(tmp_path: Path, empty_database: Path) -> Iterator[Path]:
    """The path of a migrated database, to which this thread is connected."""
    path = tmp_path / "observatory.db"
    shutil.copy(empty_database, path)
    configure(path)
    connect()
    yield path
    # A reading that a request asked for goes on, and would have the next test's database open.
    for thread in threading.enumerate():
        if thread.name == "reading":
            thread.join(60)
    close()


@pytest.fixture
def client(db: Path) -> webtest.TestApp:
    """A client of the application, with WSGI's rules checked."""
    return DescribedApp(create_app(cors_origins=(), folders=("/nowhere/projects",)), lint=True)


@pytest.fixture
def projects(tmp_path: Path) -> Path:
    """An empty ``projects`` folder."""
    folder = tmp_path / "projects"
    folder.mkdir()
    return folder


@pytest.fixture
def ingest(db: Path, projects: Path) -> Callable[..., RunSummary]:
    """Reads what is new below ``projects``, or below the paths given."""

    def read(*paths: Path | str, **options: object) -> RunSummary:
        return run_ingest([str(p) for p in paths or (projects,)], **options)  # type: ignore[arg-type]

    return read


@pytest.fixture
def write(projects: Path) -> Callable[..., Path]:
    """Writes a transcript to ``projects/-work/<session>.jsonl``, or to a path below it."""

    def to_file(transcript: Transcript, path: str | None = None) -> Path:
        target = projects / (path or f"-work/{transcript.session_id}.jsonl")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(transcript.bytes())
        return target

    return to_file

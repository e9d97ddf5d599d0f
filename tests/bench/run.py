"""Where one run of the bench works, how much it does, and what its stages share."""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tests.bench import corpus
from tests.bench.floor import RawQueries
from tests.bench.processes import REPOSITORY, Run, run_to_end
from tests.bench.transcripts import Totals

MEBIBYTE = 1 << 20
MANY_CONNECTIONS = 1_000
BUILD = REPOSITORY / "build" / "bench"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    megabytes: float = 200
    seconds: float = 5
    rounds: int = 3
    connections: tuple[int, ...] = (1, 50, MANY_CONNECTIONS)
    # Of the endpoints that are not asked for most.
    brief_connections: tuple[int, ...] = (1, 50, MANY_CONNECTIONS)
    writers: tuple[int, ...] = (1, 16, 50)
    # Messages of the databases that search and reports are measured on.
    messages: tuple[int, ...] = (200_000, 2_000_000)
    growth: tuple[int, ...] = (20_000, 200_000, 2_000_000)
    lines: int = 500
    streams: int = 1_000
    idle_files: int = 10_000
    idle_seconds: float = 65
    starts: int = 5


QUICK = Sizes(
    megabytes=5,
    seconds=0.5,
    rounds=2,
    connections=(1, 50, 200),
    brief_connections=(50,),
    messages=(10_000,),
    growth=(1_000, 10_000),
    lines=40,
    streams=100,
    idle_files=500,
    idle_seconds=3,
    starts=2,
)


@dataclass(frozen=True, slots=True)
class Bench:
    """One run: its folder, its corpus, how much it does, and what it found beside the figures."""

    folder: Path
    transcripts: Path
    totals: Totals
    sizes: Sizes
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long each load lasts."""
        return self.sizes.seconds

    @property
    def database(self) -> Path:
        """The archive of the corpus, which the stage ``ingest`` makes anew."""
        return self.folder / "observatory.db"

    def make_env(self, **more: str) -> dict[str, str]:
        """Return the environment of the product's processes."""
        return {
            **os.environ,
            "DB_PATH": str(self.database),
            "TRANSCRIPTS_DIR": str(self.transcripts),
            "HOST": "127.0.0.1",
            "RATE_LIMIT_MAX_REQUESTS": "100000000",
            **more,
        }

    def ingest(self, paths: Sequence[Path], *, log: str, **env: str) -> tuple[Run, dict[str, Any]]:
        """Let a process read transcripts; return how it went, and what it says of it."""
        command = [sys.executable, "-m", "observatory", "ingest", "--json", *map(str, paths)]
        run = run_to_end(command, env=self.make_env(**env), log=self.folder / f"{log}.log")
        return run, orjson.loads(run.output)

    def need_archive(self) -> None:
        """Make the archive of the corpus, unless the one there is of the same corpus."""
        made_of = self.folder / "archive_of.txt"
        is_there = self.database.exists() and made_of.exists()
        if not is_there or made_of.read_text() != str(self.transcripts):
            self.make_archive()

    def make_archive(self) -> tuple[Run, dict[str, Any]]:
        """Make the archive anew; return how reading the corpus went."""
        remove_database(self.database)
        done = self.ingest([self.transcripts], log="ingest")
        (self.folder / "archive_of.txt").write_text(str(self.transcripts))
        return done

    def choose_conversation(self) -> str:
        """Return the id of the conversation that is asked for."""
        return choose_conversation(self.database)


def prepare(*, sizes: Sizes, seed: int) -> Bench:
    """Make the corpus unless an equal one is there, and a folder for the run."""
    made = BUILD / f"corpus-{sizes.megabytes:g}-{seed}-r{corpus.REVISION}"
    totals_file = made / "totals.json"
    if not totals_file.exists():
        shutil.rmtree(made, ignore_errors=True)
        totals = corpus.write_corpus(made / "projects", megabytes=sizes.megabytes, seed=seed)
        totals_file.write_bytes(orjson.dumps(asdict(totals)))
    folder = BUILD / "run"
    folder.mkdir(parents=True, exist_ok=True)
    totals = Totals(**orjson.loads(totals_file.read_bytes()))
    return Bench(folder=folder, transcripts=made / "projects", totals=totals, sizes=sizes)


def choose_conversation(database: Path) -> str:
    """Return the id of a conversation of a hundred messages, or nearly so."""
    raw = RawQueries(database)
    try:
        return raw.choose_conversation(at_least_messages=100)[0]
    finally:
        raw.close()


def remove_database(path: Path) -> None:
    """Remove a database with all that lies beside it."""
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def raise_open_files(wanted: int) -> None:
    """Let this process and those that it starts open so many files, as far as they may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))

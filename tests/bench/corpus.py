"""Make a folder of transcripts of any size, shaped like real ones, the same for the same seed.

python -m tests.bench.corpus OUT --megabytes 200 --seed 1
"""

import argparse
import dataclasses
import os
import random
import re
import sys
import time
from datetime import datetime
from pathlib import Path

import orjson

from tests.bench.sessions import Session
from tests.bench.shape import ERAS, LINES_PER_SESSION, SESSION_ERAS, Era
from tests.bench.subagents import NewFile
from tests.bench.transcripts import Setting, Totals, make_uuid
from tests.bench.words import TextPools

REVISION = 1  # raise it when the same seed gives other bytes
MEGABYTE = 1_000_000
_SESSION_BYTES = 1_200_000
_LEAST_SESSIONS = 60
_FORK_SHARE = 0.02
_DAY_MS = 86_400_000
_CWDS = (
    "/Users/{user}/code/{name}",
    "/Users/{user}/work/{name}-{more}",
    "/home/{user}/src/{name}_{more}",
    "/home/{user}/projects/{name}.{more}",
    "/workspaces/{name}",
    "C:\\Users\\{user}\\Documents\\{name}",
)


class Corpus:
    """A folder of transcripts being written.

    Sessions of a small corpus are shorter than real ones, so that it holds about 60 at least.
    """

    def __init__(self, folder: Path, *, target_bytes: int, seed: int) -> None:
        self.totals = Totals()
        self._folder = folder
        self._target = target_bytes
        self._rng = random.Random(f"{seed}")
        self._pools = TextPools(
            self._rng,
            pool_chars=min(4_500_000, max(400_000, target_bytes // 12)),
            most_chars=max(6_000, target_bytes // 200),
        )
        self._scale = min(1.0, target_bytes / (_LEAST_SESSIONS * _SESSION_BYTES))
        self._cwds = [self._make_cwd() for _ in range(max(12, min(60, target_bytes // 5_000_000)))]

    def write(self) -> Totals:
        """Write sessions until the corpus is as large as asked for."""
        while self.totals.source_bytes < self._target:
            self._write_session()
        return self.totals

    def _write_session(self) -> None:
        rng = self._rng
        cwd = self._cwds[int(len(self._cwds) * rng.random() ** 2.5)]
        era = ERAS[SESSION_ERAS.draw(rng)]
        setting = Setting(
            session_id=make_uuid(rng),
            cwd=cwd,
            branch=rng.choice(("main", "main", "", f"feature/{self._pools.name()}")),
            version=rng.choice(era.versions),
            slug="-".join(self._pools.name() for _ in range(3)),
        )
        clock_ms = _choose_start(era, rng)
        session = Session(
            rng, self._pools, era, setting=setting, clock_ms=clock_ms, totals=self.totals
        )
        line_count = max(3, round(LINES_PER_SESSION.draw(rng) * self._scale))
        session.write(line_count=line_count, max_bytes=self._target - self.totals.source_bytes)
        self.totals.sessions += 1
        project = self._folder / encode_cwd(cwd)
        for file in session.list_files():
            self._write_file(project, file)
        if rng.random() < _FORK_SHARE and self.totals.source_bytes < 0.9 * self._target:
            self.totals.sessions += 1
            self._write_file(project, session.fork())

    def _write_file(self, project: Path, file: NewFile) -> None:
        write_file(project / file.path, file, self.totals)

    def _make_cwd(self) -> str:
        name, pattern = self._pools.name, self._rng.choice(_CWDS)
        return pattern.format(user=name(), name=name(), more=name())


def write_file(path: Path, file: NewFile, totals: Totals) -> None:
    """Write a file with the time of its last record, and count it if it is a transcript."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = b"".join(file.lines)
    path.write_bytes(data)
    os.utime(path, (file.modified_ms / 1000, file.modified_ms / 1000))
    if path.suffix == ".jsonl":
        totals.files += 1
        totals.lines += len(file.lines)
        totals.source_bytes += len(data)


def encode_cwd(cwd: str) -> str:
    """Return the name of the folder in which the client keeps a project's transcripts."""
    return re.sub(r"[^A-Za-z0-9]", "-", cwd)


def write_corpus(folder: Path, *, megabytes: float, seed: int) -> Totals:
    """Write a corpus of ``megabytes`` million bytes into an empty or new folder.

    Raises:
        FileExistsError: The folder holds something already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    return Corpus(folder, target_bytes=round(megabytes * MEGABYTE), seed=seed).write()


def _choose_start(era: Era, rng: random.Random) -> int:
    first, last = (
        int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp() * 1000) for day in era.days
    )
    return first + int(rng.random() * (last - first + _DAY_MS))


def main(arguments: list[str]) -> int:
    """Write a corpus and print what it holds as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.corpus", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    totals = write_corpus(options.folder, megabytes=options.megabytes, seed=options.seed)
    seconds = time.perf_counter() - started
    summary = {**dataclasses.asdict(totals), "seconds": round(seconds, 3)}
    print(orjson.dumps(summary).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

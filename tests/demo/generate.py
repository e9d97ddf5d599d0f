"""All transcripts of the demo, the same for the same seed and the same moment."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from tests.bench.corpus import encode_cwd, write_file
from tests.bench.subagents import NewFile
from tests.bench.transcripts import Totals
from tests.demo import specials
from tests.demo.days import choose_starts
from tests.demo.sessions import Session
from tests.demo.shapes import SHAPES, answer_question
from tests.demo.specials import SPECIALS, find_project
from tests.demo.topics import Project, Question, Topic, read_projects

REVISION = 1  # raise it when the same seed gives other bytes
LIVE_FOR = timedelta(minutes=4)


@dataclass(slots=True)
class Demo:
    """What was written: ``live`` is the file of the session that is at work."""

    totals: Totals = field(default_factory=Totals)
    bad_lines: int = specials.BAD_LINES
    live: Path = Path()


@dataclass(frozen=True, slots=True)
class _Work:
    """A session to be written, and when in the sixty days: 0 at their beginning, 1 at the end."""

    place: float
    project: Project
    subject: Topic | Question
    step: int
    number: int


def write_demo(folder: Path, *, now: datetime, seed: int = 1) -> Demo:
    """Write the demo's transcripts into an empty or new ``projects`` folder.

    Args:
        folder: Where to.
        now: A moment with a zone, whose hours the team works by; nothing is later.
        seed: Where all chance comes from.

    Raises:
        FileExistsError: The folder holds something already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    return _Writer(folder, now=now, seed=seed).write()


class _Writer:
    def __init__(self, folder: Path, *, now: datetime, seed: int) -> None:
        self._folder, self._now = folder, now
        self._rng = random.Random(f"{seed}")
        self._demo = Demo()
        self._projects = read_projects()

    def write(self) -> Demo:
        """Write all of it."""
        self._write_work()
        for special in SPECIALS:
            self._write_special(special)
        self._write_live()
        return self._demo

    def _write_work(self) -> None:
        work = sorted(self._list_work(), key=lambda each: each.place)
        starts = choose_starts(self._now, count=len(work), rng=self._rng)
        for each, start in zip(work, starts, strict=True):
            subject = each.subject
            is_branch = isinstance(subject, Topic) and each.step > 0
            branch = f"work/{getattr(subject, 'name', '')}" if is_branch else "main"
            session = self._begin(each.project, start, branch=branch)
            if isinstance(subject, Topic):
                SHAPES[each.step](session, subject, each.number)
            else:
                answer_question(session, subject)
            self._end(session)

    def _list_work(self) -> Iterator[_Work]:
        """Yield all work: what is done on a topic comes in its order."""
        rng, number = self._rng, 0
        for project in self._projects:
            for topic in project.topics:
                place = rng.random()
                for step in range(len(SHAPES)):
                    yield _Work(place, project, topic, step, number)
                    place += rng.uniform(0.01, 0.12)
                number += 1
            for question in project.questions:
                yield _Work(rng.random() * 1.2, project, question, 0, number)

    def _write_special(self, special: specials.Special) -> None:
        start = specials.at_work(self._now - timedelta(days=special.days_ago))
        project = find_project(self._projects, special.project)
        session = self._begin(project, start, branch=special.branch)
        special.write(session)
        self._end(session)
        if special.write is specials.write_overloaded:
            self._demo.totals.sessions += 1
            self._write_file(project, specials.fork(session, self._rng))

    def _write_live(self) -> None:
        project = find_project(self._projects, "lantern-shop")
        session = self._begin(project, self._now - LIVE_FOR, branch="work/tax-rates")
        specials.write_live(session)
        self._end(session)
        self._demo.live = self._path(project, session.files[-1])

    def _begin(self, project: Project, start: datetime, *, branch: str) -> Session:
        return Session(
            project,
            rng=self._rng,
            start=start,
            now=self._now,
            totals=self._demo.totals,
            branch=branch,
        )

    def _end(self, session: Session) -> None:
        session.end()
        for file in session.files:
            self._write_file(session.project, file)

    def _write_file(self, project: Project, file: NewFile) -> None:
        write_file(self._path(project, file), file, self._demo.totals)

    def _path(self, project: Project, file: NewFile) -> Path:
        return self._folder / encode_cwd(project.cwd) / file.path

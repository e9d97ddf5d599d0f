"""What the team works on: projects, topics and questions, as the files in ``projects/`` tell."""

import random
import tomllib
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent / "projects"


@dataclass(frozen=True, slots=True)
class Topic:
    """One piece of work; ``titles`` are of looking into it, of doing it and of reviewing it."""

    name: str
    titles: tuple[str, str, str]
    ask: str
    fix: str
    review: str
    grep: str
    thinking: str
    cause: str
    file: str
    source: str
    old: str
    new: str
    test_file: str
    test_name: str
    test: str
    failure: str
    done: str
    notes: tuple[str, str]
    picture: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """Something asked in passing."""

    title: str
    prompt: str
    answer: str
    picture: bool = False


@dataclass(frozen=True, slots=True)
class Project:
    """A project: how it is checked, and what these checks print."""

    name: str
    cwd: str
    language: str
    check: str
    lint: str
    passed: str
    failed: str
    topics: tuple[Topic, ...]
    questions: tuple[Question, ...]

    def check_command(self, topic: Topic) -> str:
        """Return the command that runs a topic's test."""
        return self.check.format(test_file=topic.test_file, test_name=topic.test_name)

    def check_output(self, topic: Topic, rng: random.Random, *, passes: bool) -> str:
        """Return what that command prints."""
        count = 6 + len(topic.source) % 40
        words = {
            "cwd": self.cwd,
            "count": count,
            "rest": count - 1,
            "dots": "." * (count if passes else count - 1),
            "ms": rng.randint(10, 95),
            "test_file": topic.test_file,
            "test_name": topic.test_name,
            "failure": topic.failure.strip("\n"),
        }
        return (self.passed if passes else self.failed).format(**words).strip("\n")


def read_projects() -> list[Project]:
    """Return all projects, by name."""
    return [_read(path) for path in sorted(_FOLDER.glob("*.toml"))]


def _read(path: Path) -> Project:
    told = tomllib.loads(path.read_text(encoding="utf-8"))
    for topic in told["topics"]:
        for name in ("source", "test"):
            topic[name] = topic[name].lstrip("\n")
        topic["titles"], topic["notes"] = tuple(topic["titles"]), tuple(topic["notes"])
    told["topics"] = tuple(Topic(**topic) for topic in told["topics"])
    told["questions"] = tuple(
        Question(**{**question, "answer": question["answer"].strip("\n")})
        for question in told["questions"]
    )
    return Project(**told)

"""What a watcher does beside reading: chores between readings, and threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from observatory.log import log


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a chore has done.

    Attributes:
        result: In a few words that name no content, kept in the table ``maintenance``; ``None``
            when there is nothing to tell.
        again_seconds: When to run it again; ``None`` after its interval.
        is_good: Whether all is well.
        next_seconds: When it will have something to do again, if that is not when it runs.
    """

    result: str | None
    again_seconds: float | None = None
    is_good: bool = True
    next_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Chore:
    """Something that the watcher does now and then, between readings, with its connection.

    What ``run`` raises is logged and kept. It should be short: lines that come meanwhile wait.
    ``first_seconds`` is when it runs first; ``None`` after its interval.
    """

    name: str
    interval_seconds: float
    run: Callable[[], Outcome | None]
    first_seconds: float | None = None

    def do(self, should_give_way: Callable[[], bool]) -> Outcome | None:
        """Run it."""
        return self.run()


@dataclass(frozen=True, slots=True)
class LongChore:
    """A chore that takes a while: it ends soon after the function that it is given turns true.

    That is as long as the watcher has lines to read, or is to end.
    """

    name: str
    interval_seconds: float
    run: Callable[[Callable[[], bool]], Outcome | None]
    first_seconds: float | None = None

    def do(self, should_give_way: Callable[[], bool]) -> Outcome | None:
        """Run it."""
        return self.run(should_give_way)


@dataclass(frozen=True, slots=True)
class Companion:
    """A thread beside the watcher: ``run`` returns soon after the event that it is given is set."""

    name: str
    run: Callable[[threading.Event], None]


def start(companion: Companion, stop: threading.Event) -> threading.Thread:
    """Start a companion in a thread of its own; how it fails is logged."""

    def run() -> None:
        try:
            companion.run(stop)
        except Exception as error:
            log.error("companion_failed", name=companion.name, exc_info=error)

    thread = threading.Thread(target=run, name=companion.name, daemon=True)
    thread.start()
    return thread

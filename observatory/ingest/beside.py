"""What a watcher does beside reading: chores between readings, and threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from observatory.log import log


@dataclass(frozen=True, slots=True)
class Chore:
    """Something that the watcher does now and then, between readings, with its connection.

    What ``run`` raises is logged. It should be short: lines that come meanwhile wait.
    """

    name: str
    interval_seconds: float
    run: Callable[[], None]


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

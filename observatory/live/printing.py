"""Printing events as they come: as lines for people, or as they are, as JSON."""

from __future__ import annotations

import os
import select
import stat
import time
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Protocol, TextIO

import orjson
from rich.console import Console
from rich.text import Text

from observatory.live.layout import Layout
from observatory.live.lines import describe
from observatory.live.terminal_text import escape_json
from observatory.store.event_notes import CONVERSATION_UPDATED
from observatory.store.events import Bounds
from observatory.timestamps import seconds_of

# A conversation at work changes several times a second.
UPDATE_SECONDS = 5.0


def go_on_after(position: int, bounds: Bounds) -> int:
    """Return behind which event to go on where those behind a position can not be had."""
    return bounds.oldest - 1 if position < bounds.oldest else bounds.latest


class Output:
    """Standard output without a buffer: what is written is there at once, or never.

    A signal can so end this process while nobody takes what it writes; with a buffer, Python
    would wait for them once more at its end.
    """

    def __init__(self, stream: TextIO) -> None:
        self._file = stream.fileno()
        self._poll: select.poll | None = None
        mode = os.fstat(self._file).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            self._poll = select.poll()
            # Without a wish it still hears that the reader is gone.
            self._poll.register(self._file, 0)

    def write(self, data: bytes) -> None:
        """Write all of it.

        Raises:
            BrokenPipeError: The reader is gone.
        """
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def wait(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            BrokenPipeError: The reader is gone.
        """
        if self._poll is None:
            time.sleep(seconds)
            return
        for _, happened in self._poll.poll(seconds * 1000):
            if happened & (select.POLLERR | select.POLLHUP):
                raise BrokenPipeError
            time.sleep(seconds)


class Printer(Protocol):
    """Prints events one after the other."""

    def is_shown(self, body: bytes) -> bool:
        """Tell whether it has something to say of an event, asked from the newest to the oldest."""

    def show(self, body: bytes, *, is_old: bool = False) -> None:
        """Print an event; an old one is one that ``is_shown`` was asked about."""

    def show_gap(self, position: int, bounds: Bounds) -> None:
        """Print that events behind a position can not be had."""

    def show_late(self, moment: float) -> None:
        """Print what was kept back and is due at a time."""


class JsonPrinter:
    """Each event as one line of JSON."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def is_shown(self, body: bytes) -> bool:
        """Everything is."""
        return True

    def show(self, body: bytes, *, is_old: bool = False) -> None:
        """Print an event."""
        self._output.write(escape_json(body) + b"\n")

    def show_gap(self, position: int, bounds: Bounds) -> None:
        """Print the same that streams tell, see docs/api.md."""
        reason = "expired" if position < bounds.oldest else "unknown"
        told = {"type": "resync", "reason": reason, "after": go_on_after(position, bounds)}
        self.show(orjson.dumps(told))

    def show_late(self, moment: float) -> None:
        """Nothing is kept back."""


class Updates:
    """Keeps back changes of a conversation that come shortly after another one."""

    def __init__(self) -> None:
        self._shown: dict[str, float] = {}
        self._waiting: dict[str, bytes] = {}

    def take(self, conversation_id: str, moment: float, body: bytes | None = None) -> bool:
        """Tell whether a change is to be shown; if not, what is given of it is kept."""
        shown = self._shown.get(conversation_id)
        if shown is not None and abs(moment - shown) < UPDATE_SECONDS:
            if body is not None:
                self._waiting[conversation_id] = body
            return False
        self._shown[conversation_id] = moment
        self._waiting.pop(conversation_id, None)
        return True

    def pop_due(self, moment: float) -> list[bytes]:
        """Return the last kept change of each conversation for which it is time."""
        due = [key for key in self._waiting if abs(moment - self._shown[key]) >= UPDATE_SECONDS]
        for key in due:
            self._shown[key] = moment
        return [self._waiting.pop(key) for key in due]


class LinePrinter:
    """Each event as one line for people.

    Args:
        output: Where lines go.
        console: Says how wide they may be and which colours there are.
        shorten: Returns the short form of a conversation's id.
        asked_for: The types that somebody named.
    """

    def __init__(
        self,
        output: Output,
        console: Console,
        *,
        shorten: Callable[[str], str],
        asked_for: Collection[str],
    ) -> None:
        self._output = output
        self._console = console
        self._asked_for = asked_for
        self._layout = Layout(shorten, today=datetime.now().astimezone().date())
        self._old_updates = Updates()
        self._updates = Updates()

    def is_shown(self, body: bytes) -> bool:
        """Tell whether an event says something, and does so for the first time of several."""
        event = orjson.loads(body)
        if describe(event, asked_for=self._asked_for) is None:
            return False
        return event["type"] != CONVERSATION_UPDATED or self._old_updates.take(
            event["conversation_id"], seconds_of(event["created_at"])
        )

    def show(self, body: bytes, *, is_old: bool = False) -> None:
        """Print an event, if it says something."""
        event = orjson.loads(body)
        parts = describe(event, asked_for=self._asked_for)
        if parts is None:
            return
        if event["type"] == CONVERSATION_UPDATED and not is_old:
            moment = seconds_of(event["created_at"])
            if not self._updates.take(event["conversation_id"], moment, body):
                return
        for line in self._layout.lay_out(event, parts, width=self._width()):
            self._print(line)

    def show_gap(self, position: int, bounds: Bounds) -> None:
        """Print that something is missing here."""
        if position < bounds.oldest:
            told = f"events {position + 1:,} to {bounds.oldest - 1:,} are not kept any more"
        else:
            told = f"there is no event {position:,} yet; the newest is {bounds.latest:,}"
        self._print(self._layout.note(told, width=self._width()))

    def show_late(self, moment: float) -> None:
        """Print the changes of conversations that were kept back."""
        for body in self._updates.pop_due(moment):
            self.show(body, is_old=True)

    def _width(self) -> int | None:
        # What is no terminal has no width: a program that reads the lines gets all of each.
        return self._console.width if self._console.is_terminal else None

    def _print(self, line: Text) -> None:
        text = line.plain
        if self._console.is_terminal and not self._console.no_color:
            # Captured, for rich has a way of its own to end a program whose reader is gone.
            with self._console.capture() as captured:
                self._console.print(line, soft_wrap=True, end="")
            text = captured.get()
        self._output.write(f"{text}\n".encode(self._console.encoding, "replace"))

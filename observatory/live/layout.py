"""Lines of events in columns: time of day, project, conversation, what it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, tzinfo
from typing import Any

from rich.text import Text

from observatory.live.lines import DIM, Part
from observatory.live.terminal_text import clean, cut, measure, pad
from observatory.transcripts.layout import project_name

# Red, yellow and green say how something went.
_COLOURS = ("cyan", "magenta", "blue", "bright_cyan", "bright_magenta", "bright_blue")
_GAP = "  "
_MAX_PROJECT = 16
_LEAST_SHORT_ID = 7
# The few ids that need more than that stand out of their column instead of widening it for good.
_MAX_SHORT_ID = 12
_MAX_LONG_ID = 80


class Layout:
    """Lays lines out; columns grow with what is in them, so that later lines are aligned.

    Args:
        shorten: Returns the short form of a conversation's id.
        today: The day that needs no heading.
        zone: The time zone of the times; ``None`` is that of this machine.
    """

    def __init__(
        self, shorten: Callable[[str], str], *, today: date, zone: tzinfo | None = None
    ) -> None:
        self._shorten = shorten
        self._day = today
        self._zone = zone
        self._project_width = 0
        self._id_width = _LEAST_SHORT_ID
        self._names: dict[str, tuple[str, str]] = {}

    def lay_out(
        self, body: dict[str, Any], parts: Sequence[Part], *, width: int | None
    ) -> list[Text]:
        """Return the line of an event, and before it the day where another one begins.

        Args:
            body: The event.
            parts: What it says.
            width: The cells that a line may take; ``None`` does not cut.
        """
        moment = datetime.fromisoformat(body["created_at"]).astimezone(self._zone)
        lines = []
        if moment.date() != self._day:
            self._day = moment.date()
            lines.append(self.note(f"{self._day:%A, %Y-%m-%d}", width=width))
        project = cut(clean(project_name(body["project_path"] or "")), _MAX_PROJECT)
        short, colour = self._name(body["conversation_id"])
        self._project_width = max(self._project_width, measure(project))
        self._id_width = max(self._id_width, min(measure(short), _MAX_SHORT_ID))
        columns = [
            Part(f"{moment:%H:%M:%S}{_GAP}", DIM),
            Part(pad(project, self._project_width) + _GAP),
            Part(pad(short, max(self._id_width, measure(short))) + _GAP, colour),
        ]
        lines.append(_fit([*columns, *parts], width))
        return lines

    def note(self, text: str, *, width: int | None) -> Text:
        """Return a line that is about no event."""
        return _fit([Part(f"── {text}", DIM)], width)

    def _name(self, conversation_id: str | None) -> tuple[str, str]:
        """Return the short id of a conversation and its colour; each gets the next one."""
        if conversation_id is None:
            return "", ""
        if conversation_id not in self._names:
            short = cut(clean(self._shorten(conversation_id)), _MAX_LONG_ID)
            colour = _COLOURS[len(self._names) % len(_COLOURS)]
            self._names[conversation_id] = (short, colour)
        return self._names[conversation_id]


def _fit(parts: Sequence[Part], width: int | None) -> Text:
    """Return words as one line that is no wider than allowed, without spaces at its end."""
    line = Text(no_wrap=True, end="")
    left = width
    for part in parts:
        text = clean(part.text)
        if left is not None:
            shown = cut(text, left)
            left -= measure(shown)
            line.append(shown, part.style or None)
            if shown != text:
                break
        else:
            line.append(text, part.style or None)
    line.rstrip()
    return line

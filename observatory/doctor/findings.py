"""What was looked at and how it is."""

from __future__ import annotations

from dataclasses import dataclass

OK = "ok"
WARNING = "warning"
ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What it is, always the same for the same thing.
        level: ``ok``, ``warning`` (it works, and may not for long) or ``error``.
        message: How it is.
        mend: What to do about it; ``None`` where nothing is to be done.
    """

    name: str
    level: str
    message: str
    mend: str | None = None


def ok(name: str, message: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(name, OK, message)


def warning(name: str, message: str, mend: str) -> Finding:
    """Return that something works, and may not for long."""
    return Finding(name, WARNING, message, mend)


def error(name: str, message: str, mend: str) -> Finding:
    """Return that something does not work."""
    return Finding(name, ERROR, message, mend)

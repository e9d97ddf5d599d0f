"""Numbered sessions, which share nothing."""

from __future__ import annotations

from tests.transcripts_for_tests import Transcript

SESSION = "11111111-1111-4111-8111-111111111111"


def session_id(number: int) -> str:
    """Return the id of a numbered conversation."""
    return f"{number:08d}-0000-4000-8000-000000000000"


def numbered(number: int, **options: str) -> Transcript:
    """Return an empty transcript that shares no id with those of other numbers."""
    return Transcript(session_id(number), prefix=f"{number}.", **options)

"""What people at a command line name: the one thing that they can have meant."""

from __future__ import annotations

import os
from collections.abc import Sequence

from observatory.errors import ObservatoryError
from observatory.ingest.discover import text_path
from observatory.live.terminal_text import clean
from observatory.store.conversation_names import find_project_paths

NAMED_AT_MOST = 5


class UnknownName(ObservatoryError):
    """What somebody named is not there, or could be several things."""


def find_the_project(text: str) -> str:
    """Return the path of the project that a text names: a path, or the name of its folder.

    Raises:
        UnknownName: There is no such project, or more than one; it lists them.
    """
    # A name, or a path as it is stored, which may be of another machine; else one of this one.
    paths = find_project_paths(text_path(text), limit=NAMED_AT_MOST)
    if not paths:
        paths = find_project_paths(text_path(os.path.abspath(text)), limit=1)
    return the_only("project", text, paths)


def the_only(noun: str, text: str, found: Sequence[str]) -> str:
    """Return the one thing that was found.

    Raises:
        UnknownName: Nothing was, or more than one.
    """
    named = clean(text_path(text))
    if not found:
        raise UnknownName(f"There is no {noun} {named}.")
    if len(found) > 1:
        listed = ", ".join(map(clean, found))
        more = " and maybe more" if len(found) == NAMED_AT_MOST else ""
        raise UnknownName(f"{named} could be {listed}{more}; name one {noun}.")
    return found[0]

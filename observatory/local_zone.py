"""The time zone of this machine, by its IANA name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_ZONES = "zoneinfo/"
_LOCALTIME = Path("/etc/localtime")
_NAME = Path("/etc/timezone")


def find_zone(name: str) -> ZoneInfo | None:
    """Return the zone with an IANA name, or ``None`` when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def find_local_zone(
    variable: str | None, *, localtime: Path = _LOCALTIME, name: Path = _NAME
) -> ZoneInfo | None:
    """Return the zone of this machine, or ``None`` when its IANA name can not be told.

    Args:
        variable: What TZ says, if it is set; empty is UTC.
        localtime: The file of the zone, which is a link to one of many as a rule.
        name: The file that some systems keep the name in.

    Source: tzset(3), "The TZ variable"; localtime(5).
    """
    if variable is not None:
        text = variable.removeprefix(":")
        return find_zone(_name_of(text) if text else "UTC")
    for found in _find_names(localtime, name):
        zone = find_zone(found)
        if zone is not None:
            return zone
    return None


def _find_names(localtime: Path, name: Path) -> Iterator[str]:
    try:
        # Names that are links to others are as good: the first one is what was chosen.
        yield _name_of(str(localtime.readlink()))
        yield _name_of(os.path.realpath(localtime))
    except OSError:
        # There is none, or it is a copy.
        pass
    try:
        yield name.read_text(errors="replace").strip()
    except OSError:
        return


def _name_of(path: str) -> str:
    """Return the part of a path behind the folder of zones; other text as it is."""
    return path.rpartition(_ZONES)[2]

"""Which file systems tell of changes, and which have to be asked again and again.

Source: ``man 5 proc_pid_mountinfo``; ``man 7 inotify`` (what happens on another machine, or on the
other side of a virtual one, is not told).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
# Shared over a network, or between a machine and the one that it runs.
_SILENT = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "drvfs", "fakeowner", "fuse", "gfs2", "glusterfs",
    "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs",
    "vmhgfs",
})  # fmt: skip
_ESCAPED = re.compile(r"\\([0-7]{3})")


def choose_mode(folder: str, *, mode: str = "auto", mounts: Path = MOUNTS) -> str:
    """Return how changes in a folder are noticed: by ``events`` or by ``polling``.

    Args:
        folder: Its path; it need not be there.
        mode: What the settings say: ``auto`` asks which file system it lies on.
        mounts: The list of mounted file systems; where there is none, events are expected.
    """
    if mode != "auto":
        return mode
    return "polling" if is_silent(find_filesystem(folder, mounts=mounts)) else "events"


def is_silent(filesystem: str | None) -> bool:
    """Tell whether a kind of file system leaves out changes that others make."""
    return filesystem is not None and (filesystem in _SILENT or filesystem.startswith("fuse."))


def find_filesystem(folder: str, *, mounts: Path = MOUNTS) -> str | None:
    """Return the kind of file system that a path lies on, or ``None`` when nobody tells."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    real = os.path.realpath(folder)
    longest, found = "", None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")[0]
        if len(fields) < 5 or not kind:
            continue
        point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4])
        # Of several mounted at one place the last one is seen.
        if len(point) >= len(longest) and (real + "/").startswith(point.rstrip("/") + "/"):
            longest, found = point, kind
    return found

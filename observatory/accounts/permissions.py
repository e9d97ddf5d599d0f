"""What may be done, and what each role may do."""

from __future__ import annotations

from collections.abc import Iterable

ADMIN = "admin"
READ = "conversations:read"
WRITE = "conversations:write"
UPLOAD = "files:write"
ANALYTICS = "analytics:read"
METRICS = "metrics:read"

# What a key can be given, with what it allows. ``admin`` allows everything.
SCOPES = {
    READ: "read conversations, messages and files, search and export them",
    WRITE: "make, change and delete conversations",
    UPLOAD: "upload transcripts and have them read",
    ANALYTICS: "read sums over conversations, without their text",
    METRICS: "read the numbers for Prometheus",
    ADMIN: "everything, and accounts",
}
ALL = frozenset(SCOPES)
ROLES: dict[str, frozenset[str]] = {
    "admin": ALL,
    "member": frozenset({READ, WRITE, UPLOAD, ANALYTICS, METRICS}),
    "viewer": frozenset({READ, ANALYTICS, METRICS}),
    "analyst": frozenset({ANALYTICS, METRICS}),
}


def expand(scopes: Iterable[str]) -> frozenset[str]:
    """Return what scopes allow; unknown ones, of a newer version, allow nothing."""
    given = frozenset(scopes) & ALL
    return ALL if ADMIN in given else given

"""Entity tags that cost one row: what a client has is current while nothing was written.

A tag names this run of the server and the archive's revision, and what else an answer depends on:
address, coding, who asks and what is there for them, this code, and the hour, since a tool that
runs too long counts as interrupted (store/tool_uses.py). The run, since the next one may find
another archive, or an older one: a backup, or what a power failure left. It is made before anything
is asked, so that a repeated question costs no query. A write between tag and answer makes the tag
too old, never too new.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from secrets import token_hex
from time import time

import falcon

from observatory.api.compression import Accepted

_OURS = re.compile(r'"([0-9a-f]{8})-([0-9a-f]{1,16})-[0-9a-f]{16}"')
# Made before the workers are forked: all have the same.
_RUN = token_hex(4)
# What is answered in the form that a client accepts best.
_WITH_FORMS = "/api/analytics/"
# Reports end with an hour of some zone, which may be at any quarter of one in UTC.
_HOUR_SECONDS, _QUARTER_SECONDS = 3600, 900
_PACKAGE = Path(__file__).resolve().parents[1]


def _describe_code() -> str:
    """Return text that is another one when this package is another one."""
    files = sorted(path for path in _PACKAGE.rglob("*") if path.suffix in (".py", ".json"))
    stats = [(str(file.relative_to(_PACKAGE)), file.stat()) for file in files]
    facts = "".join(f"{name}:{stat.st_size}:{stat.st_mtime_ns};" for name, stat in stats)
    return blake2b(facts.encode(), digest_size=8).hexdigest()


_CODE = _describe_code()


def make_etag(req: falcon.Request, accepted: Accepted, *, revision: int) -> str:
    """Return the strong tag of the answer to a GET as the archive is at a revision."""
    identity = req.context.identity
    viewer = "" if identity is None else identity.viewer
    form, seconds = "", _HOUR_SECONDS
    if req.path.startswith(_WITH_FORMS):
        form, seconds = req.env.get("HTTP_ACCEPT", ""), _QUARTER_SECONDS
    moment = int(time()) // seconds
    digest = _digest(req.path, req.query_string, accepted, f"{viewer}\n{form}", moment)
    return f'"{_RUN}-{revision:x}-{digest}"'


@lru_cache(maxsize=1024)
def _digest(path: str, query: str, accepted: Accepted, viewer: str, moment: int) -> str:
    facts = (
        f"{_CODE}\n{moment}\n{accepted.coding}\n{accepted.takes_plain}\n{path}\n{query}\n{viewer}"
    )
    return blake2b(facts.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def find_revision(tag: str) -> int | None:
    """Return the archive's revision in a tag of this run, or ``None`` when it is none.

    For ``If-Match``: a row that was not changed after this revision is the one the client saw.
    """
    match = _OURS.fullmatch(tag)
    return int(match[2], 16) if match and match[1] == _RUN else None


def is_listed(tag: str, if_none_match: str) -> bool:
    """Tell whether an ``If-None-Match`` header lists a tag, as strong or as weak.

    Our tags hold no quotes and no commas, so one in the text is one in the list.
    """
    return tag in if_none_match

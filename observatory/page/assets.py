"""The page's own files, read once, and compressed when they are first asked for.

All of them lie below one address that has the digest of all: modules find each other by relative
paths, and a browser may keep what it has for ever, because other files have another address.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from importlib.resources.abc import Traversable

from zstandard import ZstdCompressor

MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
# A file is compressed once and sent often.
_GZIP_LEVEL, _ZSTD_LEVEL = 9, 19


@dataclass(frozen=True, slots=True)
class Asset:
    """One file.

    Attributes:
        body: What it holds.
        media_type: What that is.
        digest: Another one when it holds something else.
    """

    body: bytes
    media_type: str
    digest: str


@dataclass(frozen=True, slots=True)
class Assets:
    """All files by their path, and the digest of all of them."""

    by_path: dict[str, Asset]
    digest: str

    @property
    def base(self) -> str:
        """The address that they are below, without a slash at its end."""
        return f"/assets/{self.digest}"


@cache
def read_assets() -> Assets:
    """Return all files of the page, which do not change while a server runs."""
    by_path = dict(sorted(_walk(files("observatory.page") / "static", "")))
    facts = "".join(f"{path}:{asset.digest};" for path, asset in by_path.items())
    return Assets(by_path, blake2b(facts.encode(), digest_size=6).hexdigest())


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, Asset]]:
    found = []
    for entry in folder.iterdir():
        path = f"{prefix}{entry.name}"
        if entry.is_dir():
            found += _walk(entry, f"{path}/")
        elif (media_type := MEDIA_TYPES.get(path.rpartition(".")[2])) is not None:
            body = entry.read_bytes()
            digest = blake2b(body, digest_size=8).hexdigest()
            found.append((path, Asset(body, media_type, digest)))
    return found


@cache
def compress_asset(path: str, coding: str) -> bytes:
    """Return a file in a coding, ``gzip`` or ``zstd``, as small as that makes it."""
    body = read_assets().by_path[path].body
    if coding == "gzip":
        return gzip.compress(body, _GZIP_LEVEL, mtime=0)
    return ZstdCompressor(level=_ZSTD_LEVEL).compress(body)

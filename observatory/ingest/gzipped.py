"""Gzip on the way in: unpacked in bounded pieces, whole or refused."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator

from observatory.errors import InvalidParameter

MAGIC = b"\x1f\x8b"
_PIECE_BYTES = 1024 * 1024
_GZIP = 31  # zlib's "window bits" for the largest window and gzip's header.


def gunzip(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what a gzip stream of one or several members holds, a MiB at most at a time.

    Raises:
        InvalidParameter: It is none, is damaged, or ends early.
    """
    member = zlib.decompressobj(_GZIP)
    is_begun = has_members = False
    for piece in pieces:
        rest = piece
        while rest:
            if not is_begun and has_members:
                rest = rest.lstrip(b"\0")  # Padding, as tapes and dd leave it.
                if not rest:
                    break
            is_begun = True
            try:
                unpacked = member.decompress(rest, _PIECE_BYTES)
                while unpacked:
                    yield unpacked
                    is_more = len(unpacked) == _PIECE_BYTES and not member.eof
                    rest = member.unconsumed_tail
                    unpacked = member.decompress(rest, _PIECE_BYTES) if is_more or rest else b""
            except zlib.error as error:
                raise InvalidParameter("file", "Not gzip, or damaged.") from error
            if not member.eof:
                break
            rest = member.unused_data
            member = zlib.decompressobj(_GZIP)
            is_begun, has_members = False, True
    if is_begun or not has_members:
        raise InvalidParameter("file", "The gzip data ends early.")


def unpack(pieces: Iterable[bytes], *, must: bool = False) -> Iterator[bytes]:
    """Yield what pieces hold, unpacked when they are gzip, which their first two bytes tell.

    Args:
        pieces: Bytes in order.
        must: Whether something else than gzip is refused.

    Raises:
        InvalidParameter: The gzip data can not be unpacked.
    """
    source = iter(pieces)
    start = b""
    for piece in source:
        start += piece
        if len(start) >= len(MAGIC):
            break
    whole = itertools.chain((start,), source)
    return gunzip(whole) if must or start.startswith(MAGIC) else whole

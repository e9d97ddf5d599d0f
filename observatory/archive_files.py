"""Files of an exported archive: written and read as a stream, compressed as the name says."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import zstandard

from observatory.errors import ArchiveFileError

STANDARD = "-"
_ZSTD_LEVEL = 3
_GZIP_LEVEL = 6
# What a hostile file may make a reader keep of what it read.
_MAX_WINDOW_BYTES = 128 * 1024 * 1024


@contextmanager
def packing(stream: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """Yield what to write to, so that a stream gets it compressed as a file's name says."""
    if name.endswith(".zst"):
        packer = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)
        with packer.stream_writer(stream, closefd=False) as packed:
            yield packed
    elif name.endswith(".gz"):
        # Without a name and a time in it the same archive is the same file.
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, stream, mtime=0) as packed:
            yield packed  # type: ignore[misc]
    else:
        yield stream


@contextmanager
def reading(name: str) -> Iterator[tuple[Callable[[int], bytes], Callable[[], int], int]]:
    """Open a file for reading, or standard input, and unpack it as its name says.

    Yields:
        What reads up to so many bytes of what is in it, what tells how many of its own bytes were
        read, and how many it has; 0 when that is not known.

    Raises:
        ArchiveFileError: There is no such file, or reading finds it damaged or cut off.
    """
    with ExitStack() as opened:
        if name == STANDARD:
            if sys.stdin is None:
                raise ArchiveFileError("Standard input is closed; name a file.")
            raw: IO[bytes] = sys.stdin.buffer
            size = 0
        else:
            if Path(name).is_dir() or not Path(name).exists():
                raise ArchiveFileError(f"There is no file {name}.")
            raw = opened.enter_context(Path(name).open("rb"))
            size = Path(name).stat().st_size
        unpacked = opened.enter_context(_unpacking(raw, name))

        def read(number: int) -> bytes:
            try:
                return unpacked.read(number)
            except (EOFError, zlib.error, zstandard.ZstdError, gzip.BadGzipFile) as error:
                raise ArchiveFileError(
                    f"{name} is damaged or cut off ({error}); what stands before that was read."
                    " Get a whole one and import it again."
                ) from error

        yield read, (raw.tell if size else lambda: 0), size


@contextmanager
def _unpacking(raw: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    if name.endswith(".zst"):
        unpacker = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
        with unpacker.stream_reader(raw, read_across_frames=True, closefd=False) as unpacked:
            yield unpacked
    elif name.endswith(".gz"):
        with gzip.GzipFile(fileobj=raw, mode="rb") as unpacked:
            yield unpacked  # type: ignore[misc]
    else:
        yield raw

"""Files read by a second process, some batches ahead of this one, which writes what they say.

Half of the time until rows are visible goes into lines: reading, parsing, looking for secrets,
compressing. The other process is a fork that does that and nothing else: it has neither the
database nor its locks, and it ends when nobody takes what it sends. When it dies, or fails at a
file, this process reads on by itself from where the last chunk ended.

What it sends is marshalled tuples: pickled records took as long as reading them here.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import queue
import signal
import struct
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from observatory.ingest.discover import FoundFile
from observatory.ingest.packing import pack_chunk, unpack_chunk
from observatory.ingest.preparing import prepare
from observatory.ingest.reading import Chunk

# Below that a fork, and the pages that are copied after it, cost about what it saves.
LEAST_BYTES = 16 * 1024 * 1024
_PIPE_BYTES = 1024 * 1024
_LENGTH = struct.Struct("Q")

# A file by its number, and its chunk, or number and text of the error that ended its reading.
_Sent = tuple[int, Any, tuple[int, str | None] | None]


class ReaderGone(Exception):
    """The other process has ended before it had read all files."""


@dataclass(slots=True)
class _Reader:
    process_id: int
    pipe: int


def is_worthwhile(unread_bytes: int) -> bool:
    """Tell whether reading so much is faster with another process."""
    return (
        sys.platform == "linux" and unread_bytes >= LEAST_BYTES and len(os.sched_getaffinity(0)) > 1
    )


class ReadingAhead:
    """The chunks of files in their order, from a process that ends with a ``with`` block.

    Args:
        files: What is to be read.
        read: Yields the chunks of a file.
        batch_bytes: How many bytes of source are sent at a time.
    """

    def __init__(
        self,
        files: Sequence[FoundFile],
        read: Callable[[FoundFile], Iterable[Chunk]],
        *,
        batch_bytes: int,
    ) -> None:
        self._numbers = {file.path: number for number, file in enumerate(files)}
        self._received: deque[_Sent] = deque()
        self._reader: _Reader | None = _fork(
            lambda pipe: _send_all(pipe, files, read, batch_bytes=batch_bytes)
        )

    def __enter__(self) -> ReadingAhead:
        return self

    def __exit__(self, *failure: object) -> None:
        self.end()

    def end(self) -> None:
        """End the other process, whatever it is at."""
        if self._reader is not None:
            os.close(self._reader.pipe)
            # It may be reading a long line, or a slow disk.
            with suppress(ProcessLookupError):
                os.kill(self._reader.process_id, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(self._reader.process_id, 0)
            self._reader = None

    def read_chunks(self, file: FoundFile) -> Iterator[Chunk]:
        """Yield the chunks of a file; those of files before it that nobody took are passed over.

        Raises:
            OSError: The file can not be opened or read.
            ReaderGone: The process has ended before it had sent the last chunk.
        """
        wanted = self._numbers[file.path]
        while True:
            number, packed, failure = self._receive()
            if number != wanted:
                continue
            if failure is not None:
                raise OSError(*failure)
            chunk = unpack_chunk(file, packed)
            yield chunk
            if chunk.is_last:
                return

    def _receive(self) -> _Sent:
        while not self._received:
            if self._reader is None:
                raise ReaderGone
            data = _receive_frame(self._reader.pipe)
            if data is None:
                self.end()
                raise ReaderGone
            self._received.extend(marshal.loads(data))  # noqa: S302 - a fork of this process sent it
        return self._received.popleft()


def _fork(work: Callable[[int], None]) -> _Reader | None:
    """Let a new process do something with the end of a pipe, or return ``None``."""
    receiving, sending = os.pipe()
    with suppress(OSError):
        # So it is asked to go on less often; where this is not allowed it is slower.
        fcntl.fcntl(sending, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    try:
        process_id = os.fork()
    except OSError:
        os.close(receiving)
        os.close(sending)
        return None
    if process_id:
        os.close(sending)
        return _Reader(process_id, receiving)
    try:
        # What a terminal sends goes to both: this one ends with the other.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _close_all_but(sending)
        work(sending)
    finally:
        # Nothing of the other process is flushed or closed here.
        os._exit(0)


def _close_all_but(kept: int) -> None:
    """Let go of files and locks, which would else be held for as long as this process lives."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) != kept:
            with suppress(OSError):
                os.close(int(name))


def _send_all(
    pipe: int,
    files: Sequence[FoundFile],
    read: Callable[[FoundFile], Iterable[Chunk]],
    *,
    batch_bytes: int,
) -> None:
    sender = _Sender(pipe)
    waiting: list[_Sent] = []
    size = 0
    for number, file in enumerate(files):
        chunks = iter(read(file))
        while True:
            try:
                chunk = next(chunks, None)
            except OSError as error:
                waiting.append((number, None, (error.errno or 0, error.strerror)))
                break
            if chunk is None:
                break
            prepare(chunk)
            waiting.append((number, pack_chunk(chunk), None))
            size += chunk.bytes_read
            if size >= batch_bytes:
                sender.send(marshal.dumps(waiting))
                waiting, size = [], 0
    sender.send(marshal.dumps(waiting))
    sender.end()


class _Sender:
    """Sends from a thread, so that the next batch is read while nobody takes this one."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._waiting: queue.Queue[bytes | None] = queue.Queue(maxsize=1)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def send(self, data: bytes) -> None:
        """Send something once what was given before is on its way."""
        self._waiting.put(data)

    def end(self) -> None:
        """Return when all is sent."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while (data := self._waiting.get()) is not None:
                _send_frame(self._pipe, data)
        except OSError:
            # The other process is gone, and nothing is left to do for this one.
            os._exit(0)


def _send_frame(pipe: int, data: bytes) -> None:
    for part in (_LENGTH.pack(len(data)), data):
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(pipe, rest) :]


def _receive_frame(pipe: int) -> bytearray | None:
    """Return what was sent at a time, or ``None`` at the end."""
    head = _receive_bytes(pipe, _LENGTH.size)
    return None if head is None else _receive_bytes(pipe, _LENGTH.unpack(head)[0])


def _receive_bytes(pipe: int, length: int) -> bytearray | None:
    data = bytearray(length)
    rest = memoryview(data)
    while rest:
        got = os.readv(pipe, [rest])
        if not got:
            return None
        rest = rest[got:]
    return data

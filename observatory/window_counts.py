"""Hits per key in moving windows, counted once for all workers of a server.

The counts lie in memory that is made before workers are forked and is shared with them, also with
those that replace a dead one. docs/decisions/0006-limits.md tells why this and no database.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from hashlib import blake2b

# A window is divided in steps, and a hit counts until its step is a whole window old: never more
# than the limit in any window, and a hit leaves up to 1/255 of a window late.
STEPS = 256
_KEY_BYTES = 16
# A slot is a row of 32-bit cells: the key, the time in ms (2), the sum, a ring of steps, one spare.
_TIME = _KEY_BYTES // 4
_SUM = _TIME + 2
_RING = _SUM + 1
_SLOT_CELLS = _RING + STEPS + 1
_SLOTS_PER_SET = 8
_LOCKS = 64
_EMPTY_KEY = bytes(_KEY_BYTES)
_ZEROS = memoryview(bytes(4 * _SLOT_CELLS)).cast("I")


class SharedWindows:
    """Moving windows of hits, each in a slot.

    Where more keys are in use than fit, the one that was quiet for longest is forgotten.

    Args:
        sets: How many sets of 8 keys there is room for; a key takes a kilobyte once it is used.
        clock: Seconds that never step back and are the same in all processes.
    """

    def __init__(self, *, sets: int = 2048, clock: Callable[[], float] = time.monotonic) -> None:
        self._sets = sets
        self._clock = clock
        self._bytes = memoryview(mmap.mmap(-1, 4 * sets * _SLOTS_PER_SET * _SLOT_CELLS))
        self._cells = self._bytes.cast("I")
        # Nobody outside can choose keys that meet in one set.
        self._secret = secrets.token_bytes(16)
        # The kernel drops a dead holder's lock. It is one of the process: threads have theirs.
        with tempfile.TemporaryFile() as file:
            self._locked_by_process = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._locked_by_process)
        self._thread_locks = [threading.Lock() for _ in range(_LOCKS)]

    def read_clock(self) -> float:
        """Return the present time by the clock, in seconds."""
        return self._clock()

    def count(self, key: str, limit: int, expiry: int, amount: int) -> tuple[bool, int, float]:
        """Count hits unless they are too many, and tell how the window stands after that.

        Returns:
            Whether they were counted, how many are in the window, and the time by the clock when
            it began, in seconds: a window later one more is allowed.
        """
        digest, number = self._locate(key)
        lock = number % _LOCKS
        cells = self._cells
        with self._thread_locks[lock]:
            fcntl.lockf(self._locked_by_process, fcntl.LOCK_EX, 1, lock)
            try:
                now = int(self._clock() * 1000)
                step = now * (STEPS - 1) // (expiry * 1000)
                slot = self._find(digest, number)
                self._advance(slot, now=now, step=step, expiry=expiry)
                count = cells[slot + _SUM]
                is_counted = count + amount <= limit
                if is_counted and amount:
                    count += amount
                    cells[slot + _SUM] = count
                    cells[slot + _RING + step % STEPS] += amount
                oldest = step if not count else self._find_oldest(slot, step)
            finally:
                fcntl.lockf(self._locked_by_process, fcntl.LOCK_UN, 1, lock)
        # A hit counts as if it came at the end of its step.
        return is_counted, count, (oldest + 1) * expiry / (STEPS - 1)

    def _locate(self, key: str) -> tuple[bytes, int]:
        """Return what stands for a key, and the number of its set."""
        encoded = key.encode("utf-8", "surrogatepass")
        digest = blake2b(encoded, digest_size=_KEY_BYTES, key=self._secret).digest()
        return digest, int.from_bytes(digest[:4], "little") % self._sets

    def _find(self, digest: bytes, number: int) -> int:
        """Return the cell at which the slot of a key begins; a new key takes one."""
        first = number * _SLOTS_PER_SET * _SLOT_CELLS
        slots = range(first, first + _SLOTS_PER_SET * _SLOT_CELLS, _SLOT_CELLS)
        empty: int | None = None
        for slot in slots:
            found = self._bytes[4 * slot : 4 * slot + _KEY_BYTES]
            if found == digest:
                return slot
            if empty is None and found == _EMPTY_KEY:
                empty = slot
        slot = min(slots, key=self._read_time) if empty is None else empty
        self._take(slot, digest)
        return slot

    def _take(self, slot: int, digest: bytes) -> None:
        # The key comes last: who dies on the way leaves an empty slot, not another's hits.
        self._cells[slot : slot + _SLOT_CELLS] = _ZEROS
        self._bytes[4 * slot : 4 * slot + _KEY_BYTES] = digest

    def _read_time(self, slot: int) -> int:
        """Return when a slot was last asked for, in milliseconds."""
        return self._cells[slot + _TIME] | self._cells[slot + _TIME + 1] << 32

    def _advance(self, slot: int, *, now: int, step: int, expiry: int) -> None:
        """Empty the steps that have come since a slot was last asked for."""
        cells, ring = self._cells, slot + _RING
        passed = step - self._read_time(slot) * (STEPS - 1) // (expiry * 1000)
        cells[slot + _TIME] = now & 0xFFFFFFFF
        cells[slot + _TIME + 1] = now >> 32
        if passed <= 0:
            return
        passed = min(passed, STEPS)
        begin = (step - passed + 1) % STEPS
        end = min(begin + passed, STEPS)
        rest = passed - (end - begin)
        cells[ring + begin : ring + end] = _ZEROS[: end - begin]
        cells[ring : ring + rest] = _ZEROS[:rest]
        # Counted anew, so that who died between two writes did no lasting harm.
        cells[slot + _SUM] = sum(cells[ring : ring + STEPS])

    def _find_oldest(self, slot: int, step: int) -> int:
        """Return the oldest step of a slot that has a hit."""
        ring = self._cells[slot + _RING : slot + _RING + STEPS].tobytes()
        begin = 4 * ((step + 1) % STEPS)
        used = (ring[begin:] + ring[:begin]).lstrip(b"\0")
        return step + 1 - (len(used) + 3) // 4

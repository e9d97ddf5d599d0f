"""Requests of a program to callgrind, under which it runs: count from here, to there.

They are a sequence of instructions that means nothing to a processor, and something to valgrind
(``valgrind.h``, ``callgrind.h``). With them the start of Python, which takes a minute when it is
counted, is left out.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

_TOOL = ord("C") << 24 | ord("T") << 16
_ZERO, _DUMP_AT, _START, _STOP = (_TOOL + number for number in (1, 3, 4, 5))
_CODE = bytes.fromhex(
    "4889f8"  # mov rax, rdi: the arguments
    "4831d2"  # xor rdx, rdx: the answer without valgrind
    "48c1c703 48c1c70d 48c1c73d 48c1c733"  # rol rdi by 3, 13, 61, 51: all in all nothing
    "4887db"  # xchg rbx, rbx: here valgrind takes over
    "4889d0 c3"  # mov rax, rdx; ret
)


def why_not() -> str | None:
    """Return why instructions can not be counted here, or ``None`` when they can."""
    if not shutil.which("valgrind"):
        return "valgrind is not installed"
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        return f"requests to valgrind are not known for {platform.system()} {platform.machine()}"
    return None


class Callgrind:
    """Tells callgrind what to count, and where to write the count."""

    def __init__(self) -> None:
        self._page = mmap.mmap(
            -1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_EXEC | mmap.PROT_WRITE
        )
        self._page.write(_CODE)
        place = ctypes.addressof(ctypes.c_char.from_buffer(self._page))
        self._call = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(place)

    def count(self, name: str, work: Callable[[], object]) -> None:
        """Do something, and let callgrind write a file with a name of what it took."""
        text = ctypes.create_string_buffer(name.encode())
        self._request(_START)
        # Else what was counted the last time is taken off.
        self._request(_ZERO)
        work()
        self._request(_DUMP_AT, ctypes.addressof(text))
        self._request(_STOP)

    def _request(self, number: int, argument: int = 0) -> None:
        arguments = (ctypes.c_uint64 * 6)(number, argument, 0, 0, 0, 0)
        self._call(ctypes.addressof(arguments))


def read_counts(folder: Path) -> dict[str, int]:
    """Return the instructions in each file that callgrind wrote, by the name given to it."""
    counts = {}
    for path in folder.glob("counted.*"):
        name, total = "", 0
        with path.open(errors="replace") as lines:
            for line in lines:
                if line.startswith("desc: Trigger: Client Request: "):
                    name = line.removeprefix("desc: Trigger: Client Request: ").strip()
                elif line.startswith(("totals: ", "summary: ")):
                    total = max(total, int(line.split()[1]))
        if name:
            counts[name] = total
    return counts

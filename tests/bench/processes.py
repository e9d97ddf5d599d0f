"""Processes that the bench starts: running, waiting, weighing and stopping them."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
_STOP_SECONDS = 15
_SAMPLE_SECONDS = 0.05
_QUICK_ANSWERS = 12
_QUICK_SECONDS = 0.1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ProcessFailed(Exception):
    """A process ended badly or never became ready; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Run:
    """A process that ran to its end. ``peak_rss_bytes`` sums its whole tree."""

    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int
    output: str


def run_to_end(command: Sequence[str], *, env: Mapping[str, str], log: Path) -> Run:
    """Run a command of the repository and weigh it meanwhile.

    Raises:
        ProcessFailed: It ended with another status than 0.
    """
    output = log.with_suffix(".out")
    started = time.perf_counter()
    with output.open("wb") as out, log.open("wb") as err:
        process = subprocess.Popen(
            command, env=dict(env), cwd=REPOSITORY, stdout=out, stderr=err, start_new_session=True
        )
    peak, reaped = 0, 0
    try:
        while not reaped:
            peak = max(peak, sum(map(_read_rss, list_tree(process.pid))))
            reaped, status, usage = os.wait4(process.pid, os.WNOHANG)
            if not reaped:
                time.sleep(_SAMPLE_SECONDS)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        stop(process)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise ProcessFailed(f"{' '.join(command)} ended with {process.returncode}{_tail(log)}")
    cpu_seconds = usage.ru_utime + usage.ru_stime
    peak = max(peak, usage.ru_maxrss * 1024)
    return Run(seconds, cpu_seconds, peak, output.read_text())


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers: how long after its start it did so first."""

    process: subprocess.Popen[bytes]
    first_answer_seconds: float


@contextmanager
def serving(
    command: Sequence[str], *, env: Mapping[str, str], url: str, log: Path
) -> Iterator[Server]:
    """Run a server until the block ends, which begins when ``url`` is answered with 200.

    Raises:
        ProcessFailed: It ended, or did not answer within half a minute.
    """
    started = time.perf_counter()
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=dict(env), cwd=REPOSITORY, stdout=out, stderr=out, start_new_session=True
        )
    try:
        wait_until_answered(url, process=process, log=log)
        yield Server(process, time.perf_counter() - started)
    finally:
        stop(process)


def wait_until_answered(
    url: str, *, process: subprocess.Popen[bytes], log: Path, timeout_seconds: float = 30
) -> None:
    """Return once a URL is answered with 200.

    Raises:
        ProcessFailed: The process ended, or time ran out.
    """
    ends = time.monotonic() + timeout_seconds
    while time.monotonic() < ends and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.005)
    raise ProcessFailed(f"no answer from {url}{_tail(log)}")


def wait_until_idle(url: str, *, timeout_seconds: float = 60) -> float:
    """Return how many seconds a server took to be done with requests that nobody waits for.

    A load that ends leaves one request per connection behind. Several answers in a row have to
    be quick, since another worker than the busy one may take a connection.

    Raises:
        ProcessFailed: It was still busy when time ran out.
    """
    started = time.monotonic()
    quick = 0
    while quick < _QUICK_ANSWERS:
        asked = time.monotonic()
        if asked - started > timeout_seconds:
            raise ProcessFailed(f"{url} is not answered quickly {timeout_seconds} s after a load")
        try:
            with urllib.request.urlopen(url, timeout=timeout_seconds) as answer:
                answer.read()
            quick = quick + 1 if time.monotonic() - asked < _QUICK_SECONDS else 0
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            quick = 0
            time.sleep(_SAMPLE_SECONDS)
    return time.monotonic() - started


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a process we started, and all that it started; return when it is gone."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # its session: what it left behind


def list_tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            parent = _read_parent(entry)
            children.setdefault(parent, []).append(int(entry.name))
    tree = [pid]
    for member in tree:
        tree += children.get(member, [])
    return tree


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of some processes: resident, and with shared pages divided among their users."""

    rss_bytes: int
    pss_bytes: int


def weigh(pid: int) -> Memory:
    """Return the memory of a process tree."""
    rss = pss = 0
    for member in list_tree(pid):
        try:
            text = Path(f"/proc/{member}/smaps_rollup").read_text()
        except OSError:
            continue
        sizes = {line.split()[0]: line.split()[1] for line in text.splitlines()[1:]}
        rss += int(sizes["Rss:"]) * 1024
        pss += int(sizes["Pss:"]) * 1024
    return Memory(rss, pss)


def find_free_port() -> int:
    """Return a port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _read_parent(entry: Path) -> int:
    try:
        return int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _read_rss(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def _tail(log: Path) -> str:
    text = log.read_text(errors="replace")[-1_500:]
    return f"; its log ends:\n{text}"

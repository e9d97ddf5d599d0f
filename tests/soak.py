"""Everything at once for minutes: ``python -m tests.soak`` fails when memory goes on growing.

Reads, writes, searches, reports, streams and a growing transcript against a real server with its
watcher. The memory of each process is looked at twice a second. It grows at first, while caches
fill, for which there is more in the archive from the start than they hold; over the second half it
has to be flat.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from observatory.timestamps import now
from tests.faults.process_trees import tree_of
from tests.listening import Listener
from tests.processes import DEADLINE_SECONDS, Home, Server, serving
from tests.transcripts_for_tests import Transcript
from tests.watchers import append, session_path

# Growth of one process over the second half that is taken for flat.
BOUND_KIB_PER_MINUTE = 512.0
_SAMPLE_SECONDS = 0.5
# Each client pauses between requests: this is about hours of use, not about load.
_PAUSE_SECONDS = 0.02
# Together more than the caches of a thread's connection and of a worker's reports.
_OLD_CONVERSATIONS = 40
_OLD_MESSAGES = 25
_OLD_WORDS = 2_000
_REPORTS = ("/api/analytics/token-usage", "/api/analytics/tools", "/api/analytics/files")

Samples = Mapping[str, Sequence[tuple[float, float]]]


def slope_of(samples: Sequence[tuple[float, float]]) -> float:
    """Return how fast a figure grows, in its unit a minute, by least squares."""
    times, figures = [time for time, _ in samples], [figure for _, figure in samples]
    middle_time, middle = sum(times) / len(times), sum(figures) / len(figures)
    spread = sum((time - middle_time) ** 2 for time in times)
    if not spread:
        return 0.0
    together = sum((time - middle_time) * (figure - middle) for time, figure in samples)
    return 60 * together / spread


def second_half(samples: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Return the samples of the second half of the time that they span."""
    middle = (samples[0][0] + samples[-1][0]) / 2
    return [sample for sample in samples if sample[0] >= middle]


def judge(samples: Samples, *, bound: float) -> list[str]:
    """Return what is wrong with the memory of processes.

    Args:
        samples: Of each process, by its name: seconds, and KiB at that time.
        bound: KiB a minute by which one may grow over the second half.
    """
    wrong = []
    for name, taken in samples.items():
        if len(taken) < 3:
            wrong.append(f"{name} was seen {len(taken)} times only: it was started anew")
            continue
        slope = slope_of(second_half(taken))
        if slope > bound:
            wrong.append(f"{name} grows by {slope:.0f} KiB a minute; {bound:.0f} may be")
    return wrong


def read_rss_kib(pid: int) -> int | None:
    """Return the memory that a process has resident, or ``None`` when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    found = [line.split()[1] for line in lines if line.startswith("VmRSS")]
    return int(found[0]) if found else None


def name_of(pid: int) -> str:
    """Return what a process does, and its number."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return f"ended {pid}"
    kind = next((word for word in ("supervise", "watch") if _has(command, word)), "serve")
    return f"{kind} {pid}"


def _has(command: Sequence[bytes], word: str) -> bool:
    return any(part in (word.encode(), f"observatory.{word}".encode()) for part in command)


@dataclass(slots=True)
class Soak:
    """What runs against a server until it is over, and what came of it."""

    server: Server
    is_over: threading.Event = field(default_factory=threading.Event)
    counts: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    samples: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    old: list[str] = field(default_factory=list)

    def fill(self) -> None:
        """Write what is there from the start."""
        client = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=DEADLINE_SECONDS)
        for number in range(_OLD_CONVERSATIONS):
            title = {"title": f"old {number}", "project_path": f"/old/{number % 7}"}
            made = self._ask(client, "POST", "/api/conversations", title)["id"]
            for place in range(_OLD_MESSAGES):
                words = " ".join(f"word{number}x{place}x{each}" for each in range(_OLD_WORDS // 2))
                body = {"role": "user", "content": f"{words} {'word ' * (_OLD_WORDS // 2)}"}
                self._ask(client, "POST", f"/api/conversations/{made}/messages", body)
            self.old.append(made)
        client.close()

    def run(self, seconds: float) -> None:
        """Run all of it for so long."""
        self.server.credentials()
        self.fill()
        jobs = (self.read, self.write, self.search, self.report, self.listen, self.speak)
        threads = [threading.Thread(target=self._guard, args=(job,), daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds and not self.failures:
            self._take_samples(passed)
            self.is_over.wait(_SAMPLE_SECONDS)
        self.is_over.set()
        # A stream is told of what is written, which has ended.
        self.server.post("/api/conversations", {"title": "the end"})
        for thread in threads:
            thread.join(DEADLINE_SECONDS)

    def _guard(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:
            self.failures.append(f"{job.__name__}: {error!r}")

    def _take_samples(self, passed: float) -> None:
        for pid in tree_of(self.server.process.pid):
            kib = read_rss_kib(pid)
            if kib is not None:
                self.samples.setdefault(name_of(pid), []).append((passed, kib))

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def _ask(
        self, client: http.client.HTTPConnection, method: str, path: str, body: Any = None
    ) -> Any:
        headers = {"Content-Type": "application/json", **self.server.credentials()}
        client.request(method, path, None if body is None else json.dumps(body), headers)
        answer = client.getresponse()
        told = answer.read()
        if answer.status == 404 and method == "GET":
            return None  # Removed since it was listed.
        if answer.status not in (200, 201, 204):
            raise AssertionError(f"{method} {path}: {answer.status} {told[:300]!r}")
        return json.loads(told)["data"] if told else None

    def _repeat(self, what: str, step: Callable[[http.client.HTTPConnection, int], None]) -> None:
        client = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=DEADLINE_SECONDS)
        for number in itertools.count():
            if self.is_over.wait(_PAUSE_SECONDS):
                break
            step(client, number)
            self._count(what)
        client.close()

    def read(self) -> None:
        """Read lists, and what is in them."""

        def step(client: http.client.HTTPConnection, number: int) -> None:
            listed = self._ask(client, "GET", "/api/conversations?limit=20")["conversations"]
            for name in (listed[number % len(listed)]["id"], self.old[number % len(self.old)]):
                self._ask(client, "GET", f"/api/conversations/{name}/messages?limit=50")
            self._ask(client, "GET", "/api/projects")

        self._repeat("reads", step)

    def write(self) -> None:
        """Make conversations, write to them, and remove all but the last ones."""
        made: list[str] = []

        def step(client: http.client.HTTPConnection, number: int) -> None:
            if number % 20 == 0:
                title = {"title": f"number {number}"}
                made.append(self._ask(client, "POST", "/api/conversations", title)["id"])
            body = {"role": "user", "content": f"message {number} " + "word " * 50}
            self._ask(client, "POST", f"/api/conversations/{made[-1]}/messages", body)
            if len(made) > 10:
                self._ask(client, "DELETE", f"/api/conversations/{made.pop(0)}")

        self._repeat("writes", step)

    def search(self) -> None:
        """Search for words that are there, and for others."""

        def step(client: http.client.HTTPConnection, number: int) -> None:
            self._ask(client, "GET", f"/api/search?q=word{number % len(self.old)}x{number % 25}x7")

        self._repeat("searches", step)

    def report(self) -> None:
        """Ask for reports."""

        def step(client: http.client.HTTPConnection, number: int) -> None:
            self._ask(client, "GET", _REPORTS[number % len(_REPORTS)])

        self._repeat("reports", step)

    def listen(self) -> None:
        """Follow a stream, leave it, and come again."""
        while not self.is_over.is_set():
            with Listener(self.server) as stream:
                stream.begin()
                for _ in range(100):
                    if self.is_over.is_set() or stream.next() is None:
                        break
                    self._count("events")
            self._count("streams")

    def speak(self) -> None:
        """Write a transcript line by line, and begin another one now and then."""
        for session in itertools.count():
            transcript = Transcript(
                f"{session:08d}-1111-4111-8111-111111111111", prefix=f"{session}"
            )
            path = session_path(self.server.home, transcript)
            for number in range(200):
                if self.is_over.wait(0.05):
                    return
                transcript.prompt(f"line {number} " + "word " * 20)
                transcript.answer("yes")
                lines = transcript.bytes().splitlines(keepends=True)
                append(path, b"".join(lines[-2:]))
                self._count("lines")


def soak(seconds: float) -> Soak:
    """Run a server and all its clients for so long, and return what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        home.projects.mkdir(parents=True)
        with serving(home, WEB_WORKERS="2", LOG_LEVEL="warn") as server:
            run = Soak(server)
            run.run(seconds)
            if server.stop() != 0:
                run.failures.append("the server did not end well")
            if "request_failed" in server.log.read_text():
                run.failures.append("a request failed: see request_failed in the log")
    return run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it, tell figures and return 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--bound", type=float, default=BOUND_KIB_PER_MINUTE, metavar="KIB")
    options = parser.parse_args(arguments)
    print(f"{now()}: {options.minutes} minutes")
    run = soak(options.minutes * 60)
    for name, taken in run.samples.items():
        half = second_half(taken)
        kib = [figure for _, figure in taken]
        tenths = [f"{kib[(len(kib) - 1) * tenth // 10]:.0f}" for tenth in range(11)]
        print(
            f"{name}: {' '.join(tenths)} KiB, {max(kib):.0f} at most;"
            f" {slope_of(half):+.0f} KiB a minute over the second half"
        )
    print(", ".join(f"{count} {what}" for what, count in sorted(run.counts.items())))
    wrong = [*run.failures, *judge(run.samples, bound=options.bound)]
    for each in wrong:
        print(f"WRONG: {each}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

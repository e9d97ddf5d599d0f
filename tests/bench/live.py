"""From a line in a transcript to whoever waits for it; many streams; a watcher that has no work."""

import re
import selectors
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

import orjson

from tests.bench.credentials import make_key
from tests.bench.endpoints import Place
from tests.bench.figures import Figure, Target
from tests.bench.load import LoadResult, run_load
from tests.bench.processes import (
    REPOSITORY,
    ProcessFailed,
    find_free_port,
    list_tree,
    run_to_end,
    serving,
    stop,
    weigh,
)
from tests.bench.run import MEBIBYTE, Bench, raise_open_files

READERS = 16
_VISIBLE_MS = 300  # p95, docs/performance.md
_WAIT_SECONDS = 20.0
# What was read in an earlier run is no news.
_RUN = f"{int(time.time()):08x}"
_SESSION = f"{_RUN}-0000-4000-8000-00000000beef"
_GUID_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
_TICKS = 100


def measure_live(bench: Bench) -> Iterator[Figure]:
    """Return what the issue of live updates is judged by."""
    bench.need_archive()
    streams = bench.sizes.streams
    raise_open_files(2 * streams + 500)
    folder = bench.folder / "live"
    folder.mkdir(exist_ok=True)
    for old in folder.rglob("*.jsonl"):
        old.unlink()
    port = find_free_port()
    env = bench.make_env(
        TRANSCRIPTS_DIR=f"{bench.transcripts},{folder}", PORT=str(port), LOG_LEVEL="warn",
        MAX_STREAMS=str(2 * streams),
    )  # fmt: skip
    key = make_key(env, log=bench.folder / "key.log")
    command = [sys.executable, "-m", "observatory", "serve"]
    log = bench.folder / "live.log"
    with serving(command, env=env, url=f"http://127.0.0.1:{port}/health", log=log) as server:
        target = Watched(port, key)
        _wait(
            lambda: target.data("/api/live/status")["watcher"]["state"] == "running", "the watcher"
        )
        yield from _measure_visibility(bench, target, folder)
        for kind in ("sse", "websocket"):
            yield from _measure_streams(bench, target, server.process.pid, kind)


class Watched(Place):
    """A server whose streams are listened to."""

    def connect(self) -> HTTPConnection:
        """Return a connection of one's own."""
        return HTTPConnection("127.0.0.1", self.port, timeout=30)

    def fetch(self, connection: HTTPConnection, path: str) -> tuple[int, bytes]:
        """Return status and body of an answer over a connection that stays."""
        connection.request("GET", path, headers=self.headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def make_conversation(self) -> None:
        """Change something."""
        self.ask("/api/conversations", b'{"title":"bench"}')


def _wait(condition: Callable[[], object], what: str) -> None:
    until = time.monotonic() + 120
    while not condition():
        if time.monotonic() > until:
            raise ProcessFailed(f"waited in vain for {what}")
        time.sleep(0.02)


# A line to whoever waits for it


@dataclass(slots=True)
class _Arrivals:
    """When each line was seen where, by ``perf_counter``."""

    seen: dict[tuple[str, int], float] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def note(self, where: str, number: int) -> None:
        moment = time.perf_counter()
        with self.changed:
            self.seen.setdefault((where, number), moment)
            self.changed.notify_all()

    def wait(self, where: tuple[str, ...], number: int) -> bool:
        with self.changed:
            return self.changed.wait_for(
                lambda: all((place, number) in self.seen for place in where), _WAIT_SECONDS
            )


_PLACES = ("API", "search", "SSE", "WebSocket")


def _measure_visibility(bench: Bench, target: Watched, folder: Path) -> Iterator[Figure]:
    arrivals = _Arrivals()
    numbers: dict[str, list[int]] = {"API": [], "search": []}
    over = threading.Event()
    threads = [
        threading.Thread(target=run, args=(target, arrivals, *more), daemon=True)
        for run, more in (
            (_poll, ("API", numbers, over)), (_poll, ("search", numbers, over)),
            (_listen, ()), (_listen_on_socket, ()),
        )
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    with _reading(target):
        time.sleep(1)
        delays = _append_lines(folder, arrivals, numbers, bench.sizes.lines)
    over.set()
    for place in _PLACES:
        values = sorted(delays[place])
        bench.details.setdefault("visible_ms", {})[place] = {
            name: values[min(len(values) - 1, int(len(values) * share))]
            for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
        }
        label = f"a line to {place}, {READERS} readers"
        yield Figure(f"{label}, p50", statistics.median(values), "ms")
        yield Figure(
            f"{label}, p95",
            values[int(len(values) * 0.95)],
            "ms",
            target=Target(at_most=_VISIBLE_MS),
        )
        yield Figure(f"{label}, p99", values[int(len(values) * 0.99)], "ms")


def _append_lines(
    folder: Path, arrivals: _Arrivals, numbers: dict[str, list[int]], lines: int
) -> dict[str, list[float]]:
    path = folder / "-bench" / f"{_SESSION}.jsonl"
    path.parent.mkdir(exist_ok=True)
    delays: dict[str, list[float]] = {place: [] for place in _PLACES}
    with path.open("ab", buffering=0) as stream:
        for number in range(lines):
            line = _line(number)
            for wanted in numbers.values():
                wanted.append(number)
            written = time.perf_counter()
            stream.write(line)
            if not arrivals.wait(_PLACES, number):
                unseen = [place for place in _PLACES if (place, number) not in arrivals.seen]
                raise ProcessFailed(f"line {number} was not seen by {', '.join(unseen)}")
            for place in _PLACES:
                delays[place].append(1000 * (arrivals.seen[place, number] - written))
            # Not in step with anything that looks at intervals.
            time.sleep(0.01 + 0.037 * (number % 7) / 7)
    return delays


def _uuid(number: int) -> str:
    return f"{_RUN}-0000-4000-8000-{number:012d}"


def _line(number: int) -> bytes:
    record = {
        "parentUuid": _uuid(number - 1) if number else None,
        "isSidechain": False,
        "userType": "external",
        "cwd": "/bench",
        "sessionId": _SESSION,
        "version": "2.1.120",
        "type": "user",
        "uuid": _uuid(number),
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
        "message": {"role": "user", "content": f"unheard{number}word " + "some words " * 40},
    }
    return orjson.dumps(record) + b"\n"


def _poll(
    target: Watched,
    arrivals: _Arrivals,
    where: str,
    numbers: dict[str, list[int]],
    over: threading.Event,
) -> None:
    """Ask again and again for the line that was written last."""
    connection = target.connect()
    waiting = numbers[where]
    while not over.is_set():
        if not waiting:
            time.sleep(0.0005)
            continue
        number = waiting[0]
        if where == "API":
            is_there = target.fetch(connection, f"/api/messages/{_uuid(number)}")[0] == 200
        else:
            body = target.fetch(connection, f"/api/search?limit=1&q=unheard{number}word")[1]
            is_there = bool(orjson.loads(body)["data"]["hits"])
        if is_there:
            waiting.pop(0)
            arrivals.note(where, number)
        else:
            # As often as a client would that can hardly wait; without it, it is a load.
            time.sleep(0.002)


def _number_in(data: bytes) -> int | None:
    found = re.search(rb"unheard(\d+)word", data)
    return int(found[1]) if found else None


def _listen(target: Watched, arrivals: _Arrivals) -> None:
    connection = target.connect()
    connection.request("GET", "/api/events/stream?types=message_added", headers=target.headers)
    with connection.getresponse() as answer:
        while line := answer.readline():
            number = _number_in(line)
            if number is not None:
                arrivals.note("SSE", number)


def _listen_on_socket(target: Watched, arrivals: _Arrivals) -> None:
    with socket.create_connection(("127.0.0.1", target.port)) as sock:
        sock.sendall(_request(target, "websocket"))
        sock.sendall(_SUBSCRIBE)
        left = b""
        while data := sock.recv(65536):
            *whole, left = (left + data).split(b'"type":"message_added"')
            for piece in [*whole, left]:
                number = _number_in(piece)
                if number is not None:
                    arrivals.note("WebSocket", number)
                    if not number % 50:
                        # Who is never heard of is taken for gone.
                        sock.sendall(_PING)


# Many streams


def _request(target: Watched, kind: str) -> bytes:
    path = "/ws" if kind == "websocket" else "/api/events/stream"
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {target.key}\r\n"
    if kind == "websocket":
        head += (
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {_GUID_KEY}\r\n"
        )
    return head.encode() + b"\r\n"


def _masked(payload: bytes) -> bytes:
    """Return a short message of a client, which are masked: with nothing, here."""
    assert len(payload) < 126
    return bytes((0x81, 0x80 | len(payload), 0, 0, 0, 0)) + payload


_SUBSCRIBE = _masked(b'{"type":"subscribe"}')
_PING = _masked(b'{"type":"ping"}')


class _Crowd(threading.Thread):
    """Clients with a stream each; notes when each is told of a change."""

    def __init__(self, target: Watched, kind: str, number: int) -> None:
        super().__init__(daemon=True)
        self.selector = selectors.DefaultSelector()
        self.delays: list[float] = []
        self.asked_at = 0.0
        self.is_over = False
        self.sockets = []
        for _ in range(number):
            sock = socket.create_connection(("127.0.0.1", target.port))
            sock.sendall(_request(target, kind))
            if kind == "websocket":
                sock.sendall(_SUBSCRIBE)
            self.sockets.append(sock)
        for sock in self.sockets:
            status = sock.recv(65536).split(b"\r\n", 1)[0]
            if not status.split()[1].startswith((b"101", b"200")):
                raise ProcessFailed(f"a stream was refused: {status!r}")
            sock.setblocking(False)
            self.selector.register(sock, selectors.EVENT_READ)

    def run(self) -> None:
        """Take what comes."""
        while not self.is_over:
            for key, _ in self.selector.select(0.2):
                with suppress(BlockingIOError):
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if b"conversation_started" in data:
                        self.delays.append(1000 * (time.perf_counter() - self.asked_at))
        for sock in self.sockets:
            sock.close()


@contextmanager
def _reading(target: Watched) -> Iterator[None]:
    """Have 16 clients read a list while a block runs."""
    command = [
        sys.executable, "-c",
        "import sys; from tests.bench.load import run_load; run_load(sys.argv[1],"
        " connections=int(sys.argv[2]), seconds=600, headers={'X-API-Key': sys.argv[3]})",
        f"http://127.0.0.1:{target.port}/api/conversations?limit=20", str(READERS), target.key,
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield
    finally:
        stop(process)


def _cpu_seconds(pid: int) -> float:
    total = 0
    for member in list_tree(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def _load(target: Watched, seconds: float) -> LoadResult:
    url = f"http://127.0.0.1:{target.port}/api/conversations?limit=50"
    return run_load(url, connections=50, seconds=seconds, headers=target.headers)


def _measure_streams(bench: Bench, target: Watched, pid: int, kind: str) -> Iterator[Figure]:
    streams = bench.sizes.streams
    alone = _load(target, bench.seconds)
    crowd = _Crowd(target, kind, streams)
    crowd.start()
    time.sleep(1.5)
    cpu, began = _cpu_seconds(pid), time.monotonic()
    for _ in range(max(5, int(2 * bench.seconds))):
        crowd.asked_at = time.perf_counter()
        target.make_conversation()
        time.sleep(1)
    share = 100 * (_cpu_seconds(pid) - cpu) / (time.monotonic() - began)
    quiet = sorted(crowd.delays)
    memory = weigh(pid)
    beside = _loaded(target, bench.seconds, crowd)
    crowd.is_over = True
    crowd.join()
    expected = streams * max(5, int(2 * bench.seconds))
    if len(quiet) < expected:
        raise ProcessFailed(f"{kind}: {expected - len(quiet)} of {expected} were not told")
    label = f"{streams} streams by {kind}"
    yield Figure(f"{label}, RSS of everything", memory.rss_bytes / MEBIBYTE, "MiB",
                 target=Target(at_most=256))  # fmt: skip
    yield Figure(f"{label}, PSS of everything", memory.pss_bytes / MEBIBYTE, "MiB")
    yield Figure(f"{label}, CPU, an event a second", share, "%")
    yield Figure(f"{label}, told after, p50", statistics.median(quiet), "ms")
    yield Figure(f"{label}, told after, p99", quiet[int(len(quiet) * 0.99)], "ms")
    yield Figure(f"list of 50 beside {label}", beside.requests_per_second, "/s",
                 floor=alone.requests_per_second,
                 target=Target(at_least=0.8, of_ratio=True))  # fmt: skip
    yield Figure(f"list of 50 beside {label}, p99", beside.p99_ms, "ms", floor=alone.p99_ms)
    bench.details[f"streams_{kind}"] = {"errors_beside": beside.errors, "told": len(quiet)}


def _loaded(target: Watched, seconds: float, crowd: _Crowd) -> LoadResult:
    """Return how ordinary requests fare while each stream is told something each second."""
    over = threading.Event()

    def change() -> None:
        while not over.wait(1):
            crowd.asked_at = time.perf_counter()
            target.make_conversation()

    changing = threading.Thread(target=change, daemon=True)
    changing.start()
    try:
        return _load(target, seconds)
    finally:
        over.set()
        changing.join()


# A watcher without work


def measure_idle(bench: Bench) -> Iterator[Figure]:
    """Watch many files that do not change."""
    folder = bench.folder / "idle"
    count = bench.sizes.idle_files
    made = folder / f"projects-{count}"
    if len(list(made.glob("*/*.jsonl"))) != count:
        for number in range(count):
            path = (
                made / f"-folder-{number % 200}" / f"{number:08d}-1111-4111-8111-111111111111.jsonl"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_line(number).replace(_SESSION.encode(), path.stem.encode()))
    env = bench.make_env(
        DB_PATH=str(folder / f"observatory-{count}.db"), TRANSCRIPTS_DIR=str(made), LOG_LEVEL="info"
    )
    # The database may be of an earlier version.
    for arguments in (["migrate"], ["ingest", str(made)]):
        command = [sys.executable, "-m", "observatory", *arguments]
        run_to_end(command, env=env, log=folder / f"{arguments[0]}.log")
    for mode in ("events", "polling"):
        yield from _measure_watcher(bench, folder, {**env, "WATCH_MODE": mode}, mode)


def _measure_watcher(
    bench: Bench, folder: Path, env: dict[str, str], mode: str
) -> Iterator[Figure]:
    log = folder / "watch.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "observatory", "watch"], env=env, cwd=REPOSITORY,
            stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        _wait(lambda: b"watch_caught_up" in log.read_bytes(), "the watcher")
        [caught_up] = [
            orjson.loads(line)
            for line in log.read_bytes().splitlines()
            if b"watch_caught_up" in line
        ]
        time.sleep(min(5, bench.sizes.idle_seconds))
        cpu, began = _cpu_seconds(process.pid), time.monotonic()
        time.sleep(bench.sizes.idle_seconds)
        share = 100 * (_cpu_seconds(process.pid) - cpu) / (time.monotonic() - began)
        memory = weigh(process.pid)
    finally:
        stop(process)
    label = f"{bench.sizes.idle_files} files watched by {mode}"
    yield Figure(f"{label}, looked at in the beginning", caught_up["seconds"], "s",
                 target=Target(at_most=1))  # fmt: skip
    yield Figure(f"{label}, idle", share, "% of a core", target=Target(at_most=1))
    yield Figure(f"{label}, RSS", memory.rss_bytes / MEBIBYTE, "MiB")

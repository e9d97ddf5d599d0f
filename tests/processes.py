"""The Observatory as processes: one command, or a server on a free port that is stopped by pid."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DEADLINE_SECONDS = 60.0


def wait_for(condition: Callable[[], Any], *, what: str) -> Any:
    """Return the first true value of a condition, which must come true before the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def metrics_folders(pid: int) -> list[Path]:
    """Return the folders in which the server with a process id shares its metrics."""
    places = (Path("/dev/shm"), Path(tempfile.gettempdir()))
    return [path for place in places for path in place.glob(f"observatory-metrics-{pid}-*")]


@dataclass(slots=True)
class Home:
    """A folder with nothing of this machine's in it: home, database and working directory."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def database(self) -> Path:
        """The path of the database."""
        return self.folder / "data" / "observatory.db"

    @property
    def projects(self) -> Path:
        """The folder of transcripts that is read by default."""
        return self.folder / ".claude" / "projects"

    def environment(self, **variables: str) -> dict[str, str]:
        """Return all variables of a process that is at home here."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {**kept, "HOME": str(self.folder), **self.variables, **variables}

    def popen(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        """Start Python with these arguments."""
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=self.folder,
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run ``observatory`` with these arguments to its end."""
        process = self.popen("-m", "observatory", *arguments, **variables)
        return finish(process)

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script of bash to its end."""
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )

    def make_key(self, scopes: str = "admin") -> str:
        """Return a new API key."""
        made = self.run("key", "add", "--name", "tests", "--scopes", scopes, "--json")
        assert made.returncode == 0, made.stderr
        return str(json.loads(made.stdout)["key"])


def finish(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Return how a process ended, which it must before the deadline."""
    try:
        out, err = process.communicate(timeout=DEADLINE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@dataclass(slots=True)
class Server:
    """A running server; ``log`` is the file that its standard error goes to."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    home: Home
    key: str = ""
    _one: threading.Lock = field(default_factory=threading.Lock)

    def credentials(self) -> dict[str, str]:
        """Return headers that let in: with a key that is made when it is first asked for."""
        with self._one:
            if not self.key:
                self.key = self.home.make_key()
        return {"Authorization": f"Bearer {self.key}"}

    def signed(self, request: bytes) -> bytes:
        """Return the bytes of requests with credentials below each ``Host`` header."""
        host = b"Host: localhost\r\n"
        [line] = (f"{name}: {value}\r\n" for name, value in self.credentials().items())
        return request.replace(host, host + line.encode())

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        """Return status and body of an answer, over a connection of its own."""
        if path != "/health":
            headers = {**self.credentials(), **headers}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_SECONDS)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def data(self, path: str) -> dict[str, Any]:
        """Return the data of an answer that must be a good one."""
        status, body = self.get(path)
        assert status == 200, body
        data: dict[str, Any] = json.loads(body)["data"]
        return data

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send JSON and return the data of an answer that must be a good one."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_SECONDS)
        try:
            headers = {"Content-Type": "application/json", **self.credentials()}
            connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            told = json.loads(answer.read())
            assert answer.status in (200, 201), told
            data: dict[str, Any] = told["data"]
            return data
        finally:
            connection.close()

    def is_up(self) -> bool:
        """Tell whether it answers; it must not have ended."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.get("/health")[0] == 200
        except OSError:
            return False

    def stop(self) -> int:
        """End it as a supervisor would, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=DEADLINE_SECONDS)


@contextmanager
def serving(home: Home, *arguments: str, **variables: str) -> Iterator[Server]:
    """Run ``observatory serve`` while a block runs."""
    port = free_port()
    log = home.folder / f"server-{port}.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "observatory", "serve", *arguments],
            cwd=home.folder,
            env=home.environment(PORT=str(port), **variables),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    server = Server(process, port, log, home)
    try:
        wait_for(server.is_up, what="the server to answer")
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=DEADLINE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

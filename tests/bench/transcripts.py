"""One transcript while it is written: the chain of records, the clock and the identifiers."""

import random
import time
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import orjson

from tests.bench.shape import MS_BETWEEN_RECORDS, Era

_CHAIN = "parent of the next record"


def make_uuid(rng: random.Random) -> str:
    """Return a version 4 UUID."""
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def make_id(rng: random.Random, prefix: str) -> str:
    """Return an identifier as the API makes them: a prefix and 22 letters and digits."""
    return prefix + b64encode(rng.randbytes(18), b"Zz").decode()[:22]


def format_ms(moment_ms: int) -> str:
    """Return a time as ``2026-01-02T03:04:05.678Z``."""
    seconds, millis = divmod(moment_ms, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{millis:03d}Z"


@dataclass(slots=True)
class Totals:
    """What a corpus holds; tokens are counted once per API message."""

    files: int = 0
    lines: int = 0
    source_bytes: int = 0
    sessions: int = 0
    subagents: int = 0
    prompts: int = 0
    api_calls: int = 0
    tool_uses: int = 0
    tool_errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0


@dataclass(slots=True)
class Setting:
    """What every record of a session repeats."""

    session_id: str
    cwd: str
    branch: str
    version: str
    slug: str


class Transcript:
    """The lines of one file; ``parent`` is the uuid that the next record hangs on."""

    def __init__(
        self,
        rng: random.Random,
        era: Era,
        *,
        setting: Setting,
        clock_ms: int,
        agent_id: str | None = None,
        is_sidechain: bool = False,
    ) -> None:
        self.rng = rng
        self.era = era
        self.setting = setting
        self.clock_ms = clock_ms
        self.agent_id = agent_id
        self.is_sidechain = is_sidechain
        self.parent: str | None = None
        self.prompt_id = make_uuid(rng)
        self.lines: list[bytes] = []
        self.size = 0

    def wait(self, duration_ms: int | None = None) -> None:
        """Move the clock on, by default as long as records are usually apart."""
        if duration_ms is None:
            duration_ms = min(MS_BETWEEN_RECORDS.draw(self.rng), 7_200_000)
        self.clock_ms += duration_ms

    def add(
        self,
        body: dict[str, Any],
        *,
        tail: dict[str, Any] | None = None,
        parent: str | None = _CHAIN,
    ) -> str:
        """Write a record of the chain and return its uuid; it is the next one's parent."""
        uuid = make_uuid(self.rng)
        linked = self.parent if parent is _CHAIN else parent
        layout = self._lay_out_late if self.era.late_layout else self._lay_out_early
        self._write(layout(body, tail or {}, uuid, linked))
        self.parent = uuid
        return uuid

    def add_side(self, record: dict[str, Any]) -> None:
        """Write a record that stands outside the chain."""
        self._write(record)

    def take_over(self, lines: list[bytes]) -> None:
        """Append lines that are written already."""
        self.lines += lines
        self.size += sum(map(len, lines))

    def _write(self, record: dict[str, Any]) -> None:
        line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
        self.lines.append(line)
        self.size += len(line)

    def _lay_out_early(
        self, body: dict[str, Any], tail: dict[str, Any], uuid: str, parent: str | None
    ) -> dict[str, Any]:
        setting = self.setting
        head: dict[str, Any] = {
            "parentUuid": parent,
            "isSidechain": self.is_sidechain,
            "userType": "external",
            "cwd": setting.cwd,
            "sessionId": setting.session_id,
            "version": setting.version,
            "gitBranch": setting.branch,
        }
        if self.agent_id:
            head["agentId"] = self.agent_id
        if setting.version[:3] == "2.1":
            head["slug"] = setting.slug
        return {**head, **body, "uuid": uuid, "timestamp": format_ms(self.clock_ms), **tail}

    def _lay_out_late(
        self, body: dict[str, Any], tail: dict[str, Any], uuid: str, parent: str | None
    ) -> dict[str, Any]:
        setting = self.setting
        head: dict[str, Any] = {"parentUuid": parent, "isSidechain": self.is_sidechain}
        if body["type"] == "user":
            head["promptId"] = self.prompt_id
        if self.agent_id:
            head["agentId"] = self.agent_id
        return {
            **head,
            **body,
            "uuid": uuid,
            "timestamp": format_ms(self.clock_ms),
            **tail,
            "userType": "external",
            "entrypoint": "cli",
            "cwd": setting.cwd,
            "sessionId": setting.session_id,
            "version": setting.version,
            "gitBranch": setting.branch,
        }

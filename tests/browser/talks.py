"""Conversations that tests in a browser write where a server reads them."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.browser.sites import Site
from tests.processes import wait_for
from tests.transcripts_for_tests import Transcript


class Talk(Transcript):
    """A transcript that is written line by line, to a file that a server follows."""

    def __init__(self, site: Site) -> None:
        super().__init__(str(uuid.uuid4()), cwd="/home/ada/engine")
        self.site = site
        self.begun = self.session_id[:8]
        self.folder = site.projects / "-home-ada-engine"
        self.folder.mkdir(exist_ok=True)
        self.file: Path = self.folder / f"{self.session_id}.jsonl"
        self.written = 0
        self.calls = 0
        self.start = datetime.now(UTC) - timedelta(hours=3)

    def uuid(self, number: int) -> str:
        """Return the uuid of the record with a number, which no other talk has."""
        return f"{self.begun}-0000-4000-8000-{number:012d}"

    def say(self, text: str) -> str:
        """Add an answer and return the id of its message."""
        return str(self.answer(text, message_id=self._next())["uuid"])

    def use(self, name: str, given: object, result: str | None, *, is_error: bool = False) -> str:
        """Add a tool's use, with its result unless it is to come; return its message's id."""
        tool_use_id = f"toolu_{self._next()}"
        added = self.tool_use(name, given, tool_use_id=tool_use_id, message_id=self._next())
        if result is not None:
            self.tool_result(result, tool_use_id=tool_use_id, is_error=is_error)
        return str(added["uuid"])

    def _next(self) -> str:
        self.calls += 1
        return f"msg_{self.begun}_{self.calls}"

    def write(self) -> str:
        """Write what was added, wait until the server has it, and return the path of the view."""
        with self.file.open("a") as file:
            for number, record in enumerate(self.records[self.written :], self.written):
                assert isinstance(record, dict)
                moment = self.start + timedelta(seconds=number)
                time = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
                file.write(json.dumps({**record, "timestamp": time}) + "\n")
        self.written = len(self.records)
        path = f"/api/conversations/{self.session_id}"
        wait_for(lambda: self._has_all(path), what="the conversation")
        return f"/conversations/{self.session_id}"

    def _has_all(self, path: str) -> bool:
        status, _ = self.site.server.get(path)
        if status != 200:
            return False
        return bool(self.site.server.data(path)["message_count"] == len(self.records))

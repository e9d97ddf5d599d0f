"""However transcripts are written, and however often the watcher dies, nothing is lost.

A writer appends at any byte boundary, takes records back as Claude Code does (it cuts the file at a
record within its last 64 KiB and writes the rest anew), replaces and renames files; meanwhile the
watcher is stopped, killed and started again. When all is quiet, the archive says what one reading
of the final files says, but for what stood in a file once and is marked as superseded.

With EXPLORE=1 each run is another one, and longer; SEED and STEPS choose one.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from observatory.store.database import close, configure, connect, fetch_all
from observatory.store.watcher_status import read_watcher_status
from tests.ingest.dumps import check_sound, dump
from tests.processes import Home, wait_for
from tests.transcripts_for_tests import Transcript, encode
from tests.watchers import Watcher, start_watcher

EXPLORES = bool(os.environ.get("EXPLORE"))
STEPS = int(os.environ.get("STEPS", "3000" if EXPLORES else "250"))
TAIL_BYTES = 64 * 1024
KINDS = ("append", "append", "append", "append", "half", "take back", "rewrite", "replace", "move")


class WrittenFile:
    """One transcript that is written; ``lines`` are what it shall hold, ``path`` where it is."""

    def __init__(self, path: Path, chance: random.Random, number: int, source: list[bytes]) -> None:
        self.path = path
        self.chance = chance
        self.source = source
        self.next = 0
        self.number = number
        self.lines: list[bytes] = []
        self.pending = b""
        path.parent.mkdir(parents=True, exist_ok=True)

    def next_line(self) -> bytes:
        """Return the next line of the source, or one that is made up."""
        if self.next < len(self.source):
            self.next += 1
            return self.source[self.next - 1]
        self.next += 1
        said = Transcript(self.path.stem, prefix=f"{self.number:08x}")
        said.prefix = f"{self.number:x}"
        said.number = self.next
        said.uuid = lambda count: f"{self.number:08x}-0000-4000-8000-{count:012d}"  # type: ignore[method-assign]
        said.last = said.uuid(self.next) if self.next else None
        words = "word " * self.chance.choice([1, 20, 300, 3000])
        kind = self.chance.randrange(4)
        tool = f"toolu_{self.number}_{self.next // 4}"
        if kind == 0:
            said.prompt(f"prompt {self.next} {words}")
        elif kind == 1:
            said.answer(f"answer {self.next} {words}", message_id=f"msg_{self.number}_{self.next}")
        elif kind == 2:
            said.tool_use("Bash", {"command": words}, tool_use_id=f"{tool}_{self.next}",
                          message_id=f"msg_{self.number}_{self.next}")  # fmt: skip
        else:
            said.prompt(f"thé {self.next} \u2028 {words}")
        return encode(said.records[-1]) + b"\n"

    def append(self, *, is_whole: bool) -> None:
        """Write lines in pieces; the last one may lack its end until the next time."""
        data, self.pending = self.pending, b""
        for _ in range(self.chance.randint(1, 4)):
            self.lines.append(self.next_line())
            data += self.lines[-1]
        if not is_whole:
            cut = self.chance.randint(1, len(self.lines[-1]))
            data, self.pending = data[:-cut], data[-cut:]
        with self.path.open("ab", buffering=0) as stream:
            while data:
                cut = self.chance.randint(1, max(1, len(data)))
                stream.write(data[:cut])
                data = data[cut:]

    def finish(self) -> None:
        """Write what is left of the last line."""
        with self.path.open("ab", buffering=0) as stream:
            stream.write(self.pending)
        self.pending = b""

    def take_back(self) -> None:
        """Remove a record within the last 64 KiB, and write what stood behind it anew."""
        self.finish()
        ends = [0]
        for line in self.lines:
            ends.append(ends[-1] + len(line))
        near = [n for n in range(len(self.lines)) if ends[n] >= ends[-1] - TAIL_BYTES]
        if not near:
            return
        index = self.chance.choice(near[-3:])
        rest = b"".join(self.lines[index + 1 :])
        del self.lines[index]
        with self.path.open("r+b", buffering=0) as stream:
            stream.truncate(ends[index])
            stream.seek(ends[index])
            stream.write(rest)

    def rewrite(self) -> None:
        """Write the whole file anew in place, without some record."""
        self.finish()
        if len(self.lines) > 3:
            del self.lines[self.chance.randrange(1, len(self.lines))]
        self.path.write_bytes(b"".join(self.lines))

    def replace(self) -> None:
        """Put another file in the place of this one: the same but for its end."""
        self.finish()
        if len(self.lines) > 3:
            del self.lines[-self.chance.randint(1, 2) :]
        self.lines.append(self.next_line())
        draft = self.path.with_suffix(".draft")
        draft.write_bytes(b"".join(self.lines))
        draft.replace(self.path)

    def move(self) -> None:
        """Give the file another folder."""
        folder = self.path.parent.parent / f"-folder-{self.chance.randrange(5)}"
        folder.mkdir(exist_ok=True)
        target = folder / self.path.name
        if not target.exists() and self.path.exists():
            self.path.rename(target)
            self.path = target

    def step(self) -> None:
        """Do one thing to the file."""
        kind = self.chance.choice(KINDS) if self.path.exists() and self.lines else "append"
        if kind in ("append", "half"):
            self.append(is_whole=kind == "append")
        elif kind == "take back":
            self.take_back()
        elif kind == "rewrite" and self.chance.random() < 0.3:
            self.rewrite()
        elif kind == "replace" and self.chance.random() < 0.3:
            self.replace()
        elif kind == "move" and self.chance.random() < 0.2:
            self.move()


def is_all_read(home: Home, files: list[WrittenFile]) -> bool:
    """Tell whether the archive knows each file as it is, and has indexed all of it."""
    states = {
        path: (size, inode, changed, status)
        for path, size, inode, changed, status in fetch_all(
            "SELECT path, size, inode, changed_ns, status FROM transcript_files WHERE NOT is_reread"
        )
    }
    for file in files:
        found = file.path.stat()
        if states.get(str(file.path)) != (
            found.st_size,
            found.st_ino,
            found.st_ctime_ns,
            "completed",
        ):
            return False
    return dump_of("waiting") == [(0,)]


def dump_of(name: str) -> list[tuple[Any, ...]]:
    return dump()[name]


# What of a row says how it came to be there, not what the file says.
MESSAGES = """
    SELECT m.id, c.id, m.position, f.path, m.role, m.kind, m.parent_id, a.id, m.created_at,
        m.model, m.is_on_main_branch, m.notes, m.blocks, m.content
    FROM messages m JOIN conversations c ON c.key = m.conversation_key
    JOIN transcript_files f ON f.key = m.file_key
    LEFT JOIN api_calls a ON a.key = m.api_call_key
    WHERE NOT m.is_superseded ORDER BY m.id"""
CALLS = """
    SELECT a.id, c.id, a.model, a.input_tokens, a.output_tokens, a.cache_read_input_tokens,
        a.cost_nanodollars FROM api_calls a JOIN conversations c ON c.key = a.conversation_key
    WHERE EXISTS (SELECT 1 FROM messages m WHERE m.api_call_key = a.key AND NOT m.is_superseded)
    ORDER BY a.id"""
TAKEN_BACK = """
    SELECT a.id FROM api_calls a WHERE EXISTS
        (SELECT 1 FROM messages m WHERE m.api_call_key = a.key AND m.is_superseded)"""
TOOL_USES = """
    SELECT c.id, t.tool_use_id, m.id, t.name, t.parameters
    FROM tool_uses t JOIN conversations c ON c.key = t.conversation_key
    JOIN messages m ON m.key = t.message_key WHERE NOT m.is_superseded ORDER BY 1, 2"""
FILES = """
    SELECT path, size, byte_offset, hex(tail_hash), line_count, has_open_line, bad_line_count,
        record_counts, status FROM transcript_files WHERE path IN
        (SELECT value FROM json_each(?)) ORDER BY path"""
ERRORS = """
    SELECT f.path, e.line, e.byte_start, e.byte_end, e.reason FROM transcript_errors e
    JOIN transcript_files f ON f.key = e.file_key ORDER BY 1, 2, 3"""
FOUND = """
    SELECT m.id FROM message_search s JOIN messages m ON m.key = s.rowid
    WHERE message_search MATCH 'prompt OR word' AND NOT m.is_superseded ORDER BY m.id"""


def said(files: list[WrittenFile]) -> dict[str, list[tuple[Any, ...]]]:
    """Return what the connected archive says that some files hold."""
    paths = json.dumps([str(file.path) for file in files])
    return {
        "files": fetch_all(FILES, (paths,)),
        "messages": fetch_all(MESSAGES),
        "calls": fetch_all(CALLS),
        "taken back": fetch_all(TAKEN_BACK),
        "tool_uses": fetch_all(TOOL_USES),
        "errors": fetch_all(ERRORS),
        "found": fetch_all(FOUND),
    }


def compare(home: Home, files: list[WrittenFile], clean: Path) -> None:
    """Assert that the archive says what a reading of the final files alone says."""
    for file in files:
        assert file.path.read_bytes() == b"".join(file.lines)
    clean.parent.mkdir()
    # Marks of secrets are alike only with the same key.
    shutil.copy(home.database.with_name("redaction_key"), clean.parent)
    ended = home.run("ingest", DB_PATH=str(clean))
    assert ended.returncode in (0, 3), ended.stderr
    expected, found = (_said_in(path, files) for path in (clean, home.database))
    # The last line of a response has its bill, which was due although the line was taken back.
    taken_back = {row[0] for row in found.pop("taken back")}
    expected.pop("taken back")
    for held in (expected, found):
        held["calls"] = [row for row in held["calls"] if row[0] not in taken_back]
    for name, rows in expected.items():
        missing = [row for row in rows if row not in set(found[name])]
        extra = [row for row in found[name] if row not in set(rows)]
        assert not missing and not extra, (
            f"{name}: {len(missing)} missing, {len(extra)} extra;"
            f" {str(missing[:2])[:1500]} {str(extra[:2])[:1500]}"
        )
        assert found[name] == rows


def _said_in(path: Path, files: list[WrittenFile]) -> dict[str, list[tuple[Any, ...]]]:
    configure(path)
    connect()
    try:
        check_sound()
        return said(files)
    finally:
        close()


def run(home: Home, files: list[WrittenFile], chance: random.Random, tmp_path: Path) -> None:
    """Write, with a watcher that is ended now and then, and compare in the end."""
    watcher = start_watcher(home, WATCH_MODE=chance.choice(["events", "events", "polling"]))
    try:
        wait_for(watcher.is_caught_up, what="the watcher")
        for step in range(STEPS):
            chance.choice(files).step()
            if chance.random() < 0.5:
                time.sleep(chance.uniform(0, 0.03))
            if step % (STEPS // 5 or 1) == STEPS // 10:
                watcher = ended_and_started(watcher, chance)
        for file in files:
            file.finish()
        wait_for_quiet(watcher, home, files)
    finally:
        watcher.process.kill()
        watcher.process.wait()
    compare(home, files, tmp_path / "clean" / "observatory.db")


def ended_and_started(watcher: Watcher, chance: random.Random) -> Watcher:
    """End a watcher, gently or not, and return the next one."""
    number = chance.choice([signal.SIGTERM, signal.SIGKILL])
    code = watcher.end(number)
    # A signal that comes before the watcher listens ends it as it ends any program.
    assert code in (0, -number), watcher.log.read_text()
    return start_watcher(watcher.home, WATCH_MODE=chance.choice(["events", "events", "polling"]))


def wait_for_quiet(watcher: Watcher, home: Home, files: list[WrittenFile]) -> None:
    wait_for(watcher.is_caught_up, what="the watcher")
    configure(home.database)
    connect()
    try:
        wait_for(lambda: is_all_read(home, files), what=f"all to be read\n{_told(watcher)}")
        status = read_watcher_status(home.database)
        assert status.last_failure is None, watcher.log.read_text()
    finally:
        close()


def _told(watcher: Watcher) -> str:
    return watcher.log.read_text()[-3000:]


def chances() -> random.Random:
    seed = int(os.environ.get("SEED", "0")) or (time.time_ns() % 10**9 if EXPLORES else 7)
    print(f"SEED={seed}")
    return random.Random(seed)


def test_any_writing_is_read_as_it_ends(tmp_path: Path) -> None:
    home, chance = Home(tmp_path / "home"), chances()
    files = [
        WrittenFile(
            home.projects
            / f"-folder-{number % 3}"
            / f"{number:08d}-5555-4555-8555-555555555555.jsonl",
            chance,
            number,
            [],
        )
        for number in range(6)
    ]
    run(home, files, chance, tmp_path)


def test_real_transcripts_written_anyhow_are_read_as_they_end(shared: Path, tmp_path: Path) -> None:
    home, chance = Home(tmp_path / "home"), chances()
    found = sorted((shared / "dev").rglob("*.jsonl"))
    sessions = [
        path
        for path in found
        if "subagents" not in path.parts
        and not path.name.startswith("agent-")
        and 20_000 < path.stat().st_size < 600_000
    ]
    files = []
    for number, path in enumerate(chance.sample(sessions, 5)):
        lines = [line + b"\n" for line in path.read_bytes().split(b"\n") if line.strip()]
        target = home.projects / f"-folder-{number % 3}" / path.name
        files.append(WrittenFile(target, chance, number, lines))
    run(home, files, chance, tmp_path)
    shutil.rmtree(home.folder)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()

"""Transcripts that are written as Claude Code writes them, and anyhow else; what is read of them.

A writer appends at any byte boundary, takes records back (it cuts the file at a record within its
last 64 KiB and writes the rest anew), replaces and renames files. ``compare`` holds an archive
against one reading of the final files.

With EXPLORE=1 each run is another one; SEED chooses one.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

from observatory.store.database import close, configure, connect, fetch_all
from tests.ingest.dumps import check_sound, dump
from tests.processes import Home
from tests.transcripts_for_tests import Transcript, encode

EXPLORES = bool(os.environ.get("EXPLORE"))
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


def chances() -> random.Random:
    seed = int(os.environ.get("SEED", "0")) or (time.time_ns() % 10**9 if EXPLORES else 7)
    print(f"SEED={seed}")
    return random.Random(seed)


def make_files(home: Home, chance: random.Random, *, number: int) -> list[WrittenFile]:
    """Return so many transcripts of which nothing is written yet."""
    return [
        WrittenFile(
            home.projects / f"-folder-{each % 3}" / f"{each:08d}-5555-4555-8555-555555555555.jsonl",
            chance,
            each,
            [],
        )
        for each in range(number)
    ]

"""Sessions: turns of a prompt and the work on it, with compaction and rewinds."""

import random
from collections.abc import Iterator
from typing import Any

from tests.bench.responses import MAX_CONTEXT_TOKENS
from tests.bench.shape import API_CALLS_PER_TURN, PROMPT_CHARS, Era
from tests.bench.side_records import SideRecords
from tests.bench.subagents import NewFile, SessionDialogue
from tests.bench.tool_calls import Workspace
from tests.bench.transcripts import Setting, Totals, Transcript, make_uuid
from tests.bench.words import TextPools

_BEFORE_PROMPT = ("file-history-snapshot", "mode", "permission-mode", "ai-title", "summary")
_AFTER_TURN = ("last-prompt", "pr-link", "atis-latch", "file-history-delta")
_REWIND_SHARE = 0.01
_COMPACTED_TOKENS = 25_000

Content = str | list[dict[str, Any]]


class Session:
    """One session file and the files of its subagents.

    Args:
        rng: Where all chance comes from.
        pools: The text.
        era: How the client wrote.
        setting: What every record repeats.
        clock_ms: Time of the first record.
        totals: Where everything written is counted.
    """

    def __init__(
        self,
        rng: random.Random,
        pools: TextPools,
        era: Era,
        *,
        setting: Setting,
        clock_ms: int,
        totals: Totals,
    ) -> None:
        self._rng = rng
        self._pools = pools
        self._totals = totals
        self._transcript = Transcript(rng, era, setting=setting, clock_ms=clock_ms)
        self._turn_starts: list[int] = []
        self._anchors: list[str] = []
        space = Workspace(rng, pools, setting.cwd)
        self._side_records = SideRecords(self._transcript, space)
        self._dialogue = SessionDialogue(
            self._transcript,
            space,
            totals,
            model=era.models.draw(rng),
            hour=rng.random() < era.hour_cache,
            side_records=self._side_records,
        )

    @property
    def size(self) -> int:
        """Bytes written so far, subagents included."""
        return self._transcript.size + self._dialogue.agent_bytes

    def write(self, *, line_count: int, max_bytes: int) -> None:
        """Write turns until the session has so many lines, or holds so many bytes."""
        while not self._is_full(line_count, max_bytes):
            self._write_turn(line_count, max_bytes)

    def list_files(self) -> Iterator[NewFile]:
        """Yield the session's file and those of its subagents."""
        name = f"{self._transcript.setting.session_id}.jsonl"
        yield NewFile(name, self._transcript.lines, self._transcript.clock_ms)
        yield from self._dialogue.agent_files

    def fork(self) -> NewFile:
        """Return a second session that repeats this one's first turns under its own id.

        As old clients wrote on ``--resume``: the same uuids, message ids and usage.
        """
        transcript = self._transcript
        kept = self._turn_starts[(len(self._turn_starts) + 1) // 2 :] or [len(transcript.lines)]
        old, new = transcript.setting.session_id.encode(), make_uuid(self._rng)
        lines = [line.replace(old, new.encode()) for line in transcript.lines[: kept[0]]]
        return NewFile(f"{new}.jsonl", lines, transcript.clock_ms + 60_000)

    def _is_full(self, line_count: int, max_bytes: int) -> bool:
        return len(self._transcript.lines) >= line_count or self.size >= max_bytes

    def _write_turn(self, line_count: int, max_bytes: int) -> None:
        transcript, dialogue, side_records = self._transcript, self._dialogue, self._side_records
        transcript.wait()
        transcript.prompt_id = make_uuid(self._rng)
        self._turn_starts.append(len(transcript.lines))
        for kind in _BEFORE_PROMPT:
            side_records.write(kind, most=3)
        self._write_prompt()
        started_ms = transcript.clock_ms
        for _ in range(API_CALLS_PER_TURN.draw(self._rng)):
            dialogue.call_tools()
            side_records.write("attachment", most=3)
            side_records.write("queue-operation", most=6)
            if self._is_full(line_count, max_bytes):
                break
        dialogue.answer()
        side_records.write("system", most=3, turn_ms=transcript.clock_ms - started_ms)
        for kind in _AFTER_TURN:
            side_records.write(kind, most=6)
        if dialogue.context_tokens > MAX_CONTEXT_TOKENS:
            self._compact()

    def _write_prompt(self) -> None:
        transcript, rng = self._transcript, self._rng
        if self._anchors and rng.random() < _REWIND_SHARE:
            transcript.parent = rng.choice(self._anchors)  # typed anew from an earlier point
        elif transcript.parent:
            self._anchors.append(transcript.parent)
        if rng.random() < 0.05:
            text = f"Base directory for this skill: {transcript.setting.cwd}\n"
            self._write_user(text + self._pools.prose(3_000), tail={"isMeta": True})
        self._totals.prompts += 1
        prompt = self._pools.prose(PROMPT_CHARS.draw(rng))
        self._side_records.last_prompt = prompt
        self._write_user(self._dress_prompt(prompt))
        if rng.random() < 0.02:
            self._write_user([{"type": "text", "text": "[Request interrupted by user]"}])

    def _dress_prompt(self, text: str) -> Content:
        chance = self._rng.random()
        if chance < 1 / 450:
            data = self._pools.signature(self._pools.cap(250_000))
            source = {"type": "base64", "media_type": "image/png", "data": data}
            return [{"type": "image", "source": source}, {"type": "text", "text": text}]
        if chance < 0.05:
            name = self._pools.name()
            return (
                f"<command-message>{name}</command-message>\n<command-name>/{name}</command-name>\n"
                f"<command-args>{text}</command-args>"
            )
        return [{"type": "text", "text": text}] if chance < 0.25 else text

    def _write_user(self, content: Content, *, tail: dict[str, Any] | None = None) -> None:
        message = {"role": "user", "content": content}
        self._transcript.add({"type": "user", "message": message}, tail=tail)

    def _compact(self) -> None:
        transcript, dialogue = self._transcript, self._dialogue
        transcript.wait(45_000)
        body = {
            "logicalParentUuid": transcript.parent,
            "type": "system",
            "subtype": "compact_boundary",
            "content": "Conversation compacted",
            "isMeta": False,
            "level": "info",
            "compactMetadata": {"trigger": "auto", "preTokens": dialogue.context_tokens},
        }
        transcript.add(body, parent=None)
        text = "This session is being continued from a previous conversation that ran out of "
        text += f"context. {self._pools.prose(9_000)}"
        self._write_user(text, tail={"isVisibleInTranscriptOnly": True, "isCompactSummary": True})
        dialogue.context_tokens = _COMPACTED_TOKENS

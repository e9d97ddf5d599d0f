"""One session as it is written: what is asked, thought, done and answered, line by line."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson

from tests.bench.responses import Block, Responses
from tests.bench.shape import ERAS, Weighted
from tests.bench.subagents import NewFile
from tests.bench.tool_calls import ToolCall
from tests.bench.transcripts import Setting, Totals, Transcript, make_uuid
from tests.demo.pictures import make_picture
from tests.demo.topics import Project

_OLDER, _NEWER = ERAS[-2], ERAS[-1]
_MODELS = {
    _OLDER.versions: Weighted(
        {"claude-opus-4-8": 4, "claude-sonnet-4-6": 3, "claude-haiku-4-5-20251001": 1}
    ),
    _NEWER.versions: Weighted(
        {
            "claude-opus-5": 5,
            "claude-sonnet-5": 4,
            "claude-haiku-4-5-20251001": 2,
            "claude-fable-5": 1,
        }
    ),
}
_SMALL_MODEL = "claude-haiku-4-5-20251001"
_NEWER_FOR = timedelta(days=33)


class _SteadyTranscript(Transcript):
    """A transcript whose records are seconds apart unless a time is given."""

    def wait(self, duration_ms: int | None = None) -> None:
        """Move the clock on."""
        super().wait(self.rng.randint(700, 9_000) if duration_ms is None else duration_ms)


class Session:
    """A session of a project.

    Args:
        project: Whose folder it works in.
        rng: Where all chance comes from.
        start: When it begins.
        now: What is recent is written by a newer version, with newer models.
        totals: Where everything written is counted.
        branch: The branch of Git that is checked out.
        model: Which model answers; by default one of the time.
    """

    def __init__(
        self,
        project: Project,
        *,
        rng: random.Random,
        start: datetime,
        now: datetime,
        totals: Totals,
        branch: str = "main",
        model: str | None = None,
    ) -> None:
        era = _NEWER if now - start < _NEWER_FOR else _OLDER
        self.project, self.rng, self.totals = project, rng, totals
        self.files: list[NewFile] = []
        self.session_id = make_uuid(rng)
        version = rng.choice(era.versions)
        setting = Setting(self.session_id, project.cwd, branch, version, "quiet-harbour")
        self.transcript = _SteadyTranscript(
            rng, era, setting=setting, clock_ms=round(start.timestamp() * 1000)
        )
        self.model = model or _MODELS[era.versions].draw(rng)
        self._responses = Responses(self.transcript, totals, model=self.model, hour=True)
        totals.sessions += 1

    def prompt(self, text: str, *, picture: bool = False) -> None:
        """Write what a person types, after a while of reading."""
        if self.transcript.parent:
            self.transcript.wait(self.rng.randint(25_000, 400_000))
        self.transcript.prompt_id = make_uuid(self.rng)
        content: str | list[Block] = text
        if picture:
            source = {"type": "base64", "media_type": "image/png", "data": make_picture()}
            content = [{"type": "image", "source": source}, {"type": "text", "text": text}]
        self.totals.prompts += 1
        self.write_user(content)

    def do(
        self, *calls: ToolCall, say: str = "", think: str = "", sees_thinking: bool = True
    ) -> None:
        """Write a response that runs tools, and what they answer."""
        blocks = self._make_blocks(say, think, is_shown=sees_thinking)
        blocks += [self._responses.make_tool_use(call) for call in calls]
        self._responses.respond(blocks, calls, reason="tool_use")

    def answer(self, text: str, *, think: str = "") -> None:
        """Write the response that ends a turn."""
        self._responses.respond(self._make_blocks(text, think))

    def ask_without_result(self, call: ToolCall) -> None:
        """Write a response that runs a tool which has not answered yet."""
        self._responses.respond([self._responses.make_tool_use(call)], (), reason="tool_use")

    def write_user(self, content: str | list[Block], **tail: Any) -> None:
        """Write a line of the user's side."""
        message = {"role": "user", "content": content}
        self.transcript.add({"type": "user", "message": message}, tail=tail)

    def write_system(self, subtype: str, **body: Any) -> None:
        """Write a notice of the client."""
        self.transcript.add({"type": "system", "subtype": subtype, "level": "info", **body})

    def delegate(
        self, description: str, prompt: str, *, calls: Sequence[ToolCall], report: str, kind: str
    ) -> None:
        """Hand work to a subagent, which has a transcript of its own, and take its report."""
        agent = _SteadyTranscript(
            self.rng,
            self.transcript.era,
            setting=self.transcript.setting,
            clock_ms=self.transcript.clock_ms + 9_100,
            agent_id=f"{self.rng.getrandbits(68):017x}",
            is_sidechain=True,
        )
        self.totals.subagents += 1
        agent.add({"type": "user", "message": {"role": "user", "content": prompt}}, parent=None)
        responses = Responses(agent, self.totals, model=_SMALL_MODEL, hour=False)
        for call in calls:
            responses.respond([responses.make_tool_use(call)], [call], reason="tool_use")
        responses.respond([{"type": "text", "text": report}])
        path = f"{self.session_id}/subagents/agent-{agent.agent_id}"
        meta = orjson.dumps({"agentType": kind})
        self.files += [
            NewFile(f"{path}.meta.json", [meta], agent.clock_ms),
            NewFile(f"{path}.jsonl", agent.lines, agent.clock_ms),
        ]
        self.do(self._report_of(agent, description, prompt, report, kind, tools=len(calls)))

    def _report_of(
        self,
        agent: Transcript,
        description: str,
        prompt: str,
        report: str,
        kind: str,
        *,
        tools: int,
    ) -> ToolCall:
        blocks = [{"type": "text", "text": report}]
        duration_ms = max(1, agent.clock_ms - self.transcript.clock_ms - 9_000)
        result = {
            "status": "completed",
            "prompt": prompt,
            "agentId": agent.agent_id,
            "agentType": kind,
            "content": blocks,
            "totalDurationMs": duration_ms,
            "totalTokens": 12_000 + agent.size // 4,
            "totalToolUseCount": tools,
        }
        input_ = {"description": description, "prompt": prompt, "subagent_type": kind}
        return ToolCall("Task", input_, blocks, result, False, duration_ms)

    def title(self, text: str, *, is_custom: bool = False) -> None:
        """Write the title, by the model or by the user."""
        name, key = ("custom-title", "customTitle") if is_custom else ("ai-title", "aiTitle")
        self.transcript.add_side({"type": name, key: text, "sessionId": self.session_id})

    def end(self) -> None:
        """Put the session's own file to those of its subagents."""
        self.files.append(
            NewFile(f"{self.session_id}.jsonl", self.transcript.lines, self.transcript.clock_ms)
        )

    def _make_blocks(self, text: str, think: str, *, is_shown: bool = True) -> list[Block]:
        blocks: list[Block] = []
        if think:
            signature = f"{self.rng.getrandbits(1200):0300x}"
            shown = think if is_shown else ""
            blocks.append({"type": "thinking", "thinking": shown, "signature": signature})
        if text:
            blocks.append({"type": "text", "text": text})
        return blocks

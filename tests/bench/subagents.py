"""The session's model: reports progress on tools, and hands work to subagents."""

from dataclasses import dataclass
from typing import Any

import orjson

from tests.bench.dialogues import Dialogue
from tests.bench.shape import LINES_PER_AGENT, PROGRESS_CHARS, TOOLS
from tests.bench.side_records import SideRecords
from tests.bench.tool_calls import ToolCall, Workspace, make_tool_call
from tests.bench.transcripts import Totals, Transcript

_AGENT_TYPES = ("Explore", "general-purpose", "Plan", "code-reviewer")


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be written: path below the project's folder, lines, time of the last record."""

    path: str
    lines: list[bytes]
    modified_ms: int


class SessionDialogue(Dialogue):
    """A dialogue with progress records and subagents.

    Subagents' files are left in ``agent_files``; in the oldest era they stand in the session's
    own file.
    """

    def __init__(
        self,
        transcript: Transcript,
        space: Workspace,
        totals: Totals,
        *,
        model: str,
        hour: bool,
        side_records: SideRecords,
    ) -> None:
        super().__init__(transcript, space, totals, model=model, hour=hour)
        self.agent_files: list[NewFile] = []
        self.agent_bytes = 0
        self._side_records = side_records
        self._agent_lines: dict[str, list[bytes]] = {}

    def call_tools(self) -> None:
        """Write a response that asks for tools, and the results."""
        before = self.assistant_lines
        super().call_tools()
        self._side_records.earn(self.assistant_lines - before)

    def make_call(self, name: str) -> ToolCall:
        """Return a call of a tool, for ``Task`` one of a subagent that has done its work."""
        return self._run_agent() if name == "Task" else make_tool_call(name, self.space)

    def write_result(self, asked_by: str, tool_use_id: str, call: ToolCall) -> None:
        """Write what was reported while the tool ran, then the result."""
        for place, data in enumerate(self._list_progress(call)):
            source = tool_use_id if data["type"] == "hook_progress" else f"progress-{place}"
            body = {"type": "progress", "data": data, "toolUseID": source}
            self.transcript.add({**body, "parentToolUseID": tool_use_id})
        super().write_result(asked_by, tool_use_id, call)

    def _list_progress(self, call: ToolCall) -> list[dict[str, Any]]:
        take = self._side_records.take
        if call.name == "Task" and isinstance(call.result, dict):
            agent_id = call.result["agentId"]
            lines = self._agent_lines.pop(agent_id, [])
            lines = lines[: take("progress", most=len(lines))]
            return [_copy_message(line, agent_id) for line in lines]
        if call.name == "Bash":
            return [self._report_output(second) for second in range(take("progress", most=60))]
        hook = {"type": "hook_progress", "hookEvent": "PreToolUse"}
        hook |= {"hookName": f"PreToolUse:{call.name}", "command": "callback"}
        return [hook] * (take("progress", most=2))

    def _report_output(self, second: int) -> dict[str, Any]:
        shown = self.space.pools.output(PROGRESS_CHARS.draw(self.rng))
        return {
            "type": "bash_progress",
            "output": shown[-300:],
            "fullOutput": shown,
            "elapsedTimeSeconds": second + 2,
            "totalLines": shown.count("\n"),
        }

    def _run_agent(self) -> ToolCall:
        shape, pools, rng = TOOLS["Task"], self.space.pools, self.rng
        self.totals.subagents += 1
        agent = self._begin_agent()
        prompt = pools.prose(shape.input_chars.draw(rng))
        agent.add({"type": "user", "message": {"role": "user", "content": prompt}}, parent=None)
        model = self.transcript.era.models.draw(rng)
        dialogue = Dialogue(agent, self.space, self.totals, model=model, hour=False)
        line_count = pools.cap(LINES_PER_AGENT.draw(rng))
        while len(agent.lines) < line_count:
            dialogue.call_tools()
        dialogue.answer()
        self._side_records.earn(dialogue.assistant_lines)
        self._keep_agent(agent)
        return self._report_agent(agent, prompt, pools.prose(shape.result_chars.draw(rng)))

    def _begin_agent(self) -> Transcript:
        era, transcript = self.transcript.era, self.transcript
        digits = {"inline": 0, "sibling": 8, "folder": 17}[era.agents]
        agent_id = f"{self.rng.getrandbits(68):017x}"[:digits] or None
        return Transcript(
            self.rng,
            era,
            setting=transcript.setting,
            clock_ms=transcript.clock_ms + 900,
            agent_id=agent_id,
            is_sidechain=True,
        )

    def _keep_agent(self, agent: Transcript) -> None:
        if agent.agent_id is None:
            self.transcript.take_over(agent.lines)
            return
        self._agent_lines[agent.agent_id] = agent.lines
        self.agent_bytes += agent.size
        path = f"agent-{agent.agent_id}"
        if self.transcript.era.agents == "folder":
            path = f"{self.transcript.setting.session_id}/subagents/{path}"
            meta = orjson.dumps({"agentType": self.rng.choice(_AGENT_TYPES)})
            self.agent_files.append(NewFile(f"{path}.meta.json", [meta], agent.clock_ms))
        self.agent_files.append(NewFile(f"{path}.jsonl", agent.lines, agent.clock_ms))

    def _report_agent(self, agent: Transcript, prompt: str, report: str) -> ToolCall:
        duration_ms = agent.clock_ms - self.transcript.clock_ms
        blocks = [{"type": "text", "text": report}]
        input_ = {"description": prompt[:30], "prompt": prompt, "subagent_type": "Explore"}
        result: dict[str, Any] = {"status": "completed", "prompt": prompt}
        if agent.agent_id:
            result["agentId"] = agent.agent_id
        result |= {
            "content": blocks,
            "totalDurationMs": duration_ms,
            "totalTokens": 40_000 + agent.size // 4,
            "totalToolUseCount": len(agent.lines) // 3,
        }
        if not agent.agent_id:
            return ToolCall("Task", input_, blocks, report, False, duration_ms)
        return ToolCall("Task", input_, blocks, result, False, duration_ms)


def _copy_message(line: bytes, agent_id: str) -> dict[str, Any]:
    record = orjson.loads(line)
    message = {key: record[key] for key in ("type", "message", "uuid", "timestamp")}
    copied = {"message": message, "normalizedMessages": [], "type": "agent_progress"}
    return {**copied, "prompt": "", "agentId": agent_id}

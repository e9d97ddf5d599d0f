"""Model responses and tool results, as a session and a subagent both write them."""

import random
from typing import Any

from tests.bench.shape import (
    CACHE_WRITE_TOKENS,
    INPUT_TOKENS,
    LINES_PER_API_MESSAGE,
    TEXT_CHARS,
    THINKING_CHARS,
    TOOL_NAMES,
)
from tests.bench.tool_calls import ToolCall, Workspace, make_tool_call
from tests.bench.transcripts import Totals, Transcript, make_id

MAX_CONTEXT_TOKENS = 150_000
_CHARS_PER_TOKEN = 3.5
_FIRST_CONTEXT_TOKENS = 14_000

Block = dict[str, Any]


class Dialogue:
    """The model at work in one transcript, until it has said its last word of the turn."""

    def __init__(
        self, transcript: Transcript, space: Workspace, totals: Totals, *, model: str, hour: bool
    ) -> None:
        self.transcript = transcript
        self.space = space
        self.totals = totals
        self.rng: random.Random = transcript.rng
        self.context_tokens = _FIRST_CONTEXT_TOKENS
        self.assistant_lines = 0
        self._model = model
        self._writes_for_an_hour = hour

    def call_tools(self) -> None:
        """Write a response that asks for tools, and the results."""
        blocks, calls = self._choose_blocks()
        together = len(calls) < 2 or self.rng.random() < 0.6
        respond = self._begin_response(len(blocks), blocks, "tool_use")
        waiting: list[tuple[str, str, ToolCall]] = []
        for place, block in enumerate(blocks):
            uuid = respond.write(place, block)
            if block["type"] != "tool_use":
                continue
            waiting.append((uuid, block["id"], calls[len(waiting)]))
            if not together:
                self.write_result(*waiting[-1])
        if together:
            for asked in waiting:
                self.write_result(*asked)

    def answer(self) -> None:
        """Write a response that ends the turn."""
        blocks = [self._make_text(TEXT_CHARS.draw(self.rng) * 4)]
        if self.rng.random() < 0.5:
            blocks.insert(0, self._make_thinking())
        respond = self._begin_response(len(blocks), blocks, "end_turn")
        for place, block in enumerate(blocks):
            respond.write(place, block)

    def write_result(self, asked_by: str, tool_use_id: str, call: ToolCall) -> None:
        """Write the user record that carries the result of a tool call."""
        self.transcript.wait(call.duration_ms)
        self.totals.tool_errors += call.is_error
        block: Block = {"tool_use_id": tool_use_id, "type": "tool_result", "content": call.content}
        if call.is_error or call.name == "Bash":
            block["is_error"] = call.is_error
        tail: dict[str, Any] = {"toolUseResult": call.result}
        if self.transcript.setting.version >= "2.1":
            tail["sourceToolAssistantUUID"] = asked_by
        body = {"type": "user", "message": {"role": "user", "content": [block]}}
        self.transcript.add(body, tail=tail, parent=asked_by)

    def make_call(self, name: str) -> ToolCall:
        """Return a call of a tool; a session starts subagents here."""
        return make_tool_call("Bash" if name == "Task" else name, self.space)

    def _choose_blocks(self) -> tuple[list[Block], list[ToolCall]]:
        count = LINES_PER_API_MESSAGE.draw(self.rng)
        chance = self.rng.random()
        blocks: list[Block] = []
        if (count > 1 and chance < 0.5) or (count > 2 and chance < 0.8):
            blocks.append(self._make_thinking())
        if count > len(blocks) + 1 and chance > 0.2:
            blocks.append(self._make_text(TEXT_CHARS.draw(self.rng)))
        calls = [
            self.make_call(TOOL_NAMES.draw(self.rng)) for _ in range(max(1, count - len(blocks)))
        ]
        return blocks + [self._make_tool_use(call) for call in calls], calls

    def _make_tool_use(self, call: ToolCall) -> Block:
        self.totals.tool_uses += 1
        block: Block = {
            "type": "tool_use",
            "id": make_id(self.rng, "toolu_01"),
            "name": self._name_in_era(call.name),
            "input": call.input,
        }
        if self.transcript.era.late_layout:
            block["caller"] = {"type": "direct"}
        return block

    def _name_in_era(self, name: str) -> str:
        return "Agent" if name == "Task" and self.transcript.era.late_layout else name

    def _make_text(self, chars: int) -> Block:
        return {"type": "text", "text": self.space.pools.prose(chars)}

    def _make_thinking(self) -> Block:
        chars = self.space.pools.cap(THINKING_CHARS.draw(self.rng))
        signed = min(200 + chars // 3, 20_000)
        hidden = self.transcript.era.late_layout and self.rng.random() < 0.7
        return {
            "type": "thinking",
            "thinking": "" if hidden else self.space.pools.prose(max(20, chars - signed)),
            "signature": self.space.pools.signature(chars if hidden else signed),
        }

    def _begin_response(self, count: int, blocks: list[Block], reason: str) -> "_Response":
        rng = self.rng
        self.assistant_lines += count
        tokens = self._count_tokens(blocks)
        self.context_tokens += tokens["cache_creation_input_tokens"]
        outputs = self._grow_output(count, tokens["output_tokens"])
        tokens["output_tokens"] = outputs[-1]
        self.totals.api_calls += 1
        for kind, amount in tokens.items():
            setattr(self.totals, kind, getattr(self.totals, kind) + amount)
        stop_reason = reason if rng.random() < self.transcript.era.stop_reason else None
        hour = self._writes_for_an_hour
        return _Response(
            self.transcript, self._model, tokens, outputs, stop_reason=stop_reason, hour=hour
        )

    def _count_tokens(self, blocks: list[Block]) -> dict[str, int]:
        said = sum(_count_chars(block) for block in blocks)
        return {
            "input_tokens": INPUT_TOKENS.draw(self.rng),
            "output_tokens": 1 + int(said / _CHARS_PER_TOKEN),
            "cache_creation_input_tokens": CACHE_WRITE_TOKENS.draw(self.rng),
            "cache_read_input_tokens": min(self.context_tokens, MAX_CONTEXT_TOKENS),
        }

    def _grow_output(self, count: int, final: int) -> list[int]:
        era, chance = self.transcript.era, self.rng.random()
        estimate = min(final, 1 + int(self.rng.random() * 3))
        if count > 1 and chance < era.growing:
            return [estimate] * (count - 1) + [final]
        if chance > 1 - era.undercounted:
            return [estimate] * count
        return [final] * count


def _count_chars(block: Block) -> int:
    if block["type"] == "tool_use":
        return 40 + sum(len(value) for value in block["input"].values() if isinstance(value, str))
    return len(block.get("text", "")) + len(block.get("thinking", ""))


class _Response:
    """One API message while its blocks are written, a line each."""

    def __init__(
        self,
        transcript: Transcript,
        model: str,
        tokens: dict[str, int],
        outputs: list[int],
        *,
        stop_reason: str | None,
        hour: bool,
    ) -> None:
        self._transcript = transcript
        self._model = model
        self._tokens = tokens
        self._outputs = outputs
        self._stop_reason = stop_reason
        self._hour = hour
        self._id = make_id(transcript.rng, "msg_01")
        self._request_id = make_id(transcript.rng, "req_011")

    def write(self, place: int, block: Block) -> str:
        """Write the line of one block and return its uuid."""
        transcript = self._transcript
        transcript.wait()
        is_last = place == len(self._outputs) - 1
        message = {
            "model": self._model,
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "content": [block],
            "stop_reason": self._stop_reason if is_last or transcript.era.late_layout else None,
            "stop_sequence": None,
            "usage": self._make_usage(self._outputs[place]),
        }
        return transcript.add(
            {"message": message, "requestId": self._request_id, "type": "assistant"}
        )

    def _make_usage(self, output_tokens: int) -> dict[str, Any]:
        written = self._tokens["cache_creation_input_tokens"]
        usage: dict[str, Any] = {
            "input_tokens": self._tokens["input_tokens"],
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": self._tokens["cache_read_input_tokens"],
        }
        if self._transcript.setting.version[0] != "1":
            usage["cache_creation"] = {
                "ephemeral_5m_input_tokens": 0 if self._hour else written,
                "ephemeral_1h_input_tokens": written if self._hour else 0,
            }
        usage |= {"output_tokens": output_tokens, "service_tier": "standard"}
        if self._transcript.era.late_layout:
            iteration = {**usage, "type": "message"}
            del iteration["service_tier"]
            usage |= {
                "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0},
                "inference_geo": "not_available",
                "iterations": [iteration],
                "speed": "standard",
            }
        return usage

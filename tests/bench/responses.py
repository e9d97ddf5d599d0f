"""Responses of the model and results of tools, line by line, with the tokens that they cost."""

import random
from collections.abc import Sequence
from typing import Any

from tests.bench.shape import CACHE_WRITE_TOKENS, INPUT_TOKENS
from tests.bench.tool_calls import ToolCall
from tests.bench.transcripts import Totals, Transcript, make_id

MAX_CONTEXT_TOKENS = 150_000
_CHARS_PER_TOKEN = 3.5
_FIRST_CONTEXT_TOKENS = 14_000

Block = dict[str, Any]


class Responses:
    """What the model says and asks for in one transcript, and what tools answer."""

    def __init__(self, transcript: Transcript, totals: Totals, *, model: str, hour: bool) -> None:
        self.transcript = transcript
        self.totals = totals
        self.rng: random.Random = transcript.rng
        self.context_tokens = _FIRST_CONTEXT_TOKENS
        self.assistant_lines = 0
        self._model = model
        self._writes_for_an_hour = hour

    def respond(
        self,
        blocks: list[Block],
        calls: Sequence[ToolCall] = (),
        *,
        reason: str = "end_turn",
        together: bool = True,
    ) -> None:
        """Write a response and the results of its calls, all behind it or each behind its block.

        Calls that are missing at the end have no result yet.
        """
        response = self._begin_response(len(blocks), blocks, reason)
        waiting: list[tuple[str, str, ToolCall]] = []
        for place, block in enumerate(blocks):
            uuid = response.write(place, block)
            if block["type"] != "tool_use" or len(waiting) == len(calls):
                continue
            waiting.append((uuid, block["id"], calls[len(waiting)]))
            if not together:
                self.write_result(*waiting[-1])
        if together:
            for asked in waiting:
                self.write_result(*asked)

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

    def make_tool_use(self, call: ToolCall) -> Block:
        """Return the block that asks for a call."""
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

    def _name_in_era(self, name: str) -> str:
        return "Agent" if name == "Task" and self.transcript.era.late_layout else name

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

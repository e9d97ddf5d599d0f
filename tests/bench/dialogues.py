"""Model responses and tool results, as a session and a subagent both write them."""

from tests.bench.responses import Block, Responses
from tests.bench.shape import LINES_PER_API_MESSAGE, TEXT_CHARS, THINKING_CHARS, TOOL_NAMES
from tests.bench.tool_calls import ToolCall, Workspace, make_tool_call
from tests.bench.transcripts import Totals, Transcript


class Dialogue(Responses):
    """The model at work in one transcript, until it has said its last word of the turn."""

    def __init__(
        self, transcript: Transcript, space: Workspace, totals: Totals, *, model: str, hour: bool
    ) -> None:
        super().__init__(transcript, totals, model=model, hour=hour)
        self.space = space

    def call_tools(self) -> None:
        """Write a response that asks for tools, and the results."""
        blocks, calls = self._choose_blocks()
        together = len(calls) < 2 or self.rng.random() < 0.6
        self.respond(blocks, calls, reason="tool_use", together=together)

    def answer(self) -> None:
        """Write a response that ends the turn."""
        blocks = [self._make_text(TEXT_CHARS.draw(self.rng) * 4)]
        if self.rng.random() < 0.5:
            blocks.insert(0, self._make_thinking())
        self.respond(blocks)

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
        return blocks + [self.make_tool_use(call) for call in calls], calls

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

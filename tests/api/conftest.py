"""Small archives for the tests of the API."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import webtest

from observatory.app import create_app
from tests.api.keyed import KeyedApp
from tests.api.sessions import SESSION, numbered
from tests.transcripts_for_tests import Transcript


@pytest.fixture
def unchecked(db) -> webtest.TestApp:
    """A client that may send what WSGI's rules warn of, such as unknown methods."""
    return KeyedApp(create_app(cors_origins=(), folders=()), lint=False)


@pytest.fixture
def add(write, ingest) -> Callable[..., str]:
    """Ingests a conversation of a prompt and an answer, and returns its id."""

    def one(
        number: int, prompt: str = "hello", *, at: str | None = None, cwd: str = "/home/ada/engine",
        **answer: object,
    ) -> str:  # fmt: skip
        time = {"timestamp": at} if at else {}
        transcript = numbered(number, cwd=cwd)
        transcript.prompt(prompt, **time)
        transcript.answer(**{"text": "hi", **time, **answer})
        write(transcript)
        ingest()
        return transcript.session_id

    return one


@pytest.fixture
def session(write, ingest) -> str:
    """One conversation: a prompt, an answer, a tool that worked, one that failed."""
    transcript = Transcript(SESSION)
    transcript.prompt("Count the files")
    transcript.answer("I will look.")
    transcript.tool_use("Bash", {"command": "ls"}, tool_use_id="toolu_1")
    transcript.tool_result("a\nb", tool_use_id="toolu_1")
    transcript.tool_use("mcp__github__get_issue", {"n": 7}, tool_use_id="toolu_2")
    transcript.tool_result("File does not exist.", tool_use_id="toolu_2", is_error=True)
    transcript.answer("Two.", model="claude-haiku-4-5-20251001")
    write(transcript)
    ingest()
    return SESSION


@pytest.fixture
def subagent(session, write, ingest) -> str:
    """A run of a subagent below the conversation."""
    transcript = Transcript(SESSION, prefix="s")
    transcript.common |= {"isSidechain": True, "agentId": "abc123"}
    transcript.prompt("Explore")
    transcript.answer("Explored.")
    write(transcript, f"-work/{SESSION}/subagents/agent-abc123.jsonl")
    ingest()
    return f"{SESSION}.abc123"

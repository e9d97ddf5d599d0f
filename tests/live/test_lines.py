"""What events say to people."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observatory.live.lines import (
    BAD,
    DIM,
    DOUBTFUL,
    describe,
    short_count,
    short_duration,
    telling_argument,
)
from observatory.store.event_notes import TYPES
from tests.live.bodies import body, budget, conversation, file, message, tool_use

COMMAND = (
    "<command-name>/compact</command-name>\n<command-message>compact</command-message>\n"
    "<command-args>now</command-args>"
)


def told(event: dict, **options: object) -> str | None:
    parts = describe(event, **options)
    return None if parts is None else "".join(part.text for part in parts)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (conversation("conversation_started"), "● Refactor the parser"),
        (conversation("conversation_ended"), "○ Refactor the parser  ended"),
        (message("prompt", "please look\n"), "> please look"),
        (message("prompt", "\n\nplease look\nat the parser"), "> please look …"),
        (message("prompt", "<ide_opened_file>a.py</ide_opened_file>look"), "> look"),
        (message("queued_prompt", "and this"), "> and this"),
        (message("command", COMMAND), "> /compact now"),
        (message("command", "<bash-input>ls</bash-input>"), "> ! ls"),
        (message("command_output", "<bash-stdout>a.py</bash-stdout>"), "  a.py"),
        (message("answer", "The parser does"), "The parser does"),
        (message("thinking", "Hm."), "✻ Hm."),
        (message("api_error", "Overloaded"), "! Overloaded"),
        (message("of a later version", "hello"), "  hello"),
        (message("tool_use", "", ("Bash", '{"command":"ls -la src"}')), "⏺ Bash  ls -la src"),
        (
            message("answer", "Let me see", ("Bash", '{"command":"ls"}'), ("Read", None)),
            "⏺ Bash  ls  ⏺ Read    Let me see",
        ),
        (
            message("tool_use", "", ("Read", '{"file_path":"/home/ada/engine/src/a.py"}')),
            "⏺ Read  src/a.py",
        ),
        (
            message("tool_use", "", ("Read", r'{"path":"C:\\w\\a.py"}'), project_path=r"C:\w"),
            "⏺ Read  a.py",
        ),
        (
            message("tool_use", "", ("Read", '{"file_path":"/home/ada/engine-2/a.py"}')),
            "⏺ Read  /home/ada/engine-2/a.py",
        ),
        (tool_use("success"), "  Bash success 0.8 s"),
        (tool_use("success", execution_time_ms=None), "  Bash success"),
        (tool_use("success", reported_duration_ms=95_400), "  Bash success 1 min 35 s"),
        (tool_use("error", error_category="exit_code"), "  Bash error 0.8 s  exit code"),
        (tool_use("error", error_category="other"), "  Bash error 0.8 s"),
        (tool_use("rejected", error_category="rejected"), "  Bash rejected 0.8 s"),
        (file("error", error_message="It is\ngone"), "! /p/a.jsonl: It is …"),
        (
            body("project_discovered", {"project": {"path": "/home/ada/engine"}}),
            "+ /home/ada/engine  new project",
        ),
        (body("conversation_deleted", {"is_permanent": True}, conversation_id="a1"),
         "✗ a1  removed for good"),
        (body("conversation_deleted", {"is_permanent": False}, conversation_id="a1"),
         "✗ a1  moved to the trash"),
        (budget(80, used_percent=83.4, spent_microdollars=8_340_000, limit_microdollars=10**7),
         "! Team: 83.4 % used, $8.34 of $10.00"),
        (budget(100, used_percent=123.4, spent_tokens=1_234_000, limit_tokens=10**6),
         "! Team: 123.4 % used, 1.2 M of 1.0 M tokens"),
    ],
)  # fmt: skip
def test_an_event_says(event, line):
    assert told(event) == line


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (conversation("conversation_updated"), "= 41 messages, 1.2 M tokens, $0.84"),
        (
            conversation("conversation_updated", cost_microdollars=None),
            "= 41 messages, 1.2 M tokens",
        ),
        (body("analytics_update", {"project": {}}), "= the project's numbers are others"),
        (file("processing"), "· /p/a.jsonl: processing"),
        (message("tool_result", "a.py"), "  a.py"),
        (message("injected", "Caveat"), "  Caveat"),
        (message("context", "<system-reminder>"), "  <system-reminder>"),
        (message("warmup", "Warmup"), "  Warmup"),
    ],
)
def test_some_events_are_told_to_who_asks_for_them(event, line):
    assert told(event) is None
    assert told(event, asked_for={event["type"]}) == line


@pytest.mark.parametrize(
    "event",
    [
        message("thinking", ""),
        message("answer", " \n"),
        body("message_added", {"message": None}),
        body("tool_use_finished", {"tool_use": None}),
        body("conversation_started", {"conversation": None}),
        body("conversation_updated", {"conversation": None}),
        body("budget_threshold", {"budget": None}),
        body("of_a_later_version", {}),
    ],
)
def test_what_is_empty_or_gone_says_nothing(event):
    assert describe(event, asked_for=TYPES) is None


@pytest.mark.parametrize(
    ("status", "style"),
    [("success", DIM), ("error", BAD), ("rejected", DOUBTFUL), ("interrupted", DOUBTFUL)],
)
def test_how_a_tool_ended_is_seen_by_its_colour(status, style):
    assert (status, style) in describe(tool_use(status))


def test_thinking_is_dim():
    assert {part.style for part in describe(message("thinking", "Hm."))} == {DIM}


@pytest.mark.parametrize(
    ("preview", "argument"),
    [
        (None, ""),
        ("", ""),
        ("{}", ""),
        ('{"description":"List","command":"ls"}', "ls"),
        ('{"glob":"*.py","pattern":"def"}', "def"),
        ('{ "url" : "http://a" , "prompt" : "read" }', "http://a"),
        ('{"command":" ","query":"a"}', "a"),
        ('{"command":5,"query":"a"}', "a"),
        ('{"command":"cat <<EOF\\na\\nEOF"}', "cat <<EOF …"),
        ('{"todos":[{"content":"a"}]}', '{"todos":[{"content":"a"}]}'),
        ('{"a":"\\"command\\":\\"no\\" te', '{"a":"\\"command\\":\\"no\\" te'),
        ('{"file_path":"a.py","content":"import o', "a.py"),
        ('{"command":"echo caf\\u00', "echo caf"),
        ('{"command":"echo \\', "echo "),
        ("[1,2]", "[1,2]"),
        ('"text"', '"text"'),
        ("not JSON", "not JSON"),
        ('{"a":' * 200, '{"a":' * 200),
    ],
)  # fmt: skip
def test_the_argument_that_tells_most_is_found_also_in_what_is_cut(preview, argument):
    assert telling_argument(preview).rstrip() == argument.rstrip()


@settings(deadline=None)
@given(
    arguments=st.dictionaries(st.text(max_size=9), st.text(max_size=30) | st.integers()),
    end=st.integers(0, 200),
)
def test_arguments_cut_anywhere_are_told(arguments, end):
    told = telling_argument(json.dumps({**arguments, "command": "ls"})[:end])
    assert isinstance(told, str)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_a_cut_command_is_told_as_far_as_it_goes(command):
    whole = json.dumps({"command": command})
    for end in range(len('{"command": "'), len(whole)):
        shown = telling_argument(whole[:end])
        assert shown == whole[:end] or command.strip().startswith(shown.removesuffix(" …").rstrip())


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1.0 k"), (12_345, "12.3 k"), (999_949, "999.9 k"),
     (999_950, "1.0 M"), (1_234_567, "1.2 M"), (3_400_000_000, "3.4 G"), (10**13, "10,000.0 G")],
)  # fmt: skip
def test_counts_are_short(number, text):
    assert short_count(number) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0.0 s"), (812, "0.8 s"), (59_949, "59.9 s"), (59_950, "1 min 0 s"),
     (125_000, "2 min 5 s"), (3_599_600, "1 h 0 min"), (4_800_000, "1 h 20 min")],
)  # fmt: skip
def test_durations_are_short(milliseconds, text):
    assert short_duration(milliseconds) == text

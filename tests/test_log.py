"""Lines of the log: what they look like, and what of an exception they tell."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from observatory.log import describe_exception

PROGRAM = """
from observatory.log import configure_logging, log
configure_logging(level={level!r}, log_format={log_format!r})
log.debug("told", text="detail")
log.info("told", text={text!r})
try:
    try:
        {{}}["planted-key"]
    except KeyError as error:
        raise ValueError("bad value: planted-value") from error
except ValueError as error:
    log.error("failed", request_id="r-1", exc_info=error)
    log.error("failed", request_id="r-2", exc_info=True)
"""


def run(*, level: str = "info", log_format: str = "json", text: str = "plain") -> str:
    program = PROGRAM.format(level=level, log_format=log_format, text=text)
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert process.returncode == 0, process.stderr
    assert process.stdout == b""
    return process.stderr.decode()


HARD = "a\nb\r\x1b[31mred\x7f\x9b\x00\u2028é\udce9"


def test_a_line_is_one_json_object_and_ascii():
    lines = run(text=HARD).splitlines()
    told = json.loads(lines[0])
    assert (told["event"], told["level"], told["text"]) == ("told", "info", HARD)
    assert lines[0].isascii()
    assert lines[0].isprintable()
    assert len(lines) == 3


def test_lines_for_people_escape_what_a_terminal_obeys():
    told = run(log_format="pretty", text="a\nb\r\x1b[31mred\x7f\x9b\u2028é").splitlines()[0]
    assert told.isprintable()
    assert "a\\x0ab\\x0d\\x1b[31mred\\x7f\\x9b\\u2028é" in told


@pytest.mark.parametrize(("level", "events"), [
    ("debug", ["told", "told", "failed", "failed"]), ("info", ["told", "failed", "failed"]),
    ("warn", ["failed", "failed"]), ("error", ["failed", "failed"]),
])  # fmt: skip
def test_the_level_decides_what_is_told(level, events):
    assert [json.loads(line)["event"] for line in run(level=level).splitlines()] == events


def test_an_exception_is_told_with_its_cause_and_without_values():
    failed = [json.loads(line) for line in run().splitlines()[1:]]
    assert [each["request_id"] for each in failed] == ["r-1", "r-2"]
    for each in failed:
        outer, inner = each["exception"]
        assert (outer["type"], outer["reason"]) == ("builtins.ValueError", "bad value")
        assert (inner["type"], inner["reason"]) == ("builtins.KeyError", "")
        assert outer["frames"] == ["<string>:10 <module>"]


@pytest.mark.parametrize("log_format", ["json", "pretty"])
def test_no_form_repeats_values(log_format):
    told = run(log_format=log_format)
    assert "planted" not in told
    assert "ValueError" in told
    assert "<string>:10" in told


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("database disk image is malformed", "database disk image is malformed"),
        ("no such column: planted", "no such column"),
        ('near "planted": syntax error', "near"),
        ("UNIQUE constraint failed: messages.id", "UNIQUE constraint failed"),
        ("invalid literal for int() with base 10: 'planted'", "invalid literal for int"),
        ("[Errno 28] No space left on device: '/planted'", "[Errno 28] No space left on device"),
        ("b'planted'", "b"),
    ],
)
def test_of_a_message_only_the_beginning_is_told(message, reason):
    assert describe_exception(RuntimeError(message))[0]["reason"] == reason


def test_endless_causes_come_to_an_end():
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert len(describe_exception(first)) == 8

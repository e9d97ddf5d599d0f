"""Lines in columns, and what of a text reaches a terminal."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import date, timedelta, timezone

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from observatory.live.layout import Layout
from observatory.live.lines import describe
from observatory.live.terminal_text import clean, cut, escape_json, measure, pad
from observatory.store.event_notes import TYPES
from tests.live.bodies import conversation, file, message, tool_use

DAY = date(2026, 3, 4)
HOUR_EAST = timezone(timedelta(hours=1))
HOSTILE = st.text(
    st.sampled_from(
        "\x1b[31mA\x9b\x07\r\n\t\x00\x7f\u202e\u2066\u200d\ufe0f\u2028é漢👩🏽\u0301\ufffe"
    )
    | st.characters(),
    max_size=60,
)


def short(conversation_id: str) -> str:
    return conversation_id[:7]


def lay_out(layout: Layout, event: dict, *, width: int | None = None) -> list[str]:
    parts = describe(event, asked_for=TYPES)
    assert parts is not None
    return [line.plain for line in layout.lay_out(event, parts, width=width)]


def is_harmless(text: str) -> bool:
    return not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text)


def test_columns_are_time_here_project_and_conversation():
    layout = Layout(short, today=DAY, zone=HOUR_EAST)
    [line] = lay_out(layout, message("prompt", "please look"))
    assert line == "13:04:31  engine  f2b8c1e  > please look"


def test_columns_grow_and_stay_aligned():
    layout = Layout(lambda full: full, today=DAY)
    first = message("answer", "a", project_path="/w/漢字", conversation_id="1234567")
    wider = message("answer", "b", project_path="C:\\w\\engine", conversation_id="1234567.abcd")
    [_], [second], [third] = (lay_out(layout, each) for each in (first, wider, first))
    assert cell_len(second) == cell_len(third)
    assert second.endswith("engine  1234567.abcd  b")


def test_a_long_name_does_not_widen_its_column_for_good():
    layout = Layout(lambda full: full, today=DAY)
    long = message("answer", "a", conversation_id="x" * 40, project_path=f"/w/{'y' * 40}")
    [line] = lay_out(layout, long)
    assert f"{'y' * 15}…  {'x' * 40}  a" in line
    [line] = lay_out(layout, message("answer", "a", conversation_id="1234567"))
    assert line.endswith("1234567       a")


def test_what_belongs_to_nothing_leaves_columns_empty():
    [line] = lay_out(Layout(short, today=DAY), file("error"))
    assert line.split() == [line[:8], "!", "/p/a.jsonl:", "it", "can", "not", "be", "read"]


def test_another_day_has_a_heading_once():
    layout = Layout(short, today=date(2026, 3, 5), zone=HOUR_EAST)
    heading, _ = lay_out(layout, message("answer", "a"))
    assert heading == "── Wednesday, 2026-03-04"
    assert len(lay_out(layout, message("answer", "a"))) == 1


def test_conversations_have_colours_of_their_own():
    layout = Layout(short, today=DAY)
    seen = []
    for identifier in ("aaaaaaa", "bbbbbbb", "aaaaaaa"):
        event = message("answer", "a", conversation_id=identifier)
        [line] = layout.lay_out(event, describe(event), width=None)
        [style] = {str(s.style) for s in line.spans if identifier in line.plain[s.start : s.end]}
        seen.append(style)
    assert seen[0] == seen[2] != seen[1]


def test_a_line_is_cut_to_the_width_with_an_ellipsis():
    [line] = lay_out(Layout(short, today=DAY), message("prompt", "漢" * 100), width=41)
    assert line.endswith("漢…")
    assert cell_len(line) in (40, 41)


@settings(deadline=None)
@given(text=HOSTILE, name=HOSTILE, width=st.integers(0, 120) | st.none())
def test_nothing_that_a_terminal_obeys_gets_into_a_line_and_none_is_too_wide(text, name, width):
    layout = Layout(lambda _: name, today=DAY)
    for event in (
        message("prompt", text, project_path=f"/w/{name}", conversation_id=name),
        message("tool_use", text, (name, json.dumps({"command": text}))),
        message("tool_use", text, (name, text)),
        tool_use(name, name=text, error_category=name),
        conversation("conversation_started", title=text),
        file("error", file_path=text, error_message=name),
    ):
        for line in layout.lay_out(event, describe(event, asked_for=TYPES) or [], width=width):
            assert is_harmless(line.plain)
            assert width is None or cell_len(line.plain) <= width


@settings(deadline=None)
@given(HOSTILE)
def test_with_colours_only_the_colours_are_sequences(text):
    layout = Layout(short, today=DAY)
    event = message("answer", text, project_path=f"/w/{text}")
    console = Console(force_terminal=True, color_system="standard", width=10, _environ={})
    for line in layout.lay_out(event, describe(event) or [], width=300):
        with console.capture() as captured:
            console.print(line, soft_wrap=True, end="")
        assert re.sub(r"\x1b\[[0-9;]*m", "", captured.get()) == line.plain


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain", "plain"),
        ("a\x1b[31mb", "a␛[31mb"),
        ("a\r\nb\tc\u2028d", "a  b c d"),
        ("\x00\x07\x7f\x9b2J", "␀␇␡\ufffd2J"),
        ("a\u202eb\u2066c\u200fd\u200be\U000e0041", "abcde"),
        ("👩\u200d💻 ❤\ufe0f", "👩💻 ❤"),
        ("\ud800\ufffe", "\ufffd\ufffd"),
        ("é e\u0301 漢字 עברית", "é e\u0301 漢字 עברית"),
    ],
)
def test_text_is_cleaned(text, cleaned):
    assert clean(text) == cleaned


@settings(deadline=None)
@given(HOSTILE.map(clean), st.integers(0, 80))
def test_cleaned_text_is_as_wide_as_rich_says_and_is_cut_and_filled(text, width):
    assert is_harmless(text)
    assert measure(text) == cell_len(text)
    assert cut(text, width) == text or measure(cut(text, width)) <= width < measure(text)
    assert measure(pad(text, width)) == width or measure(text) > width


@settings(deadline=None)
@given(HOSTILE)
def test_escaped_json_says_the_same_and_holds_nothing_that_a_terminal_obeys(text):
    body = orjson.dumps({"text": text.encode(errors="replace").decode()})
    escaped = escape_json(body)
    assert orjson.loads(escaped) == orjson.loads(body)
    assert json.loads(escaped) == orjson.loads(body)
    assert is_harmless(escaped.decode())


def test_every_character_that_a_terminal_obeys_is_escaped_in_json():
    for code in [*range(0xD800), *range(0xE000, 0x110000)]:
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Zl", "Zp"):
            assert is_harmless(escape_json(orjson.dumps(chr(code))).decode()), hex(code)

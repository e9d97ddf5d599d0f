"""Bytes to lines, lines to objects."""

from __future__ import annotations

import io
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.errors import MalformedRecord
from observatory.transcripts import lines
from observatory.transcripts.lines import Line, encode_json, parse_objects, read_lines
from observatory.transcripts.records import parse_record

TEXT = st.text('a"\0\n\ud83d\U0001f600\u2028é', max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def line(data: bytes, number: int = 2) -> Line:
    return Line(number, 0, len(data), data, True)


def reader(data: bytes, piece: int):
    stream = io.BytesIO(data)
    return lambda size: stream.read(min(size, piece))


@given(
    st.lists(st.binary(max_size=30).filter(lambda part: b"\n" not in part)),
    st.booleans(),
    st.integers(1, 50),
)
def test_lines_are_what_lies_between_newlines(parts, ends, piece):
    data = b"\n".join(parts) + (b"\n" if ends and parts else b"")
    found = list(read_lines(reader(data, piece)))
    assert [f.data for f in found] == data.split(b"\n")[: len(found)]
    assert b"".join(data[f.start : f.end] for f in found) == data
    assert [f.number for f in found] == list(range(1, len(found) + 1))
    assert all(f.is_terminated for f in found[:-1])


def test_only_newlines_end_a_line():
    text = "a\u2028b\u0085c\x0bd\re"
    assert [f.data for f in read_lines(io.BytesIO(text.encode() + b"\n").read)] == [text.encode()]


@given(st.integers(0, 40), st.integers(1, 60))
def test_a_line_over_the_limit_is_passed_over(length, piece):
    data = b"a\n" + b"x" * length + b"\nb\n"
    found = list(read_lines(reader(data, piece), max_line_bytes=20))
    assert [f.data for f in found] == [b"a", b"x" * length if length <= 20 else None, b"b"]
    assert found[-1].end == len(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_objects_or_a_malformed_record(data):
    try:
        objects = parse_objects(line(data.replace(b"\n", b"")))
    except MalformedRecord:
        return
    assert all(isinstance(value, dict) for value in objects)


@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_whatever_json_holds_can_be_stored_and_sent(value):
    data = json.dumps(value).encode()
    [found] = parse_objects(line(data))
    text = encode_json(found)
    text.encode()
    assert "\\u0000" not in text
    orjson.loads(text)


@given(st.lists(st.dictionaries(st.text("ab"), st.integers(0, 9)), min_size=1, max_size=4))
def test_glued_objects_are_all_recovered(objects):
    data = b"".join(orjson.dumps(value) for value in objects)
    assert parse_objects(line(data)) == objects


@given(
    st.sampled_from(
        ("user", "assistant", "system", "attachment", "progress", "summary", "ai-title", "x")
    ),
    st.dictionaries(
        st.sampled_from(
            (
                "message",
                "uuid",
                "content",
                "toolUseResult",
                "attachment",
                "data",
                "timestamp",
                "isMeta",
                "summary",
                "leafUuid",
                "subtype",
                "costUSD",
                "forkedFrom",
                "aiTitle",
            )
        ),
        JSON
        | st.fixed_dictionaries(
            {},
            optional={
                "content": JSON
                | st.lists(
                    st.fixed_dictionaries(
                        {"type": st.sampled_from(("text", "tool_use", "tool_result", "image"))},
                        optional=dict.fromkeys(("id", "text", "content", "input", "source"), JSON),
                    )
                ),
                "usage": JSON | st.dictionaries(st.sampled_from(("input_tokens",)), JSON),
                "id": JSON,
                "model": JSON,
                "type": st.just("queued_command"),
                "prompt": JSON,
            },
        ),
    ),
)
def test_any_record_is_read_or_malformed(kind, fields):
    try:
        parse_record(lines.clean({"type": kind, **fields}))
    except MalformedRecord as error:
        assert error.reason


def test_nesting_is_bounded():
    depth = 900
    [found] = parse_objects(line(b'{"a":' * depth + b"1" + b"}" * depth))
    assert "nested too deeply" in encode_json(found)


@pytest.mark.parametrize("data", [b"", b"   ", b"\r", b"\0\0\0", b"\t\r"])
def test_blank_lines_hold_nothing(data):
    assert parse_objects(line(data)) == []


def test_a_byte_order_mark_counts_only_at_the_beginning():
    data = b'\xef\xbb\xbf{"a":1}'
    assert parse_objects(line(data, number=1)) == [{"a": 1}]
    with pytest.raises(MalformedRecord):
        parse_objects(line(data, number=2))

"""Bytes to lines, lines to objects."""

from __future__ import annotations

import io
import json

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
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
def test_any_bytes_are_objects_or_bad_parts(data):
    data = data.replace(b"\n", b"")
    objects, bad = parse_objects(line(data))
    assert all(isinstance(value, dict) for value in objects)
    ends = [0, *(at for part in bad for at in (part.start, part.end)), len(data)]
    assert ends == sorted(ends)


@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_whatever_json_holds_can_be_stored_and_sent(value):
    data = json.dumps(value).encode()
    [found], _ = parse_objects(line(data))
    text = encode_json(found)
    text.encode()
    assert "\\u0000" not in text
    orjson.loads(text)


@given(st.lists(st.dictionaries(st.text("ab"), st.integers(0, 9)), min_size=1, max_size=4))
def test_glued_objects_are_all_recovered(objects):
    data = b"".join(orjson.dumps(value) for value in objects)
    assert parse_objects(line(data)) == (objects, [])


@pytest.mark.parametrize("length", [0, 100, 2_000_000])
@pytest.mark.parametrize("mark", lines.MARKS)
def test_marks_are_found_in_lines_of_any_length(mark, length):
    assert lines.find_marks(b"x" * length + mark + mark[:-1]) == {mark}
    assert lines.find_marks(b"x" * length + mark[:-1]) == frozenset()


RECORDS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(("user", "x")),
        "uuid": TEXT,
        "é": st.lists(st.dictionaries(st.text('a{"é'), JSON)),
    }
)


# How fast a busy machine draws examples says nothing of the code.
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(RECORDS, max_size=2), RECORDS, st.lists(RECORDS, max_size=2), st.data())
def test_whole_records_beside_half_a_one_are_recovered(before, cut, after, data):
    whole, half, rest = (
        b"".join(json.dumps(value).encode() for value in values)
        for values in (before, [cut], after)
    )
    half = half[: data.draw(st.integers(1, len(half) - 1))]
    objects, [bad] = parse_objects(line(whole + half + rest))
    assert objects == [lines.clean(value) for value in (*before, *after)]
    assert (bad.start, bad.end) == (len(whole), len(whole) + len(half))


def test_what_is_bad_is_told_in_bytes():
    data = b'\0\xc3\xa9\xff{"type":"a","uuid":"1"}\0 {"type":"b"} 7\0'
    objects, bad = parse_objects(line(data))
    assert objects == [{"type": "a", "uuid": "1"}, {"type": "b"}]
    assert [data[part.start : part.end] for part in bad] == [b"\xc3\xa9\xff", b"7\0"]


@pytest.mark.parametrize("part", [b'{"', b'{"a":', b'{"a":[', b'{"a":{}', b'{"a":{"b":"'])
def test_a_hostile_line_is_gone_over_a_bounded_number_of_times(part, monkeypatch):
    data = part * 50_000
    characters = 0

    def decode(text, position):
        nonlocal characters
        value, end, reason = decoding(text, position)
        characters += end - position + 1
        return value, end, reason

    decoding = lines._decode
    monkeypatch.setattr(lines, "_decode", decode)
    assert parse_objects(line(data))[0] == []
    assert characters < 30 * len(data)


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
    [found], _ = parse_objects(line(b'{"a":' * depth + b"1" + b"}" * depth))
    assert "nested too deeply" in encode_json(found)


@pytest.mark.parametrize("data", [b"", b"   ", b"\r", b"\0\0\0", b"\t\r"])
def test_blank_lines_hold_nothing(data):
    assert parse_objects(line(data)) == ([], [])


def test_a_byte_order_mark_counts_only_at_the_beginning():
    data = b'\xef\xbb\xbf{"a":1}'
    assert parse_objects(line(data, number=1)) == ([{"a": 1}], [])
    # Elsewhere it is a bad part of the line.
    assert [bad.end for bad in parse_objects(line(data, number=2))[1]] == [len(data)]

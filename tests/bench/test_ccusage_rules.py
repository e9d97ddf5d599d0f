"""The rules of ccusage as we recount them, and what counts as an explanation; without npm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench.ccusage import Comparison, Response, compare, compare_costs, describe, sum_cells
from tests.bench.ccusage_rules import RULES, Entry, first_lines, largest_lines, last_lines

MODEL = "claude-opus-4-5"
OLD, NEW = "18.0.11", "20.0.24"


def line(
    output: int = 1, *, message_id: str = "msg_1", at: int = 1, usage: Any = None, **fields: Any
) -> dict[str, Any]:
    """Return a line of a response; ``None`` leaves a field out."""
    numbers = {
        "input_tokens": 2, "output_tokens": output, "cache_creation_input_tokens": 30,
        "cache_read_input_tokens": 400, **(usage or {}),
    }  # fmt: skip
    record = {
        "type": "assistant", "uuid": f"u{at}", "sessionId": "s", "requestId": "req_1",
        "timestamp": f"2026-03-04T05:06:{at:02}.000Z", "version": "2.1.120",
        "message": {"id": message_id, "model": MODEL, "usage": numbers, "content": []}, **fields,
    }  # fmt: skip
    return {name: value for name, value in record.items() if value is not None}


def model(record: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**record, "message": {**record["message"], **fields}}


@pytest.fixture
def write(tmp_path):
    def to_file(*records: Any, name: str = "s.jsonl") -> Path:
        path = tmp_path / "projects" / "-work" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [r if isinstance(r, bytes) else _encode(r) for r in records]
        path.write_bytes(b"".join(encoded + b"\n" for encoded in lines))
        return path

    return to_file


def _encode(record: dict[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def outputs(entries: list[Entry]) -> list[int]:
    return [entry.tokens[1] for entry in entries]


def test_which_line_of_a_response_counts(write):
    path = write(line(40), line(40, at=2), line(351, at=3))
    assert outputs(first_lines([path])) == [40]
    assert outputs(largest_lines([path])) == [351]
    [last] = last_lines([path])["msg_1"]
    assert last.tokens == (2, 351, 30, 400)


def test_without_a_request_id_each_line_counts(write):
    path = write(*(line(n, at=n, requestId=None) for n in (1, 2, 3)))
    assert outputs(first_lines([path])) == [1, 2, 3]
    assert outputs(largest_lines([path])) == [1, 2, 3]
    same_time = write(line(1, requestId=None), line(2, requestId=None))
    assert outputs(first_lines([same_time])) == [1, 2]
    assert outputs(largest_lines([same_time])) == [2]


def test_version_18_reads_the_file_with_the_earliest_time_first(write):
    later, earlier = write(line(5, at=9), name="a.jsonl"), write(line(7, at=1), name="b.jsonl")
    assert outputs(first_lines([later, earlier])) == [7]
    untimed = write({"type": "mode"}, name="c.jsonl")
    assert outputs(first_lines([untimed, later])) == [5]


@pytest.mark.parametrize(
    ("record", "old", "new"),
    [
        (model(line(), model="<synthetic>"), 0, 0),
        (line(requestId=""), 0, 1),
        (line(timestamp="yesterday"), 0, 0),
        (line(usage={"cache_creation_input_tokens": None}), 0, 0),
        (line(usage={"output_tokens": "3"}), 0, 0),
        (line(version="next"), 0, 0),
        (model(line(), content="text"), 0, 1),
        (model(line(), content=[{"type": "text", "text": None}]), 0, 1),
        (model(line(), content=[{"type": "text", "text": "a\u2028b"}]), 0, 1),
        (b"[1]", 0, 0),
        (_encode(line()) + _encode(line()), 0, 0),
        (line(type="user"), 1, 1),
    ],
)  # fmt: skip
def test_what_is_passed_over(write, record, old, new):
    path = write(record)
    assert (len(first_lines([path])), len(largest_lines([path]))) == (old, new)


def test_a_fast_response_has_a_name_of_its_own(write):
    path = write(line(usage={"speed": "fast"}))
    for rule in RULES.values():
        assert [entry.model for entry in rule([path])] == [f"{MODEL}-fast"]


def test_version_20_prefers_what_is_outside_a_sidechain(write):
    path = write(line(90, isSidechain=True, requestId="req_2"), line(1, at=2))
    assert outputs(largest_lines([path])) == [1]
    assert outputs(first_lines([path])) == [90, 1]


def test_version_20_counts_lines_in_progress_records(write):
    inner = line(5, message_id="msg_sub", isSidechain=True)
    path = write({"type": "progress", "sessionId": "s", "data": {"message": inner}})
    assert outputs(first_lines([path])) == []
    [entry] = largest_lines([path])
    assert (entry.is_progress, entry.tokens[1]) == (True, 5)


def test_version_20_takes_cache_writes_from_their_split(write):
    split = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 20}
    path = write(line(usage={"cache_creation": split}))
    assert [entry.tokens[2] for entry in first_lines([path])] == [30]
    assert [(e.tokens[2], e.hour_writes) for e in largest_lines([path])] == [(20, 20)]


# ------------------------------------------------------------------ explanations


def response(*tokens: int, identifier: str = "msg_1", **others: Any) -> Response:
    used: Any = tokens or (2, 351, 30, 400)
    return Response(identifier, "2026-03-04", MODEL, used, 0, **others)


def explain(path: Path, *ours: Response, version: str = OLD, theirs: Any = None) -> Comparison:
    """Return the comparison with a ccusage that keeps to its rule, or says something else."""
    entries = RULES[version]([path])
    cells = sum_cells(((e.day, e.model), e.tokens) for e in entries) if theirs is None else theirs
    return compare("x", version, ours=ours, theirs=cells, entries=entries, last=last_lines([path]))


def test_equal_numbers_need_no_cause(write):
    found = explain(write(line(351)), response())
    assert (found.differing, found.causes, found.unexplained) == ([], {}, [])


def test_a_smaller_first_line_is_a_cause(write):
    found = explain(write(line(40), line(351, at=2)), response())
    assert found.causes == {"first_line": (0, -311, 0, 0)}
    assert found.unexplained == []
    found.costs = {"ours": 1.0, "theirs": 0.5, "tokens": -0.5, "unsplit_writes": 0.0,
                   "hour_writes": 0.0, "price_tables": 0.0}  # fmt: skip
    row, cause, cost = describe(found)
    assert row.endswith("yes") and "output -311" in cause and "tokens -0.50" in cost


def test_a_number_that_their_rule_does_not_give_is_left_over(write):
    cell = {("2026-03-04", MODEL): (2, 41, 30, 400)}
    found = explain(write(line(40), line(351, at=2)), response(), theirs=cell)
    assert found.unexplained == [f"2026-03-04 {MODEL}: the recount differs"]


def test_a_number_of_ours_that_no_last_line_has_is_left_over(write):
    found = explain(write(line(40), line(351, at=2)), response(2, 350, 30, 400))
    assert found.unexplained == ["1 responses differ for no known cause"]


def test_a_response_that_only_they_count_is_left_over(write):
    found = explain(write(line(351)))
    assert found.unexplained == ["1 responses differ for no known cause"]


PROGRESS = {
    "type": "progress", "sessionId": "s",
    "data": {"message": line(1, requestId=None, isSidechain=None)},
}  # fmt: skip


@pytest.mark.parametrize(
    ("records", "version", "cause"),
    [
        ([line(1, requestId=None), line(351, at=2, requestId=None)], OLD, "no_request_id"),
        ([line(1), line(351, at=2, requestId="req_2")], OLD, "several_request_ids"),
        ([line(351, usage={"speed": None})], OLD, "passed_over"),
        ([line(351, usage={"speed": "fast"})], OLD, "fast_name"),
        ([line(900), line(351, at=2)], NEW, "larger_line"),
        ([PROGRESS, line(351, at=2, isSidechain=True)], NEW, "progress_copy"),
        ([line(351, usage={"cache_creation": {}})], NEW, "split_writes"),
    ],
)
def test_each_cause_is_told_by_its_lines(write, records, version, cause):
    found = explain(write(*records), response(), version=version)
    assert list(found.responses) == [cause]
    assert found.unexplained == []


def test_costs_differ_by_what_is_named(write):
    """Cache writes of an hour at the price of those of five minutes: 30 at $3.75 a million less."""
    split = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 30}
    path = write(line(351, usage={"cache_creation": split}))
    mine = 2 * 5000 + 351 * 25000 + 30 * 10000 + 400 * 500
    ours = [response()._replace(nanodollars=mine)]
    found, entries = explain(path, *ours), first_lines([path])
    told = (mine - 30 * 3750) / 1e9
    compare_costs(found, ours, {("2026-03-04", MODEL): told}, entries)
    assert found.costs["hour_writes"] == pytest.approx(-30 * 3750 / 1e9)
    assert found.costs["tokens"] == found.costs["price_tables"] == pytest.approx(0)
    assert found.open_costs == []
    compare_costs(found, ours, {("2026-03-04", MODEL): told + 1}, entries)
    assert len(found.unexplained) == 1

"""The generated corpus is repeatable, of the size asked for, and valid as transcripts."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.bench.corpus import encode_cwd, write_corpus
from tests.bench.transcripts import Totals

MEGABYTES = 4


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Totals]:
    folder = tmp_path_factory.mktemp("corpus")
    return folder, write_corpus(folder, megabytes=MEGABYTES, seed=7)


def _read_files(folder: Path) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    for path in sorted(folder.rglob("*.jsonl")):
        yield path, [orjson.loads(line) for line in path.read_bytes().splitlines()]


def _hash(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.*")
        if path.is_file()
    }


def test_same_seed_gives_same_bytes(corpus: tuple[Path, Totals], tmp_path: Path) -> None:
    write_corpus(tmp_path, megabytes=MEGABYTES, seed=7)
    assert _hash(tmp_path) == _hash(corpus[0])


def test_other_seed_gives_other_bytes(corpus: tuple[Path, Totals], tmp_path: Path) -> None:
    write_corpus(tmp_path, megabytes=MEGABYTES, seed=8)
    assert not _hash(tmp_path).items() & _hash(corpus[0]).items()


@pytest.mark.parametrize("megabytes", [1, 9])
def test_size_is_within_a_tenth_of_what_was_asked(tmp_path: Path, megabytes: int) -> None:
    totals = write_corpus(tmp_path, megabytes=megabytes, seed=3)
    written = sum(path.stat().st_size for path in tmp_path.rglob("*.jsonl"))
    assert written == totals.source_bytes
    assert written == pytest.approx(megabytes * 1e6, rel=0.1)


def test_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").touch()
    with pytest.raises(FileExistsError):
        write_corpus(tmp_path, megabytes=1, seed=1)


def test_lines_are_written_as_json_stringify_writes_them(corpus: tuple[Path, Totals]) -> None:
    for path in corpus[0].rglob("*.jsonl"):
        data = path.read_bytes()
        assert data.endswith(b"\n")
        lines = data.split(b"\n")[:-1]
        assert lines == [orjson.dumps(orjson.loads(line)) for line in lines]


def test_every_result_has_its_tool_use_before_it(corpus: tuple[Path, Totals]) -> None:
    results = 0
    for _, records in _read_files(corpus[0]):
        asked: dict[str, str] = {}
        for record in records:
            for block in _list_blocks(record):
                if block["type"] == "tool_use":
                    asked[block["id"]] = record["uuid"]
                elif block["type"] == "tool_result":
                    results += 1
                    assert record["parentUuid"] == asked[block["tool_use_id"]]
    assert results > 100


def _list_blocks(record: dict[str, Any]) -> list[dict[str, Any]]:
    content = record.get("message", {}).get("content", "")
    return [] if isinstance(content, str) else content


def test_output_tokens_of_a_message_never_decrease(corpus: tuple[Path, Totals]) -> None:
    growing = 0
    for _, records in _read_files(corpus[0]):
        outputs: dict[str, list[int]] = defaultdict(list)
        for record in records:
            if record["type"] == "assistant":
                message = record["message"]
                outputs[message["id"]].append(message["usage"]["output_tokens"])
        for counted in outputs.values():
            assert counted == sorted(counted)
            growing += counted[0] < counted[-1]
    assert growing > 10


def test_parents_stand_earlier_in_the_file(corpus: tuple[Path, Totals]) -> None:
    for _, records in _read_files(corpus[0]):
        seen: set[str] = set()
        for record in records:
            if "uuid" in record:
                assert record["parentUuid"] is None or record["parentUuid"] in seen
                assert record["uuid"] not in seen
                seen.add(record["uuid"])


def test_sessions_and_subagents_lie_where_the_client_puts_them(
    corpus: tuple[Path, Totals],
) -> None:
    folder = corpus[0]
    for path, records in _read_files(folder):
        chain = [record for record in records if "uuid" in record]
        assert path.relative_to(folder).parts[0] == encode_cwd(chain[0]["cwd"])
        session_ids = {record["sessionId"] for record in chain}
        if path.parent.name == "subagents":
            assert path.with_suffix(".meta.json").exists()
            assert session_ids == {path.parent.parent.name}
        elif not path.name.startswith("agent-"):
            assert session_ids == {path.stem}


def test_record_types_come_as_often_as_in_real_transcripts(corpus: tuple[Path, Totals]) -> None:
    types = Counter(record["type"] for _, records in _read_files(corpus[0]) for record in records)
    lines = types.total()
    assert types["assistant"] / lines == pytest.approx(0.42, abs=0.08)
    assert types["user"] / lines == pytest.approx(0.24, abs=0.06)
    assert types["progress"] / lines == pytest.approx(0.25, abs=0.12)


def test_totals_count_each_api_message_once(corpus: tuple[Path, Totals]) -> None:
    folder, totals = corpus
    outputs: dict[str, int] = {}
    for _, records in _read_files(folder):
        for record in records:
            if record["type"] == "assistant":
                outputs[record["message"]["id"]] = record["message"]["usage"]["output_tokens"]
    assert len(outputs) == totals.api_calls
    assert sum(outputs.values()) == totals.output_tokens

"""The database compared with itself: what is kept twice or counted must be equal to a recount.

Everything is read as of one moment, which the caller holds, and nothing is written. What FTS5 does
to check an index needs to write, and to read its text through a view with table-valued functions,
which it may not (docs/decisions/0003-search-index.md): here the index is read word by word, and
compared with that of an index which is made of the same text in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

from observatory.store.conversation_documents import make_documents
from observatory.store.counters import find_miscounted
from observatory.store.database import (
    DatabaseError,
    connect_to_memory,
    execute,
    fetch_all,
    fetch_one,
    iterate,
)
from observatory.store.projects import find_missummed
from observatory.store.rollup_building import are_built, verify_rollups
from observatory.store.search_parts import NO_END, find_newest, list_parts, name_table

# So many things of one kind are named; all are counted.
_NAMED_AT_MOST = 20
_CONVERSATIONS = 200
_MESSAGES = 1000

# What to do about it.
_READ_ANEW = (
    "Restore a backup (`observatory restore FILE`), or move the database away and read the"
    " transcripts anew (`observatory ingest`)."
)
_REPORT = (
    "Keep a copy (`observatory backup FILE`) and report it as a bug; a change of the conversation"
    " counts it again."
)
_INDEX = "`observatory compact --reindex` makes the search index anew."
_SUMS = "`observatory verify --rollups --repair` builds the sums anew."

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Check:
    """What was compared, and what of it is wrong.

    Attributes:
        name: What was looked at.
        checked: How many rows, words or things.
        wrong: How many of them are not as they should be.
        examples: The first of those, by id or place; no text of conversations.
        mend: What to do about them.
    """

    name: str
    checked: int
    wrong: int = 0
    examples: tuple[str, ...] = ()
    mend: str | None = None


@dataclass(slots=True)
class _Findings:
    """Gathers what is wrong."""

    checked: int = 0
    wrong: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str) -> None:
        """Note one thing that is wrong."""
        self.wrong += 1
        if len(self.examples) < _NAMED_AT_MOST:
            self.examples.append(example)

    def as_check(self, name: str, *, mend: str) -> Check:
        """Return them under a name."""
        return Check(
            name, self.checked, self.wrong, tuple(self.examples), mend if self.wrong else None
        )


def verify_database(tell: Tell = lambda stage, done, total: None) -> Iterator[Check]:
    """Yield one check after another, all of the moment that the caller's transaction shows.

    Args:
        tell: Told how far a check is: its name, how much is done, of how much.
    """
    checks: tuple[Callable[[Tell], Check], ...] = (
        _check_pages,
        _check_references,
        _check_counters,
        _check_documents,
        _check_orphans,
        _check_totals,
        partial(_check_index, MESSAGES_INDEX),
        partial(_check_index, TITLES_INDEX),
        _check_rollups,
    )
    for check in checks:
        try:
            yield check(tell)
        except (ValueError, LookupError, TypeError) as error:
            # Such as JSON that is none, or the name of something that is not there.
            example = f"what stands there can not be used ({type(error).__name__})"
            yield Check(_name(check), 0, 1, (example,), _READ_ANEW)


def _name(check: Callable[[Tell], Check]) -> str:
    if isinstance(check, partial):
        return str(check.args[0].name)
    name = check.__name__.removeprefix("_check_")
    return {"pages": "integrity", "rollups": "sums"}.get(name, name)


def check_integrity(*, limit: int = _NAMED_AT_MOST, is_quick: bool = False) -> list[str]:
    """Return what SQLite finds wrong with the file, in its words; nothing when it is sound."""
    name = "quick_check" if is_quick else "integrity_check"
    try:
        found = [str(row[0]) for row in fetch_all(f"PRAGMA {name} ({limit})")]
    except DatabaseError as error:
        return [str(error)]
    return [] if found == ["ok"] else found


def _check_pages(tell: Tell) -> Check:
    tell("integrity", 0, 0)
    pages = _number("PRAGMA page_count")
    found = check_integrity()
    mend = _READ_ANEW if found else None
    return Check("integrity", pages, len(found), tuple(found), mend)


def _check_references(tell: Tell) -> Check:
    tell("references", 0, 0)
    found = _Findings()
    for table, rowid, parent, _ in iterate("PRAGMA foreign_key_check"):
        found.add(f"{table} {rowid}: its row of {parent} is gone")
    return found.as_check("references", mend=_READ_ANEW)


def _batches(tell: Tell, stage: str) -> Iterator[tuple[int, int, int]]:
    """Yield first key, last key and number of conversations, so many at a time."""
    total, done, last = _number("SELECT count(*) FROM conversations"), 0, 0
    while True:
        tell(stage, done, total)
        keys = fetch_all(
            "SELECT key FROM conversations WHERE key > ? ORDER BY key LIMIT ?",
            (last, _CONVERSATIONS),
        )
        if not keys:
            return
        last = keys[-1][0]
        done += len(keys)
        yield keys[0][0], last, len(keys)


def _check_counters(tell: Tell) -> Check:
    found = _Findings()
    for first, last, number in _batches(tell, "counters"):
        found.checked += number
        for identifier in find_miscounted(first, last):
            found.add(identifier)
    return found.as_check("counters", mend=_REPORT)


def _check_documents(tell: Tell) -> Check:
    found = _Findings()
    for first, last, number in _batches(tell, "documents"):
        found.checked += number
        rows = fetch_all(
            "SELECT key, id, document, details FROM conversations WHERE key BETWEEN ? AND ?",
            (first, last),
        )
        made = {key: documents for *documents, key in make_documents([row[0] for row in rows])}
        for key, identifier, *documents in rows:
            if made.get(key) != documents:
                found.add(identifier)
    return found.as_check("documents", mend=_REPORT)


# What no foreign key guards: a name, and a statement that returns what is wrong.
_ORPHANS = (
    (
        "a copy of a copy",
        "SELECT m.id FROM messages m JOIN messages o ON o.key = m.copy_of_key"
        " WHERE m.copy_of_key IS NOT NULL AND o.copy_of_key IS NOT NULL",
    ),
    (
        "a model call of another conversation's message",
        "SELECT a.id FROM api_calls a JOIN messages m ON m.key = a.message_key"
        " WHERE m.conversation_key <> a.conversation_key",
    ),
    (
        "a tool use of another conversation's message",
        "SELECT t.tool_use_id FROM tool_uses t JOIN messages m ON m.key = t.message_key"
        " WHERE m.conversation_key <> t.conversation_key",
    ),
    (
        "a conversation at no place",
        "SELECT id FROM conversations WHERE place_key IS NOT NULL"
        " AND place_key NOT IN (SELECT key FROM places)",
    ),
    (
        "a conversation above itself",
        "WITH RECURSIVE above (start, key, depth) AS ("
        " SELECT key, parent_key, 1 FROM conversations WHERE parent_key IS NOT NULL"
        " UNION SELECT above.start, c.parent_key, above.depth + 1 FROM above"
        " JOIN conversations c ON c.key = above.key"
        " WHERE c.parent_key IS NOT NULL AND above.depth < 100)"
        " SELECT DISTINCT c.id FROM above JOIN conversations c ON c.key = above.start"
        " WHERE above.key = above.start",
    ),
    (
        "a finding of a secret nowhere",
        "SELECT key FROM secret_findings WHERE message_key IS NULL AND conversation_key IS NULL",
    ),
    (
        "words taken apart of a copy",
        "SELECT k.message_key FROM message_cjk k JOIN messages m ON m.key = k.message_key"
        " WHERE m.copy_of_key IS NOT NULL",
    ),
    (
        "a removed conversation that is there",
        "SELECT id FROM conversations WHERE id IN (SELECT id FROM deleted_conversations)",
    ),
)


def _check_orphans(tell: Tell) -> Check:
    found = _Findings()
    for number, (name, statement) in enumerate(_ORPHANS):
        tell("orphans", number, len(_ORPHANS))
        found.checked += 1
        for (identifier,) in iterate(statement):
            found.add(f"{name}: {identifier}")
    return found.as_check("orphans", mend=_REPORT)


# A total, and the number that it must be, or be at least.
_TOTALS = (
    ("conversations", "=", "SELECT count(*) FROM conversations WHERE deleted_at IS NULL"),
    ("messages", "=", "SELECT count(*) FROM messages"),
    ("tool_uses", "=", "SELECT count(message_key) FROM tool_uses"),
    ("revision", ">=", "SELECT coalesce(max(revision), 0) FROM conversations"),
)


def _check_totals(tell: Tell) -> Check:
    tell("totals", 0, 0)
    totals = dict(fetch_all("SELECT name, value FROM totals"))
    found = _Findings(checked=len(_TOTALS) + 3)
    newest = f"SELECT coalesce(max(id), 0) FROM {find_newest().table}_docsize"
    for name, relation, statement in (*_TOTALS, ("indexed_message_key", ">=", newest)):
        number, value = _number(statement), totals.get(name)
        if value is None or value < number or (relation == "=" and value != number):
            found.add(f"{name} is {value}, and should be {relation} {number}")
    last = _number("SELECT coalesce(max(id), 0) FROM events")
    given = _number("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'")
    if given < last:
        found.add(f"the last event is {given}, and there is {last}")
    for path in find_missummed():
        found.add(f"the sums of the project {path} are not those of its conversations")
    return found.as_check("totals", mend=_REPORT)


@dataclass(frozen=True, slots=True)
class Index:
    """A search index: its columns, the rows that belong into it, and its tables.

    Each table has the rows of a range of keys: its name, the first and the last.
    """

    name: str
    columns: tuple[str, ...]
    source: str
    until: str
    list_tables: Callable[[], list[tuple[str, int, int]]]


MESSAGES_INDEX = Index(
    "search index",
    ("text", "thinking", "tool_input", "tool_result", "cjk"),
    "searchable_messages",
    # Those behind the watermark wait to be indexed.
    "SELECT value FROM totals WHERE name = 'indexed_message_key'",
    lambda: [(part.table, part.first, part.last) for part in list_parts()],
)
TITLES_INDEX = Index(
    "title index",
    ("title", "cjk"),
    "conversations",
    "SELECT coalesce(max(key), 0) FROM conversations",
    lambda: [("title_search", 0, NO_END)],
)


# FTS5 cuts a word after 32 KiB, also within a character: then it is no text any more.
_WORD = "doc, CAST(term AS BLOB), col, offset"


def prepare_verifying() -> None:
    """Make what reads the words of the search indexes; belongs before the moment is chosen."""
    tables = [
        table for index in (MESSAGES_INDEX, TITLES_INDEX) for table, *_ in index.list_tables()
    ]
    # By then another part may have begun.
    for table in (*tables, name_table(find_newest().number + 1)):
        execute(
            f"CREATE VIRTUAL TABLE temp.{table}_words USING fts5vocab (main, {table}, instance)"
        )


def _check_index(index: Index, tell: Tell) -> Check:
    found = _Findings()
    limit = _number(index.until)
    try:
        _compare_rows(index, limit, found)
        words = (
            iterate(f"SELECT {_WORD} FROM temp.{table}_words")
            for table, _, _ in index.list_tables()
        )
        kept = _sum_words(chain.from_iterable(words), found, tell)
        expected = _sum_expected(index, limit, tell)
    except DatabaseError as error:
        found.add(str(error))
        return found.as_check(index.name, mend=_INDEX)
    for bucket in sorted(kept.keys() | expected.keys()):
        if kept.get(bucket) != expected.get(bucket):
            first = bucket * _MESSAGES
            found.add(f"rows {first:,} to {first + _MESSAGES - 1:,}: other words than their text")
    return found.as_check(index.name, mend=_INDEX)


def _compare_rows(index: Index, limit: int, found: _Findings) -> None:
    """Note which rows are not in an index, and which are in it and not there."""
    for table, first, last in index.list_tables():
        present = f"SELECT key FROM {index.source} WHERE key BETWEEN {first} AND {min(last, limit)}"
        indexed = f"SELECT id FROM {table}_docsize"
        for statement, what in (
            (f"{present} EXCEPT {indexed}", "is not in it"),
            (f"{indexed} EXCEPT {present}", "is in it and not there"),
        ):
            for (key,) in iterate(statement):
                found.add(f"row {key} {what}")


def _sum_words(
    words: Iterable[tuple[Any, ...]], found: _Findings, tell: Tell
) -> dict[int, tuple[int, int]]:
    """Return number and sum of hashes of words by thousands of rows; the order does not count."""
    numbers: Counter[int] = Counter()
    sums: Counter[int] = Counter()
    for number, word in enumerate(words):
        bucket = word[0] // _MESSAGES
        numbers[bucket] += 1
        sums[bucket] += hash(word)
        found.checked += 1
        if number % 100_000 == 0:
            tell("search index", number, 0)
    return {bucket: (number, sums[bucket]) for bucket, number in numbers.items()}


def _sum_expected(index: Index, limit: int, tell: Tell) -> dict[int, tuple[int, int]]:
    """Return the same of an index that is made of the text, some rows at a time."""
    columns = ", ".join(index.columns)
    places = ", ".join("?" * (len(index.columns) + 1))
    expected: dict[int, tuple[int, int]] = {}
    nobody = _Findings()
    with closing(connect_to_memory()) as memory:
        memory.execute(
            f"CREATE VIRTUAL TABLE made USING fts5 ({columns}, content = '',"
            ' tokenize = "unicode61 remove_diacritics 2")'
        )
        memory.execute("CREATE VIRTUAL TABLE words USING fts5vocab (made, instance)")
        # A thousand keys at a time, as the sums have them; where there are no rows, on to the next.
        while (bucket := _next_bucket(index, expected, limit)) is not None:
            tell("search text", bucket * _MESSAGES, limit)
            rows = iterate(
                f"SELECT key, {columns} FROM {index.source} WHERE key BETWEEN ? AND ? AND key <= ?",
                (bucket * _MESSAGES, bucket * _MESSAGES + _MESSAGES - 1, limit),
            )
            memory.execute("BEGIN")
            memory.executemany(f"INSERT INTO made (rowid, {columns}) VALUES ({places})", rows)
            words = memory.execute(f"SELECT {_WORD} FROM words")
            expected |= {bucket: (0, 0), **_sum_words(words, nobody, lambda *args: None)}
            memory.execute("INSERT INTO made (made) VALUES ('delete-all')")
            memory.execute("COMMIT")
    return {bucket: sums for bucket, sums in expected.items() if sums[0]}


def _next_bucket(index: Index, done: dict[int, tuple[int, int]], limit: int) -> int | None:
    after = (max(done) + 1) * _MESSAGES if done else 0
    row = fetch_one(
        f"SELECT min(key) FROM {index.source} WHERE key >= ? AND key <= ?", (after, limit)
    )
    assert row is not None
    return None if row[0] is None else int(row[0]) // _MESSAGES


def _check_rollups(tell: Tell) -> Check:
    tell("sums", 0, 0)
    if not are_built():
        return Check(
            "sums",
            0,
            1,
            ("they are not built yet",),
            "`observatory migrate` builds them, as does any start.",
        )
    differences = verify_rollups()
    wrong = differences.parts + differences.sums + differences.places
    return Check("sums", differences.checked, wrong, mend=_SUMS if wrong else None)


def _number(statement: str, parameters: Sequence[Any] = ()) -> int:
    row = fetch_one(statement, parameters)
    assert row is not None
    return int(row[0])

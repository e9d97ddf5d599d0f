"""What a person types into a search box, to an FTS5 expression and filters.

``words`` must all be there; ``"a phrase"`` stands together; ``begin*`` is a beginning; ``-word``
must not be there; ``one OR other`` binds tighter than the words around it; ``field:value`` filters.
Everything else is text: nothing that can be typed reaches FTS5 as an operator.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import NamedTuple

import orjson

from observatory.errors import InvalidParameter

FIELDS = ("project", "role", "kind", "tool", "model", "is", "before", "after", "in")
_BARE_FIELDS = frozenset(f"{name}:" for name in FIELDS)
MAX_CHARACTERS = 1000
MAX_TERMS = 32
_TOKEN = re.compile(
    r'(?P<minus>-)?(?:(?P<field>[a-z]+):)?(?:"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]+))(?P<star>\*)?'
)
CJK = "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf"
CJK += "\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003ffff"
_CJK = re.compile(f"([{CJK}])")
# Stands between the parts of a word that spaced_cjk takes apart: a control character, which
# SQLite's tokenizer takes for a space, and which no word has in it.
JOINT = "\x1f"
_SEARCHABLE = re.compile(r"[^\W_]")
_EDGES = re.compile(r"^[\W_]+|[\W_]+$")


class Term(NamedTuple):
    """A word or phrase: as FTS5 takes it, and as it was typed.

    In titles, Chinese, Japanese and Korean is not taken apart: there a term with such characters
    (``has_cjk``) is looked for as a part of the text.
    """

    match: str
    text: str
    has_cjk: bool
    is_beginning: bool


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """What must be there: of each group one term, and none of those excluded; filters by field."""

    groups: tuple[tuple[Term, ...], ...] = ()
    excluded: tuple[Term, ...] = ()
    filters: dict[str, str] = field(default_factory=dict)

    @property
    def match(self) -> str:
        """The FTS5 expression; empty when there are only filters."""
        joined = " AND ".join(
            f"({' OR '.join(term.match for term in group)})" for group in self.groups
        )
        return " NOT ".join([f"({joined})", *(t.match for t in self.excluded)]) if joined else ""

    @property
    def terms(self) -> tuple[Term, ...]:
        """All terms, the excluded ones last."""
        return (*chain(*self.groups), *self.excluded)


def spaced_cjk(text: str) -> str:
    """Return the words of a text that have Chinese, Japanese or Korean in them, taken apart.

    SQLite's tokenizer takes a run of such characters, and the letters and digits beside them, for
    one word. Here each of them is a word, and so is what stands between them: a phrase finds any
    part of the run. The parts are joined by JOINT, words by a space.
    """
    if text.isascii() or not _CJK.search(text):
        return ""
    words = (_CJK.split(word) for word in text.split() if _CJK.search(word))
    return " ".join(JOINT.join(filter(None, parts)) for parts in words)


def spaced_message(texts: Iterable[str], *, parameters: Iterable[str]) -> str:
    """Return the same of all that a message says, and of the strings in its tools' parameters.

    Args:
        texts: What it says, and what its tools answered.
        parameters: JSON texts.
    """
    found = [spaced_cjk(text) for text in texts]
    for text in parameters:
        if _CJK.search(text):
            found += map(spaced_cjk, _list_strings(orjson.loads(text)))
    return " ".join(filter(None, found))


def _list_strings(value: object) -> list[str]:
    """Return the strings in JSON data, but for the names of fields."""
    found: list[str] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, dict):
            waiting += reversed(item.values())
        elif isinstance(item, list):
            waiting += reversed(item)
    return found


def parse_query(text: str) -> ParsedQuery:
    """Return what a search asks for.

    Raises:
        InvalidParameter: It is too long, has too many terms, an ``OR`` that joins no two of them,
            or nothing that can be found.
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidParameter("q", f"Takes at most {MAX_CHARACTERS} characters.")
    # Of each group one term must be there: its only one, unless OR joined others to it.
    groups: list[list[Term]] = []
    excluded: list[Term] = []
    filters: dict[str, str] = {}
    # The group of the term just read, and the group that the next term is joined to.
    last: list[Term] | None = None
    joined: list[Term] | None = None
    for token in _TOKEN.finditer(text.replace("\0", " ")):
        if token.group() == "OR":
            if last is None:
                raise InvalidParameter("q", _OR_JOINS)
            joined, last = last, None
            continue
        name, value = _read_field(token)
        term = None
        if name is None and token.group() != "AND":
            term = _read_term(token, value)
        if joined is not None and (term is None or token["minus"]):
            raise InvalidParameter("q", _OR_JOINS)
        last = None
        if name is not None:
            if filters.setdefault(name, value) != value:
                raise InvalidParameter("q", f"{name}: can be given once.")
        elif term is not None and token["minus"]:
            excluded.append(term)
        elif term is not None:
            if joined is None:
                groups.append([])
            last = joined or groups[-1]
            last.append(term)
            joined = None
    if joined is not None:
        raise InvalidParameter("q", _OR_JOINS)
    if sum(map(len, groups)) + len(excluded) > MAX_TERMS:
        raise InvalidParameter("q", f"Takes at most {MAX_TERMS} words and phrases.")
    if excluded and not groups:
        raise InvalidParameter("q", "Takes at least one word to find beside those to exclude.")
    if not groups and not filters:
        raise InvalidParameter("q", "Takes at least one word; signs alone can not be found.")
    return ParsedQuery(tuple(map(tuple, groups)), tuple(excluded), filters)


def _read_field(token: re.Match[str]) -> tuple[str | None, str]:
    """Return the filter that a token is, and its value; no filter when it is text."""
    name, word = token["field"], token["word"]
    value = token["phrase"] if word is None else word
    if word in _BARE_FIELDS:
        name, value = word[:-1], ""
    if name is None:
        return None, value
    if name not in FIELDS:
        return None, f"{name}:{value}"
    if not value:
        example = f"{name}:{_EXAMPLES[name]}"
        raise InvalidParameter("q", f"{name}: takes a value, such as {example}.")
    if token["minus"]:
        raise InvalidParameter("q", f"-{name}: only words can be excluded.")
    return name, value


def _read_term(token: re.Match[str], value: str) -> Term | None:
    """Return the word or phrase that a token is, or ``None`` when there is no word in it."""
    is_beginning = token["star"] is not None
    if token["word"] is not None and value.endswith("*"):
        is_beginning, value = True, value.rstrip("*")
    return _make_term(value, is_beginning=is_beginning)


_OR_JOINS = (
    "OR joins two words or phrases, as in: one OR other; neither filters nor what is excluded."
    ' The word itself is found as "OR", or in small letters.'
)
_EXAMPLES = {
    "project": "engine",
    "role": "user",
    "kind": "prompt",
    "tool": "Bash",
    "model": "opus",
    "is": "error",
    "before": "2026-01-31",
    "after": "2026-01-01",
    "in": "CONVERSATION_ID",
}


def _make_term(value: str, *, is_beginning: bool) -> Term | None:
    """Return a word or phrase, or ``None`` when there is no word in it."""
    parts = []
    for has_cjk, words in groupby(value.split(), key=lambda word: bool(_CJK.search(word))):
        part = " ".join(words)
        if _SEARCHABLE.search(part):
            parts.append(f"cjk: {_quote(spaced_cjk(part))}" if has_cjk else _quote(part))
    if not parts:
        return None
    if is_beginning:
        parts[-1] += "*"
    return Term(
        f"({' AND '.join(parts)})",
        _EDGES.sub("", " ".join(value.split())),
        has_cjk=bool(_CJK.search(value)),
        is_beginning=is_beginning,
    )


def _quote(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def matching_query(words: str) -> tuple[str, str, list[str]]:
    """Return how to find all words of a text, the last of which may be a beginning.

    Returns:
        An FTS5 expression for messages; one for titles; and the parts that a title must have
        besides. Nothing in them is an operator. All are empty when there is no word to find.
    """
    given = words.replace("\0", " ").split()[:MAX_TERMS]
    last = len(given) - 1
    terms = [_make_term(word, is_beginning=at == last) for at, word in enumerate(given)]
    found = [term for term in terms if term is not None]
    return (
        " AND ".join(term.match for term in found),
        " AND ".join(term.match for term in found if not term.has_cjk),
        [term.text for term in found if term.has_cjk],
    )

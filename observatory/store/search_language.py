"""What a person types into a search box, to an FTS5 expression and filters.

``words`` must all be there; ``"a phrase"`` stands together; ``begin*`` is a beginning; ``-word``
must not be there; ``one OR other`` binds tighter than the words around it; ``field:value`` filters.
Everything else is text: nothing that can be typed reaches FTS5 as an operator.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from unicodedata import normalize

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


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """An FTS5 expression (empty when there are only filters) and the filters by field.

    ``terms`` are the words and phrases in the expression that make a match better.
    """

    match: str = ""
    terms: tuple[str, ...] = ()
    filters: dict[str, str] = field(default_factory=dict)

    @property
    def is_one_term(self) -> bool:
        """Whether one word or phrase is all that is looked for."""
        return len(self.terms) == 1 and self.match == _expression([list(self.terms)], [])

    @property
    def is_phrase(self) -> bool:
        """Whether words that stand one behind the other are all that is looked for."""
        return self.is_one_term and " " in self.terms[0]


def spaced_cjk(text: str) -> str:
    """Return the lines of a text that have Chinese, Japanese or Korean in them, taken apart.

    SQLite's tokenizer takes a run of such characters, and the letters and digits beside them, for
    one word. Here each of them is a word, and so is what stands between them: a phrase finds any
    part of the line. The parts of a word are joined by JOINT. Composed and decomposed characters
    are the same.
    """
    if text.isascii():
        return ""
    text = normalize("NFC", text)
    if not _CJK.search(text):
        return ""
    lines = (_CJK.split(line) for line in text.splitlines() if _CJK.search(line))
    return " ".join(JOINT.join(filter(None, parts)) for parts in lines)


def spaced_title(title: str) -> str:
    """Return a title that has such characters, taken apart, on one line; empty if it has none."""
    return spaced_cjk(" ".join(title.split()))


def spaced_message(texts: Iterable[str], *, parameters: Iterable[str]) -> str:
    """Return the same of all that a message says, and of the strings in its tools' parameters.

    Args:
        texts: What it says, and what its tools answered.
        parameters: JSON texts.
    """
    found = [spaced_cjk(text) for text in texts]
    for text in parameters:
        if not text.isascii() and _CJK.search(text):
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
    groups: list[list[str]] = []
    excluded: list[str] = []
    filters: dict[str, str] = {}
    # The group of the term just read, and the group that the next term is joined to.
    last: list[str] | None = None
    joined: list[str] | None = None
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
    terms = tuple(term for group in groups for term in group)
    return ParsedQuery(_expression(groups, excluded), terms, filters)


def _expression(groups: list[list[str]], excluded: list[str]) -> str:
    joined = " AND ".join(f"({' OR '.join(group)})" for group in groups)
    return " NOT ".join([f"({joined})", *excluded]) if joined else ""


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


def _read_term(token: re.Match[str], value: str) -> str | None:
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


def _make_term(value: str, *, is_beginning: bool) -> str | None:
    """Return a word or phrase as FTS5 takes it, or ``None`` when there is no word in it."""
    if not _SEARCHABLE.search(value):
        return None
    spaced = spaced_cjk(" ".join(value.split()))
    return ("cjk: " if spaced else "") + _quote(spaced or value) + ("*" if is_beginning else "")


def _quote(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def matching_query(words: str) -> str:
    """Return the FTS5 expression for all words of a text, the last of which may be a beginning.

    Nothing in them is an operator. It is empty when there is no word to find.
    """
    given = words.replace("\0", " ").split()[:MAX_TERMS]
    last = len(given) - 1
    terms = [_make_term(word, is_beginning=at == last) for at, word in enumerate(given)]
    return " AND ".join(filter(None, terms))

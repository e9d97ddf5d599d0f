"""What a person types into a search box, to an FTS5 expression and filters.

``words`` must all be there; ``"a phrase"`` stands together; ``begin*`` is a beginning; ``-word``
must not be there; ``one OR other`` binds tighter than the words around it; ``field:value`` filters.
Everything else is text: nothing that can be typed reaches FTS5 as an operator.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

import orjson

from observatory.errors import InvalidParameter

FIELDS = ("project", "role", "kind", "tool", "model", "is", "before", "after", "in")
_BARE_FIELDS = frozenset(f"{name}:" for name in FIELDS)
# A word or phrase as FTS5 takes it: for messages, and for titles.
_Term = tuple[str, str]
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

    ``title_match`` is the same for the index of titles.
    """

    match: str
    title_match: str
    filters: dict[str, str] = field(default_factory=dict)


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
    groups: list[list[_Term]] = []
    excluded: list[_Term] = []
    filters: dict[str, str] = {}
    # The group of the term just read, and the group that the next term is joined to.
    last: list[_Term] | None = None
    joined: list[_Term] | None = None
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
    return ParsedQuery(
        _expression([[match for match, _ in group] for group in groups], [m for m, _ in excluded]),
        _expression([[title for _, title in group] for group in groups], [t for _, t in excluded]),
        filters,
    )


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


def _read_term(token: re.Match[str], value: str) -> _Term | None:
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


def _make_term(value: str, *, is_beginning: bool) -> _Term | None:
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
    match = f"({' AND '.join(parts)})"
    # A title is one token per run: its beginning can be found.
    return match, _quote(value) + "*" if _CJK.search(value) else match


def _quote(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _expression(groups: list[list[str]], excluded: list[str]) -> str:
    if not groups:
        return ""
    joined = " AND ".join(f"({' OR '.join(terms)})" for terms in groups)
    return " NOT ".join([f"({joined})", *excluded])


def matching_query(words: str) -> tuple[str, str]:
    """Return FTS5 expressions for all words of a text, the last of which may be a beginning.

    The first is for messages, the second for titles. Nothing in them is an operator. Both are empty
    when there is no word to find.
    """
    given = words.replace("\0", " ").split()[:MAX_TERMS]
    last = len(given) - 1
    terms = [_make_term(word, is_beginning=at == last) for at, word in enumerate(given)]
    found = [term for term in terms if term is not None]
    return " AND ".join(term for term, _ in found), " AND ".join(term for _, term in found)

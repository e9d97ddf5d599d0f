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


@dataclass(slots=True)
class _Group:
    """Terms of which one must be there: one, unless ``OR`` joined them."""

    terms: list[str]
    title_terms: list[str]


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
        InvalidParameter: It is too long, has too many terms, or nothing that can be found.
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidParameter("q", f"Takes at most {MAX_CHARACTERS} characters.")
    groups: list[_Group] = []
    excluded: list[_Group] = []
    filters: dict[str, str] = {}
    joins_next = False
    number = 0
    for token in _TOKEN.finditer(text.replace("\0", " ")):
        name, value = token["field"], token["phrase"] if token["word"] is None else token["word"]
        if token.group() == "OR" and groups:
            joins_next = True
            continue
        if token.group() == "AND":
            continue
        if token["word"] is not None and token["word"] in _BARE_FIELDS:
            name, value = token["word"][:-1], ""
        if name is not None and name not in FIELDS:
            value = f"{name}:{value}"
            name = None
        if name is not None:
            if not value:
                example = f"{name}:{_EXAMPLES[name]}"
                raise InvalidParameter("q", f"{name}: takes a value, such as {example}.")
            if token["minus"]:
                raise InvalidParameter("q", f"-{name}: only words can be excluded.")
            if filters.get(name, value) != value:
                raise InvalidParameter("q", f"{name}: can be given once.")
            filters[name] = value
            continue
        is_beginning = token["star"] is not None
        if token["word"] is not None and value.endswith("*"):
            is_beginning, value = True, value.rstrip("*")
        term, title_term = _terms(value, is_beginning=is_beginning)
        if not term:
            continue
        number += 1
        if number > MAX_TERMS:
            raise InvalidParameter("q", f"Takes at most {MAX_TERMS} words and phrases.")
        group = _Group([term], [title_term])
        if token["minus"]:
            excluded.append(group)
        elif joins_next:
            groups[-1].terms.append(term)
            groups[-1].title_terms.append(title_term)
        else:
            groups.append(group)
        joins_next = False
    if excluded and not groups:
        raise InvalidParameter("q", "Takes at least one word to find beside those to exclude.")
    if not groups and not filters:
        raise InvalidParameter("q", "Takes at least one word; signs alone can not be found.")
    return ParsedQuery(
        _expression([g.terms for g in groups], [g.terms for g in excluded]),
        _expression([g.title_terms for g in groups], [g.title_terms for g in excluded]),
        filters,
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


def _terms(value: str, *, is_beginning: bool) -> tuple[str, str]:
    """Return a word or phrase as FTS5 takes it, for messages and for titles; empty if no word."""
    parts = []
    for has_cjk, words in groupby(value.split(), key=lambda word: bool(_CJK.search(word))):
        part = " ".join(words)
        if _SEARCHABLE.search(part):
            parts.append(f"cjk: {_quote(spaced_cjk(part))}" if has_cjk else _quote(part))
    if not parts:
        return "", ""
    if is_beginning:
        parts[-1] += "*"
    match = f"({' AND '.join(parts)})"
    # A title is one token per run: its beginning can be found.
    return match, _quote(value) + "*" if _CJK.search(value) else match


def _quote(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _expression(groups: list[list[str]], excluded: list[list[str]]) -> str:
    if not groups:
        return ""
    joined = " AND ".join(f"({' OR '.join(terms)})" for terms in groups)
    return " NOT ".join([f"({joined})", *(f"({terms[0]})" for terms in excluded)])


def matching_query(words: str) -> tuple[str, str]:
    """Return FTS5 expressions for all words of a text, the last of which may be a beginning.

    The first is for messages, the second for titles. Nothing in them is an operator. Both are empty
    when there is no word to find.
    """
    given = words.replace("\0", " ").split()[:MAX_TERMS]
    last = len(given) - 1
    terms = [_terms(word, is_beginning=at == last) for at, word in enumerate(given)]
    found = [term for term in terms if term[0]]
    return " AND ".join(term for term, _ in found), " AND ".join(term for _, term in found)

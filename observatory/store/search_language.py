"""What a person types into a search box, to an FTS5 expression and filters.

``words`` must all be there; ``"a phrase"`` stands together; ``begin*`` is a beginning; ``-word``
must not be there; ``one OR other`` binds tighter than the words around it; ``field:value`` filters.
Everything else is text: nothing that can be typed reaches FTS5 as an operator.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

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
_CJK_RUN = re.compile(f"[{CJK}]+")
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
    """Return the Chinese, Japanese and Korean characters of a text, spaced; empty if none.

    SQLite's tokenizer takes a run of them for one word. Spaced, each is a word, and a phrase of
    them finds any part of the run.
    """
    if text.isascii():
        return ""
    return " ".join(" ".join(run) for run in _CJK_RUN.findall(text))


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
    if not _SEARCHABLE.search(value):
        return "", ""
    star = "*" if is_beginning else ""
    quoted = _quote(value) + star
    runs = _CJK_RUN.findall(value)
    if not runs:
        return quoted, quoted
    parts = [f"cjk: {_quote(' '.join(run))}" for run in runs]
    rest = _CJK_RUN.sub(" ", value)
    if _SEARCHABLE.search(rest):
        parts.append(_quote(rest))
    # A title is one token per run: its beginning can be found.
    return f"({' AND '.join(parts)})", _quote(value) + "*"


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

"""Whether a value looks as if it had been drawn by lot, and is no placeholder, path or code.

A measure of two: Shannon's entropy of the characters, and how often their class (small letter,
capital, digit, sign) changes from one to the next. Drawn letters and digits change in about six of
ten places, hexadecimal ones in about half, names and words in one or two of ten.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from math import log2

_PLACEHOLDER = re.compile(
    r"example|placeholder|change[_-]?me|change[_-]?this|dummy|redacted|sample|insert|replace"
    r"|x{5}|\.\.\.|\*\*\*|12345678|abcdefgh|qwerty|foobar|deadbeef|undefined|^your|^test"
)
# A drawn value has such a short word in it now and then, so these count in others only.
_WORDS = re.compile(
    r"process\.env|environ|getenv|import\.meta|secrets?\.|config\."
    r"|(?:^|[^a-z])(?:your|todo|fake|mock|null|none|true|false|test|here)(?:[^a-z]|$)"
)
_TEMPLATE = re.compile(r"^[$%@#]|\$\{|\$\(|\{\{|^<|>$|^\{.*\}$")
_PATH = re.compile(
    r"^(?:~|\.{1,2})?/|^[a-z][a-z0-9+.-]*://|^[A-Za-z]:\\|(?:/[\w.-]+){2,}\.[a-z]{1,5}$"
)
_DATE_OR_NUMBER = re.compile(r"[-+0-9.:,_TZ/%]+")
_CODE = re.compile(r"[(){}]|::|->|=>|\w\.\w+\.\w+|^\w+\.[a-z]\w*$|^[A-Za-z]+(?:_[A-Za-z0-9]+)+$")
_WORD_AND_NUMBER = re.compile(r"[A-Za-z]+[0-9]{1,4}")
_COMMON = frozenset({"password", "passwd", "secret", "postgres", "mysql", "mongodb", "letmein"})

# Enough to judge by.
_JUDGED_CHARACTERS = 200


def is_token(value: str) -> bool:
    """Tell whether what has an issuer's form is a secret and no placeholder of that form."""
    value = value[:_JUDGED_CHARACTERS].rstrip("_")
    tail = value.rpartition("_")[2] if "_" in value[:8] else value[4:]
    return (
        not _PLACEHOLDER.search(tail.lower())
        and len(set(tail)) >= min(8, len(tail) // 3)
        and (any(map(str.isdigit, tail)) or _changes(tail) > 0.3)
    )


def is_random(value: str) -> bool:
    """Tell whether a value that something calls a key, token or secret looks drawn by lot."""
    value = value[:_JUDGED_CHARACTERS]
    if not _may_be_secret(value):
        return False
    if _CODE.search(value) and _changes(value) < 0.45:
        return False
    classes = _classes(value)
    if len(value) < 16:
        return (
            len(value) >= 8
            and len(classes) >= 3
            and entropy(value) >= 2.7
            and ("0" in classes and _changes(value) >= 0.35)
        )
    if "0" not in classes:
        return len(value) >= 20 and {"a", "A"} <= classes and _changes(value) >= 0.4
    return len(classes) >= 2 and entropy(value) >= 2.9 and _changes(value) >= 0.27


def is_password(value: str) -> bool:
    """Tell whether a value in a password's place is one, drawn by lot or thought of by a person."""
    value = value[:_JUDGED_CHARACTERS]
    if not _may_be_secret(value) or _CODE.search(value):
        return False
    if value.lower() in _COMMON or _WORD_AND_NUMBER.fullmatch(value):
        return False
    classes = _classes(value)
    return len(classes) >= 2 and "0" in classes and entropy(value) >= 2.3


def _may_be_secret(value: str) -> bool:
    return len(value) >= 6 and not (
        _PLACEHOLDER.search(value.lower())
        or (_WORDS.search(value.lower()) and not _is_surely_drawn(value))
        or _TEMPLATE.search(value)
        or _PATH.search(value)
        or _DATE_OR_NUMBER.fullmatch(value)
    )


def _is_surely_drawn(value: str) -> bool:
    return len(value) >= 16 and "0" in _classes(value) and _changes(value) >= 0.45


def entropy(value: str) -> float:
    """Return Shannon's entropy of a text's characters, in bits for each."""
    length = len(value)
    return -sum(n / length * log2(n / length) for n in Counter(value).values())


def _class(character: str) -> str:
    if character.isdigit():
        return "0"
    if character.islower():
        return "a"
    return "A" if character.isupper() else "-"


def _classes(value: str) -> set[str]:
    return set(map(_class, value))


def _changes(value: str) -> float:
    """Return in which share of places the class of characters changes."""
    classes = list(map(_class, value))
    return sum(a != b for a, b in pairwise(classes)) / max(1, len(value) - 1)

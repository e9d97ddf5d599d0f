"""Text of transcripts for a terminal, which obeys some of what is printed.

A transcript holds anything: escape sequences, carriage returns, marks that turn the direction of
what follows. Nothing of that may reach a terminal, nor what leaves open how wide a text is.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from rich.cells import get_character_cell_size

ELLIPSIS = "…"
# They change how wide the character before them is, in some terminals.
_SELECTORS = frozenset({*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)})
_SPACES = frozenset("\t\n\v\f\r\x85\u2028\u2029")
_PLAIN = re.compile(r"[ -~]*")
# orjson escapes what comes before the space; all else that is to be looked at comes behind it.
_BEHIND_ASCII = re.compile("[\x7f-\U0010ffff]")


def clean(text: str) -> str:
    """Return a text as one line that a terminal shows and does not obey.

    Whatever breaks a line becomes a space, other controls are shown by their pictures, and what
    is to be seen by its effect alone, such as a change of direction, is left out.
    """
    if _PLAIN.fullmatch(text):
        return text
    return "".join(map(_clean_character, text))


def _clean_character(character: str) -> str:
    if " " <= character <= "~":
        return character
    if character in _SPACES:
        return " "
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    category = unicodedata.category(character)
    if category == "Cf" or code in _SELECTORS:
        return ""
    # C1 controls, halves of pairs, and what no font has.
    return "\ufffd" if category in ("Cc", "Cs", "Cn") else character


def measure(text: str) -> int:
    """Return how many cells of a terminal a cleaned text takes."""
    if _PLAIN.fullmatch(text):
        return len(text)
    return sum(map(get_character_cell_size, text))


def cut(text: str, width: int) -> str:
    """Return a cleaned text, or its beginning and an ellipsis where it is wider than allowed."""
    if measure(text) <= width:
        return text
    if width <= 0:
        return ""
    taken = 0
    for index, character in enumerate(text):
        taken += get_character_cell_size(character)
        if taken > width - 1:
            return text[:index].rstrip() + ELLIPSIS
    raise AssertionError("it is wider than that")


def pad(text: str, width: int) -> str:
    """Return a cleaned text cut or filled up with spaces to a width."""
    text = cut(text, width)
    return text + " " * (width - measure(text))


def escape_json(body: bytes) -> bytes:
    """Return the same JSON, in which what a terminal might obey is written as an escape.

    Args:
        body: JSON as orjson writes it.
    """
    if body.isascii() and b"\x7f" not in body:
        return body
    return _BEHIND_ASCII.sub(lambda found: _escape(found[0]), body.decode()).encode()


@lru_cache(maxsize=4096)
def _escape(character: str) -> str:
    if unicodedata.category(character) not in ("Cc", "Cf", "Zl", "Zp"):
        return character
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[index : index + 4]}" for index in range(0, len(units), 4))

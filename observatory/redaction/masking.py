"""What becomes of the secrets that are found: masked, noted, or left alone.

The mark that stands for a secret, ``[secret:github_token:1a2b3c4d]``, ends in a hash that is keyed:
equal secrets have equal marks, and who has no key can not find one by trying. The key is a file
of its own, so that the secret that signs tokens can be changed without changing marks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from secrets import token_bytes
from typing import Any, NamedTuple

import orjson

from observatory.redaction.patterns import MARKER, find_named, find_secrets, is_suspicious

MODES = ("mask", "flag", "off")
_KEY_BYTES = 32
_HASH_BYTES = 4
# Masking one secret may lay another one bare: what stood before it was part of no word any more.
_MAX_PASSES = 8
# How a secret may go on: in letters and digits, in large ones as those of AWS, in parts, in a URL.
_DRAWN = "b7Kd9QzR4nX2mW8vT5"
_RESTS = (
    _DRAWN * 3,
    *(("Q7K2B3D4F5G6H7J2" + "QK")[:length] for length in range(1, 17)),
    f"{_DRAWN}.{_DRAWN}.{_DRAWN}",
    f"{_DRAWN}@host",
)
# What is nested deeper is cut before it is stored, as JSON is written to 254.
_MAX_DEPTH = 256


class Finding(NamedTuple):
    """A secret in a place of a message: ``kind``, ``where`` it stands, its keyed hash."""

    kind: str
    where: str
    hash: str


Findings = Counter[Finding]
# The same as plain values: kind, where, hash, and how often.
Listed = list[tuple[str, str, str, int]]


def listed(found: Findings) -> Listed:
    """Return findings as the store takes them."""
    return [(*finding, times) for finding, times in found.items()]


@dataclass(frozen=True, slots=True)
class _Setting:
    mode: str
    key: bytes


# Until it is configured, nothing that looks like a secret is stored, and its hash tells nothing.
_setting = _Setting("mask", token_bytes(_KEY_BYTES))


def configure(mode: str, secret: str) -> None:
    """Say what becomes of secrets in this process.

    Args:
        mode: ``mask``, ``flag`` or ``off``.
        secret: What the key of the hashes is made from.
    """
    global _setting
    if mode not in MODES:
        raise ValueError(mode)
    key = blake2b(secret.encode(), digest_size=_KEY_BYTES, person=b"obs-secret-marks").digest()
    _setting = _Setting(mode, key)


def mode() -> str:
    """Return what becomes of secrets: ``mask``, ``flag`` or ``off``."""
    return _setting.mode


def may_hold_secrets(data: bytes) -> bool:
    """Tell whether a line, in UTF-8, is worth looking at closely; mostly it is not."""
    return _setting.mode != "off" and is_suspicious(data)


def redact(text: str, where: str, found: Findings) -> str:
    """Return a text as it is stored, and add to ``found`` what secrets are in it."""
    if _setting.mode == "off":
        return text
    for _ in range(_MAX_PASSES):
        secrets = find_secrets(text)
        if not secrets:
            break
        parts: list[str] = []
        end = 0
        for secret in secrets:
            mark = _mark(text[secret.start : secret.end], secret.kind, where, found)
            parts += (text[end : secret.start], mark)
            end = secret.end
        if _setting.mode == "flag":
            break
        text = "".join((*parts, text[end:]))
    return text


def redact_cut(text: str, where: str, found: Findings) -> str:
    """Return a text, which may be cut in the middle of a secret, as it is stored.

    Whether it is, is told by what it would be if it went on with what secrets are made of.
    """
    text = redact(text, where, found)
    if _setting.mode != "mask" or not text.endswith("\u2026"):
        return text
    end = len(text) - 1
    for rest in _RESTS:
        for secret in find_secrets(text[:end] + rest):
            if secret.start < end < secret.end:
                mark = _mark(text[secret.start : end], secret.kind, where, found)
                return f"{text[: secret.start]}{mark}\u2026"
    return text


def redact_json(value: Any, where: str, found: Findings, depth: int = 0) -> Any:
    """Return JSON data as it is stored: strings and names of fields inside are redacted.

    A string is judged by the name of its field, too, and in ``{"name": "API_KEY", "value": ...}``
    by that name. Data that has no secret comes back as it is.
    """
    if _setting.mode == "off" or depth > _MAX_DEPTH:
        return value
    if isinstance(value, str):
        return redact(value, where, found)
    # No comprehensions: they would be calls of their own, and deep data needs all there are.
    if isinstance(value, dict):
        said = value.get("name") or value.get("key")
        fields = {}
        for name, item in value.items():
            told_by = said if name == "value" and isinstance(said, str) else name
            fields[redact(name, where, found)] = _redact_field(told_by, item, where, found, depth)
        return fields
    if isinstance(value, list):
        items = []
        for item in value:
            items.append(redact_json(item, where, found, depth + 1))
        return items
    return value


def redact_json_text(text: str, where: str, found: Findings) -> str:
    """Return JSON text as it is stored; it is JSON again."""
    if not may_hold_secrets(text.encode()):
        return text
    redacted = redact_json(orjson.loads(text), where, found)
    return orjson.dumps(redacted).decode() if found and _setting.mode == "mask" else text


def _redact_field(name: str, value: Any, where: str, found: Findings, depth: int) -> Any:
    if isinstance(value, str):
        redacted = redact(value, where, found)
        kind = find_named(name, value) if redacted == value and value else None
        if kind is None:
            return redacted
        if _setting.mode == "flag":
            if not find_secrets(value):
                _mark(value, kind, where, found)
            return value
        return _mark(value, kind, where, found)
    if isinstance(value, list) and depth < _MAX_DEPTH:
        items = []
        for item in value:
            items.append(_redact_field(name, item, where, found, depth + 1))
        return items
    return redact_json(value, where, found, depth + 1)


def _mark(secret: str, kind: str, where: str, found: Findings) -> str:
    digest = blake2b(secret.encode("utf-8", "replace"), key=_setting.key, digest_size=_HASH_BYTES)
    found[Finding(kind, where, digest.hexdigest())] += 1
    return f"[secret:{kind}:{digest.hexdigest()}]"


def without_hashes(text: str) -> str:
    """Return a text in which marks of secrets do not tell which secret they stand for.

    The hashes of two readings differ when the key was changed between them.
    """
    return MARKER.sub(lambda mark: mark.group().rpartition(":")[0] + "]", text)


def is_same_text(stored: str, text: str) -> bool:
    """Tell whether two texts are the same but for secrets, of which at least one is masked."""
    if stored == text:
        return True
    if "[secret:" not in stored and "[secret:" not in text:
        return False
    forms = []
    for form in (stored, text):
        secrets = find_secrets(form)
        parts: list[str] = []
        end = 0
        for secret in secrets:
            parts += (form[end : secret.start], f"[secret:{secret.kind}:00000000]")
            end = secret.end
        forms.append(without_hashes("".join((*parts, form[end:]))))
    return forms[0] == forms[1]

"""Passwords: what is taken, and that a hash opens for the one only."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher, Type
from hypothesis import given, settings
from hypothesis import strategies as st

from observatory.accounts.passwords import (
    check_new_password,
    hash_password,
    is_outdated,
    is_password,
)
from observatory.errors import InvalidParameter

HASH = hash_password("correct horse")


def test_a_hash_is_argon2id_with_a_salt_of_its_own():
    assert HASH.startswith("$argon2id$")
    assert hash_password("correct horse") != HASH


def test_the_password_opens_and_others_do_not():
    assert is_password("correct horse", HASH)
    for other in ("Correct horse", "correct horse ", "", "correct\0horse", "x" * 5000, "\ud800"):
        assert not is_password(other, HASH)


def test_nobodys_password_opens_nothing():
    assert not is_password("nobody has this password", None)
    assert not is_password("", None)


def test_what_is_no_hash_opens_for_nothing():
    assert not is_password("x", "plain text")
    assert not is_password("x", "$argon2id$broken")


def test_what_is_typed_alike_is_alike():
    assert is_password("cafe\u0301 au lait", hash_password("caf\u00e9 au lait"))


@pytest.mark.parametrize(
    "password",
    ["", "short12", "x" * 1025, "aaaaaaaa", "abababab", "\ud800" * 8, "ada@example.org"],
)
def test_what_is_too_easy_is_refused(password):
    with pytest.raises(InvalidParameter) as caught:
        check_new_password(password, email="ada@example.org", field="new_password")
    assert caught.value.field == "new_password"


@pytest.mark.parametrize(
    "password", ["eight888", "x" * 1020 + "abcd", "日本語のパスワード", "🐎🔋📎🧮 ok!"]
)
def test_others_are_taken(password):
    check_new_password(password, email="ada@example.org")
    assert is_password(password, hash_password(password))


@settings(max_examples=10, deadline=None)
@given(st.text(min_size=1, max_size=50))
def test_any_text_opens_its_own_hash_only(text):
    try:
        check_new_password(text, email="")
    except InvalidParameter:
        return
    assert is_password(text, hash_password(text))
    assert not is_password(text + "x", HASH)


def test_weaker_hashes_are_outdated():
    assert not is_outdated(HASH)
    for weaker in (
        PasswordHasher(time_cost=1, memory_cost=19_456, parallelism=1),
        PasswordHasher(time_cost=2, memory_cost=8_192, parallelism=1),
        PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, type=Type.I),
    ):
        assert is_outdated(weaker.hash("x"))
    assert not is_outdated(PasswordHasher(time_cost=3, memory_cost=65_536).hash("x"))
    assert is_outdated("plain text")

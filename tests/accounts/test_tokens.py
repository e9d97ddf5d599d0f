"""Access tokens: only those that this server signed, and only while they hold."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.accounts import tokens
from observatory.accounts.tokens import MAX_SECONDS, Signer
from observatory.errors import Unauthorized
from tests.accounts.forging import FAR, KEY_ID, SECRET, SIGNER, claims, forge


def test_what_was_signed_is_read():
    token = SIGNER.sign(user_key=5, email="ada@example.org", permissions=["a"], session_key=9)
    read = SIGNER.read(token)
    assert (read.user_key, read.session_key) == (5, 9)
    assert abs(read.expires_at - time.time() - 15 * 60) < 60


def test_a_forged_token_with_the_right_secret_is_like_a_signed_one():
    assert SIGNER.read(forge(claims())).user_key == 1


def test_a_token_says_who_and_what_in_the_claims_of_the_first_design():
    token = SIGNER.sign(user_key=5, email="ada@example.org", permissions=["a"], session_key=9)
    read = jwt.decode(token, options={"verify_signature": False})
    assert set(read) == {
        "iss", "aud", "typ", "sub", "jti", "sid", "iat", "exp", "user_id", "email", "permissions",
    }  # fmt: skip
    assert (read["sub"], read["user_id"], read["email"]) == ("5", 5, "ada@example.org")


def test_each_token_has_an_id_of_its_own():
    ids = {
        jwt.decode(
            SIGNER.sign(user_key=1, email="", permissions=[], session_key=1),
            options={"verify_signature": False},
        )["jti"]
        for _ in range(20)
    }
    assert len(ids) == 20


def test_tokens_hold_no_longer_than_was_set():
    short = Signer(SECRET, max_seconds=5)
    assert short.seconds == 5
    assert Signer(SECRET, max_seconds=86_400).seconds == tokens.MAX_SECONDS


@pytest.mark.parametrize("name", sorted(set(claims()) - {"email", "permissions"}))
def test_a_token_that_lacks_a_claim_is_refused(name):
    with pytest.raises(Unauthorized):
        SIGNER.read(forge(claims(**{name: ...})))


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "somebody"}, {"iss": None}, {"aud": "others"}, {"aud": ["others"]}, {"aud": 1},
        {"typ": "refresh"}, {"typ": None}, {"sub": "2"}, {"sub": 1}, {"sub": "\ud800"},
        {"user_id": "1"}, {"user_id": 1.0}, {"user_id": True}, {"user_id": None}, {"sid": "7"},
        {"sid": True}, {"sid": None}, {"exp": 10**30}, {"exp": "never"}, {"exp": 1e300},
        {"exp": None}, {"exp": True}, {"exp": []}, {"exp": FAR},
        {"iat": FAR, "exp": FAR + 60}, {"iat": "now"}, {"nbf": FAR},
        {"nbf": "x"}, {"jti": 1}, {"exp": 1}, {"exp": -1},
    ],
    ids=repr,
)  # fmt: skip
def test_a_token_with_a_wrong_claim_is_refused(wrong):
    with pytest.raises(Unauthorized):
        SIGNER.read(forge(claims(**wrong)))


def test_a_token_that_has_ended_says_so():
    with pytest.raises(Unauthorized) as caught:
        SIGNER.read(forge(claims(exp=int(time.time()) - 1, iat=int(time.time()) - 100)))
    assert caught.value.is_expired


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"}, {"alg": "None"}, {"alg": "HS512"}, {"alg": "HS384"}, {"alg": "RS256"},
        {"alg": "ES256"}, {"alg": ["HS256"]}, {"alg": None}, {"alg": 1}, {"kid": None},
        {"kid": ""}, {"kid": "../../etc/passwd"}, {"kid": "' OR 1=1 --"}, {"kid": 0},
        {"kid": [KEY_ID]}, {"kid": {"a": 1}}, {"kid": "/dev/null"}, {"kid": "x" * 1000},
        {"b64": False, "crit": ["b64"]}, {"crit": ["x"]},
    ],
    ids=repr,
)  # fmt: skip
def test_a_token_with_a_wrong_header_is_refused(header):
    with pytest.raises(Unauthorized):
        SIGNER.read(forge(claims(), header=header))


@pytest.mark.parametrize("header", [{"jwk": {"kty": "oct", "k": "c3Nz"}}, {"jku": "http://x/"}])
def test_keys_that_a_token_brings_are_not_used(header):
    with pytest.raises(Unauthorized):
        SIGNER.read(forge(claims(), header=header, secret="sss" * 20))


def test_a_token_without_a_signature_is_refused():
    message = forge(claims()).rpartition(".")[0]
    for text in (f"{message}.", message, f"{message}.AAAA"):
        with pytest.raises(Unauthorized):
            SIGNER.read(text)


def test_a_token_of_another_secret_is_refused():
    with pytest.raises(Unauthorized):
        SIGNER.read(forge(claims(), secret="t" * 40))
    with pytest.raises(Unauthorized):
        SIGNER.read(Signer("t" * 40).sign(user_key=1, email="", permissions=[], session_key=1))


def test_a_public_key_is_no_secret():
    """RS256 to HS256: signing with the text of a key that everybody may know."""
    with pytest.raises(Unauthorized):
        SIGNER.read(forge(claims(), secret="-----BEGIN PUBLIC KEY-----\nMIIB\n"))


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "..", "...", "a.b.c", "a" * 5000, "\ud800", "ü.ü.ü", "null", "{}",
        forge([]), forge("text"), forge(None), forge(1), forge(claims(email="x" * 5000)),
        "eyJ" + "A" * 4000 + ".e30.x",
    ],
    ids=lambda text: text[:12].encode("ascii", "replace").decode() or "empty",
)  # fmt: skip
def test_what_is_no_token_is_refused(text):
    with pytest.raises(Unauthorized):
        SIGNER.read(text)


def test_deep_json_is_refused():
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    with pytest.raises(Unauthorized):
        SIGNER.read(forge(claims(sub=deep)))


@given(st.data())
def test_one_changed_character_is_noticed(data):
    token = forge(claims())
    at = data.draw(st.integers(0, len(token) - 2))
    other = data.draw(st.characters(min_codepoint=33, max_codepoint=126))
    changed = token[:at] + other + token[at + 1 :]
    if changed == token:
        return
    with pytest.raises(Unauthorized):
        SIGNER.read(changed)


@given(st.text(max_size=300))
def test_any_text_is_refused_and_nothing_else_happens(text):
    with pytest.raises(Unauthorized):
        SIGNER.read(text)


def test_after_a_rotation_both_secrets_hold_and_the_new_one_signs():
    old = Signer("o" * 40)
    token = old.sign(user_key=1, email="", permissions=[], session_key=1)
    rotated = Signer("n" * 40, previous="o" * 40)
    assert rotated.read(token).user_key == 1
    new = rotated.sign(user_key=2, email="", permissions=[], session_key=1)
    assert Signer("n" * 40).read(new).user_key == 2
    with pytest.raises(Unauthorized):
        old.read(new)
    with pytest.raises(Unauthorized):
        Signer("n" * 40).read(token)


def test_the_secret_before_holds_no_longer_than_its_tokens(monkeypatch):
    rotated = Signer("n" * 40, previous="o" * 40)
    token = Signer("o" * 40).sign(user_key=1, email="", permissions=[], session_key=1)
    later = time.time() + MAX_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(Unauthorized):
        rotated.read(token)

"""Masking: what it puts in a secret's place, that it changes nothing else, and its settings."""

from __future__ import annotations

import json
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observatory.redaction import masking
from observatory.redaction.masking import Findings, redact, redact_json, redact_json_text
from tests.ingest.test_any_reading import EXPLORES
from tests.planted import PLANTS, drawn

EXAMPLES = settings(derandomize=not EXPLORES, max_examples=5000 if EXPLORES else 300)
CHANCE = st.integers(0, 2**32).map(random.Random)
WORDS = st.text(st.sampled_from("ab \n日é'\",:={}[]/\\@"), max_size=30)
SECRET = drawn(random.Random(4), 32)


@pytest.fixture(autouse=True)
def setting():
    masking.configure("mask", "k" * 40)
    yield
    masking.configure("mask", "k" * 40)


@EXAMPLES
@given(plant=st.sampled_from(PLANTS), chance=CHANCE, before=WORDS, after=WORDS)
def test_only_the_secret_is_another(plant, chance, before, after):
    planted = plant(chance)
    found = Findings()
    text = f"{before} {planted.text} {after}"
    masked = redact(text, "content", found)
    assert planted.secret not in masked
    [finding] = found
    mark = f"[secret:{planted.kind}:{finding.hash}]"
    first, last = masked.split(mark)
    assert text.startswith(first) and text.endswith(last)
    assert len(first) + len(last) < len(text) - 6
    assert redact(masked, "content", Findings()) == masked


@EXAMPLES
@given(text=WORDS)
def test_a_text_without_a_secret_stays(text):
    assert redact(text, "content", Findings()) == text


@EXAMPLES
@given(plant=st.sampled_from(PLANTS), chance=CHANCE, before=WORDS, after=WORDS)
def test_json_stays_json(plant, chance, before, after):
    planted = plant(chance)
    value = {before: [before, {"x": f"{before} {planted.text} {after}"}, 1, None, 2.5]}
    found = Findings()
    masked = json.loads(redact_json_text(json.dumps(value), "parameters", found))
    assert found.total() == 1
    [[_, inner, *rest]] = masked.values()
    assert list(masked) == [before] and rest == [1, None, 2.5]
    assert planted.secret not in inner["x"]


@pytest.mark.parametrize("name", ["password", "apiKey", "x-access-token", "CLIENT_SECRET"])
def test_a_field_of_a_telling_name_is_masked(name):
    masked = redact_json({"env": {name: SECRET, "other": SECRET}}, "parameters", Findings())
    assert re.fullmatch(r"\[secret:\w+:[0-9a-f]{8}\]", masked["env"][name])
    assert masked["env"]["other"] == SECRET


@pytest.mark.parametrize(
    "value",
    [
        {"token": [SECRET, SECRET]},
        {"env": [{"name": "DB_PASSWORD", "value": SECRET}]},
        {"key": "API_KEY", "value": SECRET, "type": "plain"},
    ],
)
def test_a_list_and_a_pair_are_told_by_their_name_too(value):
    found = Findings()
    text = json.dumps(value)
    assert SECRET not in redact_json_text(text, "parameters", found)
    assert found.total() == text.count(SECRET)


def test_a_pair_of_another_name_stays():
    value = {"name": "DB_HOST", "value": SECRET}
    assert redact_json(value, "parameters", Findings()) == value


def test_a_secret_in_a_name_of_a_field_is_masked():
    token = "gh" + "p_" + SECRET
    assert token not in json.dumps(redact_json({"x": {token: 1}}, "details", Findings()))


def test_equal_secrets_have_equal_marks_and_others_do_not():
    marks = [redact(f"TOKEN={s}", "content", Findings()) for s in (SECRET, SECRET, SECRET[::-1])]
    assert marks[0] == marks[1] != marks[2]


def test_who_has_another_key_gets_other_marks():
    first = redact(f"TOKEN={SECRET}", "content", Findings())
    masking.configure("mask", "j" * 40)
    second = redact(f"TOKEN={SECRET}", "content", Findings())
    assert first != second
    assert masking.is_same_text(first, second)
    assert masking.is_same_text(first, f"TOKEN={SECRET}")
    assert not masking.is_same_text(first, f"TOKENS={SECRET}")
    assert not masking.is_same_text(f"TOKEN={SECRET}", f"TOKEN={SECRET[::-1]}")


def test_flagging_tells_and_changes_nothing():
    masking.configure("flag", "k" * 40)
    found = Findings()
    text = f"TOKEN={SECRET} and TOKEN={SECRET}"
    assert redact(text, "content", found) == text
    value = {"password": SECRET, "x": text}
    assert redact_json(value, "parameters", found) == value
    assert redact_json_text(json.dumps(value), "result", found) == json.dumps(value)
    assert sorted((f.kind, f.where, count) for f, count in found.items()) == [
        ("password", "parameters", 1),
        ("password", "result", 1),
        ("token", "content", 2),
        ("token", "parameters", 2),
        ("token", "result", 2),
    ]


def test_off_looks_for_nothing():
    masking.configure("off", "k" * 40)
    found = Findings()
    text = f"TOKEN={SECRET}"
    assert redact(text, "content", found) == text
    assert redact_json({"password": SECRET}, "parameters", found) == {"password": SECRET}
    assert not masking.may_hold_secrets(text.encode())
    assert not found

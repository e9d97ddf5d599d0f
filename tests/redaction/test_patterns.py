"""What is taken for a secret, and what is not."""

from __future__ import annotations

import json
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observatory.redaction import patterns
from observatory.redaction.patterns import find_named, find_secrets, is_suspicious
from tests.ingest.test_any_reading import EXPLORES
from tests.planted import PLANTS, drawn

CHANCE = st.integers(0, 2**32).map(random.Random)
BEFORE = st.sampled_from(
    ["", "\\n", '\\"', "a word ", "\n", "日本 ", "(", "> ", "\t", "a\u2192 ", "\x1b[0m "]
)
AFTER = st.sampled_from(["", " a word", "\n", " 日本", ")", "\r\n"])


@settings(derandomize=not EXPLORES, max_examples=5000 if EXPLORES else 300)
@given(plant=st.sampled_from(PLANTS), chance=CHANCE, before=BEFORE, after=AFTER)
def test_a_secret_of_each_kind_is_found_wherever_it_stands(plant, chance, before, after):
    planted = plant(chance)
    text = before + planted.text + after
    found = find_secrets(text)
    assert [secret.kind for secret in found] == [planted.kind], text
    assert planted.secret in text[found[0].start : found[0].end]
    start, end = found[0].start, found[0].end
    assert text[:start] == text[: len(before)] + text[len(before) : start]
    if planted.kind != "private_key":
        assert text[start:end] == planted.secret


@settings(derandomize=not EXPLORES, max_examples=5000 if EXPLORES else 300)
@given(plant=st.sampled_from(PLANTS), chance=CHANCE, times=st.integers(1, 3), ascii=st.booleans())
def test_json_text_does_not_hide_a_secret(plant, chance, times, ascii):
    text = plant(chance).text
    for _ in range(times):
        text = json.dumps({"x": ["\n\t é", text]}, ensure_ascii=ascii)
    assert is_suspicious(text.encode())
    assert is_suspicious(text.replace("/", "\\/").encode())


@pytest.mark.parametrize(
    "text",
    [
        "password: string",
        "password = input('Password: ')",
        "const token = await getToken(user.id2)",
        "API_KEY=your-api-key-here-1234567890",
        "API_KEY=$OPENAI_API_KEY",
        'api_key: "${OPENAI_API_KEY_2}"',
        "api_key=os.environ['OPENAI_API_KEY_2']",
        "secret: process.env.JWT_SECRET_KEY_2",
        "token_count: 123456789012",
        '{"input_tokens": 1234567890, "output_tokens": 1234567}',
        "max_tokens=4096, temperature=0.7",
        "tokenizer = AutoTokenizer.from_pretrained('bert-base-uncased-2018')",
        "Comparator.comparingInt(WindowToken::getWindowLayerFromType2)",
        "secret = settings.read_secret_2026_from_file",
        "password: 'Enter a password of 8 characters'",
        "postgres://postgres:postgres@localhost:5432/db",
        "postgres://user:password@localhost:5432/db",
        "https://user:${PASSWORD}@host/",
        "sk-" + "fading-circle-container-of-the-page",
        "task-" + "a1B2c3D4e5F6g7H8i9J0k1L2",
        "gh" + "p_" + "x" * 36,
        "AKIA" + "X" * 16,
        "AKIAIOSFODNN7" + "EXAMPLE",
        "sk-" + "ant-api03-" + "x" * 40,
        "-----BEGIN " + "PRIVATE KEY-----\n...\n-----END " + "PRIVATE KEY-----",
        "token: 2026-01-02T03:04:05.678Z",
        "secret: ./secrets/production/key-2026.json",
        "Authorization: Bearer <token>",
        "Basic understanding of authentication2",
        "key: value, token: next",
        "[secret:password:1a2b3c4d]",
        "PASSWORD=[secret:password:1a2b3c4d]",
    ],
)
def test_what_only_speaks_of_secrets_is_none(text):
    assert find_secrets(text) == []


def test_a_key_that_was_cut_off_is_found_to_its_end():
    lines = [drawn(random.Random(number), 64) for number in range(4)]
    text = "-----BEGIN " + "RSA PRIVATE KEY-----\n" + "\n".join(lines)
    [secret] = find_secrets(text)
    assert (secret.start, secret.end) == (0, len(text))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("password", "password"),
        ("DB_PASSWORD", "password"),
        ("apiKey", "api_key"),
        ("clientSecret", "secret"),
        ("accessToken", "token"),
        ("awsSecretAccessKey", "aws_secret_key"),
        ("max_tokens", None),
        ("text", None),
        ("tokenizer", None),
    ],
)
def test_a_field_is_told_by_its_name(name, kind):
    assert find_named(name, drawn(random.Random(1), 32)) == kind
    assert find_named(name, "some words") is None
    assert find_named(name, "/home/ada/engine2/token") is None


def test_so_many_words_are_looked_for_at_once():
    """With one more the automaton goes byte by byte, and a reading takes a tenth longer."""
    assert len((*patterns._WORDS, patterns._PRIVATE_KEY, *patterns._ESCAPES)) <= 64


@pytest.mark.parametrize("form", ["TOKEN=%", 'token: "%"', "token = '%'", "--token %"])
def test_a_long_value_is_found_to_its_end(form):
    text = form.replace("%", drawn(random.Random(2), 20_000)) + " more"
    [secret] = find_secrets(text)
    assert text[secret.end :].strip("\"'") == " more"


@pytest.mark.parametrize(
    "part",
    [
        "token=", "eyJ", "eyJaaaaaaaa.", "secret ", "secret" + " " * 50, "sk-", "sk-a1 ", "a:b@",
        "x://a:b1@", 'token="', "token\\\\", "\\", "Bearer ",
        "PASSWORD=a1B!c2D%e3 ", "password=a1B!",
        "-----BEGIN " + "PRIVATE KEY-----\n", "Basic \\t", "[secret:", "_pass" + "key" * 9,
    ],
)  # fmt: skip
def test_no_text_takes_long(part):
    """A hundred times the text may take some hundred times as long, and not ten thousand times."""
    begun = time.process_time()
    text = part * (200_000 // len(part))
    is_suspicious(f"token{text}".encode())
    find_secrets(f"token{text}")
    assert time.process_time() - begun < 5

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
    [
        *("", "\\n", '\\"', "a word ", "\n", "日本 ", "(", "> ", "\t", "a\u2192 ", "\x1b[0m "),
        # What ends in letters or digits and is no word.
        *("\x1b[32m", "\x1b[01;31m\x1b[K", "\\u001b[1m", "%22", "%3D", "\\u0022", "\\x22", "é"),
    ]
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
        "if(e.token===t.token2)return n.token=e.token2",
        "aZ3" * 20 + "gh" + "p_" + drawn(random.Random(1), 60),
        "aZ3-" + "sk-" + drawn(random.Random(1), 60),
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


KEY_LINES = [drawn(random.Random(number), 64) for number in range(6)]
KEY_BEGINS, KEY_ENDS = (f"-----{word} RSA PRIVATE" + " KEY-----" for word in ("BEGIN", "END"))


SHOWN = (
    "{number:6}\u2192{line}\n",
    "{number:6}\t{line}\n",
    "> {line}\n",
    "-{line}\n",
    "+{line}\r\n",
    "\x1b[32m{line}\x1b[0m\n",
    "{line}\\n",
    "{line}\\\\r\\\\n",
)
HEADERS = ("Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-128-CBC,0A1B")
# Nobody writes headers as literals of a program.
CUT_OFF = [*((form, ()) for form in SHOWN), *((form, HEADERS) for form in SHOWN)]
CUT_OFF.append(('    "{line}\\n" +\n', ()))


@pytest.mark.parametrize(("form", "headers"), CUT_OFF)
def test_a_key_that_was_cut_off_is_found_however_its_lines_are_shown(form, headers):
    lines = [KEY_BEGINS, *headers, *KEY_LINES, KEY_LINES[0][:9] + "=="]
    text = "".join(form.format(number=n, line=line) for n, line in enumerate(lines, 1))
    [secret] = find_secrets(f"{text} and then more words")
    left = f"{text} and then more words"[secret.end :]
    assert "==" not in left and left.endswith(" and then more words")
    assert not any(line in left for line in KEY_LINES)


def test_code_that_speaks_of_both_ends_of_a_key_is_none():
    code = "def readPrivateKeyFromFile(path):\n    return open(path).read()\n" * 20
    text = f'if text.startswith("{KEY_BEGINS}"):\n{code}\nassert "{KEY_ENDS}" in text'
    assert find_secrets(text) == []


@pytest.mark.parametrize(
    "form",
    [
        "X-API-Key: %", "APIKEY=%", "Api_Key=%", "x-auth-key: %", "ACCESS-KEY=%", "private-key: %",
        'token := "%"', 'token    = "%"', "token\t= %", "TOKEN_PROD=%", "GITHUB_TOKEN_2=%",
        "AUTHORIZATION: BEARER %", "authorization: basic %", "token\\u003d%", "client_secret%3D%",
        "PASSWORD\x1b[0m=\x1b[32m%\x1b[0m", "\x1b[01;31m\x1b[Ktoken\x1b[m\x1b[K=%",
        "${PASSWORD:-%}", "'password': f'%'", "{b'password': b'%'}", "if password == '%':",
        '{"token": ["%"]}', '[{"name": "DB_PASSWORD", "value": "%"}]',
        "- name: API_KEY\n  value: %", "- name: SOME_TOKEN\n      value: '%'",
        "postgres://ada:p@ss%@db.test/engine",
    ],
)  # fmt: skip
def test_a_value_is_found_whatever_the_name_and_the_sign_look_like(form):
    value = drawn(random.Random(8), 32)
    head, _, tail = form.rpartition("%")
    text = head + value + tail
    [secret] = find_secrets(text)
    assert value in text[secret.start : secret.end]
    for times in range(3):
        text = json.dumps({"x": text}, ensure_ascii=times == 1)
        assert is_suspicious(text.encode()), times


@pytest.mark.parametrize("value", ['a1"b2c3d4e5', "a1\\b2c3d4e5Z", '"a1b2c3d4"', "p\u00e41b2c3d4e"])
def test_a_line_is_looked_at_when_the_value_of_a_field_has_escapes(value):
    assert is_suspicious(json.dumps({"password": value}).encode())


def test_a_key_of_an_issuer_is_found_inside_a_word():
    for kind, text in (
        ("github_token", "gh" + "p_" + drawn(random.Random(1), 36)),
        ("github_token", "github" + "_pat_" + drawn(random.Random(1), 60)),
        ("anthropic_key", "sk-" + "ant-api03-" + drawn(random.Random(1), 60)),
        ("slack_token", "xo" + "xb-904817263541-" + drawn(random.Random(1), 24)),
        ("aws_access_key_id", "AK" + "IAQ7K2BCDFGHJ23456"),
    ):
        assert [found.kind for found in find_secrets(f"abc{text}_")] == [kind]


def test_an_encrypted_token_is_found_to_its_end():
    parts = [drawn(random.Random(number), 40) for number in range(4)]
    for second in ("", drawn(random.Random(9), 30)):
        text = ".".join(("ey" + "J" + parts[0], second, *parts[1:]))
        assert [found[:2] for found in find_secrets(f"a {text} b")] == [(2, 2 + len(text))]


def test_letters_that_become_two_in_small_move_nothing():
    value = drawn(random.Random(8), 32)
    [secret] = find_secrets(f"\u0130\u0130\u0130 TOKEN={value}")
    assert (secret.start, secret.end) == (10, 42)


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
        "-----BEGIN " + "PRIVATE KEY-----\n", "-----END " + "PRIVATE KEY-----\n", "Basic \\t",
        "-----BEGIN " + "PRIVATE KEY-----" + "0\n" * 50, "A-A: ", "-eyJ", "sk-" + "ant-api03-",
        "github" + "_pat_", "xo" + "xb-", "ya" + "29.", "password\x1b[0m", "password" + " \n" * 30,
        "password,\n value:", "[secret:", "_pass" + "key" * 9,
    ],
)  # fmt: skip
def test_no_text_takes_long(part):
    """A hundred times the text may take some hundred times as long, and not ten thousand times."""
    begun = time.process_time()
    text = part * (200_000 // len(part))
    is_suspicious(f"token{text}".encode())
    find_secrets(f"token{text}")
    assert time.process_time() - begun < 5

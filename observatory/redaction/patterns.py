"""Where secrets stand in a text, by the forms that their issuers gave them and by what names them.

Source: the documentation of the issuers (Anthropic, OpenAI, GitHub, AWS, Google, Slack, Stripe),
RFC 7468 (private keys), RFC 7519 (JWT), RFC 3986 (URLs). The rules are our own; that a rule has a
word to look for first, and that placeholders are told by their words, is how gitleaks and
detect-secrets work, too.

Every secret has one of some sixty words in it or before it. They are looked for all at once, at
about a byte in a nanosecond; only where a word stands, its rule is tried. A line of a transcript is
looked at like that as it lies in its file, and its texts one by one only when it has such a word
(docs/decisions/0005-secrets.md).
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Callable, Iterator
from typing import NamedTuple

import ahocorasick_rs

from observatory.redaction.values import is_password, is_random, is_token

MARKER = re.compile(r"\[secret:[a-z_]+:[0-9a-f]{8}\]")
_MARKER_BEGINNING = "[secret:"
_MIN_CHARACTERS = 8


class Secret(NamedTuple):
    """A secret in a text: its first character, the one behind its last, and its kind."""

    start: int
    end: int
    kind: str


class _Form(NamedTuple):
    """What secrets of an issuer look like; group 1 is the secret.

    One of ``words``, in small letters whatever the form has, stands ``offset`` characters behind
    the beginning. ``check`` says whether it is no placeholder. Unless ``is_inside``, no letter or
    digit may stand before it: what goes on there is a word, such as ``task-``.
    """

    kind: str
    words: tuple[str, ...]
    pattern: re.Pattern[str]
    check: Callable[[str], bool]
    offset: int = 0
    is_inside: bool = False

    @property
    def byte_pattern(self) -> re.Pattern[bytes]:
        """What it looks like in JSON text, as bytes."""
        return re.compile(self.pattern.pattern.encode())


def _is_openai_key(value: str) -> bool:
    return is_token(value) and is_random(value[3:])


def _form(
    kind: str,
    words: str,
    pattern: str,
    check: Callable[[str], bool] = is_token,
    *,
    offset: int = 0,
    is_inside: bool = False,
) -> _Form:
    return _Form(kind, tuple(words.split()), re.compile(pattern), check, offset, is_inside)


_FORMS = (
    _form(
        "anthropic_key",
        "sk-",
        r"(sk-ant-(?:api|admin|oat|ort|sid)[0-9]{2}-[A-Za-z0-9_-]{16,})",
        is_inside=True,
    ),
    _form("anthropic_key", "sk-", r"(sk-ant-[A-Za-z0-9_-]{16,})"),
    _form(
        "openai_key",
        "sk-",
        r"(?<![_-])(sk-(?!ant-)(?:[a-z]{2,10}-)?(?:v1-)?[A-Za-z0-9_-]{20,})",
        _is_openai_key,
    ),
    _form(
        "github_token",
        "ghp_ gho_ ghu_ ghs_ ghr_",
        r"(gh[pousr]_[A-Za-z0-9]{36})(?![A-Za-z0-9])",
        is_inside=True,
    ),
    _form("github_token", "ghp_ gho_ ghu_ ghs_ ghr_", r"(gh[pousr]_[A-Za-z0-9]{20,})"),
    _form("github_token", "github_pat_", r"(github_pat_[A-Za-z0-9_]{20,})", is_inside=True),
    _form(
        "aws_access_key_id",
        "akia asia",
        r"(A[KS]IA[A-Z2-7]{16})(?![A-Za-z0-9])",
        is_inside=True,
    ),
    # This server's own keys and refresh tokens.
    _form(
        "observatory_key",
        "obs_ obr_",
        r"(obs_[A-Za-z0-9_-]{43}|obr_[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43})",
        is_inside=True,
    ),
    _form("google_api_key", "aiza", r"(AIza[A-Za-z0-9_-]{30,})"),
    _form("google_oauth_token", "ya29.", r"(ya29\.[A-Za-z0-9_.-]{16,})", is_inside=True),
    _form("slack_token", "xox", r"(xox[abeprs]-[A-Za-z0-9-]{10,})", is_inside=True),
    _form(
        "slack_webhook",
        "hooks.slack.com",
        r"hooks\.slack\.com\\*/(?:services|workflows|triggers)\\*/([A-Za-z0-9+/_\\-]{16,})",
        is_inside=True,
    ),
    _form(
        "stripe_key",
        "k_live_ k_test_",
        r"([sr]k_(?:live|test)_[A-Za-z0-9]{10,})",
        offset=1,
    ),
    # Signed ones have three parts, encrypted ones five, of which the second may be empty.
    _form(
        "jwt",
        "eyj",
        r"(?<![_-])(eyJ[A-Za-z0-9_-]{8,}"
        r"(?:\.[A-Za-z0-9_-]{8,}|(?=\.\.))\.[A-Za-z0-9_-]*\.?[A-Za-z0-9_-]{8,}"
        r"(?:\.[A-Za-z0-9_-]{8,}){0,2})",
        lambda value: True,
    ),
    _form(
        "bearer_token",
        "earer asic",
        r"(?i:bearer|basic)(?:[ \t]|\\t)+([A-Za-z0-9+._~/=-]{12,})",
        is_random,
        offset=1,
        is_inside=True,
    ),
)
_PRIVATE_KEY = "PRIVATE KEY"

# What the value after such a name is, from the more to the less particular.
_NAMED_KINDS = (
    ("aws_secret_key", re.compile(r"(?i)aws.*secret|secret[_-]?access[_-]?key")),
    ("password", re.compile(r"(?i)pass|pwd")),
    ("api_key", re.compile(r"(?i)key")),
    ("token", re.compile(r"(?i)token")),
    ("secret", re.compile(r"")),
)
_NAMES = (
    r"[_-]?passw(?:or)?d|pwd|[_-]pass|secret|token"
    r"|(?:api|access|auth|private)[_-]?key"
)
_ENDINGS = r"[_-]?(?:key|base|value|prod|production|dev|staging|test|live|old|new|[0-9]{1,2})"
_NAME = rf"(?i:{_NAMES})(?i:{_ENDINGS})*"
_IS_NAME = re.compile(rf"(?i)[\w.$:-]*?(?:{_NAMES})(?:{_ENDINGS})*")
_NAME_REVERSED = re.compile(r"[A-Za-z0-9_.$-]*")
_NAME_CHARACTERS = 60
_BARE = r"[^\s\x1b\"'`\\,;(){}\[\]<>|&]"
# What a terminal is told of colours, as it is or in an escape of JSON or of a shell.
_COLOUR = r"(?:\x1b|\\{1,16}(?:u001[bB]|x1[bB]|e|033))\[[0-9;?]{0,20}[A-Za-z]"
_BETWEEN = rf"(?:[ \t]|{_COLOUR}){{0,40}}"
_SIGN = (
    r"(?::[ \t]{0,40}&?(?i:str(?:ing)?)[ \t]{0,40}="
    # In JSON and YAML name and value can be a pair: {"name": "API_KEY", "value": "..."}.
    r"|,?\s{0,40}[\\\"']{0,16}(?i:value)[\\\"']{0,16}[ \t]{0,40}[:=]"
    # A comparison is with a value only when that is in quotes.
    r"|[!=]={1,2}(?=[ \t]{0,4}[\\\"'`])|:=|=>|=|:-(?=\S)|:|%3[dD]|\\{1,16}u003[dD])"
)
_PREFIX = r"(?:[bfruBFRU]{1,2}(?=[\\\"']))?"
_ASSIGNMENT = re.compile(
    # The name, the quotes around it, a type, the sign.
    rf"({_NAME})(?:\\{{0,16}}[\"'`]?\]?{_BETWEEN}{_SIGN}{_BETWEEN}\[?{_PREFIX}"
    # The value: in quotes, escaped or not, or without.
    r"(?:\\{0,16}\"([^\s\"\\]{6,8192})|\\{0,16}'([^\s'\\]{6,8192})|\\{0,16}`([^\s`\\]{6,8192})"
    rf"|({_BARE}{{6,512}}))"
    # Or an option of a command and its value.
    rf"|[ \t]{{1,40}}\\{{0,16}}[\"'`]?({_BARE}{{8,512}}))"
)
_BARE_GROUP, _OPTION_GROUP = 5, 6
# The rest of a value that is longer than what it is judged by, for each group.
_REST = {
    group: re.compile(f"{characters}*")
    for group, characters in zip(
        range(2, 7), (r"[^\s\"\\]", r"[^\s'\\]", r"[^\s`\\]", _BARE, _BARE), strict=True
    )
}
# A value may hold assignments of its own, as a URL does; more than these are no such thing.
_MAX_NESTED = 8
KINDS = tuple(
    dict.fromkeys(
        [
            "private_key",
            *(form.kind for form in _FORMS),
            "url_password",
            *(kind for kind, _ in _NAMED_KINDS),
        ]
    )
)
# Parts of names, and where in a name they stand. Every line of an answer counts its tokens: of
# these it takes what can follow the name to tell them apart.
_NAME_PARTS = (
    (1, "assw ecret"),
    (0, "_pass -pass pwd"),
    (1, "pi_key pi-key pikey uth_key uth-key uthkey"),
    (4, "ss_key ss-key sskey"),
    (5, "te_key te-key tekey"),
    (1, "oken= oken: oken\" oken' oken\\ oken_ oken%"),
)
_NAME_WORDS = (
    *((word, offset) for offset, words in _NAME_PARTS for word in words.split()),
    ("oken =", 1),
    ("oken :", 1),
    ("oken  ", 1),
    ("-token ", -1),
)
# In a line of JSON they have a backslash there.
_NAME_WORDS_OF_TEXT = (("oken\t", 1), ("oken\n", 1), ("oken\x1b", 1))
# Letters, digits and signs as JSON can also write them begin so.
_ESCAPES = tuple(f"\\u00{digit}" for digit in "234567")
# What may begin where a word stands, by the word: forms, or a name of what follows.
_RULES: dict[str, list[tuple[int, _Form | None]]] = {}
for _form_of_words in _FORMS:
    for _word in _form_of_words.words:
        _RULES.setdefault(_word, []).append((_form_of_words.offset, _form_of_words))
for _word, _offset in _NAME_WORDS:
    _RULES[_word] = [(_offset, None)]
_WORDS = tuple(_RULES)
for _word, _offset in _NAME_WORDS_OF_TEXT:
    _RULES[_word] = [(_offset, None)]
_RULES_BY_NUMBER = tuple(_RULES.values())
# Strings in strings have ever more of them; without a bound, many would be tried in many ways.
_QUOTES = r"[\\\"'`]{0,32}"
_BLANKS = rf"(?:[ \t]|\\{{1,16}}t|{_COLOUR}){{0,40}}"
_MAY_BE_SIGN = (
    r"(?::[ \t]{0,40}&?(?i:str(?:ing)?)[ \t]{0,40}="
    r"|,?(?:\s|\\{1,16}[nrt]){0,40}[\\\"']{0,32}(?i:value)[\\\"']{0,32}[ \t]{0,40}[:=]"
    r"|[!:=]?={1,2}>?|:-?|%3[dD]|\\{1,16}u003[dD])"
)
_OF_VALUE = r"(?:[^\x00-\x20\"'`\\]|\\(?:[\\/\"]|u[0-9A-Fa-f]{4}))"
# A name with its value as JSON text has them: short ones have a digit. It passes over whatever may
# be in strings in strings.
_MAY_BE_ASSIGNMENT = re.compile(
    (
        rf"{_NAME}(?:{_QUOTES}\]?{_BLANKS}"
        rf"{_MAY_BE_SIGN}{_BLANKS}\[?{_BLANKS}{_PREFIX}|[ \t]{{1,40}})"
        rf"{_QUOTES}(?={_OF_VALUE}{{0,200}}?[0-9]|{_OF_VALUE}{{20}}){_OF_VALUE}{{6}}"
    ).encode()
)
_BYTE_RULES = tuple(
    tuple(
        (offset, _MAY_BE_ASSIGNMENT, True)
        if form is None
        else (offset, form.byte_pattern, form.is_inside)
        for offset, form in rules
    )
    for rules in map(_RULES.__getitem__, _WORDS)
)
# More than 64 words, or another kind of search, and they are looked for byte by byte.
_LEFTMOST = ahocorasick_rs.MatchKind.LeftmostFirst
_IN_TEXT = ahocorasick_rs.AhoCorasick(tuple(_RULES), matchkind=_LEFTMOST)
_IN_LINE = ahocorasick_rs.BytesAhoCorasick(
    [word.encode() for word in (*_WORDS, _PRIVATE_KEY.lower(), *_ESCAPES)], matchkind=_LEFTMOST
)


def is_suspicious(data: bytes) -> bool:
    """Tell whether there may be a secret in JSON text, in UTF-8."""
    for word, start, _ in _IN_LINE.find_matches_as_indexes(data.lower()):
        if word >= len(_BYTE_RULES):
            return True
        for offset, pattern, is_inside in _BYTE_RULES[word]:
            begins = max(0, start - offset)
            if (is_inside or not _is_in_word(data, begins)) and pattern.match(data, begins):
                return True
    if b"@" in data and (b"://" in data or b":\\" in data) and _has_login(data):
        return True
    # Reading leaves NUL out, and what stood apart comes together.
    return b"\0" in data


def _has_login(data: bytes) -> bool:
    """Tell whether an ``@`` may end the name and password of a URL. There are few of them."""
    at = data.find(b"@")
    while at >= 0:
        slash = data.rfind(b"/", max(0, at - _URL_CHARACTERS), at)
        if slash >= 0 and _LOGIN.search(data, max(0, slash - _SCHEME_CHARACTERS), at):
            return True
        at = data.find(b"@", at + 1)
    return False


def find_secrets(text: str) -> list[Secret]:
    """Return the secrets in a text, in their order; they do not overlap.

    Markers of secrets that were masked before are none.
    """
    if len(text) < _MIN_CHARACTERS:
        return []
    # Of two that begin together the longer one: the password of an address may have an "@".
    found = sorted(_candidates(text), key=lambda each: (each[0], each[1].start, -each[1].end))
    if not found:
        return []
    taken = [match.span() for match in MARKER.finditer(text)]
    kept: list[Secret] = []
    for _, secret in found:
        at = bisect(taken, secret[:2])
        is_free = at == 0 or taken[at - 1][1] <= secret.start
        if is_free and (at == len(taken) or secret.end <= taken[at][0]):
            taken.insert(at, secret[:2])
            kept.append(secret)
    return sorted(kept)


def find_named(name: str, value: str) -> str | None:
    """Return the kind of secret that a whole text is by what it is called, or ``None``."""
    if len(value) < _MIN_CHARACTERS or not _IS_NAME.fullmatch(name):
        return None
    if value.startswith(_MARKER_BEGINNING) or any(map(str.isspace, value)):
        return None
    return _kind_of(name) if _is_value(name, value, is_bare=False) else None


def _candidates(text: str) -> Iterator[tuple[int, Secret]]:
    """Yield what may be secrets, each with its rank: the more particular win over the others."""
    if _PRIVATE_KEY in text:
        yield from ((0, secret) for secret in _private_keys(text))
    looked_to, tries = 0, 0
    # The same of each form: up to where it matched, and how often it did that for nothing.
    matched: dict[re.Pattern[str], tuple[int, int]] = {}
    for word, start, _ in _IN_TEXT.find_matches_as_indexes(_lowered(text)):
        for offset, form in _RULES_BY_NUMBER[word]:
            beginning = max(0, start - offset)
            if form is None:
                if beginning >= looked_to:
                    tries = 0
                match = _ASSIGNMENT.match(text, beginning) if tries < _MAX_NESTED else None
                if match is not None:
                    looked_to, tries = max(looked_to, match.end()), tries + 1
                    if (named := _assigned(text, match)) is not None:
                        yield 3, named
                        looked_to, tries = max(looked_to, named.end), _MAX_NESTED
            elif form.is_inside or not _is_in_word_of_text(text, beginning):
                matched_to, failures = matched.get(form.pattern, (0, 0))
                if beginning >= matched_to:
                    failures = 0
                elif failures >= _MAX_NESTED:
                    continue
                match = form.pattern.match(text, beginning)
                if match is None:
                    continue
                if form.check(match.group(1)):
                    yield 1, Secret(*match.span(1), form.kind)
                    failures = _MAX_NESTED
                matched[form.pattern] = max(matched_to, match.end()), failures + 1
    at = text.find("@") if ":" in text else -1
    while at >= 0:
        slash = text.rfind("/", max(0, at - _URL_CHARACTERS), at)
        begins = max(0, slash - _SCHEME_CHARACTERS)
        match = _URL.search(text, begins, at) if slash >= 0 else None
        if match and match.group(2) != match.group(1) and is_password(match.group(2)):
            yield 2, Secret(*match.span(2), "url_password")
        at = text.find("@", at + 1)


_URL = re.compile(r"[A-Za-z0-9+.-]:(?:\\*/){2}([^\s/@:\"'`<>]*):([^\s/\"'`<>]{3,})\Z")
# As it stands in JSON text, where a slash can have a backslash before it.
_LOGIN = re.compile(rb":(?:\\*/){2}[^\s@:\"]*:[^\s\"]{3,}\Z")
_URL_CHARACTERS = 300
# The sign and slashes behind the name of a scheme, in strings in strings.
_SCHEME_CHARACTERS = 20


# Not the letters of an escape: ``\\n`` in a text, a colour of a terminal, ``%3D`` in an address.
_ESCAPE = re.compile(
    rf"(?:%[0-9A-Fa-f]{{2}}|\\(?:[abefnrtv0]|u[0-9A-Fa-f]{{4}}|x[0-9A-Fa-f]{{2}})|{_COLOUR})\Z"
)
_ESCAPE_OF_BYTES = re.compile(_ESCAPE.pattern.encode())
_ESCAPE_CHARACTERS = 40


def _is_in_word(data: bytes, begins: int) -> bool:
    """Tell whether what begins at a place goes on with a word behind it."""
    return data[max(0, begins - 1) : begins].isalnum() and not _ESCAPE_OF_BYTES.search(
        data, max(0, begins - _ESCAPE_CHARACTERS), begins
    )


def _is_in_word_of_text(text: str, begins: int) -> bool:
    before = text[max(0, begins - 1) : begins]
    return (
        before.isascii()
        and before.isalnum()
        and not _ESCAPE.search(text, max(0, begins - _ESCAPE_CHARACTERS), begins)
    )


def _lowered(text: str) -> str:
    """Return a text in small letters, of which each stands where it stood."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    # There are letters that become two.
    return "".join(c.lower() if c.isascii() else c for c in text)


def _assigned(text: str, match: re.Match[str]) -> Secret | None:
    """Return the value of an assignment when it is a secret."""
    start = match.start()
    group = match.lastindex or 0
    value_start, end = match.span(group)
    following = text[end : end + 1]
    # What goes on is a sentence, or a call in a program.
    if following in ((" ", "\t") if group < _BARE_GROUP else ("(", "[", "{")):
        return None
    before = _NAME_REVERSED.match(text[max(0, start - _NAME_CHARACTERS) : start][::-1])
    name = (before.group()[::-1] if before else "") + match.group(1)
    if group == _OPTION_GROUP and not name.startswith("--"):
        return None
    if not _is_value(name, match.group(group), is_bare=group >= _BARE_GROUP):
        return None
    rest = _REST[group].match(text, end)
    return Secret(value_start, rest.end() if rest else end, _kind_of(name))


_BEGINNING = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
# What stands between the lines of a key: numbers of lines, quotes, signs of a difference, colours.
_KEY_GAP = rf"(?:[\s\"'`|:>#*,.;+\u2192-]|[0-9]|\\{{1,16}}[nrt\"']?|{_COLOUR}){{0,60}}"
_KEY_HEADERS = (
    rf"(?:{_KEY_GAP}[A-Z][A-Za-z-]{{2,30}}: [^\n\r\x1b\\]{{0,200}}(?=[\n\r\x1b\\])){{0,8}}"
)
_KEY_LINES = re.compile(
    rf"{_KEY_HEADERS}(?:{_KEY_GAP}[A-Za-z0-9+/]{{16,}}={{0,2}})*"
    # The last one may be short, be cut off, or be a sum.
    rf"(?:{_KEY_GAP}(?:[A-Za-z0-9+/]{{1,15}}={{1,2}}|[A-Za-z0-9+/]{{1,15}}(?=\u2026|\Z)))?"
    rf"(?:{_KEY_GAP}=[A-Za-z0-9+/]{{4}}(?![A-Za-z0-9+/]))?"
)
_KEY_MATERIAL = re.compile(r"[A-Za-z0-9+/]{16,}")
_MAX_KEY_CHARACTERS = 50_000


def _private_keys(text: str) -> Iterator[Secret]:
    position = 0
    ending = _END.search(text)
    while beginning := _BEGINNING.search(text, position):
        begins = beginning.end()
        if ending is not None and ending.start() < begins:
            ending = _END.search(text, begins)
        position = begins
        if ending is not None and ending.end() <= begins + _MAX_KEY_CHARACTERS:
            material = sum(
                match.end() - match.start()
                for match in _KEY_MATERIAL.finditer(text, begins, ending.start())
            )
            # Code that speaks of both ends is no key.
            if 2 * material > ending.start() - begins:
                position = ending.end()
        if position == begins:
            # It was cut off, as a tool's long answer is.
            lines = _KEY_LINES.match(text, begins, begins + _MAX_KEY_CHARACTERS)
            position = lines.end() if lines else begins
        if _KEY_MATERIAL.search(text, begins, position):
            yield Secret(beginning.start(), position, "private_key")


def _kind_of(name: str) -> str:
    return next(kind for kind, words in _NAMED_KINDS if words.search(name))


def _is_value(name: str, value: str, *, is_bare: bool) -> bool:
    if value[0] in ":=-":
        return False
    if _kind_of(name) == "password":
        return is_password(value) and (len(value) >= _MIN_CHARACTERS or not is_bare)
    return is_random(value)

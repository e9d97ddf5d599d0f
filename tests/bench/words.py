"""Text that searches like prose, code and command output, cut from pools made beforehand.

Words follow Zipf's law over 30,000, so that a search finds very common (rank 1 to 100), medium
(around 2,000) and rare ones (beyond 20,000); a few tokens in a hundred occur only once or twice,
as hashes and numbers do.
"""

import base64
import random
from collections.abc import Callable, Iterator
from itertools import accumulate, product

VOCABULARY_SIZE = 30_000
_COMMON = (
    "the to a in of and is this for it that file with on if be as not or are test from we code "
    "can use by will when an line add but all new should error function now let need have class "
    "return name value run so check see first then no which get set data at user path one only "
    "default build its there call list type work make fix output result does has after also "
    "same config into was branch session message tests commit key string change command before "
    "would more just read still each where current server project why store api table order "
    "query index token context request page response time start stop create update delete "
    "object number files state method field package import version module case log print write "
    "table missing empty cache worker thread process parser schema column row count total array "
    "map"
)
_ONSETS = "b c d f g h j k l m n p r s t v w br ch cl cr dr fl gr pl pr sh sl sp st th tr"
_VOWELS = "a e i o u a e i o u ai ea ee io ou"
_CODAS = "   b ck d l m n n ng p r r s st t x"  # split at each space: the first three are empty
_CODE_LINES = (
    "def {0}_{1}(self, {2}: str) -> {3}:",
    "    return self.{0}.{1}({2}, {3}={0})",
    '    if {0} is None or {1}.{2} == "{3}":',
    '        raise {0}Error("{1} {2} {3}")',
    '    const {0} = await {1}.{2}("{3}");',
    "export function {0}({1}: {2}): Promise<{3}> {{",
    "    for {0} in {1}.{2}({3}):",
    '        {0}.{1}["{2}"] = {3}({0})',
    "// {0} {1} the {2} before {3} is written",
    "\tif err := {0}.{1}({2}); err != nil {{\n\t\treturn {3}\n\t}}",
    'import {{ {0}, {1} }} from "./{2}/{3}";',
    '    "{0}": {{"{1}": "{2}", "{3}": [1, 2]}},',
    "    assert {0}.{1}({2}) == {3}",
    '\t\t{0} := {1}.{2}("{3}")',
    "# {0} {1} {2} {3}",
    "\t}}",
    "}}",
    "",
)
_OUTPUT_LINES = (
    "tests/{0}/test_{1}.py::test_{2}_{3} PASSED",
    "-rw-r--r--\t1 dev\tdev\t{4} Jan 12 09:41 {0}_{1}.py",
    "{5} {0} {1} {2} {3}",
    'src/{0}/{1}.ts:{4}: "{2}" is not assignable to "{3}"',
    '{{"time":"10:22:31.{4}","level":"info","{0}":"{1}","{2}":"{3}"}}',
    "\tmodified:   src/{0}/{1}/{2}.{3}.go",
    "ok  \tgithub.com/{0}/{1}/{2}\t0.{4}s",
    "warning: {0} {1} {2} in {3}:{4}",
    "npm {0}@{4} {1} {2} {3}",
    '+\t{0}.{1}("{2}", {3})',
)
_FOREIGN = (
    "Naïve façade — résumé “quoted” text … ✓ done.",
    "設定ファイルを読み込み、会話の一覧を更新します。",
    "Готово: проверка прошла успешно → дальше.",
    "🚀 Shipped it! ✅ All checks are green 🎉",
    "需要先理解项目结构再修改配置文件。",
)


def make_vocabulary() -> list[str]:
    """Return the 30,000 words, most frequent first; the same for every corpus."""
    rng = random.Random("vocabulary")
    words = dict.fromkeys(_COMMON.split())
    syllables = [
        "".join(parts) for parts in product(_ONSETS.split(), _VOWELS.split(), _CODAS.split(" "))
    ]
    while len(words) < VOCABULARY_SIZE:
        first, second, third = rng.choices(syllables, k=3)
        chance = rng.random()
        words[first + second + third if chance < 0.12 else first + second] = None
    return list(words)


class TextPools:
    """Pools of text from which pieces of any length are cut.

    Args:
        rng: Where all chance comes from.
        pool_chars: Size of the pool of code; the others are smaller.
        most_chars: Longest piece that is ever cut.
    """

    def __init__(self, rng: random.Random, *, pool_chars: int, most_chars: int) -> None:
        self._rng = rng
        self._most = min(most_chars, pool_chars // 2)
        self.vocabulary = make_vocabulary()
        self._weights = list(accumulate(1 / (rank + 2.7) for rank in range(VOCABULARY_SIZE)))
        self._prose = "".join(self._fill(pool_chars * 2 // 3, self._sentences))
        self._code = "".join(self._fill(pool_chars, self._code_lines))
        self._output = "".join(self._fill(pool_chars // 2, self._output_lines))
        self._base64 = base64.b64encode(rng.randbytes(300_000)).decode()

    def cap(self, chars: int) -> int:
        """Return ``chars`` or the longest length allowed."""
        return min(chars, self._most)

    def prose(self, chars: int) -> str:
        """Return about ``chars`` characters of sentences, now and then not in English."""
        text = self._cut(self._prose, chars, " ")
        if chars > 60 and self._rng.random() < 0.04:
            return f"{text}\n{self._rng.choice(_FOREIGN)}"
        return text

    def code(self, chars: int) -> str:
        """Return about ``chars`` characters of whole lines of code."""
        return self._cut(self._code, chars, "\n")

    def output(self, chars: int) -> str:
        """Return about ``chars`` characters that a command could have printed."""
        return self._cut(self._output, chars, "\n")

    def signature(self, chars: int) -> str:
        """Return ``chars`` characters of base64."""
        start = int(self._rng.random() * (len(self._base64) - chars))
        return self._base64[start : start + chars]

    def word(self) -> str:
        """Return one word, common or rare."""
        return self._draw_words(1)[0]

    def name(self) -> str:
        """Return one word of middling frequency, as files and projects are called."""
        return self.vocabulary[100 + int(self._rng.random() * 4_000)]

    def _cut(self, pool: str, chars: int, boundary: str) -> str:
        chars = min(chars, self._most)
        start = int(self._rng.random() * (len(pool) - chars - 400))
        start = pool.index(boundary, start) + 1
        return pool[start : start + chars]

    def _draw_words(self, count: int) -> list[str]:
        return self._rng.choices(self.vocabulary, cum_weights=self._weights, k=count)

    def _fill(self, chars: int, make_lines: Callable[[list[str]], Iterator[str]]) -> Iterator[str]:
        while chars > 0:
            for line in make_lines(self._draw_topic()):
                chars -= len(line)
                yield line

    def _draw_topic(self) -> list[str]:
        """Return 300 words of which most come again: a text keeps to its subject."""
        return self._rng.choices(self._draw_words(90), k=300)

    def _sentences(self, words: list[str]) -> Iterator[str]:
        rng, place = self._rng, 0
        while place < len(words):
            length = 5 + int(rng.random() * 13)
            sentence = " ".join(words[place : place + length])
            chance = rng.random()
            if chance < 0.02:
                sentence = f"{sentence} {rng.getrandbits(40):010x}"
            end = ".\n\n" if chance > 0.85 else ".\n- " if chance > 0.75 else ". "
            yield sentence[:1].upper() + sentence[1:] + end
            place += length

    def _code_lines(self, words: list[str]) -> Iterator[str]:
        patterns = self._rng.choices(_CODE_LINES, k=len(words) // 4)
        for place, pattern in enumerate(patterns):
            yield pattern.format(*words[4 * place : 4 * place + 4]) + "\n"

    def _output_lines(self, words: list[str]) -> Iterator[str]:
        rng = self._rng
        patterns = rng.choices(_OUTPUT_LINES, k=len(words) // 4)
        for place, pattern in enumerate(patterns):
            number, digest = rng.getrandbits(14), f"{rng.getrandbits(36):09x}"
            yield pattern.format(*words[4 * place : 4 * place + 4], number, digest) + "\n"

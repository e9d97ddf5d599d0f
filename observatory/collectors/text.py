"""Metrics in Prometheus's text format.

prometheus-client's own way checks and escapes each name of each sample anew: 3 µs a line, of which
there are thousands. All names here are ours, so only values of labels are escaped, and those once.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256

from prometheus_client.core import Metric
from prometheus_client.utils import floatToGoString

# Transcripts say what they like: with a path of a megabyte a scrape would have a hundred of them.
MAX_LABEL_CHARACTERS = 200
_TYPES = {"counter": "counter", "gauge": "gauge", "histogram": "histogram", "summary": "summary"}


def write_text(families: Iterable[Metric]) -> bytes:
    """Return metrics in the text format, version 0.0.4."""
    lines: list[str] = []
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        text = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
        kind = _TYPES.get(family.type, "untyped")
        lines.append(f"# HELP {name} {text}\n# TYPE {name} {kind}\n")
        for sample in family.samples:
            labels = _labels(tuple(sample.labels.items()))
            lines.append(f"{sample.name}{labels} {floatToGoString(sample.value)}\n")
    return "".join(lines).encode()


def shorten(value: str) -> str:
    """Return a value for a label, which is cut when it is long; those that differ still do."""
    if len(value) <= MAX_LABEL_CHARACTERS:
        return value
    mark = sha256(value.encode()).hexdigest()[:16]
    return f"{value[: MAX_LABEL_CHARACTERS - len(mark) - 1]}…{mark}"


# Few of them are others than those of the last scrape.
@lru_cache(maxsize=8192)
def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    return f"{{{','.join([_label(*label) for label in sorted(labels)])}}}" if labels else ""


def _label(name: str, value: str) -> str:
    escaped = value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return f'{name}="{escaped}"'

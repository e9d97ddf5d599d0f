"""Metrics in Prometheus's text format.

prometheus-client's own way checks and escapes each name of each sample anew: 3 µs a line, of which
there are thousands. All names here are ours, so only values of labels are escaped, and those once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import sha256

from prometheus_client.core import Metric
from prometheus_client.utils import floatToGoString

# Transcripts say what they like: with a path of a megabyte a scrape would have a hundred of them.
MAX_LABEL_CHARACTERS = 200
_TYPES = {"counter": "counter", "gauge": "gauge", "histogram": "histogram", "summary": "summary"}


def write_text(families: Iterable[Metric]) -> bytes:
    """Return metrics in the text format, version 0.0.4."""
    return "".join(line for family in families for line in _write_family(family)).encode()


def _write_family(family: Metric) -> Iterator[str]:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    text = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {name} {text}\n# TYPE {name} {_TYPES.get(family.type, 'untyped')}\n"
    for sample in family.samples:
        value = floatToGoString(sample.value)
        if sample.labels:
            labels = ",".join([_label(each) for each in sorted(sample.labels.items())])
            yield f"{sample.name}{{{labels}}} {value}\n"
        else:
            yield f"{sample.name} {value}\n"


def shorten(value: str) -> str:
    """Return a value for a label, which is cut when it is long; those that differ still do."""
    if len(value) <= MAX_LABEL_CHARACTERS:
        return value
    mark = sha256(value.encode()).hexdigest()[:16]
    return f"{value[: MAX_LABEL_CHARACTERS - len(mark) - 1]}…{mark}"


@lru_cache(maxsize=8192)
def _label(label: tuple[str, str]) -> str:
    name, value = label
    escaped = value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return f'{name}="{escaped}"'

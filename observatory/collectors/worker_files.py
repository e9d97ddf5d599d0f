"""The files in which workers share what they count, read without parsing them anew each time.

prometheus-client parses the names of all series, each a piece of JSON, whenever it is asked, and
there are thousands. In these files series are only ever added, and never move; so what stands
where is worked out once, and then only numbers are read.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import orjson
from prometheus_client.core import Metric
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

_INTEGER = struct.Struct("i")
_HEADER_BYTES, _NUMBER_BYTES, _VALUE_BYTES = 8, 8, 16

Labels = tuple[tuple[str, str], ...]


class _Entry(NamedTuple):
    """A series as a file has it: family, name, labels, what it is about, which of its numbers."""

    family: str
    name: str
    labels: Labels
    text: str
    place: int


class WorkerFile:
    """One file of one worker, which stays mapped: so its inode is no other file's meanwhile.

    Args:
        path: Where it is; its name begins with the kind of its metrics.

    Raises:
        ValueError: Nothing was written to it yet.
        OSError: It is gone.
    """

    def __init__(self, path: str) -> None:
        self.kind = os.path.basename(path).split("_")[0]
        self.entries: list[_Entry] = []
        self._end = _HEADER_BYTES
        with Path(path).open("rb") as stream:
            self.inode = os.fstat(stream.fileno()).st_ino
            self._data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        # Values lie at multiples of eight bytes.
        self.numbers = memoryview(self._data).cast("d")

    def close(self) -> None:
        """Let go of it."""
        self.numbers.release()
        self._data.close()

    def is_still(self, path: str) -> bool:
        """Tell whether it is the one at a path, and has not outgrown what is mapped of it."""
        return self.inode == os.stat(path).st_ino and self._read_used() <= len(self._data)

    def _read_used(self) -> int:
        return int(_INTEGER.unpack_from(self._data, 0)[0])

    def read_on(self) -> int:
        """Read which series were added, and return where the last one ends."""
        used = self._read_used()
        while self._end < used:
            (length,) = _INTEGER.unpack_from(self._data, self._end)
            start = self._end + _INTEGER.size
            family, name, labels, text = orjson.loads(self._data[start : start + length])
            start += length + 8 - (length + _INTEGER.size) % 8
            sorted_labels = tuple(sorted(labels.items()))
            self.entries.append(_Entry(family, name, sorted_labels, text, start // _NUMBER_BYTES))
            self._end = start + _VALUE_BYTES
        return self._end


@dataclass(slots=True)
class _Series:
    """What is shown as one: its name, its labels, and which numbers are its sum."""

    name: str
    labels: dict[str, str]
    places: list[tuple[WorkerFile, int]] = field(default_factory=list)

    def read(self) -> float:
        value = 0.0
        for file, place in self.places:
            value += file.numbers[place]
        return value


@dataclass(slots=True)
class _Group:
    """The series of some labels; buckets, by their bounds, are those of a histogram."""

    series: dict[str, _Series] = field(default_factory=dict)
    buckets: dict[float, _Series] = field(default_factory=dict)


@dataclass(slots=True)
class _Family:
    """The series of one metric, by their labels."""

    name: str
    text: str
    kind: str
    groups: dict[Labels, _Group] = field(default_factory=lambda: defaultdict(_Group))

    def add(self, entry: _Entry, file: WorkerFile) -> None:
        bound = dict(entry.labels).get("le") if self.kind == "histogram" else None
        if bound is None:
            group = self.groups[entry.labels]
            series = group.series.setdefault(entry.name, _Series(entry.name, dict(entry.labels)))
        else:
            labels = tuple(label for label in entry.labels if label[0] != "le")
            shown = {**dict(labels), "le": floatToGoString(float(bound))}
            series = self.groups[labels].buckets.setdefault(
                float(bound), _Series(f"{self.name}_bucket", shown)
            )
        series.places.append((file, entry.place))

    def order(self) -> None:
        for group in self.groups.values():
            group.buckets = dict(sorted(group.buckets.items()))

    def read(self) -> Metric:
        metric = Metric(self.name, self.text, self.kind)
        samples = metric.samples
        for labels, group in self.groups.items():
            for series in group.series.values():
                samples.append(Sample(series.name, series.labels, series.read()))
            if group.buckets:
                total = 0.0
                for series in group.buckets.values():
                    total += series.read()
                    samples.append(Sample(series.name, series.labels, total))
                samples.append(Sample(f"{self.name}_count", dict(labels), total))
        return metric


class WorkerFiles:
    """All files in a folder, added up: counters, histograms, and gauges that are sums.

    Who reads holds a lock that keeps the files (metrics_folder.py), and asks from one thread at
    a time.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, WorkerFile] = {}
        self._known: list[tuple[str, int, int]] = []
        self._families: dict[str, _Family] = {}

    def read(self, names: frozenset[str] | None = None) -> Iterator[Metric]:
        """Yield metrics as they are now.

        Args:
            names: Those of the families that are wanted; ``None`` is all of them.
        """
        self._look()
        for name, family in self._families.items():
            if names is None or name in names:
                yield family.read()

    def _look(self) -> None:
        """Find out which files there are, and which series are new in them."""
        found = {}
        for entry in os.scandir(self._folder):
            if entry.name.endswith(".db"):
                # A file may go at any time, and one that nobody wrote to has nothing.
                with suppress(FileNotFoundError, ValueError):
                    found[entry.path] = self._open(entry.path)
        for path in self._files.keys() - found.keys():
            self._files.pop(path).close()
        known = [(path, file.inode, file.read_on()) for path, file in found.items()]
        if known != self._known:
            self._families = _join(found.values())
            self._known = known

    def _open(self, path: str) -> WorkerFile:
        file = self._files.get(path)
        if file is not None:
            if file.is_still(path):
                return file
            self._files.pop(path).close()
        file = self._files[path] = WorkerFile(path)
        return file


def _join(files: Iterable[WorkerFile]) -> dict[str, _Family]:
    """Return the families of some files, with where the numbers of each series are."""
    families: dict[str, _Family] = {}
    for file in files:
        for entry in file.entries:
            family = families.get(entry.family)
            if family is None:
                family = families[entry.family] = _Family(entry.family, entry.text, file.kind)
            family.add(entry, file)
    for family in families.values():
        family.order()
    return families

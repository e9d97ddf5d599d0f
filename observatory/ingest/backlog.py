"""Files of which a watcher knows that they have something new, and that can wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from observatory.ingest.discover import FoundFile
from observatory.store.transcript_files import FileState

_SLICE_FILES = 500


@dataclass(slots=True)
class Backlog:
    """Files that can wait, each with the bytes that are unread: fresh ones first, then oldest."""

    files: dict[str, tuple[FoundFile, int]] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)

    def add(
        self, changed: Sequence[tuple[FoundFile, FileState | None]], *, are_fresh: bool = False
    ) -> None:
        """Add files that have changed, each with its state; fresh ones before all others."""
        if not changed:
            return
        if are_fresh:
            self.fresh.update(file.path for file, _ in changed)
        for file, state in changed:
            read = state.byte_offset if state is not None and not state.is_reread else 0
            self.files[file.path] = file, max(0, file.size - read)
        self.files = dict(sorted(self.files.items(), key=self._place))

    def _place(self, entry: tuple[str, tuple[FoundFile, int]]) -> tuple[bool, int, str]:
        path, (file, _) = entry
        return path not in self.fresh, file.modified_ns, path

    def drop(self, path: str) -> None:
        """Forget a file, if it waits."""
        self.files.pop(path, None)
        self.fresh.discard(path)

    def first(self) -> list[FoundFile]:
        """Return the files whose turn it is."""
        return [file for file, _ in list(self.files.values())[:_SLICE_FILES]]

    def unread_bytes(self) -> int:
        """Return how much there is to read, in bytes."""
        return sum(unread for _, unread in self.files.values())

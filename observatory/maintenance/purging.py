"""Removing conversations so that nothing of them is left in the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from observatory.ingest.removing import finish_removals, forget_gone_files
from observatory.ingest.running import Progress
from observatory.maintenance.retention import is_growing
from observatory.store import audit, erasing, maintenance
from observatory.store.conversation_removal import begin_removal
from observatory.store.database import database_path, empty_log, vacuum, writing
from observatory.store.label_names import forget_gone_names
from observatory.store.purging import Amount, Wanted, list_wanted
from observatory.store.replacing import list_replaced, remove_working_folders
from observatory.store.retention import REMOVE, Candidate
from observatory.store.scopes import WHOLE
from observatory.timestamps import format_timestamp


@dataclass(slots=True)
class Purged:
    """What was removed. Unless ``is_log_empty``, the log may have some of it for who reads.

    ``spared`` were chosen, and are not to be removed any more: they were taken out of the trash, go
    on, or somebody else was faster. ``replaced`` are databases beside this one that restores
    replaced, which are left alone.
    """

    removed: int = 0
    spared: int = 0
    is_complete: bool = True
    is_log_empty: bool = False
    is_compacted: bool = False
    replaced: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """Return the fields by name, for JSON."""
        return asdict(self)


def days_before(days: int, *, moment: float) -> str:
    """Return the time so many days before a moment in Unix seconds."""
    return format_timestamp(datetime.fromtimestamp(moment, UTC) - timedelta(days=days))


def choose(wanted: Wanted) -> tuple[list[str], Amount]:
    """Return the ids of what is to be removed, and how much that is.

    What age chooses does not grow any more; a project goes as a whole.
    """
    chosen, amount = [], Amount()
    for key, identifier in _list_chosen(wanted):
        chosen.append(identifier)
        amount.add(key)
    return chosen, amount


def _list_chosen(wanted: Wanted, *, only: str | None = None) -> Iterator[tuple[int, str]]:
    for key, identifier in list_wanted(wanted, only=only):
        if wanted.before is None or not is_growing(
            Candidate(key, identifier, REMOVE, wanted.before)
        ):
            yield key, identifier


def purge(
    identifiers: Sequence[str],
    *,
    wanted: Wanted,
    compacts: bool,
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], bool],
) -> Purged:
    """Remove conversations for good, and what was removed before out of the index and the file.

    The caller holds the lock ``ingest``. What is interrupted is ended by doing it again.

    Args:
        identifiers: What was chosen, which may be a while ago.
        wanted: What it was chosen for: what is not to be removed by that any more stays.
        compacts: Write the file anew after that.
        on_progress: Told after each conversation.
        should_stop: Asked between short transactions.

    Raises:
        NoRoom: The file is to be written anew, and there is too little room for that.
    """
    path = Path(database_path())
    done = Purged(replaced=[str(kept) for kept in list_replaced(path)])
    # A restore or compact that was killed may have left a copy of all.
    remove_working_folders(path)
    if compacts:
        maintenance.check_room_to_compact()
    erasing.overwrite_deleted(is_on=True)
    try:
        done.is_complete = (
            finish_removals(should_end=should_stop)
            and _remove(identifiers, wanted, done, on_progress, should_stop)
            and _clean_up(should_stop)
        )
    finally:
        erasing.overwrite_deleted(is_on=False)
    if done.is_complete and compacts:
        vacuum()
        done.is_compacted = True
    done.is_log_empty = empty_log()
    return done


def _remove(
    identifiers: Sequence[str],
    wanted: Wanted,
    done: Purged,
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], bool],
) -> bool:
    """Remove conversations one by one; tell whether all of them are."""
    progress = Progress(0, len(identifiers), "removing")
    for identifier in identifiers:
        if should_stop():
            return False
        if not _begin(identifier, wanted):
            done.spared += 1
            continue
        done.removed += 1
        if not finish_removals(should_end=should_stop):
            return False
        progress.done += 1
        on_progress(progress)
    return True


def _begin(identifier: str, wanted: Wanted) -> bool:
    """Begin to remove a conversation if it is still what somebody wants removed; tell whether."""
    with writing():
        if not any(_list_chosen(wanted, only=identifier)):
            return False
        begin_removal(identifier, scope=WHOLE)
        audit.note(
            audit.OPERATOR,
            "conversation.delete_permanently",
            target=f"conversation:{identifier}",
            is_purge=True,
        )
    return True


def _clean_up(should_stop: Callable[[], bool]) -> bool:
    """Take out of index, statistics, labels and the list of files what nothing is left of."""
    forget_gone_files()
    with writing(moves=None):
        maintenance.forget_samples()
        forget_gone_names()
    is_first = True
    while erasing.merge_index(is_first=is_first):
        is_first = False
        if should_stop():
            return False
    return True

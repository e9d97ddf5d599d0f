"""Which projects somebody may see: what every read for a client is narrowed to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Scope:
    """What part of the archive is there for somebody; the rest is as if it did not exist.

    Attributes:
        hidden: Keys of projects that may not be seen.
        only: Keys of the only projects that may be seen, or ``None``. What belongs to no project
            may not be seen then.
    """

    hidden: frozenset[int] = frozenset()
    only: frozenset[int] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether everything may be seen."""
        return not self.hidden and self.only is None

    def allows(self, project_key: int | None) -> bool:
        """Tell whether a project may be seen, or what belongs to none (``None``)."""
        if project_key is None:
            return self.only is None
        return project_key not in self.hidden and (self.only is None or project_key in self.only)

    def condition(self, column: str) -> str:
        """Return an SQL condition on a column with the key of a project.

        It is "1" for the whole archive, which SQLite leaves out. Keys are numbers of ours, so that
        they can stand in the text.
        """
        return _condition(self, column)

    def and_there(self, conversations: str) -> str:
        """Return what narrows a statement to the conversations that may be seen, with its AND.

        A conversation is there when its project is, and so are all above it: what a session in a
        hidden project started is hidden with it, wherever that ran. For the whole archive it is
        nothing, so that the statement stays as it is.

        Args:
            conversations: The name that the table has in the statement.
        """
        return "" if self.is_whole else f" AND {_there(self, conversations)}"

    def and_among(self, conversations: str) -> str:
        """Return the same condition for statements that look at most conversations.

        It costs what all that is hidden costs, or all that is there, and then next to nothing for
        each row; ``and_there`` costs something for each row alone.
        """
        return "" if self.is_whole else f" AND {_among(self, conversations)}"


@lru_cache(maxsize=1024)
def _there(scope: Scope, conversations: str) -> str:
    # With the plus no index on projects is walked: what orders a list does so with any scope. A
    # project is compared with IS TRUE, for a list of keys does not say no of NULL.
    return (
        f"({scope.condition(f'+{conversations}.project_key')}"
        f" AND ({conversations}.parent_key IS NULL OR NOT EXISTS ("
        "WITH RECURSIVE above (key, parent_key, project_key) AS ("
        "SELECT a.key, a.parent_key, a.project_key FROM conversations a"
        f" WHERE a.key = {conversations}.parent_key"
        " UNION SELECT a.key, a.parent_key, a.project_key"
        " FROM above JOIN conversations a ON a.key = above.parent_key)"
        f" SELECT 1 FROM above WHERE ({scope.condition('above.project_key')}) IS NOT TRUE)))"
    )


@lru_cache(maxsize=1024)
def _among(scope: Scope, conversations: str) -> str:
    if scope.only is None:
        keys, among, wanted, below = scope.hidden, "NOT IN", "", ""
    else:
        keys, among, wanted = scope.only - scope.hidden, "IN", " AND parent_key IS NULL"
        below = f" WHERE +b.project_key IN ({_list(keys)})"
    if not keys:
        # For no row. Where SQLite sees that at once it can not use the index that it is told to.
        return f"+{conversations}.key < 0"
    first = (
        "SELECT key FROM conversations{index}"
        f" WHERE project_key IN ({_list(keys)}){wanted} AND deleted_at IS "
    )
    # In two parts, for the index on projects has only what is not in the trash. Left alone, SQLite
    # reads all rows for the second: it wants them in the order of their keys.
    trashed = first.format(index=" INDEXED BY conversations_trashed")
    return (
        f"{conversations}.key {among} (WITH RECURSIVE found (key) AS ("
        f"{first.format(index='')}NULL UNION {trashed}NOT NULL"
        " UNION SELECT b.key FROM found JOIN conversations b ON b.parent_key = found.key"
        f"{below}) SELECT key FROM found)"
    )


@lru_cache(maxsize=1024)
def _condition(scope: Scope, column: str) -> str:
    if scope.only is not None:
        keys = scope.only - scope.hidden
        return f"{column} IN ({_list(keys)})" if keys else f"({column}) < 0"
    if scope.hidden:
        return f"({column} IS NULL OR {column} NOT IN ({_list(scope.hidden)}))"
    return "1"


def _list(keys: frozenset[int]) -> str:
    return ",".join(map(str, sorted(keys)))


WHOLE = Scope()

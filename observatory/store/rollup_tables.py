"""What is summed up for reports, and the statements that do it.

Three tables hold what each conversation adds in a quarter of an hour: ``conversation_usage`` by
model, ``conversation_tools`` by tool and outcome, ``conversation_files`` by file. A quarter of an
hour is the largest unit of which every time zone's days are made. Three more hold sums of those
over conversations, by hour, day and month, for each place and for all together (place 0); and the
same once more over all models, or all tools, together.

Times are Unix seconds, at the beginning of what they stand for. Everything is in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

QUARTER, HOUR, DAY, MONTH = range(4)
QUARTER_SECONDS, HOUR_SECONDS, DAY_SECONDS = 900, 3600, 86400
# Added to a level: sums over all models, or over all tools with the same outcome.
TOGETHER = 4
# Stands for all places in the sums, and for none in lists of projects.
EVERYWHERE = 0

# The upper bounds of durations, in milliseconds: a quarter of a power of ten each. What takes
# longer than the last, one hour and a half, is counted behind it.
DURATION_BOUNDS_MS = tuple(round(10 ** (1 + quarter / 4)) for quarter in range(24))
DURATIONS = tuple(f"under_{number}" for number in range(len(DURATION_BOUNDS_MS) + 1))


@dataclass(frozen=True)
class Sums:
    """One kind of sums.

    Attributes:
        parts: The table of what conversations add.
        rollups: The table of the sums over conversations.
        names: What they are told apart by beside time and place.
        measures: What is summed up.
        largest: Those of the measures of which the largest is taken instead.
    """

    parts: str
    rollups: str
    names: tuple[str, ...]
    measures: tuple[str, ...]
    largest: tuple[str, ...] = ()
    # Whether there are sums over all of the first of the names, too. Of files nobody asks for
    # those, and all files of a month are many to add up with each change.
    has_together: bool = True

    @cached_property
    def summed(self) -> str:
        """The columns of a SELECT that sums up."""
        return ", ".join(
            f"{'max' if name in self.largest else 'sum'}({name}) AS {name}"
            for name in self.measures
        )

    @cached_property
    def where_largest(self) -> tuple[int, ...]:
        """Where in the measures those stand of which the largest is taken."""
        return tuple(map(self.measures.index, self.largest))

    @cached_property
    def add_to_sum(self) -> str:
        """Add to a sum, or begin it; takes level, place, start, names, and how much more."""
        keys = ("level", "place_key", "start", *self.names)
        columns = (*keys, *self.measures)
        more = ", ".join(
            f"{name} = max({name}, excluded.{name})"
            if name in self.largest
            else f"{name} = {name} + excluded.{name}"
            for name in self.measures
        )
        return (
            f"INSERT INTO {self.rollups} ({', '.join(columns)})"
            f" VALUES ({', '.join('?' * len(columns))})"
            f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {more}"
        )

    @cached_property
    def part_columns(self) -> tuple[str, ...]:
        """The columns of the table of parts."""
        return ("conversation_key", "start", *self.names, "place_key", *self.measures)

    @cached_property
    def insert_part(self) -> str:
        """Set what a conversation adds; takes a row in the order of the columns."""
        return (
            f"REPLACE INTO {self.parts} ({', '.join(self.part_columns)})"
            f" VALUES ({', '.join('?' * len(self.part_columns))})"
        )

    @cached_property
    def delete_part(self) -> str:
        """Take away what a conversation added; takes its key, the time and the names."""
        named = "".join(f" AND {name} = ?" for name in self.names)
        return f"DELETE FROM {self.parts} WHERE conversation_key = ? AND start = ?{named}"

    @cached_property
    def find_parts(self) -> str:
        """Return what some conversations add, in the order of ``insert_part``.

        It takes their keys as JSON, and the time from which on.
        """
        return (
            f"SELECT {', '.join(self.part_columns)} FROM json_each(:keys) w"
            f" CROSS JOIN {self.parts} ON conversation_key = w.value AND start >= :start"
        )

    @cached_property
    def delete_sum(self) -> str:
        """Take away a sum; takes level, place, start and names."""
        named = "".join(f" AND {name} = ?" for name in self.names)
        return f"DELETE FROM {self.rollups} WHERE level = ? AND place_key = ? AND start = ?{named}"

    def insert_sum(self, level: int, *, is_everywhere: bool) -> str:
        """Return what sums up anew; takes place, start, end and names as ?1, ?2, ?3 and on."""
        named = "".join(f" AND {name} = ?{number}" for number, name in enumerate(self.names, 4))
        if level == HOUR:
            source = (
                f"{self.parts} INDEXED BY {self.parts}_by_time WHERE start >= ?2 AND start < ?3"
            )
            source += "" if is_everywhere else " AND place_key = ?1"
        else:
            source = (
                f"{self.rollups} WHERE level = {level - 1} AND place_key = ?1"
                " AND start >= ?2 AND start < ?3"
            )
        names = ", ".join(self.names)
        return (
            f"{self._insert} SELECT {level}, ?1, ?2, {names}, {self.summed} FROM {source}{named}"
            f" GROUP BY {names}"
        )

    @property
    def _insert(self) -> str:
        columns = ("level", "place_key", "start", *self.names, *self.measures)
        return f"REPLACE INTO {self.rollups} ({', '.join(columns)})"

    def insert_together(self, level: int) -> str:
        """Return what sums up over the first of the names; takes place, start and the others."""
        others = self.names[1:]
        named = "".join(f" AND {name} = ?{number}" for number, name in enumerate(others, 3))
        listed = "".join(f", {name}" for name in others)
        return (
            f"{self._insert} SELECT {level + TOGETHER}, ?1, ?2, ''{listed},"
            f" {self.summed} FROM {self.rollups} WHERE level = {level} AND place_key = ?1"
            f" AND start = ?2{named} GROUP BY level{listed}"
        )


USAGE = Sums(
    parts="conversation_usage",
    rollups="usage_rollups",
    names=("model",),
    measures=(
        "messages", "prompts", "interruptions", "api_errors", "retries", "sessions", "subagents",
        "api_calls", "unpriced_calls", "unpriced_tokens", "undercounted_calls",
        "undercounted_output_tokens", "input_tokens", "output_tokens",
        "cache_creation_input_tokens", "cache_read_input_tokens",
        "cache_creation_5m_input_tokens", "cache_creation_1h_input_tokens",
        "web_search_requests", "cost_nanodollars", "input_cost_nanodollars",
        "output_cost_nanodollars", "cache_write_cost_nanodollars", "cache_read_cost_nanodollars",
        "uncached_cost_nanodollars",
    ),
)  # fmt: skip
TOOLS = Sums(
    parts="conversation_tools",
    rollups="tool_rollups",
    names=("tool", "status", "category"),
    measures=("uses", "failures", "timed_uses", "duration_ms", "max_ms", *DURATIONS),
    largest=("max_ms",),
)

FILES = Sums(
    parts="conversation_files",
    rollups="file_rollups",
    names=("path_key",),
    measures=(
        "reads", "edits", "writes", "reworks", "editing_conversations", "conversations", "last_at",
    ),
    largest=("last_at",),
    has_together=False,
)  # fmt: skip
ALL = (USAGE, TOOLS, FILES)

# What is no model's, such as prompts, is under this name.
NO_MODEL = ""

_QUARTER_OF = "unixepoch({column}) / 900 * 900"
# Each of these is told for conversations that are not in the trash, whose keys are given as JSON,
# from the beginning of a quarter of an hour on, which is given as text and in seconds. What was
# copied from another conversation is that one's.
_OF_MESSAGES = f"""
    SELECT m.conversation_key, {_QUARTER_OF.format(column="m.created_at")} AS start,
        coalesce(m.model, '') AS name, count(*), sum(m.kind IN ('prompt', 'queued_prompt')),
        sum(m.kind = 'interruption'), sum(m.kind = 'api_error'), sum(m.kind = 'retry')
"""
COUNT_MESSAGES = f"""
    {_OF_MESSAGES}
    FROM json_each(:keys) w CROSS JOIN conversations c ON c.key = w.value AND c.deleted_at IS NULL
    CROSS JOIN messages m ON m.conversation_key = c.key
    WHERE m.copy_of_key IS NULL AND m.created_at >= :since GROUP BY 1, 2, 3
"""
# Of rows that are new, from a key on, however many are there before.
_NEW = "+{of}.conversation_key IN (SELECT value FROM json_each(:keys))"
COUNT_NEW_MESSAGES = f"""
    {_OF_MESSAGES} FROM messages m
    WHERE m.key >= :message_key AND m.copy_of_key IS NULL AND {_NEW.format(of="m")} GROUP BY 1, 2, 3
"""
COUNT_CONVERSATIONS = f"""
    SELECT c.key, {_QUARTER_OF.format(column="c.created_at")} AS start, '' AS name,
        c.kind = 'session', c.kind = 'subagent'
    FROM json_each(:keys) w CROSS JOIN conversations c ON c.key = w.value AND c.deleted_at IS NULL
    WHERE c.created_at >= :since
"""
_TOKENS = (
    "a.input_tokens + a.output_tokens + a.cache_creation_input_tokens + a.cache_read_input_tokens"
)
_OF_CALLS = f"""
    SELECT a.conversation_key, {_QUARTER_OF.format(column="a.created_at")} AS start,
        a.model AS name, count(*), sum(a.cost_nanodollars IS NULL),
        sum(iif(a.cost_nanodollars IS NULL, {_TOKENS}, 0)),
        sum(a.usage_quality = 'undercounted'),
        sum(iif(a.usage_quality = 'undercounted', a.output_tokens, 0)),
        sum(a.input_tokens), sum(a.output_tokens), sum(a.cache_creation_input_tokens),
        sum(a.cache_read_input_tokens), sum(a.cache_creation_5m_input_tokens),
        sum(a.cache_creation_1h_input_tokens), sum(a.web_search_requests),
        coalesce(sum(a.cost_nanodollars), 0), coalesce(sum(a.input_cost_nanodollars), 0),
        coalesce(sum(a.output_cost_nanodollars), 0),
        coalesce(sum(a.cache_write_cost_nanodollars), 0),
        coalesce(sum(a.cache_read_cost_nanodollars), 0),
        coalesce(sum(coalesce(a.uncached_cost_nanodollars, a.cost_nanodollars)), 0)
"""
COUNT_CALLS = f"""
    {_OF_CALLS}
    FROM json_each(:keys) w CROSS JOIN conversations c ON c.key = w.value AND c.deleted_at IS NULL
    CROSS JOIN api_calls a ON a.conversation_key = c.key
    WHERE a.created_at >= :since GROUP BY 1, 2, 3
"""
COUNT_NEW_CALLS = f"""
    {_OF_CALLS} FROM api_calls a
    WHERE a.key >= :api_call_key AND {_NEW.format(of="a")} GROUP BY 1, 2, 3
"""
# Each by itself: durations in SQL took 25 sums for each of them, and twice as long.
COUNT_TOOL_USES = f"""
    SELECT t.conversation_key, {_QUARTER_OF.format(column="t.started_at")} AS start, t.name,
        t.status, coalesce(t.error_category, ''), t.is_error, t.execution_time_ms
    FROM json_each(:keys) w CROSS JOIN conversations c ON c.key = w.value AND c.deleted_at IS NULL
    CROSS JOIN tool_uses t ON t.conversation_key = c.key
    WHERE t.message_key IS NOT NULL AND t.started_at >= :since
"""

_EDITING = "('Edit', 'MultiEdit', 'Write', 'NotebookEdit')"
# A tool that failed changed nothing. Told by the index alone.
COUNT_FILES = f"""
    WITH uses AS (
        SELECT t.conversation_key, {_QUARTER_OF.format(column="t.started_at")} AS start, t.path,
            sum(t.name = 'Read') AS reads, sum(t.name IN {_EDITING}) AS edits,
            sum(t.name = 'Write') AS writes, unixepoch(max(t.started_at)) AS last_at
        FROM json_each(:keys) w
        CROSS JOIN conversations c ON c.key = w.value AND c.deleted_at IS NULL
        CROSS JOIN tool_uses t INDEXED BY tool_uses_of_files ON t.conversation_key = c.key
        WHERE t.path IS NOT NULL AND t.status = 'success' AND t.started_at >= :since
        GROUP BY 1, 2, 3
    ), known AS MATERIALIZED (
        SELECT f.conversation_key, p.path, sum(f.edits) AS edits
        FROM json_each(:keys) w CROSS JOIN conversation_files f
            ON f.conversation_key = w.value AND f.start < :start
        CROSS JOIN file_paths p ON p.key = f.path_key GROUP BY 1, 2
    ), told AS (
        SELECT uses.*, known.path IS NULL AND row_number() OVER before = 1 AS is_first,
            coalesce(known.edits, 0) + coalesce(
                sum(uses.edits) OVER (before ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0
            ) AS earlier
        FROM uses LEFT JOIN known USING (conversation_key, path)
        WINDOW before AS (PARTITION BY uses.conversation_key, uses.path ORDER BY uses.start)
    )
    SELECT conversation_key, start, path, reads, edits, writes,
        edits - (edits > 0 AND earlier = 0), edits > 0 AND earlier = 0, is_first, last_at
    FROM told
"""

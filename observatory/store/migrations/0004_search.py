"""What the search index reads: results of tool calls that clients write, too."""

from typing import Any

# A transcript keeps the text of a result in a message of its own. A tool use whose result lost its
# message, because that was copied and removed, has text as well: it was never part of this message.
VIEW = """
CREATE VIEW searchable_messages AS
SELECT
    key,
    CASE WHEN kind IN ('thinking', 'tool_result') THEN NULL ELSE content END AS text,
    CASE WHEN kind = 'thinking' THEN content END AS thinking,
    CASE WHEN role = 'assistant' THEN (
        SELECT group_concat(value, char(10)) FROM (
            SELECT tree.value AS value
            FROM tool_uses, json_tree(tool_uses.parameters) AS tree
            WHERE tool_uses.message_key = messages.key AND tree.type = 'text'
            ORDER BY tool_uses.key, tree.id
        )
    ) END AS tool_input,
    CASE WHEN kind = 'tool_result' THEN content WHEN role = 'assistant' THEN (
        SELECT group_concat(result, char(10)) FROM (
            SELECT t.result AS result
            FROM tool_uses t JOIN conversations c ON c.key = t.conversation_key
            WHERE t.message_key = messages.key AND t.result_message_key IS NULL
                AND c.source = 'api'
            ORDER BY t.key
        )
    ) END AS tool_result,
    (SELECT spaced FROM message_cjk WHERE message_key = messages.key) AS cjk
FROM messages WHERE copy_of_key IS NULL
"""
WRITTEN_RESULTS = """
SELECT t.message_key FROM tool_uses t JOIN conversations c ON c.key = t.conversation_key
WHERE c.source = 'api' AND t.result IS NOT NULL AND t.message_key <=
    (SELECT value FROM totals WHERE name = 'indexed_message_key')
"""
INDEX = """
INSERT INTO message_search (rowid, text, thinking, tool_input, tool_result, cjk)
SELECT key, text, thinking, tool_input, tool_result, cjk FROM searchable_messages
"""


def up(migrator: Any, db: Any) -> None:
    """Make the view anew, and index again what it shows otherwise.

    FTS5 reads through the view what it has to take out of the index: that goes first.
    """
    db.execute_sql(f"DELETE FROM message_search WHERE rowid IN ({WRITTEN_RESULTS})")
    db.execute_sql("DROP VIEW searchable_messages")
    db.execute_sql(VIEW)
    db.execute_sql(f"{INDEX} WHERE key IN ({WRITTEN_RESULTS})")

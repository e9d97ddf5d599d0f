"""What the search index reads: results that clients write, too; words beside Chinese; titles so."""

import json
from typing import Any

from observatory.store.search_language import JOINT, spaced_cjk, spaced_title

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
WHERE c.source = 'api' AND t.result IS NOT NULL AND t.message_key IS NOT NULL
"""
INDEXED_RESULTS = f"""
{WRITTEN_RESULTS}
    AND t.message_key <= (SELECT value FROM totals WHERE name = 'indexed_message_key')
"""
INDEX = """
INSERT INTO message_search (rowid, text, thinking, tool_input, tool_result, cjk)
SELECT key, text, thinking, tool_input, tool_result, cjk FROM searchable_messages
"""


TITLES = """
CREATE VIRTUAL TABLE title_search USING fts5 (
    title, cjk, content = 'conversations', content_rowid = 'key',
    tokenize = "unicode61 remove_diacritics 2"
);
CREATE TRIGGER conversations_inserted AFTER INSERT ON conversations BEGIN
    INSERT INTO title_search (rowid, title, cjk) VALUES (new.key, new.title, new.cjk);
    UPDATE totals SET value = value + (new.deleted_at IS NULL) WHERE name = 'conversations';
END;
CREATE TRIGGER conversations_deleted AFTER DELETE ON conversations BEGIN
    INSERT INTO title_search (title_search, rowid, title, cjk)
    VALUES ('delete', old.key, old.title, old.cjk);
    UPDATE totals SET value = value - (old.deleted_at IS NULL) WHERE name = 'conversations';
END;
CREATE TRIGGER conversations_retitled AFTER UPDATE OF title, cjk ON conversations
WHEN old.title IS NOT new.title OR old.cjk IS NOT new.cjk BEGIN
    INSERT INTO title_search (title_search, rowid, title, cjk)
    VALUES ('delete', old.key, old.title, old.cjk);
    INSERT INTO title_search (rowid, title, cjk) VALUES (new.key, new.title, new.cjk);
END;
"""
BATCH_MESSAGES = 1000


def up(migrator: Any, db: Any) -> None:
    """Make the view and the words with Chinese, Japanese or Korean anew, and index them again.

    FTS5 reads through the view what it has to take out of the index: that goes first.
    """
    db.execute_sql(f"DELETE FROM message_search WHERE rowid IN ({INDEXED_RESULTS})")
    db.execute_sql("DROP VIEW searchable_messages")
    db.execute_sql(VIEW)
    db.execute_sql(f"{INDEX} WHERE key IN ({INDEXED_RESULTS})")
    # These may have such words in a result; who has none is forgotten again below.
    db.execute_sql(
        f"INSERT INTO message_cjk (message_key, spaced) SELECT DISTINCT message_key, ''"
        f" FROM ({WRITTEN_RESULTS}) WHERE true ON CONFLICT DO NOTHING"
    )
    last = 0
    while keys := _fetch(
        db,
        "SELECT message_key FROM message_cjk WHERE message_key > ? ORDER BY message_key LIMIT ?",
        (last, BATCH_MESSAGES),
    ):
        last = keys[-1]
        [indexed] = _fetch(db, "SELECT value FROM totals WHERE name = 'indexed_message_key'")
        known = json.dumps([key for key in keys if key <= indexed])
        listed = "(SELECT value FROM json_each(?))"
        db.execute_sql(f"DELETE FROM message_search WHERE rowid IN {listed}", (known,))
        for key in keys:
            _space_again(db, key)
        db.execute_sql(f"{INDEX} WHERE key IN {listed}", (known,))
    db.execute_sql("DELETE FROM message_cjk WHERE spaced = ''")
    _index_titles(db)


def _index_titles(db: Any) -> None:
    for name in ("inserted", "deleted", "retitled"):
        db.execute_sql(f"DROP TRIGGER conversations_{name}")
    db.execute_sql("DROP TABLE title_search")
    db.execute_sql("ALTER TABLE conversations ADD COLUMN cjk TEXT NOT NULL DEFAULT ''")
    rows = db.execute_sql("SELECT key, title FROM conversations").fetchall()
    for key, title in rows:
        if spaced := spaced_title(title):
            db.execute_sql("UPDATE conversations SET cjk = ? WHERE key = ?", (spaced, key))
    index, *triggers = TITLES.split(";\nCREATE TRIGGER ")
    db.execute_sql(index)
    db.execute_sql("INSERT INTO title_search (title_search) VALUES ('rebuild')")
    for trigger in triggers:
        db.execute_sql(f"CREATE TRIGGER {trigger.removesuffix(chr(10)).removesuffix(';')}")


def _fetch(db: Any, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
    return [row[0] for row in db.execute_sql(sql, parameters).fetchall()]


def _space_again(db: Any, key: int) -> None:
    """Take the words of a message apart again, as the code does now."""
    spaced, *columns = db.execute_sql(
        "SELECT k.spaced, s.text, s.thinking, s.tool_input, s.tool_result FROM message_cjk k"
        " LEFT JOIN searchable_messages s ON s.key = k.message_key WHERE k.message_key = ?",
        (key,),
    ).fetchone()
    # A copy whose original was removed has lost the parameters of its tools, but not their words.
    again = spaced_cjk("\n".join(filter(None, columns))) or spaced.replace(" ", JOINT)
    db.execute_sql("UPDATE message_cjk SET spaced = ? WHERE message_key = ?", (again, key))

"""The archive: projects, conversations, messages, model calls, tool uses, files, search index."""

from typing import Any

TABLES = """
CREATE TABLE projects (
    key INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL
);

CREATE TABLE transcript_files (
    key INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    filename TEXT NOT NULL,
    role TEXT NOT NULL,
    conversation_key INTEGER REFERENCES conversations (key) ON DELETE SET NULL,
    device INTEGER NOT NULL DEFAULT 0,
    inode INTEGER NOT NULL DEFAULT 0,
    size INTEGER NOT NULL DEFAULT 0,
    modified_ns INTEGER NOT NULL DEFAULT 0,
    byte_offset INTEGER NOT NULL DEFAULT 0,
    tail_hash BLOB,
    line_count INTEGER NOT NULL DEFAULT 0,
    has_open_line INTEGER NOT NULL DEFAULT 0,
    bad_line_count INTEGER NOT NULL DEFAULT 0,
    record_counts TEXT NOT NULL DEFAULT '{}',
    generation INTEGER NOT NULL DEFAULT 1,
    status TEXT NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'processing', 'completed', 'error')),
    error_message TEXT,
    last_modified TEXT,
    processed_at TEXT,
    created_at TEXT NOT NULL
);

CREATE TABLE transcript_errors (
    key INTEGER PRIMARY KEY,
    file_key INTEGER NOT NULL REFERENCES transcript_files (key) ON DELETE CASCADE,
    line INTEGER NOT NULL,
    byte_start INTEGER NOT NULL,
    byte_end INTEGER NOT NULL,
    reason TEXT NOT NULL,
    UNIQUE (file_key, line, byte_start)
);

CREATE TABLE conversations (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('session', 'subagent')),
    parent_key INTEGER REFERENCES conversations (key) ON DELETE SET NULL,
    project_key INTEGER REFERENCES projects (key) ON DELETE SET NULL,
    agent_id TEXT,
    agent_type TEXT,
    workflow_run_id TEXT,
    title TEXT NOT NULL DEFAULT '',
    title_rank INTEGER NOT NULL DEFAULT 9,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    cwd TEXT,
    git_branch TEXT,
    client_version TEXT,
    entrypoint TEXT,
    copied_from_key INTEGER REFERENCES conversations (key) ON DELETE SET NULL,
    message_count INTEGER NOT NULL DEFAULT 0,
    prompt_count INTEGER NOT NULL DEFAULT 0,
    copied_message_count INTEGER NOT NULL DEFAULT 0,
    tool_use_count INTEGER NOT NULL DEFAULT 0,
    error_count INTEGER NOT NULL DEFAULT 0,
    api_call_count INTEGER NOT NULL DEFAULT 0,
    unpriced_call_count INTEGER NOT NULL DEFAULT 0,
    undercounted_call_count INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cache_creation_input_tokens INTEGER NOT NULL DEFAULT 0,
    cache_read_input_tokens INTEGER NOT NULL DEFAULT 0,
    total_tokens INTEGER NOT NULL DEFAULT 0,
    cost_nanodollars INTEGER NOT NULL DEFAULT 0,
    models TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(models)),
    metadata TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(metadata)),
    deleted_at TEXT,
    source TEXT NOT NULL DEFAULT 'transcript' CHECK (source IN ('transcript', 'api')),
    revision INTEGER NOT NULL DEFAULT 0,
    document TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(document)),
    details TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(details))
);

CREATE TABLE messages (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    conversation_key INTEGER NOT NULL REFERENCES conversations (key) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    file_key INTEGER REFERENCES transcript_files (key) ON DELETE SET NULL,
    generation INTEGER NOT NULL DEFAULT 1,
    role TEXT NOT NULL CHECK (role IN ('user', 'assistant', 'system')),
    kind TEXT NOT NULL,
    parent_id TEXT,
    copy_of_key INTEGER REFERENCES messages (key) ON DELETE SET NULL,
    api_call_key INTEGER REFERENCES api_calls (key) ON DELETE SET NULL
        DEFERRABLE INITIALLY DEFERRED,
    created_at TEXT NOT NULL,
    model TEXT,
    is_on_main_branch INTEGER NOT NULL DEFAULT 1,
    is_superseded INTEGER NOT NULL DEFAULT 0,
    cwd TEXT,
    git_branch TEXT,
    client_version TEXT,
    notes TEXT CHECK (notes IS NULL OR json_valid(notes)),
    blocks TEXT CHECK (blocks IS NULL OR json_valid(blocks)),
    content TEXT NOT NULL
);

CREATE TABLE api_calls (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    conversation_key INTEGER NOT NULL REFERENCES conversations (key) ON DELETE CASCADE,
    file_key INTEGER REFERENCES transcript_files (key) ON DELETE SET NULL,
    position INTEGER NOT NULL,
    message_key INTEGER REFERENCES messages (key) ON DELETE SET NULL,
    is_sidechain INTEGER NOT NULL DEFAULT 0,
    request_id TEXT,
    model TEXT NOT NULL,
    created_at TEXT NOT NULL,
    stop_reason TEXT,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cache_creation_input_tokens INTEGER NOT NULL,
    cache_read_input_tokens INTEGER NOT NULL,
    cache_creation_5m_input_tokens INTEGER NOT NULL,
    cache_creation_1h_input_tokens INTEGER NOT NULL,
    web_search_requests INTEGER NOT NULL,
    is_fast INTEGER NOT NULL DEFAULT 0,
    cost_nanodollars INTEGER,
    usage_quality TEXT NOT NULL CHECK (usage_quality IN ('exact', 'undercounted'))
);

CREATE TABLE tool_uses (
    key INTEGER PRIMARY KEY,
    conversation_key INTEGER NOT NULL REFERENCES conversations (key) ON DELETE CASCADE,
    tool_use_id TEXT NOT NULL,
    message_key INTEGER REFERENCES messages (key) ON DELETE CASCADE,
    result_message_key INTEGER REFERENCES messages (key) ON DELETE SET NULL,
    name TEXT NOT NULL DEFAULT '',
    server TEXT,
    status TEXT NOT NULL
        CHECK (status IN ('success', 'error', 'rejected', 'interrupted', 'running')),
    is_error INTEGER NOT NULL DEFAULT 0,
    error_category TEXT,
    started_at TEXT,
    finished_at TEXT,
    execution_time_ms INTEGER,
    reported_duration_ms INTEGER,
    subagent_id TEXT,
    parameters TEXT CHECK (parameters IS NULL OR json_valid(parameters)),
    result TEXT,
    details BLOB,
    UNIQUE (conversation_key, tool_use_id)
);

CREATE TABLE message_cjk (
    message_key INTEGER PRIMARY KEY REFERENCES messages (key) ON DELETE CASCADE,
    spaced TEXT NOT NULL
);

CREATE TABLE summaries (
    leaf_id TEXT NOT NULL PRIMARY KEY,
    summary TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE conversation_tags (
    tag TEXT NOT NULL,
    conversation_key INTEGER NOT NULL REFERENCES conversations (key) ON DELETE CASCADE,
    PRIMARY KEY (tag, conversation_key)
) WITHOUT ROWID;

CREATE TABLE deleted_conversations (
    id TEXT NOT NULL PRIMARY KEY,
    deleted_at TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE idempotency_keys (
    id TEXT NOT NULL,
    path TEXT NOT NULL,
    body_hash BLOB NOT NULL,
    status INTEGER NOT NULL,
    data TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (id, path)
);

CREATE TABLE totals (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
"""

INDEXES = """
CREATE INDEX conversations_by_update ON conversations (updated_at, key) WHERE deleted_at IS NULL;
CREATE INDEX conversations_by_start ON conversations (created_at, key) WHERE deleted_at IS NULL;
CREATE INDEX conversations_by_title ON conversations (title, key) WHERE deleted_at IS NULL;
CREATE INDEX conversations_by_messages ON conversations (message_count, key)
    WHERE deleted_at IS NULL;
CREATE INDEX conversations_by_tokens ON conversations (total_tokens, key)
    WHERE deleted_at IS NULL;
CREATE INDEX conversations_by_project ON conversations (project_key, updated_at, key)
    WHERE deleted_at IS NULL;
CREATE INDEX conversations_trashed ON conversations (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX conversations_by_parent ON conversations (parent_key) WHERE parent_key IS NOT NULL;
CREATE INDEX conversation_tags_of ON conversation_tags (conversation_key);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
CREATE INDEX messages_in_order ON messages (conversation_key, position);
CREATE INDEX messages_prompts ON messages (conversation_key, parent_id, position)
    WHERE kind IN ('prompt', 'queued_prompt');
CREATE INDEX messages_copies ON messages (conversation_key) WHERE copy_of_key IS NOT NULL;
CREATE INDEX messages_originals ON messages (copy_of_key) WHERE copy_of_key IS NOT NULL;
CREATE INDEX messages_by_file ON messages (file_key, generation);
CREATE INDEX messages_by_call ON messages (api_call_key) WHERE api_call_key IS NOT NULL;
CREATE INDEX api_calls_by_conversation ON api_calls (conversation_key);
CREATE INDEX api_calls_by_model ON api_calls (model, conversation_key);
CREATE INDEX api_calls_by_message ON api_calls (message_key) WHERE message_key IS NOT NULL;
CREATE INDEX tool_uses_by_message ON tool_uses (message_key) WHERE message_key IS NOT NULL;
CREATE INDEX tool_uses_by_result ON tool_uses (result_message_key)
    WHERE result_message_key IS NOT NULL;
CREATE INDEX tool_uses_failed ON tool_uses (conversation_key) WHERE is_error = 1;
CREATE INDEX tool_uses_orphaned ON tool_uses (conversation_key) WHERE message_key IS NULL;
CREATE INDEX tool_uses_running ON tool_uses (conversation_key) WHERE status = 'running';
CREATE INDEX tool_uses_of_subagents ON tool_uses (subagent_id) WHERE subagent_id IS NOT NULL;
CREATE INDEX transcript_files_by_conversation ON transcript_files (conversation_key)
    WHERE conversation_key IS NOT NULL;
"""

# The index reads its text through this view, so nothing is stored twice: what a message says,
# thinks, asks of a tool, or was told by one. json_tree gives the strings of the parameters as
# they are meant, without JSON's escapes, which would glue letters to words ("\nimport").
SEARCH = """
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
    CASE WHEN kind = 'tool_result' THEN content END AS tool_result,
    (SELECT spaced FROM message_cjk WHERE message_key = messages.key) AS cjk
FROM messages WHERE copy_of_key IS NULL;

CREATE VIRTUAL TABLE message_search USING fts5 (
    text, thinking, tool_input, tool_result, cjk,
    content = 'searchable_messages', content_rowid = 'key',
    tokenize = "unicode61 remove_diacritics 2"
);

CREATE VIRTUAL TABLE title_search USING fts5 (
    title, content = 'conversations', content_rowid = 'key',
    tokenize = "unicode61 remove_diacritics 2"
);
"""

# Titles change rarely and in many places, and the number of conversations is asked for with every
# page: here triggers are cheaper than discipline.
TRIGGERS = """
CREATE TRIGGER conversations_inserted AFTER INSERT ON conversations BEGIN
    INSERT INTO title_search (rowid, title) VALUES (new.key, new.title);
    UPDATE totals SET value = value + (new.deleted_at IS NULL) WHERE name = 'conversations';
END;
CREATE TRIGGER conversations_deleted AFTER DELETE ON conversations BEGIN
    INSERT INTO title_search (title_search, rowid, title) VALUES ('delete', old.key, old.title);
    UPDATE totals SET value = value - (old.deleted_at IS NULL) WHERE name = 'conversations';
END;
CREATE TRIGGER conversations_retitled AFTER UPDATE OF title ON conversations
WHEN old.title IS NOT new.title BEGIN
    INSERT INTO title_search (title_search, rowid, title) VALUES ('delete', old.key, old.title);
    INSERT INTO title_search (rowid, title) VALUES (new.key, new.title);
END;
CREATE TRIGGER conversations_trashed AFTER UPDATE OF deleted_at ON conversations
WHEN (old.deleted_at IS NULL) <> (new.deleted_at IS NULL) BEGIN
    UPDATE totals SET value = value + (new.deleted_at IS NULL) - (old.deleted_at IS NULL)
    WHERE name = 'conversations';
END;
"""

TOTALS = (
    "conversations",
    "indexed_message_key",
    "ingest_files",
    "ingest_lines",
    "ingest_bytes",
    "ingest_bad_lines",
    "revision",
)


def up(migrator: Any, db: Any) -> None:
    """Create everything, statement by statement inside the runner's transaction."""
    for script in (TABLES, INDEXES, SEARCH):
        for statement in script.split(";\n"):
            if statement.strip():
                db.execute_sql(statement)
    for trigger in TRIGGERS.split("END;\n"):
        if trigger.strip():
            db.execute_sql(trigger + "END")
    for name in TOTALS:
        db.execute_sql("INSERT INTO totals (name, value) VALUES (?, 0)", (name,))

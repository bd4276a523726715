-- Conversations, their messages as a tree, full-text search, settings.
-- Times are milliseconds since 1970-01-01 UTC; ids are UUID v7, which sort by time.

CREATE TABLE conversation (
    id         TEXT PRIMARY KEY NOT NULL,
    title      TEXT NOT NULL,
    -- The last message of the branch that is shown.
    leaf_id    TEXT REFERENCES message (id) DEFERRABLE INITIALLY DEFERRED,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    -- Set by "delete", cleared by "undo"; such rows are removed for good later.
    deleted_at INTEGER
) STRICT;

CREATE INDEX conversation_by_time ON conversation (deleted_at, updated_at DESC);

CREATE TABLE message (
    -- Named, because VACUUM renumbers nameless rows and the search index refers to this number.
    number          INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE,
    conversation_id TEXT NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    -- NULL begins the conversation. Siblings are versions of one message.
    parent_id       TEXT REFERENCES message (id) ON DELETE CASCADE,
    role            TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    text            TEXT NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('complete', 'streaming', 'stopped', 'interrupted', 'failed')),
    -- The process that is writing a streaming message.
    writer          TEXT,
    -- JSON: why it failed; what it cost.
    error           TEXT,
    receipt         TEXT,
    created_at      INTEGER NOT NULL
) STRICT;

CREATE INDEX message_by_conversation ON message (conversation_id, parent_id);
CREATE INDEX message_by_parent ON message (parent_id);
CREATE INDEX message_streaming ON message (writer) WHERE status = 'streaming';

CREATE VIRTUAL TABLE message_text USING fts5 (text, content = 'message', content_rowid = 'number', tokenize = 'unicode61 remove_diacritics 2');

-- What a person deletes leaves the index at once, not with some later merge.
INSERT INTO message_text (message_text, rank) VALUES ('secure-delete', 1);

-- An answer enters the index when it is over, not with each piece.
CREATE TRIGGER message_indexed_on_insert AFTER INSERT ON message WHEN new.status <> 'streaming' BEGIN
    INSERT INTO message_text (rowid, text) VALUES (new.number, new.text);
END;
CREATE TRIGGER message_unindexed_on_update BEFORE UPDATE OF text, status ON message WHEN old.status <> 'streaming' BEGIN
    INSERT INTO message_text (message_text, rowid, text) VALUES ('delete', old.number, old.text);
END;
CREATE TRIGGER message_indexed_on_update AFTER UPDATE OF text, status ON message WHEN new.status <> 'streaming' BEGIN
    INSERT INTO message_text (rowid, text) VALUES (new.number, new.text);
END;
CREATE TRIGGER message_unindexed_on_delete BEFORE DELETE ON message WHEN old.status <> 'streaming' BEGIN
    INSERT INTO message_text (message_text, rowid, text) VALUES ('delete', old.number, old.text);
END;

CREATE TABLE setting (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT;

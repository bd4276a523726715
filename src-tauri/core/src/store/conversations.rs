//! Conversations: lists, titles, deletion with undo, the branch that is shown.

use serde::Serialize;
use specta::Type;
use sqlx::FromRow;

use super::{Message, Store, new_id, now_ms};
use crate::{Error, Result};

/// How much of a message a list shows, in characters.
const SNIPPET_CHARS: usize = 120;

/// A line of the conversation list.
#[derive(Clone, Debug, Serialize, Type)]
pub struct ConversationSummary {
    /// Id of the conversation.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Last change, in milliseconds since 1970.
    pub updated_at_ms: f64,
    /// The end of what was said, or the place that a search found.
    pub snippet: String,
    /// Whether an answer is being written.
    pub streaming: bool,
}

/// A conversation as it is shown: one branch of its tree.
#[derive(Clone, Debug, Serialize, Type)]
pub struct Conversation {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// The shown branch, oldest first.
    pub messages: Vec<Message>,
}

#[derive(FromRow)]
struct SummaryRow {
    id: String,
    title: String,
    updated_at: i64,
    snippet: String,
    streaming: bool,
}

impl From<SummaryRow> for ConversationSummary {
    fn from(row: SummaryRow) -> Self {
        let words = row.snippet.split_whitespace().collect::<Vec<_>>().join(" ");
        Self {
            id: row.id,
            title: row.title,
            updated_at_ms: row.updated_at as f64,
            snippet: words.chars().take(SNIPPET_CHARS).collect(),
            streaming: row.streaming,
        }
    }
}

impl Store {
    /// All conversations that are not deleted, the latest first.
    pub async fn conversations(&self) -> Result<Vec<ConversationSummary>> {
        let rows: Vec<SummaryRow> = sqlx::query_as(
            "SELECT c.id, c.title, c.updated_at,
                    coalesce(substr(m.text, 1, 400), '') AS snippet,
                    EXISTS (SELECT 1 FROM message s WHERE s.conversation_id = c.id AND s.status = 'streaming') AS streaming
             FROM conversation c LEFT JOIN message m ON m.id = c.leaf_id
             WHERE c.deleted_at IS NULL
             ORDER BY c.updated_at DESC",
        )
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Conversations whose title or any message contains every word of `query` (the last one as a prefix), the latest first.
    pub async fn search(&self, query: &str) -> Result<Vec<ConversationSummary>> {
        let words: Vec<&str> = query.split_whitespace().collect();
        if words.is_empty() {
            return self.conversations().await;
        }
        // Quoted, a word is only ever a word: FTS5's operators cannot be reached from the search field.
        let matching =
            words.iter().map(|word| format!("\"{}\"", word.replace('"', "\"\""))).collect::<Vec<_>>().join(" ") + "*";
        let title = format!("%{}%", query.trim().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"));
        let rows: Vec<SummaryRow> = sqlx::query_as(
            // Materialized, because snippet() works only where nothing is grouped.
            "WITH found AS MATERIALIZED (
                 SELECT rowid AS number, rank, snippet(message_text, 0, '', '', ' … ', 16) AS snippet
                 FROM message_text WHERE message_text MATCH ?1),
             hit AS (
                 SELECT m.conversation_id AS id, min(found.rank) AS best, found.snippet
                 FROM found JOIN message m ON m.number = found.number GROUP BY m.conversation_id)
             SELECT c.id, c.title, c.updated_at, coalesce(hit.snippet, '') AS snippet,
                    EXISTS (SELECT 1 FROM message s WHERE s.conversation_id = c.id AND s.status = 'streaming') AS streaming
             FROM conversation c LEFT JOIN hit ON hit.id = c.id
             WHERE c.deleted_at IS NULL AND (hit.id IS NOT NULL OR c.title LIKE ?2 ESCAPE '\\')
             ORDER BY c.updated_at DESC LIMIT 200",
        )
        .bind(matching)
        .bind(title)
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// A conversation with its shown branch.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it does not exist or is deleted.
    pub async fn conversation(&self, id: &str) -> Result<Conversation> {
        let row: Option<(String, Option<String>)> =
            sqlx::query_as("SELECT title, leaf_id FROM conversation WHERE id = ? AND deleted_at IS NULL")
                .bind(id)
                .fetch_optional(&self.readers)
                .await?;
        let (title, leaf) = row.ok_or(Error::NotFound { what: "conversation" })?;
        let messages = match leaf {
            Some(leaf) => self.branch(&leaf).await?,
            None => Vec::new(),
        };
        Ok(Conversation { id: id.into(), title, messages })
    }

    /// Makes an empty conversation.
    pub(super) async fn new_conversation(transaction: &mut sqlx::SqliteConnection, title: &str) -> Result<String> {
        let id = new_id();
        let now = now_ms();
        sqlx::query("INSERT INTO conversation (id, title, created_at, updated_at) VALUES (?, ?, ?, ?)")
            .bind(&id)
            .bind(title)
            .bind(now)
            .bind(now)
            .execute(transaction)
            .await?;
        Ok(id)
    }

    /// Gives a conversation another title.
    pub async fn rename(&self, id: &str, title: &str) -> Result<()> {
        let title = title.trim();
        if title.is_empty() {
            return Err(Error::InvalidInput { what: "A title needs at least one character.".into() });
        }
        let done = sqlx::query("UPDATE conversation SET title = ? WHERE id = ? AND deleted_at IS NULL")
            .bind(title.chars().take(200).collect::<String>())
            .bind(id)
            .execute(&self.writer)
            .await?;
        found(done.rows_affected())
    }

    /// Hides a conversation; [`Store::restore`] brings it back until [`Store::purge`].
    pub async fn delete(&self, id: &str) -> Result<()> {
        let done = sqlx::query("UPDATE conversation SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL")
            .bind(now_ms())
            .bind(id)
            .execute(&self.writer)
            .await?;
        found(done.rows_affected())
    }

    /// Brings a deleted conversation back.
    pub async fn restore(&self, id: &str) -> Result<()> {
        let done = sqlx::query("UPDATE conversation SET deleted_at = NULL WHERE id = ?")
            .bind(id)
            .execute(&self.writer)
            .await?;
        found(done.rows_affected())
    }

    /// Removes for good what was deleted more than `age_ms` ago. Returns how many conversations.
    pub async fn purge(&self, age_ms: i64) -> Result<u64> {
        let done = sqlx::query("DELETE FROM conversation WHERE deleted_at <= ?")
            .bind(now_ms() - age_ms)
            .execute(&self.writer)
            .await?;
        Ok(done.rows_affected())
    }

    /// Shows the branch that leads through `message` to its latest descendant.
    pub async fn select_branch(&self, message: &str) -> Result<Conversation> {
        let row: Option<(String, String)> = sqlx::query_as(
            "WITH RECURSIVE down (id, conversation_id) AS (
                 SELECT id, conversation_id FROM message WHERE id = ?1
                 UNION ALL
                 SELECT m.id, m.conversation_id FROM down JOIN message m ON m.id = (
                     SELECT id FROM message WHERE parent_id = down.id ORDER BY number DESC LIMIT 1))
             SELECT down.conversation_id, down.id FROM down JOIN message m ON m.id = down.id
             WHERE NOT EXISTS (SELECT 1 FROM message child WHERE child.parent_id = down.id)",
        )
        .bind(message)
        .fetch_optional(&self.readers)
        .await?;
        let (conversation, leaf) = row.ok_or(Error::NotFound { what: "message" })?;
        sqlx::query("UPDATE conversation SET leaf_id = ? WHERE id = ?")
            .bind(&leaf)
            .bind(&conversation)
            .execute(&self.writer)
            .await?;
        self.conversation(&conversation).await
    }
}

fn found(rows: u64) -> Result<()> {
    if rows == 0 { Err(Error::NotFound { what: "conversation" }) } else { Ok(()) }
}

//! Messages: a tree. Nothing that was said is overwritten; an edit or another answer is a sibling.

use serde::{Deserialize, Serialize};
use specta::Type;
use sqlx::{FromRow, Row, SqliteConnection, sqlite::SqliteRow};

use super::{Store, new_id, now_ms};
use crate::{Error, ErrorReport, Receipt, Result};

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Type, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(rename_all = "snake_case")]
pub enum Speaker {
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Type, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(rename_all = "snake_case")]
pub enum MessageStatus {
    /// Whole.
    Complete,
    /// Being written.
    Streaming,
    /// Ended by the person.
    Stopped,
    /// Ended by a crash; what was written is there.
    Interrupted,
    /// Not produced; the error says why.
    Failed,
}

/// One message.
#[derive(Clone, Debug, Serialize, Type)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// The conversation it belongs to.
    pub conversation_id: String,
    /// The message that it answers; absent for the first.
    pub parent_id: Option<String>,
    /// Who wrote it.
    pub role: Speaker,
    /// What it says, as Markdown.
    pub text: String,
    /// Where it stands.
    pub status: MessageStatus,
    /// Why it failed.
    pub error: Option<ErrorReport>,
    /// What it cost.
    pub receipt: Option<Receipt>,
    /// When it was begun, in milliseconds since 1970.
    pub created_at_ms: f64,
    /// Ids of all versions of this message in the order of their making, this one among them.
    pub siblings: Vec<String>,
}

impl FromRow<'_, SqliteRow> for Message {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let json = |column| row.try_get::<Option<String>, _>(column);
        Ok(Self {
            id: row.try_get("id")?,
            conversation_id: row.try_get("conversation_id")?,
            parent_id: row.try_get("parent_id")?,
            role: row.try_get("role")?,
            text: row.try_get("text")?,
            status: row.try_get("status")?,
            error: json("error")?.and_then(|json| serde_json::from_str(&json).ok()),
            receipt: json("receipt")?.and_then(|json| serde_json::from_str(&json).ok()),
            created_at_ms: row.try_get::<i64, _>("created_at")? as f64,
            siblings: json("siblings")?.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default(),
        })
    }
}

const COLUMNS: &str =
    "m.id, m.conversation_id, m.parent_id, m.role, m.text, m.status, m.error, m.receipt, m.created_at,
    (SELECT json_group_array(s.id) FROM (SELECT id FROM message
        WHERE conversation_id = m.conversation_id AND parent_id IS m.parent_id ORDER BY number) s) AS siblings";

/// A message and the answer that is about to be written below it.
#[derive(Debug)]
pub(crate) struct Turned {
    pub(crate) conversation_id: String,
    pub(crate) user_message: Option<String>,
    pub(crate) answer: String,
}

/// How an answer ended.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) text: String,
    pub(crate) status: MessageStatus,
    pub(crate) error: Option<ErrorReport>,
    pub(crate) receipt: Option<Receipt>,
}

impl Store {
    /// The messages from the first one to `leaf`.
    pub(crate) async fn branch(&self, leaf: &str) -> Result<Vec<Message>> {
        let sql = format!(
            "WITH RECURSIVE up (id, parent_id, depth) AS (
                 SELECT id, parent_id, 0 FROM message WHERE id = ?
                 UNION ALL
                 SELECT m.id, m.parent_id, up.depth + 1 FROM up JOIN message m ON m.id = up.parent_id)
             SELECT {COLUMNS} FROM up JOIN message m ON m.id = up.id ORDER BY up.depth DESC"
        );
        Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(leaf).fetch_all(&self.readers).await?)
    }

    /// One message.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn message(&self, id: &str) -> Result<Message> {
        let sql = format!("SELECT {COLUMNS} FROM message m WHERE m.id = ?");
        let message = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(id).fetch_optional(&self.readers).await?;
        message.ok_or(Error::NotFound { what: "message" })
    }

    /// Stores what the person said and the empty answer below it, in one transaction.
    ///
    /// Without `conversation` a new one begins, titled `title`. The message goes below `parent`, or below the shown
    /// branch's end when that is absent, or beside the message `edit_of`. `writer` is the process that will write the answer.
    pub(crate) async fn begin_turn(
        &self,
        conversation: Option<&str>,
        parent: Option<&str>,
        edit_of: Option<&str>,
        text: &str,
        title: &str,
        writer: &str,
    ) -> Result<Turned> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let (conversation_id, parent_id) = match conversation {
            None => (Self::new_conversation(&mut transaction, title).await?, None),
            Some(id) => {
                let leaf: Option<(Option<String>,)> =
                    sqlx::query_as("SELECT leaf_id FROM conversation WHERE id = ? AND deleted_at IS NULL")
                        .bind(id)
                        .fetch_optional(&mut *transaction)
                        .await?;
                let (leaf,) = leaf.ok_or(Error::NotFound { what: "conversation" })?;
                let parent = match (edit_of, parent) {
                    (Some(edited), _) => parent_of(&mut transaction, id, edited).await?,
                    (None, Some(parent)) => {
                        parent_of(&mut transaction, id, parent).await?;
                        Some(parent.to_owned())
                    }
                    (None, None) => leaf,
                };
                (id.to_owned(), parent)
            }
        };
        let user = insert(&mut transaction, &conversation_id, parent_id.as_deref(), Speaker::User, text, None).await?;
        let answer =
            insert(&mut transaction, &conversation_id, Some(&user), Speaker::Assistant, "", Some(writer)).await?;
        show(&mut transaction, &conversation_id, &answer).await?;
        transaction.commit().await?;
        Ok(Turned { conversation_id, user_message: Some(user), answer })
    }

    /// Begins another answer beside `answer`.
    pub(crate) async fn begin_again(&self, answer: &str, writer: &str) -> Result<Turned> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let row: Option<(String, Option<String>)> =
            sqlx::query_as("SELECT conversation_id, parent_id FROM message WHERE id = ? AND role = 'assistant'")
                .bind(answer)
                .fetch_optional(&mut *transaction)
                .await?;
        let (conversation_id, parent) = row.ok_or(Error::NotFound { what: "message" })?;
        let answer =
            insert(&mut transaction, &conversation_id, parent.as_deref(), Speaker::Assistant, "", Some(writer)).await?;
        show(&mut transaction, &conversation_id, &answer).await?;
        transaction.commit().await?;
        Ok(Turned { conversation_id, user_message: None, answer })
    }

    /// Opens a stopped, interrupted, failed or length-limited answer for writing again. Its text stays.
    pub(crate) async fn begin_continuing(&self, answer: &str, writer: &str) -> Result<Turned> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let row: Option<(String,)> = sqlx::query_as(
            "UPDATE message SET status = 'streaming', writer = ?, error = NULL
             WHERE id = ? AND role = 'assistant' AND status <> 'streaming' RETURNING conversation_id",
        )
        .bind(writer)
        .bind(answer)
        .fetch_optional(&mut *transaction)
        .await?;
        let (conversation_id,) = row.ok_or(Error::NotFound { what: "message" })?;
        show(&mut transaction, &conversation_id, answer).await?;
        transaction.commit().await?;
        Ok(Turned { conversation_id, user_message: None, answer: answer.into() })
    }

    /// Saves what an answer says so far.
    pub(crate) async fn save_text(&self, id: &str, text: &str) -> Result<()> {
        sqlx::query("UPDATE message SET text = ? WHERE id = ? AND status = 'streaming'")
            .bind(text)
            .bind(id)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Saves how an answer ended.
    pub(crate) async fn finish(&self, id: &str, outcome: &Outcome) -> Result<()> {
        sqlx::query("UPDATE message SET text = ?, status = ?, error = ?, receipt = ?, writer = NULL WHERE id = ?")
            .bind(&outcome.text)
            .bind(outcome.status)
            .bind(outcome.error.as_ref().and_then(|error| serde_json::to_string(error).ok()))
            .bind(outcome.receipt.as_ref().and_then(|receipt| serde_json::to_string(receipt).ok()))
            .bind(id)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// What the latest answers cost, the latest first.
    pub(crate) async fn latest_receipts(&self) -> Result<Vec<Receipt>> {
        let stored: Vec<String> =
            sqlx::query_scalar("SELECT receipt FROM message WHERE receipt IS NOT NULL ORDER BY number DESC LIMIT 500")
                .fetch_all(&self.readers)
                .await?;
        // One of another version tells nothing and harms nothing.
        Ok(stored.iter().filter_map(|json| serde_json::from_str(json).ok()).collect())
    }

    /// The processes that are noted as writing an answer.
    pub(crate) async fn writers(&self) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar("SELECT DISTINCT coalesce(writer, '') FROM message WHERE status = 'streaming'")
            .fetch_all(&self.readers)
            .await?)
    }

    /// Marks the answers that the dead process `writer` left behind. Returns how many.
    pub(crate) async fn interrupt(&self, writer: &str) -> Result<u64> {
        let done = sqlx::query(
            "UPDATE message SET status = 'interrupted', writer = NULL WHERE status = 'streaming' AND coalesce(writer, '') = ?",
        )
        .bind(writer)
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected())
    }
}

async fn parent_of(transaction: &mut SqliteConnection, conversation: &str, message: &str) -> Result<Option<String>> {
    let row: Option<(Option<String>,)> =
        sqlx::query_as("SELECT parent_id FROM message WHERE id = ? AND conversation_id = ?")
            .bind(message)
            .bind(conversation)
            .fetch_optional(transaction)
            .await?;
    Ok(row.ok_or(Error::NotFound { what: "message" })?.0)
}

async fn insert(
    transaction: &mut SqliteConnection,
    conversation: &str,
    parent: Option<&str>,
    role: Speaker,
    text: &str,
    writer: Option<&str>,
) -> Result<String> {
    let id = new_id();
    let status = if writer.is_some() { MessageStatus::Streaming } else { MessageStatus::Complete };
    sqlx::query(
        "INSERT INTO message (id, conversation_id, parent_id, role, text, status, writer, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&id)
    .bind(conversation)
    .bind(parent)
    .bind(role)
    .bind(text)
    .bind(status)
    .bind(writer)
    .bind(now_ms())
    .execute(transaction)
    .await?;
    Ok(id)
}

async fn show(transaction: &mut SqliteConnection, conversation: &str, leaf: &str) -> Result<()> {
    sqlx::query("UPDATE conversation SET leaf_id = ?, updated_at = ? WHERE id = ?")
        .bind(leaf)
        .bind(now_ms())
        .bind(conversation)
        .execute(transaction)
        .await?;
    Ok(())
}

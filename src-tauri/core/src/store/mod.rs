//! SQLite: the only place that contains SQL.
//!
//! One connection writes, several read. History is synced to the disk before a call returns
//! (`synchronous=FULL`), so that an acknowledged message survives a power cut.

mod bench;
mod conversations;
mod messages;
mod settings;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sqlx::{
    ConnectOptions, Connection, SqliteConnection, SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

pub(crate) use bench::{CellSpeed, KeptRun};
pub use conversations::{Conversation, ConversationSummary};
pub use messages::{Message, MessageStatus, Speaker};
pub(crate) use messages::{Outcome, Turned};

use crate::{Error, Home, Result, error::file_error};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Readers beside the one writer: the window asks for a list, a conversation and a search at once at most.
const READERS: u32 = 4;

/// The database.
#[derive(Clone, Debug)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
    /// Pages that the file may grow to, for tests; 0 for as many as there is room for.
    most_pages: Arc<AtomicU32>,
}

impl Store {
    /// Opens the database, making it when there is none, after a backup when it must be migrated.
    ///
    /// # Errors
    /// [`Error::StoreNewer`], [`Error::StoreReadOnly`], [`Error::StoreFull`] or [`Error::StoreFailed`];
    /// the file is unchanged then.
    pub async fn open(home: &Home) -> Result<Self> {
        home.create()?;
        let path = home.database();
        check_writable(home.folder(), &path)?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5))
            .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_millis(500));
        let writing = options
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // What a person deletes is overwritten, not only unlinked.
            .pragma("secure_delete", "ON");
        let writer = SqlitePoolOptions::new().max_connections(1).after_release(|connection, _| {
            // SQLite ends a transaction by itself when the disk is full; sqlx then fails to end it and would nest the next
            // one in what is not there. The ping waits for that attempt; such a connection is closed.
            Box::pin(async move {
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        });
        let most_pages = Arc::new(AtomicU32::new(0));
        let limit = most_pages.clone();
        let writer = writer.after_connect(move |connection, _| {
            let pages = limit.load(Ordering::Relaxed);
            Box::pin(async move { if pages == 0 { Ok(()) } else { limit_pages(connection, pages).await } })
        });
        let writer = writer.connect_with(writing).await?;
        migrate(&writer, home).await?;
        let readers = SqlitePoolOptions::new().max_connections(READERS).connect_lazy_with(options.read_only(true));
        Ok(Self { writer, readers, most_pages })
    }

    /// Closes the connections; the write-ahead log is folded into the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Lets the file grow to at most `pages` pages, as a full disk would.
    #[doc(hidden)]
    pub async fn limit_pages(&self, pages: u32) -> Result<()> {
        self.most_pages.store(pages, Ordering::Relaxed);
        Ok(limit_pages(&mut *self.writer.acquire().await?, pages).await?)
    }
}

async fn limit_pages(connection: &mut SqliteConnection, pages: u32) -> sqlx::Result<()> {
    let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
    sqlx::query(limit).execute(connection).await.map(drop)
}

/// SQLite opens a file that it may not write without a word and fails at the first message: say it at the start.
fn check_writable(folder: &Path, database: &Path) -> Result<()> {
    if !database.exists() {
        return Ok(());
    }
    let readonly = |error| file_error(folder, &error);
    std::fs::OpenOptions::new().append(true).open(database).map_err(readonly)?;
    let probe = folder.join(format!(".write-test-{}", std::process::id()));
    std::fs::write(&probe, b"").map_err(readonly)?;
    std::fs::remove_file(&probe).map_err(readonly)
}

async fn migrate(writer: &SqlitePool, home: &Home) -> Result<()> {
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    let table: Option<String> = sqlx::query_scalar("SELECT name FROM sqlite_master WHERE name = '_sqlx_migrations'")
        .fetch_optional(writer)
        .await?;
    if table.is_some() {
        let found: i64 =
            sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations").fetch_one(writer).await?;
        if found > known {
            return Err(Error::StoreNewer { folder: home.folder().into(), found, known });
        }
        if found < known {
            back_up(writer, home, found).await?;
        }
    }
    MIGRATIONS.run(writer).await.map_err(|error| match error {
        sqlx::migrate::MigrateError::Execute(error) | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => {
            error.into()
        }
        other => Error::StoreFailed { reason: other.to_string() },
    })
}

async fn back_up(writer: &SqlitePool, home: &Home, version: i64) -> Result<()> {
    let folder = home.backups();
    std::fs::create_dir_all(&folder).map_err(|error| file_error(home.folder(), &error))?;
    let copy = folder.join(format!("tektra-format-{version}-{}.db", now_ms()));
    sqlx::query("VACUUM INTO ?").bind(copy.display().to_string()).execute(writer).await?;
    Ok(())
}

/// A new id; ids sort by the time of their making.
pub(crate) fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64)
}

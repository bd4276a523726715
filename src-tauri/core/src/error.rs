//! Errors that a person reads.

use std::{io, path::PathBuf};

use serde::{Deserialize, Serialize};
use specta::Type;

/// Result of the core.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong. `Display` says what happened and what is safe; [`Error::hint`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The models folder holds no model.
    #[error("There is no model in {}.", folder.display())]
    NoModel {
        /// The models folder.
        folder: PathBuf,
    },
    /// A model was named that does not exist.
    #[error("There is no model named \"{name}\".")]
    ModelNotFound {
        /// The name or path that was asked for.
        name: String,
        /// Names of the models that exist.
        known: Vec<String>,
    },
    /// The file exists but cannot be run.
    #[error("The model \"{name}\" cannot be used: {reason}")]
    ModelUnusable {
        /// The model's name.
        name: String,
        /// A sentence.
        reason: String,
        /// What to do about it.
        hint: String,
    },
    /// There is not enough memory for the model.
    #[error("The model \"{name}\" needs {need_mib} MiB of memory; {free_mib} MiB are free. Nothing was loaded.")]
    DoesNotFit {
        /// The model's name.
        name: String,
        /// What it needs with a short conversation and a reserve for the rest of the machine, in MiB.
        need_mib: u32,
        /// What is free, in MiB.
        free_mib: u32,
    },
    /// The conversation is longer than the model can hold.
    #[error(
        "This conversation is {prompt_tokens} tokens long; the model can hold {context_length}. Nothing is lost: it stays here, complete."
    )]
    ContextOverflow {
        /// Tokens of the conversation.
        prompt_tokens: u32,
        /// Tokens that the model can hold.
        context_length: u32,
    },
    /// A file could not be fetched.
    #[error("{reason}")]
    DownloadFailed {
        /// What happened and what to do.
        reason: String,
    },
    /// Nothing was asked.
    #[error("The message is empty.")]
    EmptyPrompt,
    /// The engine's executable is not where it should be.
    #[error("The engine is missing: {} does not exist.", path.display())]
    EngineMissing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The engine refused or could not do something.
    #[error("The engine could not do this: {reason}.")]
    EngineFailed {
        /// The reason in the engine's words.
        reason: String,
    },
    /// The engine's process ended by itself.
    #[error("The engine ended unexpectedly ({how}). What was written so far is safe.")]
    EngineCrashed {
        /// Exit status or signal, in words.
        how: String,
    },
    /// The model's file could be read when it was loaded, and now it cannot.
    #[error("The model's file {} cannot be read any more ({reason}). What was written so far is safe.", path.display())]
    ModelUnreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        reason: String,
    },
    /// The GPU's memory is full, though the plan had room: another program took it meanwhile, or several conversations
    /// grew long.
    #[error("The GPU has no memory left for this {what}. What was written so far is safe.")]
    GpuMemoryFull {
        /// "model" or "conversation".
        what: &'static str,
    },
    /// The machine cannot be looked at.
    #[error("The sensors cannot be read: {why}. Answers do not depend on them.")]
    SensorsFailed {
        /// The reason.
        why: String,
    },
    /// The database was written by a newer Tektra.
    #[error(
        "The conversations in {} were written by a newer Tektra (format {found}, this one knows {known}). Nothing was changed.", folder.display()
    )]
    StoreNewer {
        /// The data folder.
        folder: PathBuf,
        /// Migration found.
        found: i64,
        /// Newest migration known.
        known: i64,
    },
    /// The data folder cannot be written.
    #[error("The data folder {} cannot be written: {reason}.", folder.display())]
    StoreReadOnly {
        /// The data folder.
        folder: PathBuf,
        /// The operating system's reason.
        reason: String,
    },
    /// The disk is full.
    #[error("The disk is full, so this could not be saved. What was saved before is safe.")]
    StoreFull,
    /// The database failed otherwise.
    #[error("The conversations could not be read or saved: {reason}.")]
    StoreFailed {
        /// SQLite's reason.
        reason: String,
    },
    /// A conversation or message does not exist (any more).
    #[error("This {what} does not exist any more.")]
    NotFound {
        /// "conversation" or "message".
        what: &'static str,
    },
    /// A value that cannot be used.
    #[error("{what}")]
    InvalidInput {
        /// A sentence.
        what: String,
    },
    /// The work was ended from outside before it was done.
    #[error("The answer was interrupted. What was written so far is safe.")]
    Interrupted,
}

/// What consumers branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ErrorCode {
    NoModel,
    ModelNotFound,
    ModelUnusable,
    DoesNotFit,
    DownloadFailed,
    ContextOverflow,
    EmptyPrompt,
    EngineMissing,
    EngineFailed,
    EngineCrashed,
    StoreNewer,
    StoreReadOnly,
    StoreFull,
    StoreFailed,
    NotFound,
    InvalidInput,
    Interrupted,
}

/// An error as it goes over a wire or into the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct ErrorReport {
    /// What kind.
    pub code: ErrorCode,
    /// What happened and what is safe.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl Error {
    /// The kind of error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoModel { .. } => ErrorCode::NoModel,
            Self::ModelNotFound { .. } => ErrorCode::ModelNotFound,
            Self::ModelUnusable { .. } => ErrorCode::ModelUnusable,
            Self::DoesNotFit { .. } => ErrorCode::DoesNotFit,
            Self::DownloadFailed { .. } => ErrorCode::DownloadFailed,
            Self::ContextOverflow { .. } => ErrorCode::ContextOverflow,
            Self::EmptyPrompt => ErrorCode::EmptyPrompt,
            Self::EngineMissing { .. } => ErrorCode::EngineMissing,
            Self::EngineFailed { .. } => ErrorCode::EngineFailed,
            // Both end an answer early, and the engine is started anew.
            Self::EngineCrashed { .. } | Self::ModelUnreadable { .. } => ErrorCode::EngineCrashed,
            Self::StoreNewer { .. } => ErrorCode::StoreNewer,
            Self::StoreReadOnly { .. } => ErrorCode::StoreReadOnly,
            Self::StoreFull => ErrorCode::StoreFull,
            Self::StoreFailed { .. } => ErrorCode::StoreFailed,
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::InvalidInput { .. } => ErrorCode::InvalidInput,
            Self::SensorsFailed { .. } => ErrorCode::EngineFailed,
            Self::GpuMemoryFull { .. } => ErrorCode::DoesNotFit,
            Self::Interrupted => ErrorCode::Interrupted,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoModel { .. } => {
                "Put a GGUF file into that folder, or run `make setup` in Tektra's source folder to fetch the starter model.".into()
            }
            Self::ModelNotFound { known, .. } if known.is_empty() => {
                "Put a GGUF file into the models folder, or give the path of one.".into()
            }
            Self::ModelNotFound { known, .. } => format!("Known models: {}. A path of a GGUF file works too.", known.join(", ")),
            Self::ModelUnusable { hint, .. } => hint.clone(),
            Self::DoesNotFit { .. } => {
                "Close other programs, or choose a smaller model or one with fewer bits (Q4_K_M instead of Q8_0).".into()
            }
            Self::DownloadFailed { .. } => "Start the download again: it continues where it ended.".into(),
            Self::ContextOverflow { .. } => "Start a new chat, or shorten the message.".into(),
            Self::EmptyPrompt => "Write something first.".into(),
            Self::EngineMissing { .. } => {
                "Build it with `make build`, or set TEKTRA_ENGINE to the path of tektra-engine.".into()
            }
            Self::EngineFailed { .. } => "Try again. If it fails again, the log in the data folder has the details.".into(),
            Self::EngineCrashed { .. } => "Try again: the engine is started anew.".into(),
            Self::ModelUnreadable { .. } => {
                "Connect the drive that it lies on, or download the model again; then continue.".into()
            }
            Self::GpuMemoryFull { .. } => {
                "Try again: where Tektra places the model by itself, fewer layers lie on the GPU then. Or close other programs that use the GPU, or choose fewer layers: Models, Placement.".into()
            }
            Self::SensorsFailed { .. } => "Try again. If it fails again, start Tektra anew.".into(),
            Self::StoreNewer { .. } => "Use the newer Tektra, or set TEKTRA_HOME to another folder.".into(),
            Self::StoreReadOnly { .. } => "Make the folder writable, or set TEKTRA_HOME to another one.".into(),
            Self::StoreFull => "Free some space. Tektra saves what is on the screen as soon as it can.".into(),
            Self::StoreFailed { .. } => "Close other programs that use the file. Copies are in the folder \"backups\" beside it.".into(),
            Self::NotFound { .. } => "It was deleted, here or in another window.".into(),
            Self::InvalidInput { .. } => "Change it and try again.".into(),
            Self::Interrupted => "Continue it, or ask again.".into(),
        }
    }

    /// The error as it goes over a wire.
    pub fn report(&self) -> ErrorReport {
        ErrorReport { code: self.code(), message: self.to_string(), hint: self.hint() }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::sqlite::SqliteError;
        // Primary result codes of https://sqlite.org/rescode.html: SQLITE_READONLY 8, SQLITE_FULL 13, SQLITE_CANTOPEN 14.
        let code = error
            .as_database_error()
            .and_then(|error| error.try_downcast_ref::<SqliteError>())
            .and_then(|error| sqlx::error::DatabaseError::code(error)?.parse::<i32>().ok());
        match code.map(|code| code & 0xff) {
            Some(13) => Self::StoreFull,
            _ => Self::StoreFailed { reason: error.to_string() },
        }
    }
}

/// Tells a full disk from the other reasons why a file cannot be written.
pub(crate) fn file_error(folder: &std::path::Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::StoreFull,
        _ => Error::StoreReadOnly { folder: folder.into(), reason: error.to_string() },
    }
}

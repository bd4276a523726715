//! How a command ended.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use serde::Serialize;
use tektra_core::{Error, ErrorCode};

/// A command's end; each kind has its exit code.
pub(crate) enum Outcome {
    /// What was asked is done.
    Done,
    /// Ctrl+C.
    Interrupted,
    /// The reader of a pipe has gone: no failure of ours.
    NobodyListens,
    Failed(Error),
}

impl From<Error> for Outcome {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Outcome {
    /// Says what went wrong, if anything, and gives the exit code.
    pub(crate) fn exit(self) -> ExitCode {
        match self {
            Self::Done | Self::NobodyListens => ExitCode::SUCCESS,
            Self::Interrupted => ExitCode::from(130),
            Self::Failed(error) => {
                complain(&error);
                ExitCode::from(exit_code(error.code()))
            }
        }
    }
}

/// An error as a person reads it.
pub(crate) fn complain(error: &Error) {
    eprintln!("{error}\n{}", error.hint());
}

/// The exit code of an error.
pub(crate) fn exit_code(code: ErrorCode) -> u8 {
    match code {
        ErrorCode::EmptyPrompt | ErrorCode::InvalidInput | ErrorCode::ContextOverflow | ErrorCode::NotFound => 2,
        ErrorCode::NoModel | ErrorCode::ModelNotFound | ErrorCode::ModelUnusable | ErrorCode::DoesNotFit => 3,
        ErrorCode::EngineMissing | ErrorCode::EngineFailed | ErrorCode::EngineCrashed => 4,
        ErrorCode::Interrupted => 130,
        ErrorCode::StoreNewer | ErrorCode::StoreReadOnly | ErrorCode::StoreFull | ErrorCode::StoreFailed => 1,
        ErrorCode::DownloadFailed => 5,
    }
}

/// Writes to standard output at once; `false` when nobody reads it any more.
pub(crate) fn say(text: &str) -> bool {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// Prints one JSON value.
pub(crate) fn say_json(value: &impl Serialize) -> Outcome {
    match serde_json::to_string_pretty(value) {
        Ok(json) if say(&format!("{json}\n")) => Outcome::Done,
        Ok(_) => Outcome::NobodyListens,
        Err(error) => Error::InvalidInput { what: format!("The result cannot be written as JSON: {error}.") }.into(),
    }
}

/// Text from bytes of a pipe. What is not UTF-8 is replaced, with a word about it: the rest is not lost.
pub(crate) fn readable(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| {
        eprintln!("The input is not valid UTF-8; what could not be read is replaced by \u{fffd}.");
        String::from_utf8_lossy(error.as_bytes()).into_owned()
    })
}

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
    /// Standard output takes no more: a full disk, for example.
    CannotWrite(io::Error),
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
            Self::CannotWrite(error) => {
                eprintln!("Standard output cannot be written: {error}. What was written is incomplete.");
                eprintln!("Free some space or write elsewhere, then run it again.");
                ExitCode::FAILURE
            }
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

/// Writes to standard output at once. All but [`Outcome::Done`] means that nothing more can be written.
pub(crate) fn say(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Outcome::Done,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Outcome::NobodyListens,
        Err(error) => Outcome::CannotWrite(error),
    }
}

/// Prints one JSON value.
pub(crate) fn say_json(value: &impl Serialize) -> Outcome {
    match serde_json::to_string_pretty(value) {
        Ok(json) => say(&format!("{json}\n")),
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

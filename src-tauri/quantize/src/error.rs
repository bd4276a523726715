use std::{io, path::PathBuf};

use crate::EncodeError;

/// Why a file was not written. Whatever it is, nothing of it is left on the disk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder can't be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file or folder can't be written.
    #[error("{} cannot be written: {source}", path.display())]
    Unwritable {
        /// Which one.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file does not hold what it says, or what its kind must hold.
    #[error("{} is damaged or incomplete: {what}", path.display())]
    Damaged {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A model of a kind that isn't converted.
    #[error("this model cannot be converted: {0}")]
    Unsupported(String),
    /// A tensor whose values can't be stored as planned.
    #[error("the tensor `{tensor}` {source}")]
    Tensor {
        /// Its name.
        tensor: String,
        /// What its values are.
        source: EncodeError,
    },
    /// Something that can be done but would only lose.
    #[error("{0}")]
    Refused(String),
    /// A base or rule of a plan that means nothing, or nothing here.
    #[error("{0}")]
    Plan(String),
    /// The disk is too full.
    #[error(
        "the file takes {} MiB and the disk has {} MiB free; free some room or choose a smaller type",
        needed_bytes.div_ceil(1 << 20), free_bytes >> 20
    )]
    NoSpace {
        /// What the file takes.
        needed_bytes: u64,
        /// What the disk has.
        free_bytes: u64,
    },
    /// The caller's wish.
    #[error("cancelled; nothing was written")]
    Cancelled,
}

impl Error {
    pub(crate) fn damaged(path: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.into(), what: what.into() }
    }
}

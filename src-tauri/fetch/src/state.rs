//! What is remembered of an unfinished download: the content of `<target>.part.json`.

use serde::{Deserialize, Serialize};

use crate::{Restart, ranges::Ranges};

/// The version of the file's format.
pub(crate) const VERSION: u32 = 1;

/// An unfinished download.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct State {
    pub(crate) version: u32,
    /// The address that was asked first, before redirects.
    pub(crate) url: String,
    /// What tells this content from another one at the same address.
    pub(crate) validator: Option<Validator>,
    /// The file's size; known for every state on the disk.
    pub(crate) size_bytes: Option<u64>,
    /// The expected checksum.
    pub(crate) sha256: Option<String>,
    /// The bytes that are there.
    pub(crate) done: Ranges,
}

/// What tells one content at an address from another (RFC 9110, 8.8).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Validator {
    /// The hub's own name for the content; the host that serves the bytes does not know it.
    Linked(String),
    /// A strong `ETag`.
    Etag(String),
    /// `Last-Modified`.
    Modified(String),
}

impl State {
    /// Whether a server could be asked for the rest.
    pub(crate) fn is_resumable(&self) -> bool {
        self.size_bytes.is_some() && (self.validator.is_some() || self.sha256.is_some())
    }

    /// Whether this is an earlier run of the same download.
    pub(crate) fn continues(&self, url: &str, sha256: Option<&str>) -> Result<(), Restart> {
        let other_content = self.sha256.as_deref().zip(sha256).is_some_and(|(known, expected)| known != expected);
        if self.url != url || other_content {
            return Err(Restart::Changed);
        }
        Ok(())
    }

    /// The value of `If-Range`, for hosts that can compare it.
    pub(crate) fn if_range(&self) -> Option<&str> {
        match self.validator.as_ref()? {
            Validator::Linked(_) => None,
            Validator::Etag(value) | Validator::Modified(value) => Some(value),
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.size_bytes.is_some_and(|size_bytes| self.done.gaps(size_bytes).is_empty())
    }
}

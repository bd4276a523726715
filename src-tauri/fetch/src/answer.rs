//! What a server says about a file.

use std::{ops::Range, time::Duration};

use reqwest::{
    Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, LAST_MODIFIED},
};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use crate::{Error, client::error_of, digest, retry::Failure, state::Validator};

/// An answer with the status 200 or 206, after all redirects.
pub(crate) struct Answer {
    pub(crate) response: Response,
    /// Host and port that serve the bytes.
    pub(crate) host: String,
    pub(crate) linked: Linked,
    pub(crate) stall_timeout: Duration,
    /// The connection counts as used until the answer is dropped.
    pub(crate) _slot: Option<OwnedSemaphorePermit>,
}

/// What the hub says about a file whose bytes lie elsewhere, in the answer that redirects there.
#[derive(Default)]
pub(crate) struct Linked {
    etag: Option<String>,
    size_bytes: Option<u64>,
}

impl Linked {
    /// Takes what is not known yet: the answers come in the order of the redirects, and the first one counts.
    pub(crate) fn add(&mut self, headers: &HeaderMap) {
        self.etag = self.etag.take().or_else(|| text(headers, "x-linked-etag").map(str::to_owned));
        self.size_bytes = self.size_bytes.or_else(|| text(headers, "x-linked-size")?.parse().ok());
    }
}

impl Answer {
    /// Whether it is a part of the file.
    pub(crate) fn is_partial(&self) -> bool {
        self.response.status() == StatusCode::PARTIAL_CONTENT
    }

    /// The range of a partial answer and the size of the whole file, if it is told.
    pub(crate) fn range(&self) -> Result<(Range<u64>, Option<u64>), Failure> {
        let value = text(self.response.headers(), CONTENT_RANGE.as_str()).unwrap_or_default();
        let Some((range, size_bytes)) = content_range(value) else {
            return Err(self.nonsense(format!("Content-Range is \"{value}\"")));
        };
        let length: Option<u64> = text(self.response.headers(), CONTENT_LENGTH.as_str()).and_then(|it| it.parse().ok());
        match length {
            Some(length) if length != range.end - range.start => Err(Failure::passing(Error::WrongLength {
                host: self.host.clone(),
                expected_bytes: range.end - range.start,
                found_bytes: length,
            })),
            _ => Ok((range, size_bytes)),
        }
    }

    /// The file's size, if it is told; an error if it is told differently by hub and server.
    pub(crate) fn size_bytes(&self) -> Result<Option<u64>, Failure> {
        let served = if self.is_partial() {
            self.range()?.1
        } else {
            text(self.response.headers(), CONTENT_LENGTH.as_str()).and_then(|it| it.parse().ok())
        };
        match (self.linked.size_bytes, served) {
            (Some(expected_bytes), Some(found_bytes)) if expected_bytes != found_bytes => {
                Err(Failure::passing(Error::WrongLength { host: self.host.clone(), expected_bytes, found_bytes }))
            }
            (linked, served) => Ok(served.or(linked)),
        }
    }

    /// What tells this content from another.
    pub(crate) fn validator(&self) -> Option<Validator> {
        if let Some(etag) = &self.linked.etag {
            return Some(Validator::Linked(etag.clone()));
        }
        let headers = self.response.headers();
        let etag = text(headers, ETAG.as_str()).filter(|etag| !etag.starts_with("W/"));
        etag.map(|etag| Validator::Etag(etag.into()))
            .or_else(|| text(headers, LAST_MODIFIED.as_str()).map(|date| Validator::Modified(date.into())))
    }

    /// The file's SHA-256: the hub's name for the content of a large file.
    pub(crate) fn sha256(&self) -> Option<String> {
        digest::parse(self.linked.etag.as_deref()?.trim_start_matches("W/").trim_matches('"'))
    }

    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>, Failure> {
        match timeout(self.stall_timeout, self.response.chunk()).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(Failure::passing(error_of(&error, &self.host))),
            Err(_) => {
                Err(Failure::passing(Error::Stalled { host: self.host.clone(), seconds: self.stall_timeout.as_secs() }))
            }
        }
    }

    /// A failure because of what the server says.
    pub(crate) fn nonsense(&self, reason: String) -> Failure {
        Failure::passing(Error::Answer { host: self.host.clone(), reason })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// `bytes 0-99/1234` or `bytes 0-99/*` (RFC 9110, 14.4).
fn content_range(value: &str) -> Option<(Range<u64>, Option<u64>)> {
    let (range, size) = value.trim().strip_prefix("bytes ")?.trim().split_once('/')?;
    let (start, last) = range.split_once('-')?;
    let (start, last): (u64, u64) = (start.parse().ok()?, last.parse().ok()?);
    let size = if size == "*" { None } else { Some(size.parse().ok()?) };
    let end = last.checked_add(1)?;
    (start < end && size.is_none_or(|size| end <= size)).then_some((start..end, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_strictly() {
        assert_eq!(content_range("bytes 0-99/1234"), Some((0..100, Some(1234))));
        assert_eq!(content_range("bytes 5-5/*"), Some((5..6, None)));
        for wrong in
            ["", "bytes */1234", "bytes 9-5/10", "bytes 0-10/10", "items 0-1/2", "bytes 0-18446744073709551615/*"]
        {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }
}

//! SHA-256 checksums.

use std::{fs::File, path::Path, sync::Arc};

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::{Error, part::blocking, positional};

/// How much is read at once.
const CHUNK_BYTES: usize = 4 << 20;

/// The checksum in lower case, if the text is one.
pub(crate) fn parse(text: &str) -> Option<String> {
    let text = text.trim();
    (text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

/// The SHA-256 of a file, or `None` if it was cancelled. `each` is told how many bytes were read so far.
pub(crate) async fn sha256(
    file: Arc<File>,
    path: &Path,
    cancel: &CancellationToken,
    mut each: impl FnMut(u64),
) -> Result<Option<String>, Error> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    loop {
        if cancel.is_cancelled() {
            return Ok(None);
        }
        let from = Arc::clone(&file);
        let read;
        (hasher, buffer, read) = blocking(move || {
            let read = positional::read(&from, &mut buffer, offset);
            if let Ok(read) = read {
                hasher.update(&buffer[..read]);
            }
            (hasher, buffer, read)
        })
        .await?;
        match read.map_err(|error| Error::disk(path, "read", error))? {
            0 => break,
            read => offset += read as u64,
        }
        each(offset);
    }
    Ok(Some(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

//! Errors that a person reads: what happened, and what to do.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why something could not be fetched. What has arrived of a download is kept, unless the text says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text does not name a file that can be fetched.
    #[error("\"{text}\" is not a source: {reason}. Write hf://owner/repository/file or an https address.")]
    Source {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The checksum that was given is none.
    #[error("\"{text}\" is not a SHA-256 checksum: 64 hexadecimal digits are expected.")]
    NotAChecksum {
        /// What was given.
        text: String,
    },
    /// The HTTP client could not be made, or could not make a request.
    #[error(
        "The HTTP client could not be set up: {reason}. Check the proxy settings, the hub's address and the token."
    )]
    Setup {
        /// The reason in the library's words.
        reason: String,
    },
    /// No connection could be made.
    #[error(
        "{host} cannot be reached: {reason}. Check the network connection and the proxy, then continue; what has arrived is kept."
    )]
    Offline {
        /// Host and port.
        host: String,
        /// The reason in the system's words.
        reason: String,
    },
    /// The connection broke again and again.
    #[error("The connection to {host} broke: {reason}. Continue later; what has arrived is kept.")]
    Broken {
        /// Host and port.
        host: String,
        /// The reason in the system's words.
        reason: String,
    },
    /// Nothing came for too long, again and again.
    #[error("{host} sent nothing for {seconds} s. Continue later; what has arrived is kept.")]
    Stalled {
        /// Host and port.
        host: String,
        /// How long nothing came, in seconds.
        seconds: u64,
    },
    /// 401 or 403 for a model of the hub: gated, private, or a wrong token.
    #[error(
        "{page} does not let you in ({status}). Accept the licence on that page, and set an access token of the account that accepted it."
    )]
    Gated {
        /// The model's page.
        page: String,
        /// The HTTP status.
        status: u16,
    },
    /// 401 or 403 elsewhere.
    #[error("{url} refuses access ({status}). Check the address; it may need signing in, or have expired.")]
    Refused {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// 404 or 410.
    #[error(
        "There is nothing at {url}. Check the spelling of repository, revision and file; a private repository needs an access token."
    )]
    NotFound {
        /// The address.
        url: String,
    },
    /// 429 or 503 with a longer wait than is worth it, or too often.
    #[error("{host} asks to wait{}. Continue then; what has arrived is kept.", .seconds.map(|seconds| format!(" {seconds} s")).unwrap_or_default())]
    Busy {
        /// Host and port.
        host: String,
        /// How long it asks to wait, in seconds, if it says so.
        seconds: Option<u64>,
    },
    /// Any other status that is not a success.
    #[error("{host} answers with an error (HTTP {status}). Try again later.")]
    Status {
        /// Host and port.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// The answer is not what the protocol asks for.
    #[error("{host} gives an answer that makes no sense: {reason}. Check that the address is right.")]
    Answer {
        /// Host and port.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What comes is longer or shorter than announced.
    #[error("{host} sends {found_bytes} bytes instead of {expected_bytes}. Try again later.")]
    WrongLength {
        /// Host and port.
        host: String,
        /// The announced length of the file, or of the part of it that was asked for.
        expected_bytes: u64,
        /// The length that was found; what is too long was not read to its end.
        found_bytes: u64,
    },
    /// The file was another one at each attempt.
    #[error("{url} changes while it is downloaded. Try again later.")]
    Changing {
        /// The address.
        url: String,
    },
    /// The server announces another file than the expected one; nothing was downloaded.
    #[error(
        "{url} is not the file that was expected: its SHA-256 is {found}, not {expected}. It was probably replaced by a newer one; nothing was downloaded."
    )]
    OtherFile {
        /// The address.
        url: String,
        /// The expected SHA-256.
        expected: String,
        /// The announced SHA-256.
        found: String,
    },
    /// What arrived is damaged.
    #[error(
        "The downloaded file is damaged: its SHA-256 is {found}, not {expected}. It was removed; download it again."
    )]
    Checksum {
        /// The expected SHA-256.
        expected: String,
        /// That of what arrived.
        found: String,
    },
    /// The disk has too little space for the rest of the file.
    #[error(
        "{} has too little space: {} are needed and {} are free. Free {} more, then continue.",
        folder.display(), size(*.needed_bytes), size(*.free_bytes), size(needed_bytes.saturating_sub(*.free_bytes))
    )]
    NoSpace {
        /// The folder.
        folder: PathBuf,
        /// What is still to be written.
        needed_bytes: u64,
        /// What is free.
        free_bytes: u64,
    },
    /// The disk became full.
    #[error("The disk is full: {} could not be written. Free some space, then continue; what has arrived is kept.", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// Another download to the same file is running.
    #[error("{} is being downloaded already.", target.display())]
    InUse {
        /// The file.
        target: PathBuf,
    },
    /// There is a file under the final name.
    #[error("{} is there already. Remove it first if it should be downloaded again.", target.display())]
    TargetExists {
        /// The file.
        target: PathBuf,
    },
    /// The disk refused something.
    #[error("{} could not be {action}: {source}.", path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a participle.
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn disk(path: &Path, action: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path: path.into() },
            _ => Self::Disk { path: path.into(), action, source },
        }
    }
}

/// A size as people write it, in decimal units like the hub and most file managers.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (999_960, "1.0 MB"),
            (4_920_000_000, "4.9 GB"),
            (u64::MAX, "18446744.1 TB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn missing_space_is_named() {
        let error = Error::NoSpace { folder: "models".into(), needed_bytes: 5_000_000_000, free_bytes: 1_500_000_000 };
        assert_eq!(
            error.to_string(),
            "models has too little space: 5.0 GB are needed and 1.5 GB are free. Free 3.5 GB more, then continue."
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_told_from_other_disk_errors() {
        use std::{fs::OpenOptions, os::unix::fs::FileExt};

        let path = Path::new("/dev/full");
        let file = OpenOptions::new().write(true).open(path).unwrap();
        let error = Error::disk(path, "written", file.write_all_at(b"model", 0).unwrap_err());
        assert!(error.to_string().starts_with("The disk is full: /dev/full"), "{error}");
        let error = Error::disk(path, "read", io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!(error.to_string(), "/dev/full could not be read: permission denied.");
    }
}

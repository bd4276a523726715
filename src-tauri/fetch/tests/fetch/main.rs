//! Downloads against a server that speaks the hub's HTTP and goes wrong on demand.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod download;
mod faults;
mod hub;
mod kill;
mod resume;
mod server;

use std::{fs, path::PathBuf, time::Duration};

use tektra_fetch::{CancellationToken, Client, Error, Options, Outcome, Progress, Request};
use tokio::sync::watch;

use server::Server;

pub const SOURCE: &str = "hf://owner/model/model.gguf";

/// Short waits, small parts.
pub fn options(server: &Server) -> Options {
    Options {
        endpoint: server.hub.clone(),
        attempts: 4,
        first_wait: Duration::from_millis(5),
        longest_wait: Duration::from_millis(20),
        parallel_above_bytes: 64 << 10,
        checkpoint_every: Duration::from_millis(20),
        segments: 4,
        ..Options::default()
    }
}

pub fn client(server: &Server) -> Client {
    Client::new(options(server)).unwrap()
}

/// A folder for one download.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Default for Place {
    fn default() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }
}

impl Place {
    pub fn target(&self) -> PathBuf {
        self.folder.path().join("models/model.gguf")
    }

    pub fn request(&self, source: &str) -> Request {
        Request { source: source.parse().unwrap(), target: self.target(), sha256: None }
    }

    /// The names in the target's folder.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.target().parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Only the complete file is there.
    pub fn check_complete(&self, bytes: &[u8]) {
        assert_eq!(self.names(), ["model.gguf"]);
        assert!(fs::read(self.target()).unwrap() == bytes, "the content differs");
    }
}

/// Downloads to the end; gives every progress that could be seen.
pub async fn run(client: &Client, request: &Request) -> (Result<Outcome, Error>, Vec<Progress>) {
    let (sender, mut watcher) = watch::channel(Progress::default());
    let seen = tokio::spawn(async move {
        let mut seen = Vec::new();
        while watcher.changed().await.is_ok() {
            seen.push(*watcher.borrow_and_update());
        }
        seen
    });
    let outcome = client.download(request, &sender, &CancellationToken::new()).await;
    drop(sender);
    (outcome, seen.await.unwrap())
}

/// Downloads until at least `bytes` are there, then cancels; gives what is kept.
pub async fn run_until(client: &Client, request: &Request, bytes: u64) -> u64 {
    let (sender, mut watcher) = watch::channel(Progress::default());
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    let watching = tokio::spawn(async move {
        watcher.wait_for(|progress| progress.bytes_done >= bytes).await.unwrap();
        stop.cancel();
    });
    let outcome = client.download(request, &sender, &cancel).await.unwrap();
    watching.await.unwrap();
    match outcome {
        Outcome::Cancelled { bytes_done } => bytes_done,
        Outcome::Finished { .. } => panic!("it was finished before it was cancelled"),
    }
}

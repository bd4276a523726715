//! A download from the first question to the final name.

use std::{fs::File, path::PathBuf, sync::Arc, time::Duration};

use reqwest::Url;
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    Client, Error, Phase, Progress, Restart, Source, digest,
    part::{Part, blocking},
    progress::Report,
    retry::{Failure, backoff},
    transfer::Transfer,
};

/// What to download, and where to.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where it comes from.
    pub source: Source,
    /// The final name; missing folders are made.
    pub target: PathBuf,
    /// The expected SHA-256 in hexadecimal digits, if it is known. Without it, that which the hub announces is used.
    pub sha256: Option<String>,
}

/// How a download ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The file is there under its final name.
    Finished {
        /// Its size.
        size_bytes: u64,
        /// Its SHA-256, if one was expected and so verified.
        sha256: Option<String>,
    },
    /// It was cancelled; the same request continues it.
    Cancelled {
        /// What is kept of it.
        bytes_done: u64,
    },
}

impl Client {
    /// Downloads a file, or continues an earlier download of it. If the target is there already and has the SHA-256
    /// that the request expects, it is finished at once.
    ///
    /// Cancel with `cancel`, and wait for the end: then everything that arrived is kept. Dropping the future keeps
    /// what the last checkpoint did.
    ///
    /// # Errors
    /// See [`Error`]. After every one but [`Error::Checksum`] the same request continues where this one ended.
    pub async fn download(
        &self,
        request: &Request,
        progress: &watch::Sender<Progress>,
        cancel: &CancellationToken,
    ) -> Result<Outcome, Error> {
        let sha256 = match &request.sha256 {
            Some(text) => Some(digest::parse(text).ok_or_else(|| Error::NotAChecksum { text: text.clone() })?),
            None => None,
        };
        let url = request.source.url(self.endpoint());
        let target = request.target.clone();
        let part = Arc::new(blocking(move || Part::open(&target)).await??);
        let mut run = Run { client: self, url, sha256, part, report: Report::new(progress), cancel };
        if request.target.exists() {
            run.part.discard()?;
            return run.existing(request).await;
        }
        let result = run.complete().await;
        if !matches!(result, Ok(Outcome::Finished { .. })) && run.part.bytes().0 == 0 {
            run.part.discard()?;
        }
        result
    }
}

struct Run<'a> {
    client: &'a Client,
    url: Url,
    sha256: Option<String>,
    part: Arc<Part>,
    report: Report<'a>,
    cancel: &'a CancellationToken,
}

impl Run<'_> {
    /// The target is there: it counts as finished if it is provably the expected file.
    async fn existing(&mut self, request: &Request) -> Result<Outcome, Error> {
        let exists = || Error::TargetExists { target: request.target.clone() };
        let expected = self.sha256.clone().ok_or_else(exists)?;
        let file = File::open(&request.target).map_err(|error| Error::disk(&request.target, "read", error))?;
        let size_bytes = file.metadata().map_err(|error| Error::disk(&request.target, "read", error))?.len();
        self.report.phase(Phase::Verifying);
        let report = &mut self.report;
        let each = |read| report.bytes(read, Some(size_bytes));
        match digest::sha256(Arc::new(file), &request.target, self.cancel, each).await? {
            None => Ok(Outcome::Cancelled { bytes_done: size_bytes }),
            Some(found) if found == expected => {
                self.report.phase(Phase::Done);
                Ok(Outcome::Finished { size_bytes, sha256: Some(found) })
            }
            Some(_) => Err(exists()),
        }
    }

    async fn complete(&mut self) -> Result<Outcome, Error> {
        if let Some(state) = self.part.state() {
            if let Err(restart) = state.continues(self.url.as_str(), self.sha256.as_deref()) {
                self.restart(restart)?;
            }
            if let Some(sha256) = &self.sha256 {
                self.part.update(|state| state.sha256 = Some(sha256.clone()));
            }
        }
        let (done, total) = self.part.bytes();
        self.report.bytes(done, total);
        if !self.transfer().await? {
            return Ok(Outcome::Cancelled { bytes_done: self.part.bytes().0 });
        }
        self.verify().await
    }

    /// Attempts until everything is there; `false` if it was cancelled.
    async fn transfer(&mut self) -> Result<bool, Error> {
        let options = self.client.options();
        let (mut failures, mut restarts, mut most_bytes) = (0, 0, self.part.bytes().0);
        while !self.part.state().is_some_and(|state| state.is_complete()) {
            // A server that never says how long a file is, or which one, can only send it from the start.
            if self.part.state().is_some_and(|state| !state.is_resumable()) {
                self.restart(Restart::NotResumable)?;
            }
            let stop = self.cancel.child_token();
            let transfer = Transfer {
                client: self.client,
                url: &self.url,
                sha256: self.sha256.as_deref(),
                part: &self.part,
                stop,
            };
            let result = transfer.run(&mut self.report).await;
            if self.cancel.is_cancelled() {
                return Ok(false);
            }
            let done = self.part.bytes().0;
            if done > most_bytes {
                (failures, most_bytes) = (0, done);
            }
            let (error, after) = match result {
                Ok(()) | Err(Failure::Stopped) => continue,
                Err(Failure::Fatal(error)) => return Err(error),
                Err(Failure::Restart(restart)) => {
                    if restart == Restart::Changed {
                        (restarts, most_bytes) = (restarts + 1, 0);
                    }
                    self.restart(restart)?;
                    (Error::Changing { url: self.url.to_string() }, Some(Duration::ZERO))
                }
                Err(Failure::Retry { error, after }) => (error, after),
            };
            failures += 1;
            if failures >= options.attempts.max(1) || restarts >= options.attempts.max(1) {
                return Err(error);
            }
            if !self.wait(after.unwrap_or_else(|| backoff(failures, options.first_wait, options.longest_wait))).await {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn restart(&mut self, restart: Restart) -> Result<(), Error> {
        let there = self.part.bytes().0;
        self.part.reset()?;
        if there > 0 {
            self.report.restarted(restart);
        }
        Ok(())
    }

    /// Waits, counting down; `false` if it was cancelled.
    async fn wait(&mut self, mut left: Duration) -> bool {
        while !left.is_zero() {
            self.report.phase(Phase::Waiting { seconds: left.as_secs_f64().ceil() as u64 });
            let step = left.min(Duration::from_secs(1));
            tokio::select! {
                () = self.cancel.cancelled() => return false,
                () = sleep(step) => left -= step,
            }
        }
        true
    }

    async fn verify(&mut self) -> Result<Outcome, Error> {
        let expected = self.part.state().and_then(|state| state.sha256);
        let (size_bytes, _) = self.part.bytes();
        if let Some(expected) = &expected {
            self.report.phase(Phase::Verifying);
            let report = &mut self.report;
            let each = |read| report.bytes(read, Some(size_bytes));
            let found = digest::sha256(self.part.file(), self.part.path(), self.cancel, each).await?;
            let Some(found) = found else {
                return Ok(Outcome::Cancelled { bytes_done: size_bytes });
            };
            if found != *expected {
                self.part.discard()?;
                return Err(Error::Checksum { expected: expected.clone(), found });
            }
        }
        let part = Arc::clone(&self.part);
        blocking(move || part.finish()).await??;
        self.report.bytes(size_bytes, Some(size_bytes));
        self.report.phase(Phase::Done);
        Ok(Outcome::Finished { size_bytes, sha256: expected })
    }
}

//! One attempt: asks for what is missing and writes it, in several ranges at once, until it is there or one fails.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use reqwest::Url;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    Client, Error, Phase, Restart,
    answer::Answer,
    part::{Part, blocking},
    progress::Report,
    ranges::{Ranges, split},
    retry::Failure,
    state::{self, State},
};

/// How much is gathered before it is written, and for how long at most.
const BUFFER_BYTES: usize = 512 << 10;
const BUFFER_TIME: Duration = Duration::from_millis(200);
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// One attempt.
pub(crate) struct Transfer<'a> {
    pub(crate) client: &'a Client,
    pub(crate) url: &'a Url,
    /// The expected checksum.
    pub(crate) sha256: Option<&'a str>,
    pub(crate) part: &'a Arc<Part>,
    /// Ends the attempt; what has arrived is written.
    pub(crate) stop: CancellationToken,
}

/// A range to fetch, with the answer that brings it if it was asked for already.
struct Piece {
    range: Range<u64>,
    answer: Option<Answer>,
}

impl Transfer<'_> {
    /// Runs until everything is there, something fails, or it is stopped. What has arrived is on the disk then.
    pub(crate) async fn run(&self, report: &mut Report<'_>) -> Result<(), Failure> {
        report.phase(Phase::Connecting);
        let pieces = Mutex::new(self.plan().await?);
        report.phase(Phase::Downloading);
        let workers = join_all((0..self.client.options().segments.max(1)).map(|_| self.work(&pieces)));
        let result = tokio::select! {
            results = workers => match results.into_iter().filter_map(Result::err).max_by_key(Failure::weight) {
                Some(failure) => Err(failure),
                None => Ok(()),
            },
            failure = self.keep() => Err(failure),
            () = self.tell(report) => Ok(()),
        };
        let part = Arc::clone(self.part);
        blocking(move || part.checkpoint()).await??;
        let (done, total) = self.part.bytes();
        report.bytes(done, total);
        result
    }

    /// Asks for the first missing range, and decides by the answer what else to ask for.
    async fn plan(&self) -> Result<VecDeque<Piece>, Failure> {
        let options = self.client.options();
        let Some(known) = self.part.state() else {
            // The server's answer tells the size; the first range is large enough for what needs no parallel ranges.
            let range = 0..if options.segments > 1 { options.parallel_above_bytes.max(1) } else { u64::MAX };
            let answer = self.open(&range, None).await?;
            return self.begin(answer).await;
        };
        let gaps = self.split(known.done.gaps(known.size_bytes.unwrap_or_default()));
        let mut pieces: VecDeque<Piece> = gaps.into_iter().map(|range| Piece { range, answer: None }).collect();
        if let Some(first) = pieces.front_mut() {
            self.check_space(known.size_bytes.map(|size_bytes| size_bytes - known.done.total()))?;
            first.answer = Some(self.ask(&known, &first.range).await?);
        }
        Ok(pieces)
    }

    fn split(&self, gaps: Vec<Range<u64>>) -> Vec<Range<u64>> {
        let options = self.client.options();
        let missing: u64 = gaps.iter().map(|gap| gap.end - gap.start).sum();
        if missing <= options.parallel_above_bytes {
            return gaps;
        }
        split(gaps, options.segments, options.parallel_above_bytes / options.segments.max(1) as u64)
    }

    /// Begins a download with the first answer about the file.
    async fn begin(&self, answer: Answer) -> Result<VecDeque<Piece>, Failure> {
        let announced = answer.sha256();
        if let (Some(expected), Some(found)) = (self.sha256, &announced)
            && expected != found
        {
            return Err(Error::OtherFile {
                url: self.url.to_string(),
                expected: expected.into(),
                found: found.clone(),
            }
            .into());
        }
        let size_bytes = answer.size_bytes()?;
        let first = match (answer.is_partial(), size_bytes) {
            (false, size_bytes) => 0..size_bytes.unwrap_or(u64::MAX),
            (true, None) => return Err(answer.nonsense("it does not tell the file's size".into())),
            (true, Some(_)) => answer.range()?.0,
        };
        if first.start != 0 {
            return Err(answer.nonsense("it begins in the middle of the file".into()));
        }
        self.check_space(size_bytes)?;
        let state = State {
            version: state::VERSION,
            url: self.url.to_string(),
            validator: answer.validator(),
            size_bytes,
            sha256: self.sha256.map(str::to_owned).or(announced),
            done: Ranges::default(),
        };
        let part = Arc::clone(self.part);
        blocking(move || part.begin(state)).await??;
        let rest = first.end..size_bytes.unwrap_or(first.end);
        let rest = self.split(Some(rest).filter(|rest| !rest.is_empty()).into_iter().collect());
        let first = Piece { range: first, answer: Some(answer) };
        Ok([first].into_iter().chain(rest.into_iter().map(|range| Piece { range, answer: None })).collect())
    }

    fn check_space(&self, needed_bytes: Option<u64>) -> Result<(), Error> {
        let Some(needed_bytes) = needed_bytes else { return Ok(()) };
        let folder = self.part.folder();
        let free_bytes =
            (self.client.options().free_space)(folder).map_err(|error| Error::disk(folder, "measured", error))?;
        if free_bytes < needed_bytes {
            return Err(Error::NoSpace { folder: folder.into(), needed_bytes, free_bytes });
        }
        Ok(())
    }

    async fn open(&self, range: &Range<u64>, if_range: Option<&str>) -> Result<Answer, Failure> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Failure::Stopped),
            answer = self.client.open(self.url, Some(range), if_range) => answer,
        }
    }

    /// Asks for a range of the file that the state describes, and makes sure that it is of that file.
    async fn ask(&self, known: &State, range: &Range<u64>) -> Result<Answer, Failure> {
        let answer = self.open(range, known.if_range()).await?;
        if answer.validator() != known.validator {
            return Err(Failure::Restart(Restart::Changed));
        }
        if !answer.is_partial() {
            return Err(Failure::Restart(Restart::NotResumable));
        }
        let (got, size_bytes) = answer.range()?;
        if size_bytes.is_some() && size_bytes != known.size_bytes {
            return Err(Failure::Restart(Restart::Changed));
        }
        if got.start != range.start || got.end > range.end {
            let reason = format!("bytes {}-{} instead of {}-{}", got.start, got.end, range.start, range.end);
            return Err(answer.nonsense(reason));
        }
        Ok(answer)
    }

    /// Fetches pieces until none is left; a failure stops the others.
    async fn work(&self, pieces: &Mutex<VecDeque<Piece>>) -> Result<(), Failure> {
        loop {
            let next = pieces.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(piece) = next else { return Ok(()) };
            let result = self.fetch(piece).await;
            if result.is_err() {
                self.stop.cancel();
                return result;
            }
        }
    }

    async fn fetch(&self, Piece { range, mut answer }: Piece) -> Result<(), Failure> {
        let mut at = range.start;
        while at < range.end {
            let Some(known) = self.part.state() else { return Ok(()) };
            let answer = match answer.take() {
                Some(answer) => answer,
                None => self.ask(&known, &(at..range.end)).await?,
            };
            let end = if answer.is_partial() { answer.range()?.0.end } else { range.end };
            at = self.receive(answer, at..end).await?;
            if known.size_bytes.is_none() {
                // The end of the answer is the end of the file.
                self.part.update(|state| state.size_bytes = Some(at));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Writes what an answer brings; gives where it ended.
    async fn receive(&self, mut answer: Answer, range: Range<u64>) -> Result<u64, Failure> {
        let (mut at, end) = (range.start, range.end);
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        let mut ticks = interval_at(Instant::now() + BUFFER_TIME, BUFFER_TIME);
        let outcome = loop {
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => break Err(Failure::Stopped),
                _ = ticks.tick(), if !buffer.is_empty() => {
                    (at, buffer) = self.flush(at, buffer).await?;
                    continue;
                }
                next = answer.next() => next,
            };
            let reached = at + buffer.len() as u64;
            let wrong_length = |found_bytes| {
                let (host, expected_bytes) = (answer.host.clone(), end - range.start);
                Failure::passing(Error::WrongLength { host, expected_bytes, found_bytes })
            };
            match next {
                Ok(Some(bytes)) => {
                    let bytes = bytes.as_ref();
                    if bytes.len() as u64 > end - reached {
                        // Left out, so that a longer file than announced never looks complete.
                        break Err(wrong_length(reached - range.start + bytes.len() as u64));
                    }
                    buffer.extend_from_slice(bytes);
                }
                Ok(None) if reached < end && end != u64::MAX => break Err(wrong_length(reached - range.start)),
                Ok(None) => break Ok(()),
                Err(failure) => break Err(failure),
            }
            if buffer.len() >= BUFFER_BYTES {
                (at, buffer) = self.flush(at, buffer).await?;
            }
        };
        (at, _) = self.flush(at, buffer).await?;
        outcome.map(|()| at)
    }

    async fn flush(&self, at: u64, mut buffer: Vec<u8>) -> Result<(u64, Vec<u8>), Error> {
        let part = Arc::clone(self.part);
        blocking(move || {
            part.write(at, &buffer)?;
            let at = at + buffer.len() as u64;
            buffer.clear();
            Ok((at, buffer))
        })
        .await?
    }

    /// Makes what has arrived survive a crash, again and again; ends only if that fails.
    async fn keep(&self) -> Failure {
        loop {
            sleep(self.client.options().checkpoint_every).await;
            let part = Arc::clone(self.part);
            match blocking(move || part.checkpoint()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) | Err(error) => return error.into(),
            }
        }
    }

    /// Reports again and again; never ends.
    async fn tell(&self, report: &mut Report<'_>) {
        let mut ticks = interval(REPORT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (done, total) = self.part.bytes();
            report.bytes(done, total);
        }
    }
}

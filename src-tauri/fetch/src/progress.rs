//! How far a download is.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// How far a download is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Bytes that are there, those of earlier runs included; in [`Phase::Verifying`] the bytes that were checked.
    pub bytes_done: u64,
    /// The file's size, once it is known; a server may never say it.
    pub bytes_total: Option<u64>,
    /// Mean speed of the last few seconds.
    pub bytes_per_second: f64,
    /// Time left at that speed, if it can be told.
    pub seconds_left: Option<u64>,
    /// What is being done.
    pub phase: Phase,
    /// Why what was there had to be thrown away, if it had to be.
    pub restarted: Option<Restart>,
}

/// What is being done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Asking the server.
    #[default]
    Connecting,
    /// Bytes are coming.
    Downloading,
    /// Something failed, or the server asked for it: the next attempt is later.
    Waiting {
        /// Time left until then.
        seconds: u64,
    },
    /// The checksum of what is on the disk is computed.
    Verifying,
    /// The file is there under its final name.
    Done,
}

/// Why a download started again from the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// The file on the server is another one now.
    Changed,
    /// The server cannot continue in the middle, or cannot prove that the file is still the same.
    NotResumable,
}

/// Tells the caller.
pub(crate) struct Report<'a> {
    sender: &'a watch::Sender<Progress>,
    now: Progress,
    speed: Speed,
}

impl<'a> Report<'a> {
    pub(crate) fn new(sender: &'a watch::Sender<Progress>) -> Self {
        sender.send_replace(Progress::default());
        Self { sender, now: Progress::default(), speed: Speed::default() }
    }

    pub(crate) fn phase(&mut self, phase: Phase) {
        if self.now.phase != phase && !matches!((self.now.phase, phase), (Phase::Waiting { .. }, Phase::Waiting { .. }))
        {
            self.speed = Speed::default();
        }
        self.now.phase = phase;
        self.send();
    }

    pub(crate) fn restarted(&mut self, restart: Restart) {
        self.now.restarted = Some(restart);
        self.now.bytes_done = 0;
        self.send();
    }

    pub(crate) fn bytes(&mut self, done: u64, total: Option<u64>) {
        self.now.bytes_per_second = self.speed.add(Instant::now(), done);
        self.now.bytes_done = done;
        self.now.bytes_total = total;
        self.send();
    }

    fn send(&mut self) {
        if !matches!(self.now.phase, Phase::Downloading | Phase::Verifying) {
            self.now.bytes_per_second = 0.0;
        }
        let left = self.now.bytes_total.map(|total| total.saturating_sub(self.now.bytes_done));
        self.now.seconds_left = left
            .filter(|_| self.now.bytes_per_second > 0.0)
            .map(|left| (left as f64 / self.now.bytes_per_second).ceil() as u64);
        self.sender.send_if_modified(|last| {
            let modified = *last != self.now;
            *last = self.now;
            modified
        });
    }
}

/// The mean speed over a window.
#[derive(Default)]
struct Speed(VecDeque<(Instant, u64)>);

impl Speed {
    const WINDOW: Duration = Duration::from_secs(5);

    /// Notes how many bytes are done; gives bytes per second.
    fn add(&mut self, now: Instant, done: u64) -> f64 {
        self.0.push_back((now, done));
        // One sample older than the window stays, so that the window is covered fully.
        while self.0.len() > 2 && now.duration_since(self.0[1].0) >= Self::WINDOW {
            self.0.pop_front();
        }
        let (start, before) = self.0[0];
        let seconds = now.duration_since(start).as_secs_f64();
        if seconds > 0.0 { done.saturating_sub(before) as f64 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_the_mean_of_the_last_seconds() {
        let mut speed = Speed::default();
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        assert_eq!(speed.add(start, 1000), 0.0);
        for step in 1..=40 {
            // 1000 bytes per second for 10 s.
            let rate = speed.add(at(f64::from(step) * 0.25), 1000 + u64::try_from(step).unwrap() * 250);
            assert!((rate - 1000.0).abs() < 1e-6, "{rate}");
        }
        // Nothing comes for two seconds: the mean falls to three fifths.
        assert!((speed.add(at(12.0), 11_000) - 600.0).abs() < 1e-6);
        // Nothing for longer than the window.
        assert!(speed.add(at(30.0), 11_000) < 1e-6);
    }

    #[test]
    fn time_left_is_told_only_while_bytes_come() {
        let (sender, watcher) = watch::channel(Progress::default());
        let mut report = Report::new(&sender);
        report.phase(Phase::Downloading);
        report.bytes(0, Some(100));
        std::thread::sleep(Duration::from_millis(2));
        report.bytes(50, Some(100));
        assert!(watcher.borrow().bytes_per_second > 0.0);
        assert!(watcher.borrow().seconds_left.is_some());
        report.phase(Phase::Waiting { seconds: 3 });
        assert_eq!(
            *watcher.borrow(),
            Progress {
                bytes_done: 50,
                bytes_total: Some(100),
                phase: Phase::Waiting { seconds: 3 },
                ..Progress::default()
            }
        );
    }
}

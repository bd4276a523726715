//! `top`.

mod draw;

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use serde::Serialize;
use tektra_core::{Error, Home, Observer, Own, Probe, ResourceSample, own};
use tokio::{
    sync::mpsc,
    time::{Interval, MissedTickBehavior, interval_at},
};

use crate::outcome::{Outcome, say};

/// Rates and percentages need a time over which they are taken.
const FIRST_AFTER: Duration = Duration::from_millis(200);
/// How long a key press may wait.
const KEYS_EVERY: Duration = Duration::from_millis(100);

/// What to show.
#[derive(Args)]
pub(crate) struct Top {
    /// Print one JSON object a line and sample
    #[arg(long)]
    json: bool,
    /// Leave after so many samples
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    samples: Option<u32>,
    /// Milliseconds between samples
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(500..=5000))]
    interval: u32,
}

pub(crate) async fn run(home: Home, top: Top) -> Outcome {
    if !top.json && !std::io::stdout().is_terminal() {
        let what = "`top` draws on a terminal, and standard output is none. `top --json` prints samples instead.";
        return Error::InvalidInput { what: what.into() }.into();
    }
    let observer = Observer::new(home);
    let shown = if top.json { lines(observer, &top).await } else { live(observer, &top).await };
    shown.unwrap_or_else(Outcome::from)
}

/// When samples are due. One that comes late puts off those after it: two at once would say nothing.
fn ticks(top: &Top) -> Interval {
    let every = Duration::from_millis(top.interval.into());
    let mut ticks = interval_at(tokio::time::Instant::now() + FIRST_AFTER, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// A line a sample, and what that cost at the end.
async fn lines(observer: Observer, top: &Top) -> Result<Outcome, Error> {
    let cost = Cost::begin();
    let mut taken = 0;
    // A sample may take its time, since others are asked for it: whatever is awaited, Ctrl+C ends it.
    let outcome = tokio::select! {
        Ok(()) = tokio::signal::ctrl_c() => Outcome::Interrupted,
        printed = print(observer, top, &mut taken) => printed?,
    };
    if matches!(outcome, Outcome::Done | Outcome::Interrupted) {
        eprintln!("{}", cost.words(taken));
    }
    Ok(outcome)
}

/// Prints as many samples as are wanted, and counts them.
async fn print(mut observer: Observer, top: &Top, taken: &mut u32) -> Result<Outcome, Error> {
    observer.begin().await?;
    let mut ticks = ticks(top);
    while top.samples.is_none_or(|wanted| *taken < wanted) {
        ticks.tick().await;
        let sample = observer.sample().await?;
        *taken += 1;
        match say(&line(&sample)?) {
            Outcome::Done => {}
            cut => return Ok(cut),
        }
    }
    Ok(Outcome::Done)
}

fn line(value: &impl Serialize) -> Result<String, Error> {
    let failed = |error| Error::InvalidInput { what: format!("The sample cannot be written as JSON: {error}.") };
    serde_json::to_string(value).map(|json| json + "\n").map_err(failed)
}

/// Draws until somebody leaves.
async fn live(observer: Observer, top: &Top) -> Result<Outcome, Error> {
    let outcome = match ratatui::try_init() {
        Ok(mut terminal) => watch(observer, top, &mut terminal).await,
        Err(error) => Err(useless(&error)),
    };
    ratatui::restore();
    outcome.map(|()| Outcome::Done)
}

/// The terminal gives no keys, or takes no picture.
fn useless(error: &io::Error) -> Error {
    let what = format!("`top` cannot use this terminal: {error}. `top --json` prints samples instead.");
    Error::InvalidInput { what }
}

async fn watch(mut observer: Observer, top: &Top, terminal: &mut ratatui::DefaultTerminal) -> Result<(), Error> {
    let cost = Cost::begin();
    let mut keys = Keys::read();
    let mut show = |samples: &[&ResourceSample], probes: &[Probe], words: &str| {
        let drawn = terminal.draw(|frame| draw::draw(frame, samples, probes, words));
        drawn.map(drop).map_err(|error| useless(&error))
    };
    show(&[], &[], "")?;
    // A sample may take its time, since others are asked for it: whatever is awaited, keys are heard.
    let probes = tokio::select! {
        left = keys.leaving() => return left,
        begun = async { observer.begin().await?; observer.probes().await } => begun?,
    };
    let mut ticks = ticks(top);
    let mut taken = 0;
    while top.samples.is_none_or(|wanted| taken < wanted) {
        let due = tokio::select! {
            event = keys.next() => {
                if leaves(&event?) {
                    break;
                }
                // Drawn anew all the same: the terminal may have got another size.
                false
            }
            _ = ticks.tick() => true,
        };
        if due {
            tokio::select! {
                left = keys.leaving() => return left,
                sampled = observer.sample() => drop(sampled?),
            }
            taken += 1;
        }
        let samples: Vec<_> = observer.latest().collect();
        show(&samples, &probes, &cost.words(taken))?;
    }
    Ok(())
}

/// What is pressed, and what else happens to the terminal.
struct Keys(mpsc::Receiver<io::Result<Event>>);

impl Keys {
    /// Reads on a thread that ends when nobody listens, or nothing can be read any more.
    fn read() -> Self {
        let (say, heard) = mpsc::channel(16);
        std::thread::spawn(move || {
            while !say.is_closed() {
                let event = match event::poll(KEYS_EVERY) {
                    Ok(false) => continue,
                    Ok(true) => event::read(),
                    Err(error) => Err(error),
                };
                let failed = event.is_err();
                if say.blocking_send(event).is_err() || failed {
                    return;
                }
            }
        });
        Self(heard)
    }

    /// The next event; nothing is lost when it is not awaited to its end.
    async fn next(&mut self) -> Result<Event, Error> {
        let event = self.0.recv().await.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()));
        event.map_err(|error| useless(&error))
    }

    /// Waits until somebody wants to leave.
    async fn leaving(&mut self) -> Result<(), Error> {
        while !leaves(&self.next().await?) {}
        Ok(())
    }
}

fn leaves(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release && (matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) || control_c)
}

/// What looking costs.
struct Cost {
    begun: Instant,
    before: Option<Own>,
}

impl Cost {
    fn begin() -> Self {
        Self { begun: Instant::now(), before: own() }
    }

    /// In a line.
    fn words(&self, taken: u32) -> String {
        let seconds = self.begun.elapsed().as_secs_f64();
        let (Some(before), Some(now)) = (self.before, own()) else {
            return format!("{taken} samples in {seconds:.1} s");
        };
        let percent = (now.cpu_seconds - before.cpu_seconds) / seconds.max(1e-3) * 100.0;
        let mib = now.private_mib - before.private_mib;
        format!("{taken} samples in {seconds:.1} s: {percent:.2} % of one core, {mib:.1} MiB")
    }
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::KeyEvent;

    use super::*;

    #[test]
    fn q_escape_and_control_c_leave() {
        let check = |code, modifiers, expected| {
            assert_eq!(leaves(&Event::Key(KeyEvent::new(code, modifiers))), expected, "{code:?} {modifiers:?}");
        };
        check(KeyCode::Char('q'), KeyModifiers::NONE, true);
        check(KeyCode::Esc, KeyModifiers::NONE, true);
        check(KeyCode::Char('c'), KeyModifiers::CONTROL, true);
        check(KeyCode::Char('c'), KeyModifiers::NONE, false);
        check(KeyCode::Enter, KeyModifiers::NONE, false);
        assert!(!leaves(&Event::FocusLost));
    }
}

//! `top`.

mod draw;

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use serde::Serialize;
use tektra_core::{Error, Home, Observer, Own, Probe, own};
use tokio::{
    sync::mpsc,
    time::{interval_at, sleep},
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
    let shown = if top.json { lines(home, &top).await } else { live(home, &top).await };
    shown.unwrap_or_else(Outcome::from)
}

/// A line a sample, and what that cost at the end.
async fn lines(home: Home, top: &Top) -> Result<Outcome, Error> {
    let cost = Cost::begin();
    let mut observer = Observer::new(home);
    observer.begin().await?;
    sleep(FIRST_AFTER).await;
    let every = Duration::from_millis(top.interval.into());
    let mut ticks = interval_at(tokio::time::Instant::now(), every);
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let mut taken = 0;
    while top.samples.is_none_or(|wanted| taken < wanted) {
        tokio::select! {
            _ = &mut interrupted => {
                eprintln!("{}", cost.words(taken));
                return Ok(Outcome::Interrupted);
            }
            _ = ticks.tick() => {}
        }
        let sample = observer.sample().await?;
        taken += 1;
        if !say(&line(&sample)?) {
            return Ok(Outcome::NobodyListens);
        }
    }
    eprintln!("{}", cost.words(taken));
    Ok(Outcome::Done)
}

fn line(value: &impl Serialize) -> Result<String, Error> {
    let failed = |error| Error::InvalidInput { what: format!("The sample cannot be written as JSON: {error}.") };
    serde_json::to_string(value).map(|json| json + "\n").map_err(failed)
}

/// Draws until somebody leaves.
async fn live(home: Home, top: &Top) -> Result<Outcome, Error> {
    let mut observer = Observer::new(home);
    observer.begin().await?;
    let probes = observer.probes().await?;
    let mut terminal = ratatui::init();
    let outcome = watch(&mut observer, &probes, top, &mut terminal).await;
    ratatui::restore();
    outcome
}

async fn watch(
    observer: &mut Observer,
    probes: &[Probe],
    top: &Top,
    terminal: &mut ratatui::DefaultTerminal,
) -> Result<Outcome, Error> {
    let cost = Cost::begin();
    let mut keys = keys();
    let every = Duration::from_millis(top.interval.into());
    let mut ticks = interval_at(tokio::time::Instant::now() + FIRST_AFTER, every);
    let mut taken = 0;
    while top.samples.is_none_or(|wanted| taken < wanted) {
        tokio::select! {
            event = keys.recv() => match event {
                Some(event) if leaves(&event) => break,
                Some(_) => {}
                None => break,
            },
            _ = ticks.tick() => {
                observer.sample().await?;
                taken += 1;
            }
        }
        let samples: Vec<_> = observer.latest().collect();
        let words = cost.words(taken);
        let drawn = terminal.draw(|frame| draw::draw(frame, &samples, probes, &words));
        drawn.map_err(|error| Error::InvalidInput { what: format!("The terminal cannot be drawn on: {error}.") })?;
    }
    Ok(Outcome::Done)
}

/// What is pressed, from a thread that ends when nobody listens.
fn keys() -> mpsc::Receiver<Event> {
    let (say, heard) = mpsc::channel(16);
    std::thread::spawn(move || {
        while !say.is_closed() {
            match event::poll(KEYS_EVERY) {
                Ok(true) => {
                    let Ok(event) = event::read() else { return };
                    if say.blocking_send(event).is_err() {
                        return;
                    }
                }
                Ok(false) => {}
                Err(_) => return,
            }
        }
    });
    heard
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

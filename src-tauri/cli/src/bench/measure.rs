//! Measuring, with how far it is on standard error.

use std::fs::OpenOptions;

use tektra_core::{BenchProgress, CoreEvent, Error, Home, RunState, Tektra};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{Format, Measure, look, open, precisions::named};
use crate::outcome::Outcome;

pub(super) async fn measure(home: Home, wanted: &Measure) -> Result<Outcome, Error> {
    let tektra = open(home).await?;
    let models = named(&tektra, &wanted.models, &wanted.quantizations).await?;
    let request = wanted.request(models);
    let plan = tektra.bench_plan(request.clone()).await?;
    check_file(&wanted.format)?;
    let plural = if plan.cells.len() == 1 { "" } else { "s" };
    eprintln!("{} configuration{plural}, about {}.", plan.cells.len(), time(plan.seconds));
    for note in &plan.notes {
        eprintln!("{note}");
    }
    let events = tektra.events();
    tektra.bench_start(request).await?;
    follow(&tektra, events, &wanted.format).await
}

pub(super) async fn resume(home: Home, id: &str, format: &Format) -> Result<Outcome, Error> {
    let tektra = open(home).await?;
    check_file(format)?;
    let events = tektra.events();
    tektra.bench_resume(id).await?;
    follow(&tektra, events, format).await
}

/// A file that cannot be written is noticed before anything is measured.
fn check_file(format: &Format) -> Result<(), Error> {
    let Some(path) = &format.out else { return Ok(()) };
    let opened = OpenOptions::new().create(true).append(true).open(path);
    let failed = |error| Error::InvalidInput { what: format!("{} cannot be written: {error}.", path.display()) };
    opened.map(drop).map_err(failed)
}

/// Tells how far it is until it ends, then prints it.
async fn follow(tektra: &Tektra, mut events: Receiver<CoreEvent>, format: &Format) -> Result<Outcome, Error> {
    let mut id = tektra.bench_state().map(|progress| progress.run_id);
    let mut told = None;
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(CoreEvent::BenchChanged { progress: Some(progress) }) => {
                    tell(&progress, &mut told);
                    id.get_or_insert(progress.run_id);
                }
                Ok(CoreEvent::BenchChanged { progress: None }) => break,
                Ok(CoreEvent::StoreTrouble { error: Some(error) }) => eprintln!("{} {}", error.message, error.hint),
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Err(Error::Interrupted),
            },
            _ = tokio::signal::ctrl_c() => {
                tektra.bench_cancel().await;
                if let Some(id) = id {
                    eprintln!("Stopped. What was measured is kept: `tektra-cli bench show {id}`.");
                }
                return Ok(Outcome::Interrupted);
            }
        }
    }
    let id = id.ok_or(Error::Interrupted)?;
    let run = tektra.bench_run(&id).await?;
    let printed = look::print(tektra, &id, format).await?;
    eprintln!("Kept as {id}.");
    Ok(match printed {
        Outcome::Done if run.summary.state != RunState::Done => Outcome::Interrupted,
        printed => printed,
    })
}

/// A line for each configuration that begins, and for each wait.
fn tell(progress: &BenchProgress, told: &mut Option<(u32, String)>) {
    let Some(key) = &progress.cell else { return };
    let what = format!(
        "{} {}, {} threads, batch {}, depth {}, {}",
        key.model,
        key.quantization,
        key.threads,
        key.batch,
        key.depth_tokens,
        key.kv.name()
    );
    let left = progress.seconds_left.map(|seconds| format!(", about {} left", time(seconds))).unwrap_or_default();
    let now = (progress.cells_done, format!("{what}{}", if progress.waiting { ", waits for the chat" } else { "" }));
    if told.as_ref() != Some(&now) {
        eprintln!("{} of {} done{left}: {}", progress.cells_done, progress.cells, now.1);
        *told = Some(now);
    }
}

fn time(seconds: u32) -> String {
    match seconds {
        0..100 => format!("{seconds} seconds"),
        100..5400 => format!("{} minutes", seconds.div_ceil(60)),
        _ => format!("{:.1} hours", f64::from(seconds) / 3600.0),
    }
}

//! Writing models: in another precision, and as a folder of safetensors.

use std::{
    io::IsTerminal,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use serde_json::json;
use tektra_core::{Error, QuantizeProgress};

use super::get::{MIB, PROGRESS_EVERY};
use crate::outcome::{Outcome, say, say_json};

/// Runs `work` on a thread of its own, tells its progress on a terminal, and ends it at Ctrl+C; `None` then.
async fn written<T: Send + 'static>(
    work: impl FnOnce(&mut dyn FnMut(QuantizeProgress), &AtomicBool) -> Result<T, Error> + Send + 'static,
) -> Result<Option<T>, Error> {
    let cancel = Arc::new(AtomicBool::new(false));
    let interrupted = cancel.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.store(true, Ordering::Relaxed);
        }
    });
    let in_place = std::io::stderr().is_terminal();
    let working = tokio::task::spawn_blocking(move || {
        let mut told = Instant::now();
        let mut progress = |now: QuantizeProgress| {
            if in_place && told.elapsed() > PROGRESS_EVERY {
                told = Instant::now();
                let (done, total) = (now.done_bytes as f64 / MIB, now.total_bytes as f64 / MIB);
                eprint!("\r\x1b[K{done:.0} of {total:.0} MiB");
            }
        };
        let done = work(&mut progress, &cancel);
        if in_place {
            eprint!("\r\x1b[K");
        }
        done
    });
    match working.await.map_err(|_| Error::Interrupted)? {
        Err(Error::Interrupted) => {
            eprintln!("Stopped. Nothing is left behind.");
            Ok(None)
        }
        done => done.map(Some),
    }
}

pub(super) async fn export(source: PathBuf, out: PathBuf) -> Result<Outcome, Error> {
    let folder = out.clone();
    let done = written(move |progress, cancel| tektra_core::to_safetensors(&source, &folder, progress, cancel)).await?;
    if done.is_none() {
        return Ok(Outcome::Interrupted);
    }
    eprintln!("{} is complete.", out.display());
    Ok(Outcome::Done)
}

pub(super) async fn quantize(
    source: PathBuf,
    kind: String,
    rules: Vec<String>,
    out: PathBuf,
    json: bool,
) -> Result<Outcome, Error> {
    let work = move |progress: &mut dyn FnMut(QuantizeProgress), cancel: &AtomicBool| {
        tektra_core::quantize(&source, &kind, &rules, &out, progress, cancel)
    };
    let Some((path, report)) = written(work).await? else { return Ok(Outcome::Interrupted) };
    let name = |format| tektra_core::format_name(format);
    if json {
        let groups: Vec<_> = report
            .groups
            .iter()
            .map(|group| {
                json!({ "tensors": group.tensors, "count": group.count, "wanted": name(group.wanted),
                        "used": name(group.used), "why": group.why, "size_bytes": group.size_bytes })
            })
            .collect();
        return Ok(say_json(
            &json!({ "path": path, "size_bytes": report.size_bytes, "groups": groups, "warnings": report.warnings }),
        ));
    }
    let mut lines = String::new();
    for group in &report.groups {
        let why =
            group.why.as_ref().map_or_else(String::new, |why| format!("  ({} was wanted: {why})", name(group.wanted)));
        let size = group.size_bytes as f64 / MIB;
        lines += &format!("{:5} {size:>9.1} MiB  {} × {}{why}\n", name(group.used), group.count, group.tensors);
    }
    for warning in &report.warnings {
        eprintln!("{warning}");
    }
    lines += &format!("{} ({:.1} MiB)\n", path.display(), report.size_bytes as f64 / MIB);
    Ok(say(&lines))
}

//! Getting models and parting with them.

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tektra_core::{
    CancellationToken, DownloadPhase, DownloadProgress, Error, Home, Library, Model, Origin, Store, Wanted,
};
use tokio::sync::watch;

use super::stored;
use crate::outcome::{Outcome, say, say_json};

const MIB: f64 = 1_048_576.0;
/// How often a line of progress is written.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

fn wrong(what: String) -> Error {
    Error::InvalidInput { what }
}

pub(super) async fn import(home: &Home, path: &Path) -> Result<Outcome, Error> {
    let path = path.canonicalize().map_err(|error| wrong(format!("{} cannot be used: {error}.", path.display())))?;
    if path.is_dir() {
        let store = Store::open(home).await?;
        let mut settings = store.settings().await?;
        let folder = path.to_string_lossy().into_owned();
        if !settings.model_folders.contains(&folder) {
            settings.model_folders.push(folder);
            store.set_settings(&settings).await?;
        }
        eprintln!("Models in {} are listed and used in place from now on.", path.display());
        return Ok(Outcome::Done);
    }
    // Refused before anything changes when it is no model.
    let model = Model::open(&path)?;
    for file in &model.facts.files {
        let target = home.models().join(file.file_name().unwrap_or_default());
        if target.exists() {
            return Err(wrong(format!("{} exists already.", target.display())));
        }
        std::fs::create_dir_all(home.models())
            .and_then(|()| link(file, &target))
            .map_err(|error| wrong(format!("{} cannot be linked to {}: {error}.", file.display(), target.display())))?;
    }
    eprintln!("{} is in {} now; its bytes are there once.", model.name, home.models().display());
    Ok(Outcome::Done)
}

/// A second name for the same bytes; on another disk a symbolic link.
fn link(file: &Path, target: &Path) -> std::io::Result<()> {
    std::fs::hard_link(file, target).or_else(|error| {
        #[cfg(unix)]
        if error.kind() == std::io::ErrorKind::CrossesDevices {
            return std::os::unix::fs::symlink(file, target);
        }
        Err(error)
    })
}

pub(super) async fn remove(home: &Home, model: &str, yes: bool) -> Result<Outcome, Error> {
    let (mut settings, _) = stored(home).await?;
    let folder =
        Path::new(model).canonicalize().map_or_else(|_| model.into(), |path| path.to_string_lossy().into_owned());
    if settings.model_folders.contains(&folder) {
        settings.model_folders.retain(|added| *added != folder);
        Store::open(home).await?.set_settings(&settings).await?;
        eprintln!("{folder} is no longer looked into. Nothing in it was touched.");
        return Ok(Outcome::Done);
    }
    let details = Library::new(home, &settings).details(model)?;
    if details.origin != Some(Origin::Tektra) {
        return Err(wrong(format!("{} is not in Tektra's folder, so it is not Tektra's to delete.", details.name)));
    }
    if !yes && !confirmed(&format!("Delete {} ({} MiB) for good?", details.files.join(", "), details.size_mib)) {
        return Err(wrong("Nothing was deleted. `--yes` deletes without a question.".into()));
    }
    for file in &details.files {
        std::fs::remove_file(file).map_err(|error| wrong(format!("{file} cannot be deleted: {error}.")))?;
    }
    eprintln!("{} is deleted; {} MiB are free again.", details.name, details.size_mib);
    Ok(Outcome::Done)
}

fn confirmed(question: &str) -> bool {
    if !std::io::stdin().is_terminal() {
        return false;
    }
    eprint!("{question} [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

pub(super) async fn download(home: &Home, source: &str, sha256: Option<String>, json: bool) -> Result<Outcome, Error> {
    let mut wanted = Wanted::parse(source)?;
    wanted.sha256 = sha256.or(wanted.sha256);
    let cancel = CancellationToken::new();
    let interrupted = cancel.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    let (progress, watching) = watch::channel(DownloadProgress::default());
    let telling = tokio::spawn(tell(watching));
    let path = tektra_core::download(home, &wanted, &progress, &cancel).await;
    drop(progress);
    let _ = telling.await;
    let Some(path) = path? else {
        eprintln!("Paused. The same command continues.");
        return Ok(Outcome::Interrupted);
    };
    eprintln!("{} is complete.", path.display());
    Ok(if json { say_json(&json!({ "path": path })) } else { Outcome::Done })
}

/// Writes progress to standard error: in place on a terminal, a line for each tenth elsewhere.
async fn tell(mut watching: watch::Receiver<DownloadProgress>) {
    let in_place = std::io::stderr().is_terminal();
    let mut tenths = 0;
    while watching.changed().await.is_ok() {
        let now = *watching.borrow_and_update();
        let done = now.bytes_done as f64 / MIB;
        let total = now.bytes_total.map_or_else(String::new, |total| format!(" of {:.0}", total as f64 / MIB));
        let phase = match now.phase {
            DownloadPhase::Connecting => "connecting".into(),
            DownloadPhase::Waiting { seconds } => format!("next attempt in {seconds} s"),
            DownloadPhase::Verifying => "verifying".into(),
            DownloadPhase::Downloading | DownloadPhase::Done => {
                let left = now.seconds_left.map_or_else(String::new, |seconds| format!(", {seconds} s left"));
                format!("{:.1} MiB/s{left}", now.bytes_per_second / MIB)
            }
        };
        let reached = now.bytes_total.map_or(0, |total| now.bytes_done * 10 / total.max(1));
        if in_place {
            eprint!("\r\x1b[K{done:.0}{total} MiB, {phase}");
        } else if reached > tenths {
            tenths = reached;
            eprintln!("{done:.0}{total} MiB, {phase}");
        }
        tokio::time::sleep(PROGRESS_EVERY).await;
    }
    if in_place {
        eprint!("\r\x1b[K");
    }
}

pub(super) async fn quantize(
    source: PathBuf,
    kind: String,
    rules: Vec<String>,
    out: PathBuf,
    json: bool,
) -> Result<Outcome, Error> {
    let cancel = Arc::new(AtomicBool::new(false));
    let interrupted = cancel.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.store(true, Ordering::Relaxed);
        }
    });
    let in_place = std::io::stderr().is_terminal();
    let work = tokio::task::spawn_blocking(move || {
        let mut told = Instant::now();
        let mut progress = |now: tektra_core::QuantizeProgress| {
            if in_place && told.elapsed() > PROGRESS_EVERY {
                told = Instant::now();
                let (done, total) = (now.done_bytes as f64 / MIB, now.total_bytes as f64 / MIB);
                eprint!("\r\x1b[K{done:.0} of {total:.0} MiB");
            }
        };
        let done = tektra_core::quantize(&source, &kind, &rules, &out, &mut progress, &cancel);
        if in_place {
            eprint!("\r\x1b[K");
        }
        done
    });
    let (path, report) = match work.await.map_err(|_| Error::Interrupted)? {
        Err(Error::Interrupted) => {
            eprintln!("Stopped. Nothing is left behind.");
            return Ok(Outcome::Interrupted);
        }
        done => done?,
    };
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
    Ok(if say(&lines) { Outcome::Done } else { Outcome::NobodyListens })
}

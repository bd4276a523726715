//! Getting models and parting with them.

use std::{
    io::{IsTerminal, Write},
    path::Path,
    time::Duration,
};

use serde_json::json;
use tektra_core::{
    CancellationToken, DownloadPhase, DownloadProgress, Error, Home, Library, Model, Origin, Store, Wanted,
};
use tokio::sync::watch;

use super::stored;
use crate::outcome::{Outcome, say_json};

pub(super) const MIB: f64 = 1_048_576.0;
/// How often a line of progress is written.
pub(super) const PROGRESS_EVERY: Duration = Duration::from_millis(250);

fn wrong(what: String) -> Error {
    Error::InvalidInput { what }
}

pub(super) async fn import(home: &Home, path: &Path, json: bool) -> Result<Outcome, Error> {
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
        return Ok(told(json, &json!({ "folder": path })));
    }
    // Refused before anything changes when it is no model.
    let model = Model::open(&path)?;
    let mut linked = Vec::new();
    for file in &model.facts.files {
        let target = home.models().join(file.file_name().unwrap_or_default());
        if target.exists() {
            return Err(wrong(format!("{} exists already.", target.display())));
        }
        std::fs::create_dir_all(home.models())
            .and_then(|()| link(file, &target))
            .map_err(|error| wrong(format!("{} cannot be linked to {}: {error}.", file.display(), target.display())))?;
        linked.push(target);
    }
    eprintln!("{} is in {} now; its bytes are there once.", model.name, home.models().display());
    Ok(told(json, &json!({ "name": model.name, "files": linked })))
}

/// The object that was asked for, after everything was told in words.
fn told(json: bool, value: &serde_json::Value) -> Outcome {
    if json { say_json(value) } else { Outcome::Done }
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

pub(super) async fn remove(home: &Home, model: &str, yes: bool, json: bool) -> Result<Outcome, Error> {
    let (mut settings, _) = stored(home).await?;
    let folder =
        Path::new(model).canonicalize().map_or_else(|_| model.into(), |path| path.to_string_lossy().into_owned());
    if settings.model_folders.contains(&folder) {
        settings.model_folders.retain(|added| *added != folder);
        Store::open(home).await?.set_settings(&settings).await?;
        eprintln!("{folder} is no longer looked into. Nothing in it was touched.");
        return Ok(told(json, &json!({ "folder": folder })));
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
    Ok(told(json, &json!({ "name": details.name, "deleted": details.files })))
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
    let mut paths = Vec::new();
    for wanted in wanted.parts() {
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
        paths.push(path);
    }
    // The first part stands for the model.
    Ok(if json { say_json(&json!({ "path": paths.first(), "files": paths })) } else { Outcome::Done })
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

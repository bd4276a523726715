//! Writing a model in another precision, and measuring what a precision loses: one at a time, in the background.

use std::{
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use specta::Type;
use tektra_fetch::CancellationToken;
use tokio::{io::AsyncWriteExt, sync::broadcast};

use super::{Model, precision::Measured, quantize};
use crate::{CoreEvent, Error, ErrorReport, Home, Result, Store};

/// The text whose perplexity is measured.
pub(crate) const TEXT: &str = include_str!("../../text/the-old-lighthouse.txt");

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum WorkKind {
    /// A model is written in another precision.
    Quantize,
    /// A model's perplexity is measured.
    Measure,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WorkState {
    /// It goes on.
    Running,
    /// It is done.
    Done {
        /// The new model's name, or what was measured.
        result: String,
    },
    /// It could not be done; nothing is left behind.
    Failed {
        /// Why.
        error: ErrorReport,
    },
    /// The person stopped it; nothing is left behind.
    Stopped,
}

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct Work {
    /// What is done.
    pub what: WorkKind,
    /// To which model.
    pub model: String,
    /// The precision that is written, or measured.
    pub format: String,
    /// MiB written; 0 while measuring.
    pub done_mib: f64,
    /// MiB to be written; 0 while that is not known.
    pub total_mib: f64,
    /// Since it began, in seconds.
    pub seconds: u32,
    /// How far it is.
    pub state: WorkState,
}

/// Does one thing at a time. Clones share it.
#[derive(Clone)]
pub struct Workshop(Arc<Inner>);

struct Inner {
    home: Home,
    store: Store,
    now: Mutex<Option<(Work, CancellationToken)>>,
    events: broadcast::Sender<CoreEvent>,
}

impl Workshop {
    pub(crate) fn new(home: Home, store: Store, events: broadcast::Sender<CoreEvent>) -> Self {
        Self(Arc::new(Inner { home, store, now: Mutex::default(), events }))
    }

    /// What it does, or did last.
    pub fn state(&self) -> Option<Work> {
        self.now().as_ref().map(|(work, _)| work.clone())
    }

    /// Stops what it does; what has ended is forgotten.
    pub fn stop(&self) {
        let mut now = self.now();
        if let Some((work, cancel)) = now.as_ref() {
            cancel.cancel();
            if work.state != WorkState::Running {
                *now = None;
            }
        }
        drop(now);
        self.tell();
    }

    /// Writes the model `name` at `source` as `kind` into Tektra's folder.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] while something else is done; what goes wrong later is in the state.
    pub fn quantize(&self, name: String, source: PathBuf, kind: String, rules: Vec<String>) -> Result<()> {
        let (begun, cancel) = self.begin(WorkKind::Quantize, name, kind.clone())?;
        let workshop = self.clone();
        tokio::spawn(async move {
            let stop = Arc::new(AtomicBool::new(false));
            let (stopping, wanted) = (stop.clone(), cancel.clone());
            let watch = tokio::spawn(async move {
                wanted.cancelled().await;
                stopping.store(true, Ordering::Relaxed);
            });
            let (telling, out) = (workshop.clone(), workshop.0.home.models());
            let written = tokio::task::spawn_blocking(move || {
                let mut told = Instant::now();
                let mut progress = |now: tektra_quantize::Progress| {
                    if told.elapsed() > PROGRESS_EVERY {
                        told = Instant::now();
                        telling.progress(begun, now.done_bytes, now.total_bytes);
                    }
                };
                quantize(&source, &kind, &rules, &out, &mut progress, &stop)
            });
            let written = written.await.unwrap_or(Err(Error::Interrupted));
            watch.abort();
            let named = |(path, _): (PathBuf, _)| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            workshop.end(begun, written.map(named));
        });
        Ok(())
    }

    /// Measures the perplexity of `model` with the engine's executable, and keeps it.
    ///
    /// # Errors
    /// As [`Workshop::quantize`].
    pub fn measure(&self, model: &Model, engine: PathBuf) -> Result<()> {
        let (begun, cancel) = self.begin(WorkKind::Measure, model.name.clone(), model.quantization.clone())?;
        let (workshop, model) = (self.clone(), model.clone());
        tokio::spawn(async move {
            let measured = tokio::select! {
                measured = workshop.perplexity(&model, engine) => measured,
                () = cancel.cancelled() => Err(Error::Interrupted),
            };
            let words = |perplexity: f64| format!("perplexity {perplexity:.2}");
            workshop.end(begun, measured.map(words));
        });
        Ok(())
    }

    async fn perplexity(&self, model: &Model, engine: PathBuf) -> Result<f64> {
        let failed = |reason: String| Error::EngineFailed { reason };
        let mut child = tokio::process::Command::new(engine)
            .args(["bench", "--perplexity", "-", "--model"])
            .arg(&model.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("it does not start ({error})")))?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that has ended already says why below.
            let _ = stdin.write_all(TEXT.as_bytes()).await;
        }
        let said = child.wait_with_output().await.map_err(|error| failed(error.to_string()))?;
        #[derive(Deserialize)]
        struct Said {
            perplexity: f64,
        }
        let Ok(Said { perplexity }) = serde_json::from_slice(&said.stdout) else {
            return Err(failed(String::from_utf8_lossy(&said.stderr).trim().into()));
        };
        let measured = Measured { perplexity, size_bytes: model.size_bytes };
        self.0.store.add_perplexity(&model.name, measured).await?;
        Ok(perplexity)
    }

    fn begin(&self, what: WorkKind, model: String, format: String) -> Result<(Instant, CancellationToken)> {
        let cancel = CancellationToken::new();
        let mut now = self.now();
        if now.as_ref().is_some_and(|(work, _)| work.state == WorkState::Running) {
            return Err(Error::InvalidInput {
                what: "Another model is being worked on. Wait for it, or stop it.".into(),
            });
        }
        let state = WorkState::Running;
        let work = Work { what, model, format, done_mib: 0.0, total_mib: 0.0, seconds: 0, state };
        *now = Some((work, cancel.clone()));
        drop(now);
        self.tell();
        Ok((Instant::now(), cancel))
    }

    fn progress(&self, begun: Instant, done_bytes: u64, total_bytes: u64) {
        if let Some((work, _)) = self.now().as_mut() {
            work.done_mib = done_bytes as f64 / 1_048_576.0;
            work.total_mib = total_bytes as f64 / 1_048_576.0;
            work.seconds = begun.elapsed().as_secs() as u32;
        }
        self.tell();
    }

    fn end(&self, begun: Instant, result: Result<String>) {
        if let Some((work, _)) = self.now().as_mut() {
            work.seconds = begun.elapsed().as_secs() as u32;
            work.state = match result {
                Ok(result) => WorkState::Done { result },
                Err(Error::Interrupted) => WorkState::Stopped,
                Err(error) => WorkState::Failed { error: error.report() },
            };
        }
        self.tell();
    }

    fn tell(&self) {
        let _ = self.0.events.send(CoreEvent::WorkshopChanged { work: self.state() });
    }

    fn now(&self) -> MutexGuard<'_, Option<(Work, CancellationToken)>> {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The engine's supervisor: one process for each loaded model, started on first use, started again after a crash, ended for certain.

mod answer;
mod ending;
mod process;
mod profile;
mod room;
mod stats;
mod turn;

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex as SyncMutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tektra_models::Corrections;
use tokio::sync::{Mutex, broadcast, watch};

use crate::{
    Error, Home, Result,
    event::{EngineState, LoadedModel, UnloadReason, Unloaded},
    models::Model,
};
pub use answer::{Answer, Ask, Piece};
pub(crate) use ending::{ending, read_errors};
pub use process::EngineOptions;
use process::Process;
pub(crate) use stats::EngineNow;

/// Crashes in a row after which nothing is started again until the person asks for something.
const CRASHES_IN_A_ROW: u32 = 3;
/// Unloads that a slow listener may lag behind.
const UNLOAD_BACKLOG: usize = 16;

/// A handle on the engine. Clones share one.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    options: EngineOptions,
    home: Home,
    /// The loaded models' processes, the one used last at the end; held while a model is loaded or makes way.
    processes: Mutex<Vec<Arc<Process>>>,
    /// The same, for whoever only looks.
    running: SyncMutex<Vec<Weak<Process>>>,
    waiting: AtomicU32,
    crashes: AtomicU32,
    state: watch::Sender<EngineState>,
    load_ms: SyncMutex<HashMap<std::path::PathBuf, u32>>,
    corrections: SyncMutex<Corrections>,
    unloads: broadcast::Sender<Unloaded>,
}

impl Engine {
    /// A supervisor that has started nothing yet.
    pub fn new(options: EngineOptions, home: Home) -> Self {
        Self(Arc::new(Inner {
            options,
            home,
            processes: Mutex::default(),
            running: SyncMutex::default(),
            waiting: AtomicU32::new(0),
            crashes: AtomicU32::new(0),
            state: watch::Sender::new(EngineState::Idle),
            load_ms: SyncMutex::default(),
            corrections: SyncMutex::default(),
            unloads: broadcast::Sender::new(UNLOAD_BACKLOG),
        }))
    }

    /// The engine's state, now and whenever it changes.
    pub fn state(&self) -> watch::Receiver<EngineState> {
        self.0.state.subscribe()
    }

    /// Models that are taken out of memory from now on.
    pub fn unloads(&self) -> broadcast::Receiver<Unloaded> {
        self.0.unloads.subscribe()
    }

    /// How the engine is started.
    pub(crate) fn options(&self) -> &EngineOptions {
        &self.0.options
    }

    /// What loads have taught about the memory that models need.
    pub fn corrections(&self) -> Corrections {
        self.0.corrections.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins with what earlier processes have learned.
    pub(crate) fn set_corrections(&self, corrections: Corrections) {
        *self.0.corrections.lock().unwrap_or_else(PoisonError::into_inner) = corrections;
    }

    /// Process id of the engine that was used last.
    pub async fn pid(&self) -> Option<u32> {
        self.latest().await.map(|process| process.pid)
    }

    /// Starts the engine and loads `model`, unless that is done. Several callers cause one load.
    pub async fn warm(&self, model: &Model) -> Result<()> {
        self.ensure(model).await.map(drop)
    }

    /// Ends the processes at once; the next message starts another.
    pub async fn end(&self) {
        let processes = std::mem::take(&mut *self.0.processes.lock().await);
        for process in processes {
            process.end().await;
        }
        self.0.state.send_replace(EngineState::Idle);
    }

    /// Takes every model out of memory, after the answers that are being written; tells what that gave back.
    pub async fn unload(&self, why: UnloadReason) -> Vec<Unloaded> {
        let mut processes = self.0.processes.lock().await;
        let mut unloaded = Vec::new();
        for process in std::mem::take(&mut *processes) {
            unloaded.push(self.unload_process(&process, why.clone()).await);
        }
        self.0.state.send_replace(EngineState::Idle);
        unloaded
    }

    /// Forgets earlier crashes and starts with `model` anew.
    pub async fn restart(&self, model: &Model) -> Result<()> {
        self.0.crashes.store(0, Ordering::Relaxed);
        self.end().await;
        self.warm(model).await
    }

    /// Tells that no engine can be started, unless one runs.
    pub(crate) fn cannot_start(&self, why: &Error) {
        self.0.state.send_if_modified(|state| {
            let stopped = matches!(state, EngineState::Idle | EngineState::Failed { .. });
            if stopped {
                *state = EngineState::Failed { error: why.report() };
            }
            stopped
        });
    }

    /// The process that was used last.
    async fn latest(&self) -> Option<Arc<Process>> {
        self.0.processes.lock().await.last().filter(|process| process.how_ended().is_none()).cloned()
    }

    /// The process with `model` loaded, and whether it had to be loaded for this.
    async fn ensure(&self, model: &Model) -> Result<(Arc<Process>, bool)> {
        let mut processes = self.0.processes.lock().await;
        processes.retain(|process| process.how_ended().is_none());
        if let Some(index) = processes.iter().position(|process| process.model == *model) {
            let process = processes.remove(index);
            processes.push(process.clone());
            return Ok((process, false));
        }
        let placement = self.make_room(model, &mut processes).await?;
        self.0.state.send_replace(EngineState::Starting);
        let crashes = self.0.crashes.load(Ordering::Relaxed);
        if crashes > 0 {
            tokio::time::sleep(Duration::from_millis(250) * 2_u32.pow(crashes.min(6))).await;
        }
        let expected_ms = self.load_times().get(&model.path).copied();
        let loading = |done_bytes: u64| {
            let (model, size_mib) = (model.name.clone(), model.size_mib());
            let done_mib = ((done_bytes >> 20) as u32).min(size_mib);
            self.0.state.send_replace(EngineState::Loading { model, size_mib, expected_ms, done_mib });
        };
        match Process::start(&self.0.options, &self.0.home, model, &placement, loading).await {
            Ok(process) => {
                self.load_times().insert(model.path.clone(), process.loaded.load_ms);
                let process = Arc::new(process);
                self.learn(&process, &placement);
                processes.push(process.clone());
                self.0.running.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&process));
                self.0.state.send_replace(EngineState::Ready { model: loaded(&process) });
                tokio::spawn(self.clone().watch(process.clone()));
                Ok((process, true))
            }
            Err(error) => {
                if matches!(error, Error::EngineCrashed { .. }) {
                    self.0.crashes.fetch_add(1, Ordering::Relaxed);
                }
                tracing::error!(%error, "the engine is not ready");
                self.0.state.send_replace(EngineState::Failed { error: error.report() });
                Err(error)
            }
        }
    }

    /// Ends a process that is of no use any more; the next message starts another.
    async fn discard(&self, process: &Arc<Process>) {
        self.0.processes.lock().await.retain(|other| !Arc::ptr_eq(other, process));
        process.end().await;
        self.0.state.send_replace(EngineState::Idle);
    }

    /// Starts the engine again when `process` ends by itself, unless that happens again and again.
    /// Boxed, because a start watches the process that it starts.
    fn watch(self, process: Arc<Process>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let how = process.ended().await;
            let was_last = {
                let mut processes = self.0.processes.lock().await;
                // Ended on request, it is no longer among them.
                let Some(index) = processes.iter().position(|current| Arc::ptr_eq(current, &process)) else { return };
                processes.remove(index);
                index == processes.len()
            };
            if !was_last {
                tracing::error!(how, model = process.model.name, "an engine that nobody used ended");
                return;
            }
            let crashes = self.0.crashes.fetch_add(1, Ordering::Relaxed) + 1;
            self.0.state.send_replace(EngineState::Failed { error: Error::EngineCrashed { how }.report() });
            if crashes < CRASHES_IN_A_ROW {
                // A failure is in the state, where the person sees it.
                let _ = self.warm(&process.model).await;
            }
        })
    }

    fn load_times(&self) -> std::sync::MutexGuard<'_, HashMap<std::path::PathBuf, u32>> {
        self.0.load_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the number of waiting answers to whoever looks.
    fn recount(&self) {
        let now = self.0.waiting.load(Ordering::Relaxed);
        self.0.state.send_if_modified(|state| match state {
            EngineState::Thinking { waiting, .. } if *waiting != now => {
                *waiting = now;
                true
            }
            _ => false,
        });
    }
}

fn loaded(process: &Process) -> LoadedModel {
    LoadedModel::new(&process.model, &process.loaded, process.resident_bytes)
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

//! Tektra without a face: conversations, models, engine supervision, settings.
//!
//! [`Tektra`] is the product; the window and the terminal only show it. It knows neither Tauri nor mistral.rs.

mod bench;
mod chat;
mod control;
mod devices;
mod engine;
mod error;
mod event;
mod home;
mod loadtest;
pub mod log;
mod metrics;
mod models;
mod presence;
mod profile;
mod resources;
mod settings;
mod shelf;
mod store;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::sync::{broadcast, watch};

pub use chat::{SendRequest, Started};
pub use control::{metrics_everywhere, unload_everywhere};
pub use engine::{Answer, Ask, Engine, EngineOptions, Piece};
pub use error::{Error, ErrorCode, ErrorReport, Result};
pub use event::{CoreEvent, EngineState, FinishReason, LoadedModel, Receipt, UnloadReason, Unloaded};
pub use home::Home;
pub use loadtest::{
    Latencies, LoadError, LoadProgress, LoadReport, LoadRequest, LoadScenario, LoadState, LoadWeight,
    ScenarioLatencies, load_test,
};
pub use models::{
    Best, DeviceInfo, DeviceShare, DeviceWish, Download, DownloadState, Downloads, DtypeWish, FitReport, FitSummary,
    HubGguf, HubModel, KvWish, Library, Memory, Model, ModelDetails, ModelSummary, Origin, PartSummary, PlacementPlan,
    PlacementWish, Precision, PrecisionPart, Precisions, ProfileGoal, ProfileSummary, Quality, Refusal, RunsOn,
    Suggestion, Suggestions, Wanted, Work, WorkKind, WorkState, Workshop, download, profiles_now, quantize,
    to_safetensors,
};
pub use presence::claim_window;
pub use profile::{AnswerTrace, ProfiledProcess, Span, StageName};
pub use resources::{AnswerMark, EngineSample, Observer, ResourceHistory, ResourceSample, Shares};
pub use settings::{Overrides, Settings, Theme};
pub use store::{Conversation, ConversationSummary, Message, MessageStatus, Speaker, Store};
pub use tektra_bench::{
    BenchCell, BenchComparison, BenchDevice, BenchFormat, BenchPlan, BenchPreset, BenchProgress, BenchRequest,
    BenchRun, BenchRunSummary, CellKey, CellOutcome, CellQuality, ComparisonRow, Kv as BenchKv, MachineInfo, Metric,
    MetricName, RunState, Verdict,
};
pub use tektra_fetch::{CancellationToken, Phase as DownloadPhase, Progress as DownloadProgress};
pub use tektra_models::{Catalogue, Choice, Corrections, Devices, Goal, Machine, Profile, Speed, best_for, catalogue};
pub use tektra_protocol::{Role, Turn};
pub use tektra_quantize::{Progress as QuantizeProgress, format_name};
pub use tektra_sensors::{CpuSample, DiskSample, GpuSample, MemorySample, NetworkSample, Own, PowerSample, Probe, own};

/// A deleted conversation can be brought back for this long; then it is removed for good.
const UNDO_MS: i64 = 60_000;
/// Events that a slow listener may lag behind; one that lags further is told to read anew.
const EVENT_BACKLOG: usize = 4096;

/// The product. Clones share one.
#[derive(Clone)]
pub struct Tektra(Arc<Parts>);

struct Parts {
    home: Home,
    store: Store,
    engine: Engine,
    overrides: Overrides,
    downloads: Downloads,
    workshop: Workshop,
    bench: bench::Bench,
    loadtest: loadtest::Running,
    profile: profile::Profile,
    resources: resources::Resources,
    presence: presence::Presence,
    live: chat::Live,
    events: broadcast::Sender<CoreEvent>,
    store_trouble: watch::Sender<Option<ErrorReport>>,
}

impl Tektra {
    /// Opens the data folder and repairs what a killed process left in flight. No engine is started yet.
    ///
    /// # Errors
    /// When the data folder cannot be used; nothing in it has changed then.
    pub async fn open(home: Home, options: EngineOptions) -> Result<Self> {
        Self::open_with(home, options, Overrides::default()).await
    }

    /// The same, with other settings than the stored ones for as long as this process runs.
    ///
    /// # Errors
    /// As [`Tektra::open`].
    pub async fn open_with(home: Home, options: EngineOptions, overrides: Overrides) -> Result<Self> {
        metrics::begin();
        let store = Store::open(&home).await?;
        let presence = presence::Presence::enter(&home)?;
        for writer in store.writers().await? {
            if presence::is_gone(&home, &writer) {
                let answers = store.interrupt(&writer).await?;
                tracing::info!(answers, "marked what a killed process was writing as interrupted");
            }
        }
        store.purge(UNDO_MS).await?;
        let events = broadcast::Sender::new(EVENT_BACKLOG);
        let workshop = Workshop::new(home.clone(), store.clone(), events.clone());
        let downloads = Downloads::open(home.clone(), store.clone(), events.clone()).await?;
        let tektra = Self(Arc::new(Parts {
            downloads,
            workshop,
            bench: bench::Bench::default(),
            loadtest: loadtest::Running::default(),
            profile: profile::Profile::default(),
            resources: resources::Resources::default(),
            engine: Engine::new(options, home.clone()),
            overrides,
            home,
            store,
            presence,
            live: chat::Live::default(),
            events,
            store_trouble: watch::Sender::new(None),
        }));
        tektra.mark_interrupted_benches().await?;
        let corrections = tektra.store().corrections().await?;
        tektra.engine().set_corrections(corrections);
        control::serve(Arc::downgrade(&tektra.0), tektra.presence());
        tokio::spawn(tell_engine_state(tektra.engine().state(), tektra.0.events.clone()));
        tokio::spawn(tell_unloads(tektra.engine().unloads(), tektra.0.events.clone()));
        tokio::spawn(look_after_memory(Arc::downgrade(&tektra.0), tektra.engine().state()));
        tokio::spawn(resources::sample_while_watched(Arc::downgrade(&tektra.0)));
        Ok(tektra)
    }

    /// The data folder.
    pub fn home(&self) -> &Home {
        &self.0.home
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The engine's supervisor.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The downloads.
    pub fn downloads(&self) -> &Downloads {
        &self.0.downloads
    }

    /// Everything that happens from now on.
    pub fn events(&self) -> broadcast::Receiver<CoreEvent> {
        self.0.events.subscribe()
    }

    /// Why answers cannot be saved at the moment.
    pub fn trouble(&self) -> Option<ErrorReport> {
        self.0.store_trouble.borrow().clone()
    }

    /// The stored settings.
    pub async fn settings(&self) -> Result<Settings> {
        self.store().settings().await
    }

    /// The settings that hold in this process.
    async fn effective_settings(&self) -> Result<Settings> {
        Ok(self.0.overrides.apply(self.settings().await?))
    }

    /// Changes the settings.
    ///
    /// # Errors
    /// [`Error::InvalidInput`], or when they cannot be stored.
    pub async fn set_settings(&self, settings: &Settings) -> Result<()> {
        self.store().set_settings(settings).await
    }

    /// What was measured, and what is so now, in the text format of Prometheus.
    pub async fn metrics(&self) -> String {
        let sample = self.resources_now().await.ok();
        self.engine().metrics(sample.as_ref()).await
    }

    /// Starts the engine with the chosen model, so that the next message finds it ready.
    pub async fn warm(&self) -> Result<()> {
        self.engine().warm(&self.model(&self.effective_settings().await?).await?).await
    }

    /// Starts the engine anew.
    pub async fn restart_engine(&self) -> Result<()> {
        self.engine().restart(&self.model(&self.effective_settings().await?).await?).await
    }

    /// After how long without a message the model is unloaded; `None` for never.
    async fn idle_unload(&self) -> Option<Duration> {
        let minutes = self.settings().await.unwrap_or_default().idle_unload_minutes;
        let after = self.0.overrides.idle_unload.unwrap_or(Duration::from_secs(60) * minutes);
        (!after.is_zero()).then_some(after)
    }

    /// Every model on this machine, as the settings have them looked for.
    pub async fn models(&self) -> Result<Vec<ModelSummary>> {
        self.look(|library| Ok(library.list())).await
    }

    /// What is known of the model `name` without loading it.
    pub async fn model_details(&self, name: String) -> Result<ModelDetails> {
        self.look(move |library| library.details(&name)).await
    }

    /// Looks at the models on a thread of its own: it reads the beginning of many files.
    async fn look<T: Send + 'static>(&self, at: impl FnOnce(Library) -> Result<T> + Send + 'static) -> Result<T> {
        let library = Library::new(self.home(), &self.effective_settings().await?);
        tokio::task::spawn_blocking(move || at(library)).await.map_err(|_| Error::Interrupted)?
    }

    /// Gives a conversation another title.
    pub async fn rename(&self, conversation: &str, title: &str) -> Result<()> {
        self.store().rename(conversation, title).await?;
        self.emit(CoreEvent::ConversationsChanged);
        Ok(())
    }

    /// Deletes a conversation; [`Tektra::restore`] brings it back for a minute, then it is gone for good.
    pub async fn delete(&self, conversation: &str) -> Result<()> {
        for message in self.store().conversation(conversation).await?.messages {
            self.stop(&message.id);
        }
        self.store().delete(conversation).await?;
        self.emit(CoreEvent::ConversationsChanged);
        let store = self.store().clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(UNDO_MS as u64 + 1_000)).await;
            if let Err(error) = store.purge(UNDO_MS).await {
                tracing::warn!(%error, "deleted conversations are removed at the next start");
            }
        });
        Ok(())
    }

    /// Brings a deleted conversation back.
    pub async fn restore(&self, conversation: &str) -> Result<()> {
        self.store().restore(conversation).await?;
        self.emit(CoreEvent::ConversationsChanged);
        Ok(())
    }

    /// Stops every answer, saves it, and ends the engine.
    pub async fn close(&self) {
        self.stop_all().await;
        self.resources_unwatch();
        self.loadtest_cancel();
        self.close_bench().await;
        self.engine().end().await;
        self.store().close().await;
    }

    /// The model that the settings name, to be computed as it is stored.
    async fn model(&self, settings: &Settings) -> Result<Model> {
        let model = Library::new(self.home(), settings)
            .find(settings.model.as_deref())
            .inspect_err(|error| self.engine().cannot_start(error))?;
        let wish = self.store().placements().await?.get(&model.name).cloned().unwrap_or_default();
        Ok(model.placed(wish))
    }

    fn presence(&self) -> &str {
        &self.0.presence.id
    }

    fn live(&self) -> &chat::Live {
        &self.0.live
    }

    fn store_trouble(&self) -> &watch::Sender<Option<ErrorReport>> {
        &self.0.store_trouble
    }

    fn emit(&self, event: CoreEvent) {
        // Nobody listening is no failure.
        let _ = self.0.events.send(event);
    }
}

async fn tell_unloads(mut unloads: broadcast::Receiver<Unloaded>, events: broadcast::Sender<CoreEvent>) {
    loop {
        match unloads.recv().await {
            Ok(unloaded) => drop(events.send(CoreEvent::Unloaded { unloaded })),
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Keeps what loads teach, and unloads what nobody has used for as long as the settings say.
async fn look_after_memory(parts: Weak<Parts>, mut state: watch::Receiver<EngineState>) {
    loop {
        let idle = matches!(*state.borrow_and_update(), EngineState::Ready { .. });
        let Some(tektra) = parts.upgrade().map(Tektra) else { return };
        if idle && let Err(error) = tektra.store().set_corrections(&tektra.engine().corrections()).await {
            tracing::warn!(%error, "what this load taught is forgotten");
        }
        let after = tektra.idle_unload().await.filter(|_| idle);
        // Not held while waiting: the product may be closed meanwhile.
        drop(tektra);
        let Some(after) = after else {
            if state.changed().await.is_err() {
                return;
            }
            continue;
        };
        match tokio::time::timeout(after, state.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                let Some(tektra) = parts.upgrade().map(Tektra) else { return };
                let minutes = (after.as_secs() / 60) as u32;
                tektra.engine().unload(UnloadReason::Idle { minutes }).await;
            }
        }
    }
}

async fn tell_engine_state(mut state: watch::Receiver<EngineState>, events: broadcast::Sender<CoreEvent>) {
    while state.changed().await.is_ok() {
        let state = state.borrow_and_update().clone();
        let _ = events.send(CoreEvent::EngineState { state });
    }
}

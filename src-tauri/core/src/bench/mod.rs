//! Benchmarks: one at a time, in the background, each cell in engine processes of its own, everything stored at once.

mod conditions;
mod end_to_end;
mod gpu;
mod machine;
mod plan;
mod process;
mod run;
mod speeds;

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tektra_bench::{
    BenchCell, BenchComparison, BenchFormat, BenchProgress, BenchRequest, BenchRun, BenchRunSummary, CellKey,
    CellOutcome, Kv, RunState,
};
use tektra_fetch::CancellationToken;

use self::{machine::in_a_line, plan::Planned, run::Runner};
use crate::{
    CoreEvent, DeviceWish, Error, KvWish, PlacementWish, Result, Settings, Tektra, presence,
    store::{KeptRun, new_id, now_ms},
};

/// A context that is shorter serves no conversation, whatever was measured, in tokens.
const USUAL_CONTEXT: u32 = 8192;
/// How long a stopped benchmark may take to save what it has.
const END_GRACE: Duration = Duration::from_secs(5);
/// How often is looked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What this process measures.
#[derive(Debug, Default)]
pub(crate) struct Bench(Mutex<Now>);

#[derive(Debug, Default)]
struct Now {
    running: Option<Running>,
    /// Runs that the disk does not take at the moment.
    held: Vec<KeptRun>,
}

#[derive(Debug)]
struct Running {
    progress: BenchProgress,
    begun: Instant,
    cancel: CancellationToken,
    /// How it stands when the cancel has ended it.
    ends_as: RunState,
}

impl Bench {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the one place.
    fn begin(&self, run_id: &str) -> Result<CancellationToken> {
        let mut now = self.now();
        if now.running.is_some() {
            return Err(busy());
        }
        let cancel = CancellationToken::new();
        let progress = BenchProgress {
            run_id: run_id.into(),
            cell: None,
            cells_done: 0,
            cells: 0,
            repetition: 0,
            repetitions: 0,
            seconds: 0,
            seconds_left: None,
            waiting: false,
        };
        let ends_as = RunState::Cancelled;
        now.running = Some(Running { progress, begun: Instant::now(), cancel: cancel.clone(), ends_as });
        Ok(cancel)
    }

    /// Keeps a run in memory until the disk takes it.
    fn hold(&self, kept: &KeptRun) {
        let mut now = self.now();
        now.held.retain(|held| held.run.summary.id != kept.run.summary.id);
        now.held.push(kept.clone());
    }

    fn let_go(&self, id: &str) {
        self.now().held.retain(|held| held.run.summary.id != id);
    }

    fn ends_as(&self) -> RunState {
        self.now().running.as_ref().map_or(RunState::Cancelled, |running| running.ends_as)
    }
}

fn busy() -> Error {
    Error::InvalidInput { what: "A benchmark is running already. Wait for it, or stop it.".into() }
}

impl Tektra {
    fn bench(&self) -> &Bench {
        &self.0.bench
    }

    /// Begins a benchmark; [`CoreEvent::BenchChanged`] tells how far it is.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for absurd numbers or while another runs, why a model cannot be used,
    /// [`Error::EngineMissing`], or when nothing can be stored.
    pub async fn bench_start(&self, request: BenchRequest) -> Result<()> {
        let id = new_id();
        let cancel = self.bench().begin(&id)?;
        let begun = self.begin_bench(id, request).await;
        self.spawn_bench(begun, cancel)
    }

    /// Goes on with a run that was interrupted or stopped, after what it has measured.
    ///
    /// # Errors
    /// As [`Tektra::bench_start`]; [`Error::NotFound`]; [`Error::InvalidInput`] when there is nothing left to do.
    pub async fn bench_resume(&self, id: &str) -> Result<()> {
        let cancel = self.bench().begin(id)?;
        let begun = self.reopen_bench(id).await;
        self.spawn_bench(begun, cancel)
    }

    fn spawn_bench(&self, begun: Result<Runner>, cancel: CancellationToken) -> Result<()> {
        match begun {
            Ok(runner) => {
                self.tell_bench(|_| {});
                tokio::spawn(runner.run(cancel));
                Ok(())
            }
            Err(error) => {
                self.bench().now().running = None;
                Err(error)
            }
        }
    }

    async fn begin_bench(&self, id: String, request: BenchRequest) -> Result<Runner> {
        let Planned { request, models, keys, .. } = self.plan_bench(request).await?;
        self.no_other_bench().await?;
        let machine = self.bench_machine().await?;
        let cell = |key| BenchCell {
            key,
            outcome: CellOutcome::Pending,
            model_hash: String::new(),
            metrics: Vec::new(),
            quality: None,
            marks: Vec::new(),
        };
        let summary = BenchRunSummary {
            id,
            started_ms: now_ms() as f64,
            seconds: 0,
            preset: request.preset,
            models: request.models.clone(),
            cells: keys.len() as u32,
            cells_done: 0,
            state: RunState::Running,
            machine: in_a_line(&machine),
            best_decode_tokens_per_second: None,
        };
        let rounds = vec![0; keys.len()];
        let run = BenchRun { summary, machine, marks: Vec::new(), cells: keys.into_iter().map(cell).collect() };
        let kept = KeptRun { run, request, rounds };
        let all: Vec<usize> = (0..kept.rounds.len()).collect();
        self.store().save_bench(&kept, &all, self.presence()).await?;
        Runner::new(self.clone(), kept, models.into_iter().map(|model| (model.name.clone(), Ok(model))).collect()).await
    }

    async fn reopen_bench(&self, id: &str) -> Result<Runner> {
        self.no_other_bench().await?;
        let mut kept = self.store().bench(id).await?;
        if kept.run.summary.state == RunState::Done {
            return Err(Error::InvalidInput {
                what: "This benchmark is complete: there is nothing to go on with.".into(),
            });
        }
        let machine = self.bench_machine().await?;
        if (&machine.cpu, machine.cores) != (&kept.run.machine.cpu, kept.run.machine.cores) {
            let what = "This benchmark was begun on another machine; its figures would not belong together.".into();
            return Err(Error::InvalidInput { what });
        }
        let wanted = kept.request.models.clone();
        let models = self.look(move |library| {
            Ok(wanted.iter().map(|name| (name.clone(), library.find(Some(name)))).collect::<HashMap<_, _>>())
        });
        let models = models.await?;
        kept.run.summary.state = RunState::Running;
        self.store().save_bench(&kept, &[], self.presence()).await?;
        Runner::new(self.clone(), kept, models).await
    }

    async fn bench_machine(&self) -> Result<tektra_bench::MachineInfo> {
        let executable = &self.engine().options().executable;
        if !executable.is_file() {
            return Err(Error::EngineMissing { path: executable.clone() });
        }
        Ok(machine::machine(executable, &self.engine().devices().await).await)
    }

    /// Two benchmarks would measure each other, even in two processes.
    async fn no_other_bench(&self) -> Result<()> {
        self.mark_interrupted_benches().await?;
        if self.store().bench_writers().await?.is_empty() { Ok(()) } else { Err(busy()) }
    }

    /// Marks what killed processes were measuring.
    pub(crate) async fn mark_interrupted_benches(&self) -> Result<()> {
        for writer in self.store().bench_writers().await? {
            if presence::is_gone(self.home(), &writer) {
                self.store().interrupt_bench(&writer).await?;
            }
        }
        Ok(())
    }

    /// Stops the running benchmark at once and waits until what it has is saved.
    pub async fn bench_cancel(&self) {
        self.halt_bench(RunState::Cancelled).await;
    }

    /// The same because this process ends: the run can be gone on with.
    pub(crate) async fn close_bench(&self) {
        self.halt_bench(RunState::Interrupted).await;
    }

    async fn halt_bench(&self, ends_as: RunState) {
        if let Some(running) = &mut self.bench().now().running {
            running.ends_as = ends_as;
            running.cancel.cancel();
        }
        let begun = Instant::now();
        while self.bench_state().is_some() && begun.elapsed() < END_GRACE {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// How far the running benchmark is.
    pub fn bench_state(&self) -> Option<BenchProgress> {
        let now = self.bench().now();
        let running = now.running.as_ref()?;
        Some(BenchProgress { seconds: running.begun.elapsed().as_secs() as u32, ..running.progress.clone() })
    }

    /// Changes how far the running benchmark is, and tells it.
    fn tell_bench(&self, change: impl FnOnce(&mut BenchProgress)) {
        if let Some(running) = &mut self.bench().now().running {
            change(&mut running.progress);
        }
        self.emit(CoreEvent::BenchChanged { progress: self.bench_state() });
    }

    /// The benchmark is over.
    fn end_bench(&self) {
        self.bench().now().running = None;
        self.emit(CoreEvent::BenchChanged { progress: None });
    }

    /// Every run, the latest first.
    pub async fn bench_runs(&self) -> Result<Vec<BenchRunSummary>> {
        let mut all = self.store().bench_summaries().await?;
        for held in &self.bench().now().held {
            if let Some(stored) = all.iter_mut().find(|stored| stored.id == held.run.summary.id) {
                stored.clone_from(&held.run.summary);
            }
        }
        Ok(all)
    }

    /// One run, whole.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn bench_run(&self, id: &str) -> Result<BenchRun> {
        let held = self.bench().now().held.iter().find(|held| held.run.summary.id == id).map(|held| held.run.clone());
        match held {
            Some(run) => Ok(run),
            None => Ok(self.store().bench(id).await?.run),
        }
    }

    /// Forgets a run.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::InvalidInput`] while it goes on.
    pub async fn bench_delete(&self, id: &str) -> Result<()> {
        self.mark_interrupted_benches().await?;
        let all = self.store().bench_summaries().await?;
        if all.iter().any(|run| run.id == id && run.state == RunState::Running) {
            return Err(Error::InvalidInput { what: "This benchmark is running. Stop it first.".into() });
        }
        self.store().delete_bench(id).await?;
        self.bench().let_go(id);
        self.emit(CoreEvent::BenchChanged { progress: self.bench_state() });
        Ok(())
    }

    /// Two runs, cell by cell.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn bench_compare(&self, a: &str, b: &str) -> Result<BenchComparison> {
        Ok(tektra_bench::compare(&self.bench_run(a).await?, &self.bench_run(b).await?))
    }

    /// A run as text.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn bench_export(&self, id: &str, format: BenchFormat) -> Result<String> {
        let run = self.bench_run(id).await?;
        tektra_bench::export(&run, format).map_err(|what| Error::InvalidInput { what })
    }

    /// Uses the model of a cell from now on, placed as it was measured and with a context as long at least. Returns the
    /// settings as they are then.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::InvalidInput`] for a cell that was not measured; why the model cannot be placed so.
    pub async fn bench_apply(&self, id: &str, cell: u32) -> Result<Settings> {
        let run = self.bench_run(id).await?;
        let lengths = run.summary.preset.lengths();
        let cell = run.cells.into_iter().nth(cell as usize).ok_or(Error::NotFound { what: "configuration" })?;
        if cell.outcome != CellOutcome::Measured {
            return Err(Error::InvalidInput { what: "This configuration was not measured to its end.".into() });
        }
        let measured = cell.key.depth_tokens.saturating_add(lengths.prompt).saturating_add(lengths.decode);
        let wanted = cell.key.model.clone();
        let trained = self.look(move |library| library.find(Some(&wanted))).await?.facts.context_length;
        let placed = placement_wish(&cell.key);
        let wish = PlacementWish {
            // Without GPUs there is nothing else, and the choice stays open for one that comes.
            device: if run.machine.gpus.is_empty() { DeviceWish::Auto } else { placed.device },
            context_tokens: Some(measured.max(USUAL_CONTEXT.min(trained))),
            ..placed
        };
        self.set_placement(cell.key.model.clone(), wish).await?;
        let settings = Settings { model: Some(cell.key.model), ..self.settings().await? };
        self.set_settings(&settings).await?;
        Ok(settings)
    }
}

/// A model as a cell has it.
fn placement_wish(key: &CellKey) -> PlacementWish {
    let kv = match key.kv {
        Kv::F16 => KvWish::F16,
        Kv::Q8 => KvWish::Q8,
        Kv::F32 => KvWish::F32,
    };
    let device = if key.gpu().is_some() { DeviceWish::Gpus } else { DeviceWish::Cpu };
    PlacementWish { device, gpus: key.gpu().into_iter().collect(), kv, ..PlacementWish::default() }
}

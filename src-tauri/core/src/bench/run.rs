//! A run in motion: visit after visit, each stored at once.

mod after;

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use tektra_bench::{CellOutcome, Lengths, MetricName, ModelSize, RunState, Schedule, Visit};
use tektra_fetch::CancellationToken;

use super::{
    machine::{cores, drop_from_cache, model_hash},
    plan::obstacle,
    process::{Ended, Halts, Order, is_busy, measure},
};
use crate::{EngineState, Error, Result, Tektra, models::Model, store::KeptRun};

/// A process may be silent this much longer than everything that it does was expected to take.
const PATIENCE: f64 = 20.0;
/// And this long in any case.
const LEAST_PATIENCE: Duration = Duration::from_secs(120);
/// While the disk is full.
const RETRY_EVERY: Duration = Duration::from_secs(3);

/// A model of the run.
struct Subject {
    model: Model,
    size: ModelSize,
}

/// A run in motion.
pub(super) struct Runner {
    tektra: Tektra,
    kept: KeptRun,
    /// By name; a sentence for those that cannot be used any more.
    subjects: HashMap<String, Result<Subject, String>>,
    schedule: Schedule,
    lengths: Lengths,
    begun: Instant,
    /// What it took before it was interrupted.
    seconds_before: u32,
    /// Cells that are not saved.
    unsaved: BTreeSet<usize>,
    /// What visits were expected to take and took, in seconds.
    expected: f64,
    took: f64,
}

/// The benchmark is cancelled.
struct Cancelled;

impl Runner {
    pub(super) async fn new(tektra: Tektra, kept: KeptRun, models: HashMap<String, Result<Model>>) -> Result<Self> {
        let mut subjects = HashMap::new();
        let uses_gpu = kept.run.cells.iter().any(|cell| cell.key.gpu().is_some());
        for (name, model) in models {
            let subject = match model {
                Ok(model) => {
                    let size = tektra.model_sizes(std::slice::from_ref(&model), uses_gpu).await?;
                    let size = size.into_iter().next();
                    let unknown = ModelSize {
                        size_bytes: model.size_bytes,
                        tokens_per_second: None,
                        gpu_tokens_per_second: None,
                    };
                    Ok(Subject { size: size.unwrap_or(unknown), model })
                }
                Err(error) => Err(error.to_string()),
            };
            subjects.insert(name, subject);
        }
        Ok(Self {
            schedule: Schedule::new(tektra_bench::repetitions(&kept.request)),
            lengths: kept.request.preset.lengths(),
            begun: Instant::now(),
            seconds_before: kept.run.summary.seconds,
            unsaved: BTreeSet::new(),
            expected: 0.0,
            took: 0.0,
            tektra,
            kept,
            subjects,
        })
    }

    /// Measures to the end, or until `cancel`.
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut halts = Halts { cancel, chat: self.tektra.engine().state() };
        let ended = self.everything(&mut halts).await;
        self.kept.run.summary.state = match ended {
            Ok(()) => RunState::Done,
            Err(Cancelled) => self.tektra.bench().ends_as(),
        };
        let mut saved = self.save().await;
        self.tektra.end_bench();
        // Kept in memory, and shown from there, until the disk takes it.
        while saved.is_err() {
            tokio::time::sleep(RETRY_EVERY).await;
            saved = self.save().await;
        }
    }

    async fn everything(&mut self, halts: &mut Halts) -> Result<(), Cancelled> {
        self.hash().await;
        let done: Vec<u32> = self
            .kept
            .rounds
            .iter()
            .zip(&self.kept.run.cells)
            .map(|(rounds, cell)| if cell.outcome == CellOutcome::Pending { *rounds } else { u32::MAX })
            .collect();
        let visits = self.schedule.visits(&done);
        for (at, visit) in visits.iter().enumerate() {
            self.visit(visit, &visits[at..], halts).await?;
        }
        self.end_to_end(halts).await?;
        if tektra_bench::with_quality(&self.kept.request) {
            self.quality(halts).await?;
        }
        Ok(())
    }

    /// Tells the models' files from others; those that have changed since the run began cannot be gone on with.
    async fn hash(&mut self) {
        for (name, subject) in &mut self.subjects {
            let Ok(known) = subject else { continue };
            let files = known.model.facts.files.clone();
            let hashed = tokio::task::spawn_blocking(move || model_hash(&files)).await;
            let hash = match hashed {
                Ok(Ok(hash)) => hash,
                Ok(Err(error)) => {
                    *subject = Err(format!("The file of \"{name}\" cannot be read: {error}."));
                    continue;
                }
                Err(_) => continue,
            };
            let of_model = self.kept.run.cells.iter_mut().filter(|cell| cell.key.model == *name);
            let mut changed = false;
            for cell in of_model {
                changed |= !cell.model_hash.is_empty() && cell.model_hash != hash;
                if cell.model_hash.is_empty() {
                    cell.model_hash.clone_from(&hash);
                }
            }
            if changed {
                *subject = Err(format!("The file of \"{name}\" has changed since this benchmark began."));
            }
        }
    }

    /// Measures a cell's round, again when an answer in the chat began meanwhile.
    async fn visit(&mut self, visit: &Visit, left: &[Visit], halts: &mut Halts) -> Result<(), Cancelled> {
        let cell = &self.kept.run.cells[visit.cell];
        if cell.outcome != CellOutcome::Pending {
            return Ok(());
        }
        let key = cell.key.clone();
        let repetitions_before = self.schedule.repetitions_before(visit.round);
        let ended = loop {
            self.tell(visit, left, repetitions_before);
            self.wait_for_chat(halts).await?;
            let subject = match self.subjects.get(&key.model) {
                Some(Ok(subject)) => subject,
                Some(Err(why)) => break Ended::Failed(why.clone()),
                None => break Ended::Failed(format!("There is no model named \"{}\" any more.", key.model)),
            };
            let devices = self.tektra.engine().devices().await;
            if let Some(outcome) = obstacle(&self.tektra, &subject.model, &key, self.lengths, &devices) {
                return self.end_visit(visit, outcome).await;
            }
            let seconds = tektra_bench::seconds(&key, visit, self.lengths, &subject.size, cores());
            let files = subject.model.facts.files.clone();
            let first = visit.round == 0;
            let cold = first && tokio::task::spawn_blocking(move || drop_from_cache(&files)).await.unwrap_or(false);
            let in_chat = self.chat_has(&subject.model);
            let options = self.tektra.engine().options();
            let gpu = key.gpu().map(|index| (index, subject.model.facts.shape.layers));
            let executable = if gpu.is_some() { options.executable_for_gpus() } else { options.executable.clone() };
            let order = Order {
                executable: &executable,
                model: &subject.model.path,
                gpu,
                key: &key,
                lengths: self.lengths,
                repetitions: visit.repetitions,
                cold,
                patience: Duration::from_secs_f64(seconds * PATIENCE).max(LEAST_PATIENCE),
            };
            let tektra = self.tektra.clone();
            let all = self.repetitions();
            let begun = Instant::now();
            let ended = measure(&order, halts, |done| {
                tektra.tell_bench(|progress| progress.repetition = (repetitions_before + done + 1).min(all));
            })
            .await;
            match ended {
                Ended::Overlapped => {}
                Ended::Cancelled => return Err(Cancelled),
                mut ended => {
                    if let Ended::Measured(measured) = &mut ended {
                        (self.expected, self.took) =
                            (self.expected + seconds, self.took + begun.elapsed().as_secs_f64());
                        measured.marks.extend(load_mark(first, cold, in_chat));
                    }
                    break ended;
                }
            }
        };
        let outcome = match ended {
            Ended::Measured(measured) => {
                if self.kept.run.machine.simd.is_empty() {
                    self.kept.run.machine.simd.clone_from(&measured.simd);
                }
                for mark in &measured.marks {
                    self.mark(visit.cell, mark);
                }
                measured.into_metrics(&mut self.kept.run.cells[visit.cell].metrics);
                let last = visit.round + 1 == self.schedule.rounds;
                if last { CellOutcome::Measured } else { CellOutcome::Pending }
            }
            Ended::NotSupported(why) => CellOutcome::NotSupported { why },
            Ended::Failed(why) => CellOutcome::Failed { why },
            Ended::Overlapped | Ended::Cancelled => return Err(Cancelled),
        };
        self.end_visit(visit, outcome).await
    }

    async fn end_visit(&mut self, visit: &Visit, outcome: CellOutcome) -> Result<(), Cancelled> {
        self.kept.run.cells[visit.cell].outcome = outcome;
        self.kept.rounds[visit.cell] = visit.round + 1;
        self.unsaved.insert(visit.cell);
        // What cannot be saved stays in memory; the person is told.
        let _ = self.save().await;
        Ok(())
    }

    /// Adds a mark to a cell and to the run, each once.
    fn mark(&mut self, cell: usize, mark: &str) {
        let run = &mut self.kept.run;
        for marks in [&mut run.cells[cell].marks, &mut run.marks] {
            if !marks.iter().any(|known| known == mark) {
                marks.push(mark.into());
            }
        }
        self.unsaved.insert(cell);
    }

    fn chat_has(&self, model: &Model) -> bool {
        matches!(&*self.tektra.engine().state().borrow(), EngineState::Ready { model: loaded } if loaded.name == model.name)
    }

    async fn wait_for_chat(&self, halts: &mut Halts) -> Result<(), Cancelled> {
        let waits = is_busy(&halts.chat.borrow());
        if waits {
            self.tektra.tell_bench(|progress| progress.waiting = true);
        }
        let goes_on = halts.chat_is_quiet().await;
        if waits {
            self.tektra.tell_bench(|progress| progress.waiting = false);
        }
        if goes_on { Ok(()) } else { Err(Cancelled) }
    }

    fn repetitions(&self) -> u32 {
        tektra_bench::repetitions(&self.kept.request)
    }

    /// Tells that `visit`, the first of those that are `left`, begins.
    fn tell(&self, visit: &Visit, left: &[Visit], repetitions_before: u32) {
        let seconds = |visit: &Visit| {
            let key = &self.kept.run.cells[visit.cell].key;
            let subject = self.subjects.get(&key.model)?.as_ref().ok()?;
            Some(tektra_bench::seconds(key, visit, self.lengths, &subject.size, cores()))
        };
        // The estimate is corrected by what visits took until now.
        let correction = if self.expected > 0.0 { self.took / self.expected } else { 1.0 };
        let pending = |visit: &&Visit| self.kept.run.cells[visit.cell].outcome == CellOutcome::Pending;
        let seconds_left = left.iter().filter(pending).filter_map(seconds).sum::<f64>() * correction;
        let cells = &self.kept.run.cells;
        self.tektra.tell_bench(|progress| {
            progress.cell = Some(cells[visit.cell].key.clone());
            progress.cells = cells.len() as u32;
            progress.cells_done = cells.iter().filter(|cell| cell.outcome != CellOutcome::Pending).count() as u32;
            progress.repetition = repetitions_before + 1;
            progress.repetitions = self.repetitions();
            progress.seconds_left = Some(seconds_left.ceil() as u32);
        });
    }

    /// Saves the run and the cells that have changed; what the disk does not take is kept in memory and shown from there.
    async fn save(&mut self) -> Result<(), Error> {
        let seconds = self.seconds_before.saturating_add(self.begun.elapsed().as_secs() as u32);
        let run = &mut self.kept.run;
        run.summary.seconds = if self.tektra.bench_state().is_some() { seconds } else { run.summary.seconds };
        run.summary.cells_done = run.cells.iter().filter(|cell| cell.outcome != CellOutcome::Pending).count() as u32;
        let measured = run.cells.iter().filter(|cell| cell.outcome == CellOutcome::Measured);
        let decode = measured.flat_map(|cell| &cell.metrics).filter(|it| it.name == MetricName::DecodeTokensPerSecond);
        run.summary.best_decode_tokens_per_second = decode.filter_map(|metric| metric.median).reduce(f64::max);
        let cells: Vec<usize> = self.unsaved.iter().copied().collect();
        let saved = self.tektra.store().save_bench(&self.kept, &cells, self.tektra.presence()).await;
        if saved.is_ok() {
            self.unsaved.clear();
            self.tektra.bench().let_go(&self.kept.run.summary.id);
        } else {
            self.tektra.bench().hold(&self.kept);
        }
        self.tektra.note_store(&saved);
        saved
    }
}

/// What a first load was worth.
fn load_mark(first: bool, cold: bool, in_chat: bool) -> Option<String> {
    match (first, cold, in_chat) {
        (true, false, _) => {
            Some("The first load found the file in memory: the system has no way to drop it from there.".into())
        }
        (true, true, true) => {
            Some("The chat had the model open, so that parts of its file were in memory at the first load.".into())
        }
        _ => None,
    }
}

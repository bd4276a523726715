//! What follows the cells of a run: answers end to end, and what the models lose.

use std::path::PathBuf;

use tektra_bench::{CellOutcome, CellQuality, Metric, MetricName};

use super::{Cancelled, Runner};
use crate::{
    EngineOptions,
    bench::{
        end_to_end::{end_to_end, representative},
        placement_wish,
        plan::installed_siblings,
        process::{Ended, Halts, as_sentence, quality},
    },
    models::{Model, TEXT},
};

impl Runner {
    /// Answers as a person gets them, for one cell.
    pub(super) async fn end_to_end(&mut self, halts: &mut Halts) -> Result<(), Cancelled> {
        let cells = &self.kept.run.cells;
        let Some(at) = representative(cells) else { return Ok(()) };
        let measured = |name| cells.iter().any(|cell| cell.metrics.iter().any(|metric| metric.name == name));
        let key = cells[at].key.clone();
        let Some(Ok(subject)) = self.subjects.get(&key.model) else { return Ok(()) };
        if measured(MetricName::EndToEndTokensPerSecond) {
            return Ok(());
        }
        self.tell_last(at);
        let executable = self.tektra.engine().options().executable.clone();
        let options = EngineOptions { executable, threads: Some(key.threads) };
        let model = subject.model.clone().placed(placement_wish(&key));
        match end_to_end(options, self.tektra.home(), model, self.lengths, self.repetitions(), halts).await {
            Ok(measured) => {
                for (name, samples) in measured {
                    Metric::add(&mut self.kept.run.cells[at].metrics, name, &samples);
                }
            }
            Err(None) => return Err(Cancelled),
            Err(Some(why)) => self.mark(at, &format!("Its speed end to end is not known. {}", as_sentence(&why))),
        }
        self.unsaved.insert(at);
        let _ = self.save().await;
        Ok(())
    }

    /// Tells that all cells are over, and that something is still measured of the one at `at`.
    fn tell_last(&self, at: usize) {
        let key = &self.kept.run.cells[at].key;
        self.tektra.tell_bench(|progress| {
            progress.cell = Some(key.clone());
            progress.cells = self.kept.run.cells.len() as u32;
            progress.cells_done = progress.cells;
            (progress.repetition, progress.seconds_left) = (0, None);
        });
    }

    /// What each model loses against the most precise of its siblings that is here.
    pub(super) async fn quality(&mut self, halts: &mut Halts) -> Result<(), Cancelled> {
        let text = self.tektra.home().run().join(format!("bench-{}.txt", self.kept.run.summary.id));
        let written = tokio::fs::write(&text, TEXT).await;
        let mut ended = Ok(());
        for name in self.kept.request.models.clone() {
            let cells = self.kept.run.cells.iter().enumerate();
            let of_model = cells.filter(|(_, cell)| cell.key.model == name && cell.quality.is_none());
            let measured: Vec<usize> =
                of_model.filter(|(_, cell)| cell.outcome == CellOutcome::Measured).map(|(at, _)| at).collect();
            let (Some(&first), Some(Ok(subject))) = (measured.first(), self.subjects.get(&name)) else { continue };
            let model = subject.model.clone();
            self.tell_last(first);
            let found = match &written {
                Ok(()) => self.quality_of(&model, &text, halts).await,
                Err(error) => Ok(Err(format!("the text cannot be written ({error})"))),
            };
            match found {
                Ok(Ok(quality)) => {
                    for &at in &measured {
                        self.kept.run.cells[at].quality = Some(quality.clone());
                    }
                }
                Ok(Err(why)) => {
                    for &at in &measured {
                        self.mark(at, &format!("Its quality is not known. {}", as_sentence(&why)));
                    }
                }
                Err(Cancelled) => {
                    ended = Err(Cancelled);
                    break;
                }
            }
            self.unsaved.extend(measured);
            let _ = self.save().await;
        }
        let _ = tokio::fs::remove_file(&text).await;
        ended
    }

    async fn quality_of(
        &self,
        model: &Model,
        text: &PathBuf,
        halts: &mut Halts,
    ) -> Result<Result<CellQuality, String>, Cancelled> {
        let executable = &self.tektra.engine().options().executable;
        let compared = model.clone();
        let reference = self.tektra.look(move |library| {
            let siblings = installed_siblings(&library, &compared)?;
            let models = siblings.iter().filter_map(|name| library.find(Some(name)).ok());
            // The largest file of the same model is the most precise.
            Ok(models.max_by_key(|model| model.size_bytes).filter(|model| model.size_bytes > compared.size_bytes))
        });
        let reference = match reference.await {
            Ok(reference) => reference,
            Err(error) => return Ok(Err(error.to_string())),
        };
        loop {
            self.wait_for_chat(halts).await?;
            // Alone, a model is compared with itself, for its perplexity only.
            let against = reference.as_ref().map_or(&model.path, |reference| &reference.path);
            match quality(executable, [&model.path, text, against], halts).await {
                Ok(said) => {
                    return Ok(said.map(|said| {
                        let alone = reference.is_none();
                        let compared = |value: f64| Some(value).filter(|_| !alone);
                        CellQuality {
                            perplexity: Some(said.perplexity),
                            kl_mean: compared(said.kl_mean),
                            kl_p99: compared(said.kl_p99),
                            same_top_percent: compared(said.same_top_percent),
                            reference: reference.map(|reference| reference.name),
                        }
                    }));
                }
                Err(Ended::Cancelled) => return Err(Cancelled),
                Err(_) => {}
            }
        }
    }
}

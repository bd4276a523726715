//! The machine as a terminal shows it, with every Tektra that runs on a data folder.

use tektra_sensors::Probe;

use super::{ResourceSample, history::History, sampler::Sampler};
use crate::{EngineOptions, Home, Result, control};

/// Looks at the machine and at the running Tektras of a data folder, itself not among them.
#[derive(Debug)]
pub struct Observer {
    home: Home,
    engine_names: Vec<String>,
    sampler: Sampler,
    history: History,
}

impl Observer {
    /// Looks for nothing yet.
    pub fn new(home: Home) -> Self {
        let engine_names = EngineOptions::find().names();
        Self { home, engine_names, sampler: Sampler::default(), history: History::default() }
    }

    /// Reads the counters, so that the next sample has rates and percentages.
    ///
    /// # Errors
    /// When no thread can be started.
    pub async fn begin(&self) -> Result<()> {
        self.take().await.map(drop)
    }

    /// The machine now. Rates and percentages are those since the sample before.
    ///
    /// # Errors
    /// When no thread can be started.
    pub async fn sample(&mut self) -> Result<ResourceSample> {
        let sample = self.take().await?;
        self.history.add(sample.clone());
        Ok(sample)
    }

    /// The samples of the last ten minutes, the latest first.
    pub fn latest(&self) -> impl Iterator<Item = &ResourceSample> {
        self.history.latest()
    }

    /// Which sensors were looked for, and what came of it.
    ///
    /// # Errors
    /// When no thread can be started.
    pub async fn probes(&self) -> Result<Vec<Probe>> {
        self.sampler.probes().await
    }

    async fn take(&self) -> Result<ResourceSample> {
        let running = control::running_everywhere(&self.home).await;
        self.sampler.sample(self.engine_names.clone(), running).await
    }
}

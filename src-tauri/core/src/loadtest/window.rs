//! The load test that a window shows: one at a time, in the background.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{LoadRequest, LoadState, load_test};
use crate::{CoreEvent, Error, Result, Tektra};

/// The load test of this process.
#[derive(Debug, Default)]
pub(crate) struct Running {
    state: Mutex<LoadState>,
    stop: watch::Sender<bool>,
}

impl Running {
    fn state(&self) -> MutexGuard<'_, LoadState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tektra {
    /// Begins a load test on the model in use; [`CoreEvent::LoadtestChanged`] tells how far it is.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for absurd numbers or while a benchmark or another test runs; why there is no model.
    pub async fn loadtest_start(&self, request: LoadRequest) -> Result<()> {
        request.check()?;
        let busy = |what: &str| Err(Error::InvalidInput { what: what.into() });
        if self.bench_state().is_some() {
            return busy("A benchmark is running: the two would measure each other. Wait for it, or stop it.");
        }
        let model = self.model(&self.effective_settings().await?).await?;
        {
            let mut state = self.loadtest().state();
            if matches!(*state, LoadState::Running { .. }) {
                return busy("A load test is running already. Wait for it, or stop it.");
            }
            let (request, model) = (request.clone(), model.name.clone());
            *state = LoadState::Running { request, model, progress: super::LoadProgress::default() };
        }
        self.loadtest().stop.send_replace(false);
        let tektra = self.clone();
        tokio::spawn(async move {
            let told = |now| {
                if let LoadState::Running { progress, .. } = &mut *tektra.loadtest().state() {
                    *progress = now;
                }
                tektra.tell_loadtest();
            };
            let stop = tektra.loadtest().stop.subscribe();
            // Each test other arrivals: what holds for one sequence alone would be luck.
            let tested = load_test(tektra.engine(), &model, &request, fastrand::u64(..), told, stop).await;
            *tektra.loadtest().state() = match tested {
                Ok(report) => LoadState::Over { report: Box::new(report) },
                Err(error) => LoadState::Failed { request, error: error.report() },
            };
            tektra.tell_loadtest();
        });
        Ok(())
    }

    /// Ends the load test: no more requests come, and those that are being answered are stopped.
    pub fn loadtest_cancel(&self) {
        self.loadtest().stop.send_replace(true);
    }

    /// How far the load test is, or what came of the last one.
    pub fn loadtest_state(&self) -> LoadState {
        self.loadtest().state().clone()
    }

    fn loadtest(&self) -> &Running {
        &self.0.loadtest
    }

    fn tell_loadtest(&self) {
        self.emit(CoreEvent::LoadtestChanged { state: self.loadtest_state() });
    }
}

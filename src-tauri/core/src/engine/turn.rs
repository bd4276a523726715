//! Answers that wait and answers that are written, as the state tells them.

use std::sync::{Arc, atomic::Ordering};

use tokio::sync::OwnedSemaphorePermit;

use super::{Engine, Process, loaded};
use crate::event::{EngineState, LoadedModel};

/// While it lives, the engine is thinking.
pub(super) struct Thinking {
    engine: Engine,
    model: LoadedModel,
    process: Arc<Process>,
    _turn: OwnedSemaphorePermit,
}

impl Thinking {
    pub(super) fn new(engine: Engine, process: &Arc<Process>, turn: OwnedSemaphorePermit) -> Self {
        let model = loaded(process);
        let waiting = engine.0.waiting.load(Ordering::Relaxed);
        engine.0.state.send_replace(EngineState::Thinking { model: model.clone(), waiting });
        Self { engine, model, process: process.clone(), _turn: turn }
    }
}

impl Drop for Thinking {
    fn drop(&mut self) {
        let thinking = matches!(*self.engine.0.state.borrow(), EngineState::Thinking { .. });
        // This one's turn is still taken.
        let last = self.process.turns.available_permits() + 1 >= self.process.loaded.parallel.max(1) as usize;
        if thinking && last && self.process.how_ended().is_none() {
            self.engine.0.state.send_replace(EngineState::Ready { model: self.model.clone() });
        }
    }
}

/// While it lives, one more answer waits.
pub(super) struct Waiting(Engine);

impl Waiting {
    pub(super) fn new(engine: Engine) -> Self {
        engine.0.waiting.fetch_add(1, Ordering::Relaxed);
        engine.recount();
        Self(engine)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.recount();
    }
}

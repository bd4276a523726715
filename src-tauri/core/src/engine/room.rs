//! Room for models: what a load needs, who makes way for it, and what an unload gives back.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use tektra_models::{Plan, fit};

use super::{Engine, Process, ms};
use crate::{
    Error, Result,
    event::{UnloadReason, Unloaded},
    models::{Memory, Model, mib, resident_bytes},
};

/// A model that has no room for even this long a conversation is of no use, in tokens.
const SHORTEST_CONTEXT: u32 = 2048;
/// The system hands pages back a moment after a process has gone.
const MEMORY_SETTLES: Duration = Duration::from_millis(100);

impl Engine {
    /// Unloads models, the longest unused first, until `model` fits beside the others.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] when it fits beside none; everything stays as it was then, but for what was unloaded.
    pub(super) async fn make_room(&self, model: &Model, processes: &mut Vec<Arc<Process>>) -> Result<()> {
        let plan = Plan::cpu(model.context_length.clamp(1, SHORTEST_CONTEXT));
        let plan = Plan { kept_kv_bytes: 0, ..plan };
        let need = self.corrections().apply(&model.architecture, &fit(&model.facts, &plan));
        // Nobody is asked to go for a model that would not fit then either.
        let given_back: u64 = processes.iter().filter_map(|process| resident_bytes(process.pid)).sum();
        let free_bytes = Memory::now().available_bytes.saturating_add(given_back);
        if need.total_bytes > free_bytes {
            let (need_mib, free_mib) = (mib(need.total_bytes), mib(free_bytes));
            return Err(Error::DoesNotFit { name: model.name.clone(), need_mib, free_mib });
        }
        while !processes.is_empty() && need.total_bytes > Memory::now().available_bytes {
            let process = processes.remove(0);
            self.unload_process(&process, UnloadReason::MadeRoom { model: model.name.clone() }).await;
        }
        Ok(())
    }

    /// Ends a process after the answers that it is writing, and measures what that gave back.
    pub(super) async fn unload_process(&self, process: &Process, why: UnloadReason) -> Unloaded {
        // Those who wait for a turn come back and wait for one of another process.
        let _all = process.turns.acquire_many(process.loaded.parallel.max(1)).await;
        let (begun, before) = (Instant::now(), Memory::now());
        let resident_before = resident_bytes(process.pid).unwrap_or_default();
        process.end().await;
        let took_ms = ms(begun);
        tokio::time::sleep(MEMORY_SETTLES).await;
        let after = Memory::now();
        let unloaded = Unloaded {
            model: process.model.name.clone(),
            why,
            resident_before_mib: mib(resident_before),
            resident_after_mib: mib(resident_bytes(process.pid).unwrap_or_default()),
            available_before_mib: mib(before.available_bytes),
            available_after_mib: mib(after.available_bytes),
            given_back_mib: mib(after.available_bytes.saturating_sub(before.available_bytes)),
            took_ms,
        };
        tracing::info!(?unloaded, "unloaded");
        // Nobody listening is no failure.
        let _ = self.0.unloads.send(unloaded.clone());
        unloaded
    }

    /// Compares what a fresh process holds with what was predicted.
    pub(super) fn learn(&self, process: &Process) {
        let need = fit(&process.model.facts, &Plan { kept_kv_bytes: 0, ..Plan::cpu(1) });
        let Some(measured) = process.resident_bytes else { return };
        let mut corrections = self.0.corrections.lock().unwrap_or_else(PoisonError::into_inner);
        corrections.learn(&process.model.architecture, need.executor, need.held_bytes(), measured);
    }
}

//! Room for models: what a load needs, who makes way for it, and what an unload gives back.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use tektra_models::{Corrections, Devices, KEPT_KV_BYTES, PlaceOf, Placement, Plan, fit};

use super::{Engine, Process, ms, process::SHORTEST_CONTEXT};
use crate::{
    Error, Result,
    devices::devices_now,
    event::{UnloadReason, Unloaded},
    metrics,
    models::{
        Memory, Model, mib,
        placement::{self, PlacementWish},
        resident_bytes,
    },
    resources::ResourceSample,
};

/// The system hands pages back a moment after a process has gone.
const MEMORY_SETTLES: Duration = Duration::from_millis(100);

impl Engine {
    /// The devices of this machine as they are now.
    pub async fn devices(&self) -> Devices {
        devices_now(&self.0.options).await
    }

    /// The devices as they would be without the loaded models that are `gone`.
    pub(crate) async fn devices_without(&self, gone: impl Fn(&Model) -> bool) -> Devices {
        let mut devices = self.devices().await;
        // While a model is being loaded nobody knows what it will hold.
        if let Ok(processes) = self.0.processes.try_lock() {
            let held = processes.iter().filter(|process| gone(&process.model));
            let held: u64 = held.filter_map(|process| resident_bytes(process.pid)).sum();
            devices.ram_free_bytes = devices.ram_free_bytes.saturating_add(held);
        }
        devices
    }

    /// Unloads models, the longest unused first, until `model` fits beside the others, and says where its layers go.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] when it fits beside none, [`Error::ModelUnusable`] when it cannot be placed as wished;
    /// everything stays as it was then, but for what was unloaded.
    pub(super) async fn make_room(&self, model: &Model, processes: &mut Vec<Arc<Process>>) -> Result<Placement> {
        let corrections = self.corrections();
        let mut devices = devices_now(&self.0.options).await;
        placement::check(model, &placement::placed(model, &devices, &corrections, 0))?;
        // The same model placed otherwise makes way in any case.
        while let Some(index) = processes.iter().position(|process| process.model.path == model.path) {
            self.unload_process(&processes.remove(index), UnloadReason::Asked).await;
            devices = devices_now(&self.0.options).await;
        }
        let given_back: u64 = processes.iter().filter_map(|process| resident_bytes(process.pid)).sum();
        let most = Devices { ram_free_bytes: devices.ram_free_bytes.saturating_add(given_back), ..devices.clone() };
        while let Some(lacking) = lack(model, &devices, &corrections) {
            // Nobody is asked to go for a model that would not fit then either.
            let hopeless = lack(model, &most, &corrections).filter(|still| still.of_ram);
            if let Some(lack) = hopeless.or(processes.is_empty().then_some(lacking)) {
                let (need_mib, free_mib) = (mib(lack.need_bytes), mib(lack.free_bytes));
                return Err(Error::DoesNotFit { name: model.name.clone(), need_mib, free_mib });
            }
            let process = processes.remove(0);
            self.unload_process(&process, UnloadReason::MadeRoom { model: model.name.clone() }).await;
            devices = devices_now(&self.0.options).await;
        }
        Ok(placement::placed(model, &devices, &corrections, KEPT_KV_BYTES))
    }

    /// The metrics of this process in the text format of Prometheus, with the machine as it is in `sample`.
    pub(crate) async fn metrics(&self, sample: Option<&ResourceSample>) -> String {
        let resident_bytes = Some(self.running().iter().filter_map(|process| resident_bytes(process.pid)).sum());
        let told = self.told_metrics().await;
        metrics::text(&metrics::Now { waiting: self.waiting(), resident_bytes, sample }, &told)
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
        metrics::unloaded(&unloaded);
        // Nobody listening is no failure.
        let _ = self.0.unloads.send(unloaded.clone());
        unloaded
    }

    /// Compares what a fresh process holds with what was predicted, where all of it is in RAM.
    pub(super) fn learn(&self, process: &Process, placement: &Placement) {
        if placement.devices.iter().any(|on| on.device != PlaceOf::Cpu) {
            return;
        }
        let need = fit(&process.model.facts, &Plan { kept_kv_bytes: 0, ..Plan::cpu(1) });
        let Some(measured) = process.resident_bytes else { return };
        let mut corrections = self.0.corrections.lock().unwrap_or_else(PoisonError::into_inner);
        corrections.learn(&process.model.architecture, need.executor, need.held_bytes(), measured);
    }
}

/// What is missing on a device.
struct Lack {
    need_bytes: u64,
    free_bytes: u64,
    of_ram: bool,
}

/// What the shortest conversation that is of any use lacks; `None` when it fits.
fn lack(model: &Model, devices: &Devices, corrections: &Corrections) -> Option<Lack> {
    let context_tokens = Some(model.context_length.clamp(1, SHORTEST_CONTEXT));
    let shortest = model.clone().placed(PlacementWish { context_tokens, ..model.wish.clone() });
    let placement = placement::placed(&shortest, devices, corrections, 0);
    let lack = placement.devices.iter().find(|on| !on.fits)?;
    let parts = [lack.weights_bytes, lack.kv_bytes, lack.compute_bytes, lack.reserve_bytes];
    Some(Lack {
        need_bytes: parts.iter().fold(0, |sum, part| part.saturating_add(sum)),
        free_bytes: lack.free_bytes,
        of_ram: lack.device == PlaceOf::Cpu,
    })
}

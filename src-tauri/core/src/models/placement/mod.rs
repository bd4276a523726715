//! Where a model is computed: what the person wishes, and what comes of it on this machine.

mod words;

use std::collections::HashMap;

use serde_json::{Map, Value};
use tektra_models::{
    Corrections, Devices, KEPT_KV_BYTES, PlaceOf, Placement, Plan, Wish, fit, fits, max_context, place,
};
use tektra_protocol::LayersOn;

use super::Model;
use crate::{Error, Result, Store, settings::over_default};
pub use words::{DeviceInfo, DeviceShare, DeviceWish, DtypeWish, KvWish, PlacementPlan, PlacementWish, Refusal};

/// Name of the models' placements in the store.
const NAME: &str = "placements";

impl Store {
    /// What was wished for each model, by its name.
    pub async fn placements(&self) -> Result<HashMap<String, PlacementWish>> {
        let stored: HashMap<String, Map<String, Value>> = self.setting(NAME).await?.unwrap_or_default();
        Ok(stored.into_iter().map(|(name, wish)| (name, over_default(wish))).collect())
    }

    /// Keeps what is wished for the model `name`; a wish for nothing special is forgotten.
    pub async fn set_placement(&self, name: &str, wish: &PlacementWish) -> Result<()> {
        let mut all = self.placements().await?;
        if *wish == PlacementWish::default() {
            all.remove(name);
        } else {
            all.insert(name.into(), wish.clone());
        }
        self.set_setting(NAME, &all).await
    }
}

/// Places `model` on `devices` as its wish says, with what loads have taught; `kept_kv_bytes` as in [`Plan`].
pub(crate) fn placed(model: &Model, devices: &Devices, corrections: &Corrections, kept_kv_bytes: u64) -> Placement {
    let mut placement = place(&model.facts, &Wish::from(&model.wish), devices);
    let [on] = placement.devices.as_mut_slice() else { return placement };
    if on.device != PlaceOf::Cpu {
        return placement;
    }
    let plan = Plan {
        kv: placement.kv,
        kept_kv_bytes,
        reserve_bytes: on.reserve_bytes,
        ..Plan::cpu(placement.context_tokens)
    };
    let plain = fit(&model.facts, &plan);
    let need = corrections.apply(&model.architecture, &plain);
    (on.weights_bytes, on.kv_bytes, on.compute_bytes) = (need.weights_bytes, need.kv_bytes, need.compute_bytes);
    on.fits = fits(&need, on.free_bytes);
    placement.fits = on.fits;
    // What earlier loads needed beyond the prediction is not there for a longer context.
    let beyond = need.total_bytes.saturating_sub(plain.total_bytes);
    placement.max_context = max_context(&model.facts, &plan, on.free_bytes.saturating_sub(beyond));
    placement
}

/// As [`placed`], for the page.
pub(crate) fn plan(model: &Model, devices: &Devices, corrections: &Corrections) -> PlacementPlan {
    PlacementPlan::new(model, devices, placed(model, devices, corrections, KEPT_KV_BYTES))
}

/// The layers as the engine is told.
pub(crate) fn layers(placement: &Placement) -> Vec<LayersOn> {
    let on = |placed: &tektra_models::Placed| LayersOn {
        gpu: match placed.device {
            PlaceOf::Cpu => None,
            PlaceOf::Gpu { index } => Some(index),
        },
        layers: placed.layers.len() as u32,
    };
    placement.devices.iter().map(on).collect()
}

/// # Errors
/// [`Error::ModelUnusable`] with the first reason why the placement is refused.
pub(crate) fn check(model: &Model, placement: &Placement) -> Result<()> {
    match placement.refused.first() {
        None => Ok(()),
        Some(problem) => Err(Error::ModelUnusable {
            name: model.name.clone(),
            reason: problem.reason.clone(),
            hint: problem.hint.clone(),
        }),
    }
}

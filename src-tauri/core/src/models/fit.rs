//! Whether a model fits, before it is loaded.

use serde::Serialize;
use specta::Type;
use tektra_models::{Basis, Corrections, Devices, Executor, KEPT_KV_BYTES, Placed, Runs};

use super::{
    Model,
    placement::{check, placed},
};
use crate::{Result, Store};

/// Name of what loads have taught, in the store.
const NAME: &str = "memory_corrections";

impl Store {
    /// What loads have taught about the memory that models need.
    pub async fn corrections(&self) -> Result<Corrections> {
        Ok(self.setting(NAME).await?.unwrap_or_default())
    }

    /// Keeps it.
    pub(crate) async fn set_corrections(&self, corrections: &Corrections) -> Result<()> {
        self.set_setting(NAME, corrections).await
    }
}

/// What a model needs of this machine's memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FitReport {
    /// The weights in the executor's form.
    pub weights_bytes: u64,
    /// Keys and values of a conversation as long as asked for, and of those that are kept.
    pub kv_bytes: u64,
    /// Buffers, tokenizer, the process.
    pub compute_bytes: u64,
    /// Left to the rest of the machine.
    pub reserve_bytes: u64,
    /// All of it.
    pub total_bytes: u64,
    /// What is free now.
    pub free_bytes: u64,
    /// Whether it fits.
    pub fits: bool,
    /// The longest context in tokens that fits; 0 when not even the shortest does.
    pub max_context: u32,
    /// The context that this is for, in tokens.
    pub context_tokens: u32,
    /// Whether the parts are counted from what the executor does, or estimated.
    pub basis: Basis,
    /// Loads from which the figures were corrected.
    pub corrected_by_loads: usize,
}

impl FitReport {
    /// What `model` needs on `devices` for `context_tokens` (its wish, else its own limit, when absent), after what
    /// earlier loads taught.
    ///
    /// # Errors
    /// [`Error::ModelUnusable`] when it cannot be placed as it is wished.
    pub fn new(
        model: &Model,
        context_tokens: Option<u32>,
        corrections: &Corrections,
        devices: &Devices,
    ) -> Result<Self> {
        let mut model = model.clone();
        let wished = context_tokens.or(model.wish.context_tokens);
        model.wish.context_tokens = Some(wished.unwrap_or(model.context_length));
        let placement = placed(&model, devices, corrections, KEPT_KV_BYTES);
        check(&model, &placement)?;
        let sum = |of: fn(&Placed) -> u64| placement.devices.iter().map(of).fold(0, u64::saturating_add);
        let [weights_bytes, kv_bytes, compute_bytes, reserve_bytes] =
            [sum(|on| on.weights_bytes), sum(|on| on.kv_bytes), sum(|on| on.compute_bytes), sum(|on| on.reserve_bytes)];
        let counted = placement.executor == Executor::TektraCpu && model.facts.runs == Runs::TektraCpu;
        Ok(Self {
            weights_bytes,
            kv_bytes,
            compute_bytes,
            reserve_bytes,
            total_bytes: [weights_bytes, kv_bytes, compute_bytes, reserve_bytes].iter().sum(),
            free_bytes: sum(|on| on.free_bytes),
            fits: placement.fits,
            max_context: placement.max_context.unwrap_or(0),
            context_tokens: placement.context_tokens,
            basis: if counted { Basis::Counted } else { Basis::Estimated },
            corrected_by_loads: corrections.of(&model.architecture, placement.executor).samples(),
        })
    }
}

/// A [`FitReport`] as the page shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct FitSummary {
    /// The weights in the executor's form, in MiB.
    pub weights_mib: f64,
    /// Keys and values, in MiB.
    pub kv_mib: f64,
    /// Buffers, tokenizer, the process, in MiB.
    pub compute_mib: f64,
    /// Left to the rest of the machine, in MiB.
    pub reserve_mib: f64,
    /// All of it, in MiB.
    pub total_mib: f64,
    /// What is free now, in MiB.
    pub free_mib: f64,
    /// Whether it fits.
    pub fits: bool,
    /// The longest context in tokens that fits; 0 when not even the shortest does.
    pub max_context: u32,
    /// The context that this is for, in tokens.
    pub context_tokens: u32,
    /// Whether the parts are an estimate rather than counted from what the executor does.
    pub is_estimate: bool,
    /// Loads from which the figures were corrected.
    pub corrected_by_loads: u32,
}

impl From<FitReport> for FitSummary {
    fn from(report: FitReport) -> Self {
        let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
        Self {
            weights_mib: mib(report.weights_bytes),
            kv_mib: mib(report.kv_bytes),
            compute_mib: mib(report.compute_bytes),
            reserve_mib: mib(report.reserve_bytes),
            total_mib: mib(report.total_bytes),
            free_mib: mib(report.free_bytes),
            fits: report.fits,
            max_context: report.max_context,
            context_tokens: report.context_tokens,
            is_estimate: report.basis == Basis::Estimated,
            corrected_by_loads: report.corrected_by_loads as u32,
        }
    }
}

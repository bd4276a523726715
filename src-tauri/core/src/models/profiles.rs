//! Fast, Balanced, Quality, from what is installed, what fits and what was measured.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use specta::Type;
use tektra_models::{Candidate, Devices, Goal, Machine, Profile, Runs, Speed, profiles};

use super::{Library, Memory, PlacementWish};
use crate::{Receipt, Result, Store};

/// Shorter answers and prompts tell little about speed, in tokens.
const FEWEST_TOKENS: u32 = 16;

/// What a profile is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum ProfileGoal {
    /// The shortest wait.
    Fast,
    /// The best answers that come twice as fast as a person reads.
    Balanced,
    /// The best answers.
    Quality,
}

impl From<Goal> for ProfileGoal {
    fn from(goal: Goal) -> Self {
        match goal {
            Goal::Fast => Self::Fast,
            Goal::Balanced => Self::Balanced,
            Goal::Quality => Self::Quality,
        }
    }
}

/// A model with the settings that suit a goal.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct ProfileSummary {
    /// What for.
    pub goal: ProfileGoal,
    /// The model's name.
    pub model: String,
    /// The type that holds most of its weights.
    pub quantization: String,
    /// Tokens of a conversation.
    pub context_tokens: u32,
    /// Where it is computed, in words.
    pub placement: String,
    /// The memory that it needs, reserve included, in MiB.
    pub need_mib: f64,
    /// How fast it writes.
    pub tokens_per_second: f64,
    /// Until the first token of the answer to a first message, in milliseconds.
    pub first_token_ms: f64,
    /// Whether the speeds were measured here, or are estimates.
    pub measured: bool,
    /// The profile before this that is the same.
    pub same_as: Option<ProfileGoal>,
    /// Whether the settings are this now.
    pub applied: bool,
}

impl ProfileSummary {
    pub(crate) fn new(profile: Profile, used: Option<&str>, placements: &HashMap<String, PlacementWish>) -> Self {
        let context = placements.get(&profile.model).and_then(|wish| wish.context_tokens);
        Self {
            goal: profile.goal.into(),
            applied: used == Some(profile.model.as_str()) && context == Some(profile.context_tokens),
            quantization: profile.quantization,
            context_tokens: profile.context_tokens,
            placement: profile.placement,
            need_mib: profile.need.total_bytes as f64 / 1_048_576.0,
            tokens_per_second: profile.tokens_per_second,
            first_token_ms: profile.first_token_ms,
            measured: profile.measured,
            same_as: profile.same_as.map(Into::into),
            model: profile.model,
        }
    }
}

/// The profiles for this machine with its `devices` as they are now. Reads the beginning of every model.
pub fn profiles_now(library: &Library, devices: &Devices, measured: &HashMap<String, Speed>) -> Vec<Profile> {
    let memory = Memory::now();
    let machine =
        Machine { ram_free_bytes: devices.ram_free_bytes, ram_total_bytes: memory.total_bytes, ..Machine::default() };
    let usable = library.scan().models.into_iter().filter_map(|found| {
        let facts = found.facts.filter(|facts| matches!(facts.runs, Runs::TektraCpu | Runs::MistralRs))?;
        Some(Candidate { measured: measured.get(&found.name).copied(), name: found.name, facts })
    });
    profiles(&machine, devices, &usable.collect::<Vec<_>>())
}

impl Store {
    /// How fast each model was in its latest benchmark, else in the latest answers: medians.
    pub async fn measured_speeds(&self) -> Result<HashMap<String, Speed>> {
        let mut speeds: HashMap<String, [Vec<f64>; 2]> = HashMap::new();
        for receipt in self.latest_receipts().await? {
            let Receipt { model, prefill_tokens_per_second: prefill, decode_tokens_per_second: decode, .. } = receipt;
            let [prefills, decodes] = speeds.entry(model).or_default();
            prefills.extend(prefill.filter(|_| receipt.prompt_tokens - receipt.cached_tokens >= FEWEST_TOKENS));
            decodes.extend(decode.filter(|_| receipt.completion_tokens >= FEWEST_TOKENS));
        }
        let both = |[prefills, decodes]: [Vec<f64>; 2]| {
            Some(Speed { prefill_tokens_per_second: median(prefills)?, decode_tokens_per_second: median(decodes)? })
        };
        let mut speeds: HashMap<_, _> =
            speeds.into_iter().filter_map(|(model, speeds)| Some((model, both(speeds)?))).collect();
        // A benchmark says more than answers of all lengths on a busy machine.
        speeds.extend(self.bench_speeds().await?);
        Ok(speeds)
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

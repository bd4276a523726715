//! Fast, Balanced, Quality, from what is installed, what fits and what was measured.

use std::collections::HashMap;

use tektra_models::{Candidate, Machine, Profile, Runs, Speed, profiles};

use super::{Library, Memory};
use crate::{Receipt, Result, Store};

/// Shorter answers and prompts tell little about speed, in tokens.
const FEWEST_TOKENS: u32 = 16;

/// The profiles for this machine as it is now. Reads the beginning of every model.
pub fn profiles_now(library: &Library, measured: &HashMap<String, Speed>) -> Vec<Profile> {
    let memory = Memory::now();
    let machine =
        Machine { ram_free_bytes: memory.available_bytes, ram_total_bytes: memory.total_bytes, ..Machine::default() };
    let usable = library.scan().models.into_iter().filter_map(|found| {
        let facts = found.facts.filter(|facts| matches!(facts.runs, Runs::TektraCpu | Runs::MistralRs))?;
        Some(Candidate { measured: measured.get(&found.name).copied(), name: found.name, facts })
    });
    profiles(&machine, &usable.collect::<Vec<_>>())
}

impl Store {
    /// How fast each model was in the latest answers: medians.
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
        Ok(speeds.into_iter().filter_map(|(model, speeds)| Some((model, both(speeds)?))).collect())
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

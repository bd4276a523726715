//! What measured loads teach about predicted ones.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{facts::Executor, fit::Need};

/// Measured / predicted of the last loads of one kind.
///
/// The factor is the median of the samples and of two predictions that came true, so that one odd load, the first
/// included, never moves it, and three that agree do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Correction {
    samples: Vec<f64>,
}

/// Samples that are kept.
const MOST_SAMPLES: usize = 9;

/// No prediction is believed to be further off; a measurement that says so measured something else.
const LEAST: f64 = 0.5;
const MOST: f64 = 2.0;

impl Correction {
    /// What predictions are to be multiplied with: from 0.5 to 2.
    pub fn factor(&self) -> f64 {
        // Stored samples may have been written by anything.
        let sound = self.samples.iter().copied().filter(|sample| sample.is_finite());
        let mut samples: Vec<f64> = sound.map(|sample| sample.clamp(LEAST, MOST)).chain([1.0, 1.0]).collect();
        samples.sort_by(f64::total_cmp);
        let middle = samples.len() / 2;
        if samples.len().is_multiple_of(2) {
            f64::midpoint(samples[middle - 1], samples[middle])
        } else {
            samples[middle]
        }
    }

    /// Loads that it was learned from.
    pub fn samples(&self) -> usize {
        self.samples.len()
    }

    /// Takes a load into account: what was predicted (of [`Need::held_bytes`], not corrected) and what was measured.
    pub fn learn(&mut self, predicted_bytes: u64, measured_bytes: u64) {
        if predicted_bytes == 0 || measured_bytes == 0 {
            return;
        }
        self.samples.push((measured_bytes as f64 / predicted_bytes as f64).clamp(LEAST, MOST));
        if self.samples.len() > MOST_SAMPLES {
            self.samples.drain(..self.samples.len() - MOST_SAMPLES);
        }
    }

    /// The need as experience has it. What is left to the machine stays.
    pub fn apply(&self, need: &Need) -> Need {
        let factor = self.factor();
        let times = |bytes: u64| (bytes as f64 * factor) as u64;
        let (weights_bytes, kv_bytes, compute_bytes) =
            (times(need.weights_bytes), times(need.kv_bytes), times(need.compute_bytes));
        let held = weights_bytes.saturating_add(kv_bytes).saturating_add(compute_bytes);
        Need {
            weights_bytes,
            kv_bytes,
            compute_bytes,
            total_bytes: held.saturating_add(need.reserve_bytes),
            peak_resident_bytes: times(need.peak_resident_bytes),
            ..*need
        }
    }
}

/// A [`Correction`] for each architecture and executor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Corrections(BTreeMap<String, BTreeMap<Executor, Correction>>);

impl Corrections {
    /// Takes a load into account; see [`Correction::learn`].
    pub fn learn(&mut self, architecture: &str, executor: Executor, predicted_bytes: u64, measured_bytes: u64) {
        let of_architecture = self.0.entry(architecture.into()).or_default();
        of_architecture.entry(executor).or_default().learn(predicted_bytes, measured_bytes);
    }

    /// What was learned; nothing yet where nothing was measured.
    pub fn of(&self, architecture: &str, executor: Executor) -> Correction {
        let of_architecture = self.0.get(architecture);
        of_architecture.and_then(|executors| executors.get(&executor)).cloned().unwrap_or_default()
    }

    /// The need of a model of `architecture` as experience has it.
    pub fn apply(&self, architecture: &str, need: &Need) -> Need {
        self.of(architecture, need.executor).apply(need)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::Basis;

    fn learned(ratios: &[f64]) -> Correction {
        let mut correction = Correction::default();
        for ratio in ratios {
            correction.learn(1_000_000, (ratio * 1e6) as u64);
        }
        correction
    }

    #[test]
    fn one_odd_load_changes_nothing_and_three_that_agree_do() {
        assert_eq!(learned(&[]).factor(), 1.0);
        assert_eq!(learned(&[1.9]).factor(), 1.0);
        assert_eq!(learned(&[1.2, 1.2, 1.2]).factor(), 1.2);
        assert_eq!(learned(&[1.2, 1.2, 1.2, 0.1]).factor(), learned(&[1.2, 1.2, 1.2, 1.0]).factor());
        assert_eq!(learned(&[1.1, 1.1, 1.1, 1.1, 9.0]).factor(), 1.1);
    }

    #[test]
    fn it_stays_in_bounds_and_forgets() {
        assert_eq!(learned(&[50.0; 8]).factor(), 2.0);
        assert_eq!(learned(&[0.01; 8]).factor(), 0.5);
        let mut correction = learned(&[2.0; 20]);
        assert_eq!(correction.samples(), 9);
        for _ in 0..9 {
            correction.learn(100, 100);
        }
        assert_eq!(correction.factor(), 1.0);
        correction.learn(0, 5);
        correction.learn(5, 0);
        assert_eq!(correction.samples(), 9);
    }

    #[test]
    fn what_was_stored_is_learned_still_and_nonsense_does_no_harm() {
        let mut corrections = Corrections::default();
        for _ in 0..4 {
            corrections.learn("llama", Executor::TektraCpu, 1000, 1300);
        }
        let stored = serde_json::to_string(&corrections).unwrap();
        let again: Corrections = serde_json::from_str(&stored).unwrap();
        assert_eq!(again, corrections);
        assert_eq!(again.of("llama", Executor::TektraCpu).factor(), 1.3);
        assert_eq!(again.of("llama", Executor::MistralRsCpu).factor(), 1.0);
        let broken: Corrections =
            serde_json::from_str(r#"{"llama":{"tektra-cpu":{"samples":[1e300,-5,7,9]}}}"#).unwrap();
        assert!((0.5..=2.0).contains(&broken.of("llama", Executor::TektraCpu).factor()));
    }

    #[test]
    fn what_is_left_to_the_machine_is_not_corrected() {
        let need = Need {
            weights_bytes: 1000,
            kv_bytes: 500,
            compute_bytes: 100,
            reserve_bytes: 70,
            total_bytes: 1670,
            peak_resident_bytes: 2000,
            executor: Executor::TektraCpu,
            basis: Basis::Counted,
        };
        let corrected = learned(&[1.5; 9]).apply(&need);
        assert_eq!((corrected.weights_bytes, corrected.kv_bytes, corrected.compute_bytes), (1500, 750, 150));
        assert_eq!((corrected.reserve_bytes, corrected.total_bytes), (70, 2470));
    }
}

//! What a GPU's driver tells while one process measures on it.

use std::time::{Duration, Instant};

use nvml_wrapper::{Nvml, bitmasks::device::ThrottleReasons};

/// The driver's counter of energy moves every tenth of a second (on an H200): over less than this it would tell its steps.
const SHORTEST_STRETCH: Duration = Duration::from_millis(500);

/// What makes a GPU slower than it is.
const SLOWED: ThrottleReasons = ThrottleReasons::HW_SLOWDOWN
    .union(ThrottleReasons::HW_THERMAL_SLOWDOWN)
    .union(ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN)
    .union(ThrottleReasons::SW_THERMAL_SLOWDOWN);

/// Watches a GPU. Asking the driver takes far less than a millisecond.
pub(super) struct GpuWatch {
    nvml: Nvml,
    index: u32,
    used_before_bytes: u64,
    peak_bytes: u64,
    stretch: Option<Stretch>,
    was_slowed: bool,
}

impl GpuWatch {
    /// Begins to watch the GPU of this number; `None` where the driver tells nothing.
    pub(super) fn begin(index: u32) -> Option<Self> {
        let nvml = Nvml::init().ok()?;
        let used_before_bytes = nvml.device_by_index(index).ok()?.memory_info().ok()?.used;
        Some(Self { nvml, index, used_before_bytes, peak_bytes: 0, stretch: None, was_slowed: false })
    }

    /// Looks at what changes while it measures.
    pub(super) fn look(&mut self) {
        let Ok(device) = self.nvml.device_by_index(self.index) else { return };
        if let Ok(memory) = device.memory_info() {
            self.peak_bytes = self.peak_bytes.max(memory.used.saturating_sub(self.used_before_bytes));
        }
        self.was_slowed |= device.current_throttle_reasons().is_ok_and(|reasons| reasons.intersects(SLOWED));
    }

    /// From now on energy is counted.
    pub(super) fn begin_stretch(&mut self) {
        self.stretch = self.counter_mj().map(|counter_mj| Stretch::begin(Instant::now(), counter_mj));
    }

    /// Takes in a repetition of so many tokens that has just ended, and what the processor took for it; what each token
    /// took, now and then.
    pub(super) fn energy(&mut self, tokens: f64, processor_joules: Option<f64>) -> Option<TokenEnergy> {
        let counter_mj = self.counter_mj()?;
        let found = self.stretch.as_mut()?.add(Instant::now(), counter_mj, tokens, processor_joules)?;
        self.begin_stretch();
        Some(found)
    }

    /// Millijoules since the driver was loaded.
    fn counter_mj(&self) -> Option<u64> {
        self.nvml.device_by_index(self.index).ok()?.total_energy_consumption().ok()
    }

    /// What was noticed, in a sentence that is the same each time.
    pub(super) fn mark(&self) -> Option<String> {
        self.was_slowed.then(|| "The GPU was too hot or short of power, and slower for it.".into())
    }

    /// The most memory that was taken of it beyond what was taken before.
    pub(super) fn peak_mib(&self) -> Option<f64> {
        (self.peak_bytes > 0).then_some(self.peak_bytes as f64 / f64::from(1 << 20))
    }
}

/// Joules for each token.
#[derive(Debug, PartialEq)]
pub(super) struct TokenEnergy {
    pub(super) gpu_joules: f64,
    /// With the processor's, where they are known.
    pub(super) all_joules: Option<f64>,
}

/// Repetitions that follow one another, long enough to read the energy that they took.
struct Stretch {
    begun: Instant,
    /// The GPU's counter, in millijoules since the driver was loaded.
    begun_mj: u64,
    tokens: f64,
    processor_joules: Option<f64>,
}

impl Stretch {
    fn begin(begun: Instant, begun_mj: u64) -> Self {
        Self { begun, begun_mj, tokens: 0.0, processor_joules: Some(0.0) }
    }

    /// Adds a repetition that ended `now`, where the counter stands at `counter_mj`.
    fn add(
        &mut self,
        now: Instant,
        counter_mj: u64,
        tokens: f64,
        processor_joules: Option<f64>,
    ) -> Option<TokenEnergy> {
        self.tokens += tokens;
        self.processor_joules = self.processor_joules.zip(processor_joules).map(|(before, more)| before + more);
        if now.duration_since(self.begun) < SHORTEST_STRETCH {
            return None;
        }
        let gpu_joules = counter_mj.checked_sub(self.begun_mj)? as f64 / 1e3;
        let all_joules = self.processor_joules.map(|processor| (gpu_joules + processor) / self.tokens);
        Some(TokenEnergy { gpu_joules: gpu_joules / self.tokens, all_joules })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energy_is_told_of_long_stretches_and_with_the_processors_only_where_all_is_known() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let mut stretch = Stretch::begin(begun, 5_000);
        assert_eq!(stretch.add(at(200), 5_000, 100.0, Some(2.0)), None, "the counter has not moved yet");
        assert_eq!(stretch.add(at(400), 45_000, 100.0, Some(3.0)), None);
        let found = stretch.add(at(600), 65_000, 100.0, Some(1.0));
        assert_eq!(found, Some(TokenEnergy { gpu_joules: 0.2, all_joules: Some(0.22) }));

        let mut unknown = Stretch::begin(begun, 0);
        assert_eq!(unknown.add(at(300), 10_000, 50.0, None), None);
        let found = unknown.add(at(500), 20_000, 50.0, Some(1.0));
        assert_eq!(found, Some(TokenEnergy { gpu_joules: 0.2, all_joules: None }), "no half of the processor's");
        assert_eq!(Stretch::begin(begun, 9).add(at(2_000), 3, 1.0, None), None, "a counter that began anew");
    }
}

//! What a GPU's driver tells while one process measures on it.

use nvml_wrapper::{Nvml, bitmasks::device::ThrottleReasons};

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
    /// Since the driver was loaded, in millijoules, when it was last looked.
    energy_mj: Option<u64>,
    was_slowed: bool,
}

impl GpuWatch {
    /// Begins to watch the GPU of this number; `None` where the driver tells nothing.
    pub(super) fn begin(index: u32) -> Option<Self> {
        let nvml = Nvml::init().ok()?;
        let used_before_bytes = nvml.device_by_index(index).ok()?.memory_info().ok()?.used;
        Some(Self { nvml, index, used_before_bytes, peak_bytes: 0, energy_mj: None, was_slowed: false })
    }

    /// Looks at it, and returns the energy in joules since it was last looked, where the driver tells it.
    pub(super) fn look(&mut self) -> Option<f64> {
        let device = self.nvml.device_by_index(self.index).ok()?;
        if let Ok(memory) = device.memory_info() {
            self.peak_bytes = self.peak_bytes.max(memory.used.saturating_sub(self.used_before_bytes));
        }
        self.was_slowed |= device.current_throttle_reasons().is_ok_and(|reasons| reasons.intersects(SLOWED));
        let energy_mj = device.total_energy_consumption().ok();
        let before = std::mem::replace(&mut self.energy_mj, energy_mj);
        Some(energy_mj?.checked_sub(before?)? as f64 / 1e3)
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

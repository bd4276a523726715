//! What this machine does at the moment: processor, memory, disk, network, GPUs, power, and what processes have of it.
//!
//! [`Sampler`] reads counters and tells what happened since it last did. A sensor that is missing is absent from the
//! [`Sample`], never 0, and [`Probe`]s say in words why. Nothing here panics, whatever the system's files contain, and
//! nothing is read unless somebody asks.

mod gpu;
#[cfg(target_os = "linux")]
mod linux;
mod rate;
mod types;

#[cfg(not(target_os = "linux"))]
mod elsewhere;

use std::time::{Duration, Instant};

#[cfg(not(target_os = "linux"))]
use elsewhere as system;
#[cfg(target_os = "linux")]
use linux as system;

pub use system::{on_battery, own, processor_celsius};
pub use types::{
    CpuSample, DiskSample, GpuSample, Groups, MemorySample, NetworkSample, Own, PowerSample, Probe, Sample, Usage,
};

/// Lists of devices and processes change seldom and cost much.
const LISTS_EVERY: Duration = Duration::from_secs(10);

/// Reads the sensors. Percentages and rates are those since the sample before, so the first has none. One that follows
/// within 100 ms has no percentages: the processor's time is counted in ticks of 10 ms.
#[derive(Debug)]
pub struct Sampler {
    system: system::System,
    gpus: gpu::Gpus,
    listed: Option<Instant>,
}

impl Sampler {
    /// Looks for sensors.
    pub fn new() -> Self {
        let mut sampler = Self { system: system::System::new(), gpus: gpu::Gpus::default(), listed: None };
        sampler.list();
        sampler
    }

    /// What the machine does now, and what `groups` of processes have of it.
    pub fn sample(&mut self, groups: &Groups<'_>) -> Sample {
        if self.listed.is_none_or(|listed| listed.elapsed() >= LISTS_EVERY) {
            self.list();
        }
        let mut sample = self.system.sample(groups);
        sample.gpus = self.gpus.sample(groups.engines);
        sample
    }

    /// Which sensors were looked for, and what came of it.
    pub fn probes(&self) -> Vec<Probe> {
        let mut probes = self.system.probes();
        // After processor and memory, which nobody wonders about.
        probes.splice(1..1, self.gpus.probes());
        probes
    }

    fn list(&mut self) {
        self.system.list();
        self.gpus.list();
        self.listed = Some(Instant::now());
    }
}

impl Default for Sampler {
    fn default() -> Self {
        Self::new()
    }
}

/// Bytes in MiB.
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

//! What is read, as it is shown.

use serde::{Deserialize, Serialize};
use specta::Type;

/// The machine at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// The processor.
    pub cpu: CpuSample,
    /// The memory.
    pub memory: MemorySample,
    /// All disks together; absent where none is known.
    pub disk: Option<DiskSample>,
    /// All connections to other machines together; absent where none is known.
    pub network: Option<NetworkSample>,
    /// The GPUs that answer.
    pub gpus: Vec<GpuSample>,
    /// Battery and power; absent where neither is known.
    pub power: Option<PowerSample>,
    /// What the window's processes have; absent where there are none.
    pub window: Option<Usage>,
    /// What the engines' processes have; absent where there are none.
    pub engines: Option<Usage>,
}

/// The processor at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Type)]
pub struct CpuSample {
    /// How busy all cores together were since the sample before.
    pub total_percent: Option<f64>,
    /// How busy each core was.
    pub cores_percent: Vec<Option<f32>>,
    /// The clock of the busiest core.
    pub frequency_mhz: Option<f64>,
    /// Of the package, or of its warmest part.
    pub temperature_celsius: Option<f64>,
}

/// The memory at one moment, in MiB.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Type)]
pub struct MemorySample {
    /// All of it.
    pub total_mib: Option<f64>,
    /// What programs hold: all but what is available.
    pub used_mib: Option<f64>,
    /// What programs could have without swapping.
    pub available_mib: Option<f64>,
    /// Size of the swap space.
    pub swap_total_mib: Option<f64>,
    /// What lies in it.
    pub swap_used_mib: Option<f64>,
}

/// What disks did since the sample before, in MiB a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Type)]
pub struct DiskSample {
    /// Read.
    pub read_mib_per_second: Option<f64>,
    /// Written.
    pub written_mib_per_second: Option<f64>,
}

/// What went over the network since the sample before, in MiB a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Type)]
pub struct NetworkSample {
    /// Received.
    pub received_mib_per_second: Option<f64>,
    /// Sent.
    pub sent_mib_per_second: Option<f64>,
}

/// A GPU at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Type)]
pub struct GpuSample {
    /// NVIDIA's in the order of the PCI bus, then the others.
    pub index: u32,
    /// As its maker calls it.
    pub name: String,
    /// How much of the time it computed.
    pub utilization_percent: Option<f64>,
    /// What is taken of its memory, in MiB.
    pub memory_used_mib: Option<f64>,
    /// All of its memory, in MiB.
    pub memory_total_mib: Option<f64>,
    /// What Tektra's engines hold of its memory, in MiB.
    pub engine_memory_mib: Option<f64>,
    /// Of the chip.
    pub temperature_celsius: Option<f64>,
    /// What it draws.
    pub power_watts: Option<f64>,
    /// The cores' clock.
    pub clock_mhz: Option<f64>,
    /// The memory's clock.
    pub memory_clock_mhz: Option<f64>,
    /// How fast the first fan turns, of the fastest that it can.
    pub fan_percent: Option<f64>,
    /// Why it is slower than it could be, in words.
    pub throttle: Vec<String>,
}

/// Battery and power at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Type)]
pub struct PowerSample {
    /// Whether a battery gives the power.
    pub on_battery: bool,
    /// How full the battery is; absent without one.
    pub charge_percent: Option<f64>,
    /// What the machine draws from its battery; while it is plugged in, what the processor draws, where that can be read.
    pub watts: Option<f64>,
}

/// A sensor that was looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Probe {
    /// What it measures, and how.
    pub name: String,
    /// Whether it is there.
    pub found: bool,
    /// Where it was found, or why not.
    pub detail: String,
}

impl Probe {
    /// What became of looking for `name`: where it is, or why there is none.
    pub(crate) fn new(name: &str, found: &Result<String, String>) -> Self {
        let detail = match found {
            Ok(detail) | Err(detail) => detail.clone(),
        };
        Self { name: name.into(), found: found.is_ok(), detail }
    }
}

/// Whose part is to be told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Groups<'a> {
    /// Processes that count with all their descendants, engines excepted.
    pub windows: &'a [u32],
    /// Engines.
    pub engines: &'a [u32],
    /// File names of the engines' executables, the GPUs' among them. Descendants of the windows that are called so are
    /// engines too: a benchmark's, for example. Linux compares the first 15 bytes, which is all that it keeps.
    pub engine_names: &'a [String],
}

/// What a group of processes has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Memory that it holds, in MiB. What several of a window's processes share is counted once.
    pub memory_mib: f64,
    /// The part of it that is no file's: what the system counts as used, in MiB.
    pub private_mib: f64,
    /// Processor time since the sample before, in percent of one core; absent when that was less than 100 ms ago.
    pub cpu_percent: Option<f64>,
}

/// What this process has computed so far, and what it holds now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Own {
    /// Processor time of all its threads.
    pub cpu_seconds: f64,
    /// Memory that is no file's, in MiB.
    pub private_mib: f64,
}

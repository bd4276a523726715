//! What makes a measurement doubtful: battery, other programs, the clock, heat, swapping.

use std::time::Instant;

use sysinfo::{CpuRefreshKind, MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// Other programs may use this much of the machine, in percent.
const OTHERS_PERCENT: f64 = 25.0;
/// A shorter look at the load says nothing, in milliseconds.
const SHORTEST_LOOK_MS: f64 = 500.0;
/// The clock may change by this much.
const CLOCK_CHANGE: f64 = 0.10;
/// The processor may become this much warmer, in °C.
const WARMER_CELSIUS: f64 = 15.0;
/// What may go to the swap file meanwhile.
const SWAPPED_BYTES: u64 = 16 << 20;

/// Watches the machine while one process measures.
pub(super) struct Conditions {
    system: System,
    begun: Instant,
    swapped_bytes: u64,
    /// What the process has computed so far, over all cores.
    own_cpu_ms: u64,
    clocks_mhz: Vec<u64>,
    celsius: Vec<f64>,
    on_battery: bool,
}

impl Conditions {
    /// Begins to watch.
    pub(super) fn begin() -> Self {
        let mut system = System::new();
        system.refresh_cpu_specifics(CpuRefreshKind::everything());
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_swap());
        Self {
            begun: Instant::now(),
            swapped_bytes: system.used_swap(),
            own_cpu_ms: 0,
            clocks_mhz: Vec::new(),
            celsius: Vec::new(),
            on_battery: tektra_sensors::on_battery() == Some(true),
            system,
        }
    }

    /// Looks at the process `pid` and at the machine: after each repetition, while the processor is still at work.
    pub(super) fn look(&mut self, pid: u32) {
        let pid = Pid::from_u32(pid);
        let kind = ProcessRefreshKind::nothing().with_cpu();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, kind);
        let computed = self.system.process(pid).map_or(0, sysinfo::Process::accumulated_cpu_time);
        self.own_cpu_ms = self.own_cpu_ms.max(computed);
        self.system.refresh_cpu_frequency();
        // Idle cores are slow whatever the others do.
        self.clocks_mhz.extend(self.system.cpus().iter().map(sysinfo::Cpu::frequency).max().filter(|mhz| *mhz > 0));
        self.celsius.extend(tektra_sensors::processor_celsius());
    }

    /// What was noticed, in sentences that are the same each time.
    pub(super) fn marks(mut self) -> Vec<String> {
        let mut marks = Vec::new();
        let mut mark = |it: bool, words: &str| marks.extend(it.then(|| words.to_owned()));
        mark(self.on_battery, "The machine ran on battery.");
        let elapsed_ms = self.begun.elapsed().as_secs_f64() * 1e3;
        self.system.refresh_cpu_usage();
        let all_percent = f64::from(self.system.global_cpu_usage());
        let own_percent = self.own_cpu_ms as f64 / (elapsed_ms * self.system.cpus().len().max(1) as f64) * 100.0;
        let others = elapsed_ms > SHORTEST_LOOK_MS && all_percent - own_percent > OTHERS_PERCENT;
        mark(others, "Other programs used more than 25 % of the machine meanwhile.");
        let (slow, fast) = (self.clocks_mhz.iter().min(), self.clocks_mhz.iter().max());
        let changed = slow.zip(fast).is_some_and(|(slow, fast)| (*slow as f64) < *fast as f64 * (1.0 - CLOCK_CHANGE));
        mark(changed, "The processor's clock changed by more than 10 % meanwhile.");
        let warmer = self.celsius.first().zip(self.celsius.last()).map_or(0.0, |(first, last)| last - first);
        mark(warmer > WARMER_CELSIUS, "The processor became more than 15 °C warmer meanwhile.");
        self.system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_swap());
        let swapped = self.system.used_swap().saturating_sub(self.swapped_bytes) > SWAPPED_BYTES;
        mark(swapped, "Memory was moved to the swap file meanwhile.");
        marks
    }
}

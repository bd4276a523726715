//! How much memory there is, and how much a process holds.

use sysinfo::{MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// The machine's memory now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total_bytes: u64,
    /// What programs can have without anything being written to disk: free, or in use for files only.
    pub available_bytes: u64,
}

impl Memory {
    /// Reads it; under a control group's limit the smaller of both counts.
    pub fn now() -> Self {
        let mut system = System::new();
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let (mut total_bytes, mut available_bytes) = (system.total_memory(), system.available_memory());
        if let Some(limits) = system.cgroup_limits() {
            total_bytes = total_bytes.min(limits.total_memory);
            available_bytes = available_bytes.min(limits.free_memory);
        }
        Self { total_bytes, available_bytes }
    }
}

/// What a process has in memory, pages of mapped files included; `None` when there is no such process.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    let pid = Pid::from_u32(pid);
    let mut system = System::new();
    system.refresh_processes_specifics(
        ProcessesToUpdate::Some(&[pid]),
        true,
        ProcessRefreshKind::nothing().with_memory(),
    );
    system.process(pid).map(sysinfo::Process::memory)
}

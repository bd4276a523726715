//! Systems other than Linux, as far as they tell programs of every maker.

use std::{collections::HashSet, path::PathBuf, time::Instant};

use sysinfo::{
    Components, CpuRefreshKind, Disks, MemoryRefreshKind, Networks, Pid, ProcessRefreshKind, ProcessesToUpdate,
};

use crate::{
    mib,
    rate::{Busy, Rate},
    types::{CpuSample, DiskSample, Groups, MemorySample, NetworkSample, Own, Probe, Sample, Usage},
};

/// Everything but the GPUs.
#[derive(Debug)]
pub(crate) struct System {
    system: sysinfo::System,
    disks: Disks,
    networks: Networks,
    components: Components,
    /// The disks whose sum the rates are of, by where they are mounted.
    mounts: Vec<PathBuf>,
    /// The interfaces whose sum the rates are of.
    interfaces: Vec<String>,
    read: Rate,
    written: Rate,
    received: Rate,
    sent: Rate,
    since: Busy,
}

impl System {
    pub(crate) fn new() -> Self {
        Self {
            system: sysinfo::System::new(),
            disks: Disks::new(),
            networks: Networks::new(),
            components: Components::new(),
            mounts: Vec::new(),
            interfaces: Vec::new(),
            read: Rate::default(),
            written: Rate::default(),
            received: Rate::default(),
            sent: Rate::default(),
            since: Busy::default(),
        }
    }

    /// Looks anew for devices and processes.
    pub(crate) fn list(&mut self) {
        self.disks.refresh(true);
        self.networks.refresh(true);
        self.components.refresh(true);
        self.system.refresh_processes_specifics(ProcessesToUpdate::All, true, ProcessRefreshKind::nothing());
        let mut mounts: Vec<_> = self.disks.iter().map(|disk| disk.mount_point().to_owned()).collect();
        let mut interfaces: Vec<_> = self.networks.keys().filter(|name| leads_out(name)).cloned().collect();
        mounts.sort();
        interfaces.sort();
        if (&mounts, &interfaces) != (&self.mounts, &self.interfaces) {
            // Their sums are others now.
            (self.read, self.written, self.received, self.sent) = Default::default();
        }
        (self.mounts, self.interfaces) = (mounts, interfaces);
    }

    pub(crate) fn sample(&mut self, groups: &Groups<'_>) -> Sample {
        self.system.refresh_cpu_specifics(CpuRefreshKind::everything());
        let long_enough = self.since.seconds(Instant::now()).is_some();
        self.system.refresh_memory_specifics(MemoryRefreshKind::everything());
        let percent = |percent: f32| long_enough.then_some(f64::from(percent));
        let cpu = CpuSample {
            total_percent: percent(self.system.global_cpu_usage()),
            cores_percent: self.system.cpus().iter().map(|core| long_enough.then_some(core.cpu_usage())).collect(),
            frequency_mhz: self
                .system
                .cpus()
                .iter()
                .map(|core| core.frequency())
                .max()
                .filter(|mhz| *mhz > 0)
                .map(|mhz| mhz as f64),
            temperature_celsius: warmest(&mut self.components),
        };
        let (total, available) = (self.system.total_memory(), self.system.available_memory());
        let memory = MemorySample {
            total_mib: Some(mib(total)),
            used_mib: Some(mib(total.saturating_sub(available))),
            available_mib: Some(mib(available)),
            swap_total_mib: Some(mib(self.system.total_swap())),
            swap_used_mib: Some(mib(self.system.used_swap())),
        };
        self.disks.refresh(false);
        self.networks.refresh(false);
        let now = Instant::now();
        let listed = self.disks.iter().filter(|disk| self.mounts.iter().any(|mount| mount == disk.mount_point()));
        let disks = listed.map(|disk| disk.usage());
        let (read, written) =
            disks.fold((0, 0), |sum, disk| (sum.0 + disk.total_read_bytes, sum.1 + disk.total_written_bytes));
        let networks = self.interfaces.iter().filter_map(|name| self.networks.get(name));
        let (received, sent) =
            networks.fold((0, 0), |sum, one| (sum.0 + one.total_received(), sum.1 + one.total_transmitted()));
        let disk = DiskSample {
            read_mib_per_second: self.read.per_second(Some(read), now).map(|bytes| bytes * mib(1)),
            written_mib_per_second: self.written.per_second(Some(written), now).map(|bytes| bytes * mib(1)),
        };
        let network = NetworkSample {
            received_mib_per_second: self.received.per_second(Some(received), now).map(|bytes| bytes * mib(1)),
            sent_mib_per_second: self.sent.per_second(Some(sent), now).map(|bytes| bytes * mib(1)),
        };
        let (window, engines) = self.members(groups);
        Sample {
            cpu,
            memory,
            disk: (!self.disks.is_empty()).then_some(disk),
            network: (!self.interfaces.is_empty()).then_some(network),
            gpus: Vec::new(),
            power: None,
            window: self.usage(&window, long_enough),
            engines: self.usage(&engines, long_enough),
        }
    }

    pub(crate) fn probes(&self) -> Vec<Probe> {
        let system = std::env::consts::OS.to_owned();
        let none = || Err(format!("{system} is not asked for it"));
        let heat = if self.components.is_empty() { none() } else { Ok(system.clone()) };
        vec![
            Probe::new("CPU and memory", &Ok(system.clone())),
            Probe::new("CPU temperature", &heat),
            Probe::new("Disk", &Ok(system.clone())),
            Probe::new("Network", &Ok(system.clone())),
            Probe::new("Battery", &none()),
        ]
    }

    fn members(&self, groups: &Groups<'_>) -> (Vec<Pid>, Vec<Pid>) {
        let (mut window, mut engines, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        let roots =
            |pids: &[u32], of_engine: bool| pids.iter().map(|&pid| (Pid::from_u32(pid), of_engine)).collect::<Vec<_>>();
        let mut next = [roots(groups.windows, false), roots(groups.engines, true)].concat();
        while let Some((pid, of_engine)) = next.pop() {
            if !seen.insert(pid) {
                continue;
            }
            let name = self.system.process(pid).map(|process| process.name().to_string_lossy().into_owned());
            let by_name = name.is_some_and(|name| groups.engine_names.contains(&name));
            let of_engine = of_engine || (by_name && !groups.windows.contains(&pid.as_u32()));
            if of_engine { &mut engines } else { &mut window }.push(pid);
            let children = self.system.processes().iter().filter(|(_, process)| process.parent() == Some(pid));
            next.extend(children.map(|(child, _)| (*child, of_engine)));
        }
        (window, engines)
    }

    /// What processes have; the time that they computed only when the sample before was `long_enough` ago.
    fn usage(&mut self, pids: &[Pid], long_enough: bool) -> Option<Usage> {
        let kind = ProcessRefreshKind::nothing().with_memory().with_cpu();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(pids), true, kind);
        let known = pids.iter().filter_map(|pid| self.system.process(*pid));
        known.fold(None, |sum, process| {
            let sum = sum.unwrap_or(Usage { cpu_percent: long_enough.then_some(0.0), ..Usage::default() });
            Some(Usage {
                memory_mib: sum.memory_mib + mib(process.memory()),
                private_mib: sum.private_mib + mib(process.memory()),
                cpu_percent: sum.cpu_percent.map(|percent| percent + f64::from(process.cpu_usage())),
            })
        })
    }
}

/// Whether an interface carries what other machines send: `lo`, `lo0` and Windows' "Loopback Pseudo-Interface" do not.
fn leads_out(interface: &str) -> bool {
    !interface.starts_with("lo") && !interface.starts_with("Loopback")
}

fn warmest(components: &mut Components) -> Option<f64> {
    let of_cpu = |label: &str| ["cpu", "package", "tctl"].iter().any(|word| label.to_lowercase().contains(word));
    let readings = components.iter_mut().filter(|component| of_cpu(component.label())).filter_map(|component| {
        component.refresh();
        component.temperature()
    });
    readings.filter(|celsius| celsius.is_finite()).reduce(f32::max).map(f64::from)
}

/// What this process has computed and holds; these systems are not asked.
pub fn own() -> Option<Own> {
    None
}

/// Whether a battery gives the power; these systems are not asked.
pub fn on_battery() -> Option<bool> {
    None
}

/// The processor's temperature; absent without a sensor.
pub fn processor_celsius() -> Option<f64> {
    warmest(&mut Components::new_with_refreshed_list())
}

//! Linux: `/proc` and `/sys`, read directly.

mod battery;
mod cpu;
mod disk;
mod energy;
mod memory;
mod network;
mod power;
mod processes;
mod thermometer;

use std::{fs, path::Path, str::FromStr, time::Instant};

use crate::types::{Groups, Own, Probe, Sample};

pub(crate) use thermometer::celsius;

/// Where the kernel tells of processes and counters.
const PROC: &str = "/proc";
/// Where it tells of devices.
const SYS: &str = "/sys";

/// Everything but the GPUs.
#[derive(Debug)]
pub(crate) struct System {
    cpu: cpu::Cpu,
    disk: disk::Disks,
    network: network::Network,
    power: power::Power,
    processes: processes::Processes,
}

impl System {
    pub(crate) fn new() -> Self {
        Self {
            cpu: cpu::Cpu::default(),
            disk: disk::Disks::default(),
            network: network::Network::default(),
            power: power::Power::default(),
            processes: processes::Processes::default(),
        }
    }

    /// Looks anew for devices and processes.
    pub(crate) fn list(&mut self) {
        let sys = Path::new(SYS);
        self.cpu.list(sys);
        self.disk.list(&sys.join("block"));
        self.network.list(&sys.join("class/net"));
        self.power.list(&sys.join("class/power_supply"), &sys.join("class/powercap"));
        self.processes.list_anew();
    }

    pub(crate) fn sample(&mut self, groups: &Groups<'_>) -> Sample {
        let proc = Path::new(PROC);
        self.processes.find(proc, groups);
        // Each has an instant of its own: between two readings a slow file may lie.
        let (window, engines) = self.processes.sample(proc, Instant::now());
        Sample {
            cpu: self.cpu.sample(proc, Instant::now()),
            memory: memory::sample(proc),
            disk: self.disk.sample(proc, Instant::now()),
            network: self.network.sample(proc, Instant::now()),
            gpus: Vec::new(),
            power: self.power.sample(Instant::now()),
            window,
            engines,
        }
    }

    pub(crate) fn probes(&self) -> Vec<Probe> {
        let stat = text(&Path::new(PROC).join("stat")).map(|_| PROC.to_owned());
        let mut probes = vec![Probe::new("CPU and memory", &stat.ok_or_else(|| "/proc cannot be read".into()))];
        probes.extend(self.cpu.probes());
        probes.push(Probe::new("Disk", self.disk.found()));
        probes.push(Probe::new("Network", self.network.found()));
        probes.extend(self.power.probes());
        probes
    }
}

/// What this process has computed and holds; absent where that cannot be read.
pub fn own() -> Option<Own> {
    processes::own(Path::new(PROC))
}

/// Whether a battery gives the power; absent without a battery.
pub fn on_battery() -> Option<bool> {
    let batteries = battery::find(&Path::new(SYS).join("class/power_supply"));
    (!batteries.is_empty()).then(|| batteries.iter().any(|battery| battery::read(battery).discharging))
}

/// The processor's temperature; absent without a sensor.
pub fn processor_celsius() -> Option<f64> {
    thermometer::Thermometer::find(Path::new(SYS)).ok()?.read()
}

/// A file's text without the space around it.
pub(crate) fn text(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// A file's number.
pub(crate) fn number<T: FromStr>(path: &Path) -> Option<T> {
    text(path)?.parse().ok()
}

/// The names in a folder, in order.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{fs, path::Path};

    /// Writes files below `folder`.
    pub(crate) fn write(folder: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    /// What a broken or strange kernel could say instead of a file: no reader may panic over it.
    pub(crate) fn rubbish() -> Vec<String> {
        let mut all: Vec<String> = [
            "",
            "\n\n\n",
            "cpu",
            "cpu0 cpu1 cpu2",
            "cpu -1 -1 -1 -1",
            "18446744073709551616 99999999999999999999999999",
            "MemTotal: kB",
            "eth0:",
            ":::::",
            "1 (",
            "1 () ) )",
            "NaN inf -inf",
            "\u{0}\u{0}\u{fffd}",
            " 8 0 sda",
            "é: é é é é",
        ]
        .map(Into::into)
        .to_vec();
        all.push("cpu 1 2 ".repeat(10_000));
        all.push(format!("cpu {}", "18446744073709551615 ".repeat(12)));
        all.push(format!("8 0 sda {}", "18446744073709551615 ".repeat(12)));
        all.push(format!("eth0: {}", "18446744073709551615 ".repeat(16)));
        all.push(format!("1 (x) S {}", "18446744073709551615 ".repeat(30)));
        all.push("MemTotal: 18446744073709551615 kB\nMemAvailable: 18446744073709551615 kB".into());
        all
    }
}

//! What the processor draws, from the counters that Linux shows of RAPL (Running Average Power Limit), in the form that
//! the kernel's `Documentation/power/powercap/powercap.rst` describes.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The energy counters of all CPU packages. Most systems let only root read them.
pub struct PackageEnergy {
    packages: Vec<Package>,
}

struct Package {
    /// Counts microjoules.
    counter: PathBuf,
    /// Where the counter begins again at 0.
    range_microjoules: u64,
    last_microjoules: u64,
}

impl PackageEnergy {
    /// Opens the counters; `None` where there are none or this process may not read them.
    pub fn open() -> Option<Self> {
        Self::open_in(Path::new("/sys/class/powercap"))
    }

    pub(super) fn open_in(folder: &Path) -> Option<Self> {
        let mut packages = Vec::new();
        for zone in fs::read_dir(folder).ok()?.flatten() {
            // `intel-rapl-mmio:0` is the same package by another way, `intel-rapl:0:1` a part of one, `psys` all of the
            // machine.
            let of_rapl = zone.file_name().to_str().is_some_and(|name| name.starts_with("intel-rapl:"));
            let name = fs::read_to_string(zone.path().join("name")).unwrap_or_default();
            if of_rapl && name.starts_with("package") {
                let counter = zone.path().join("energy_uj");
                packages.push(Package {
                    last_microjoules: number(&counter)?,
                    range_microjoules: number(&zone.path().join("max_energy_range_uj"))?,
                    counter,
                });
            }
        }
        (!packages.is_empty()).then_some(Self { packages })
    }

    /// Joules since the last call, or since the counters were opened. Counters go round in minutes to hours, which may
    /// happen once between two calls; `None` when they cannot be read any more.
    pub fn joules(&mut self) -> Option<f64> {
        let mut microjoules = 0;
        for package in &mut self.packages {
            let now = number(&package.counter)?;
            let round = if now < package.last_microjoules { package.range_microjoules } else { 0 };
            microjoules += (now + round).saturating_sub(package.last_microjoules);
            package.last_microjoules = now;
        }
        Some(microjoules as f64 / 1e6)
    }
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

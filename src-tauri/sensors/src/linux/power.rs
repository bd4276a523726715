//! Battery and power.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use super::{battery, energy::Packages};
use crate::types::{PowerSample, Probe};

#[derive(Debug)]
pub(super) struct Power {
    batteries: Vec<PathBuf>,
    packages: Result<Packages, String>,
}

impl Default for Power {
    fn default() -> Self {
        Self { batteries: Vec::new(), packages: Err(String::new()) }
    }
}

impl Power {
    pub(super) fn list(&mut self, supplies: &Path, powercap: &Path) {
        self.batteries = battery::find(supplies);
        // Processors do not come and go, and the counters must not begin anew.
        if self.packages.is_err() {
            self.packages = Packages::find(powercap);
        }
    }

    pub(super) fn sample(&mut self, now: Instant) -> Option<PowerSample> {
        // The counters first, which `now` belongs to: a battery may take its time to answer.
        let packages = self.packages.as_mut().ok().and_then(|packages| packages.watts(now));
        let batteries: Vec<_> = self.batteries.iter().map(|path| battery::read(path)).collect();
        let on_battery = batteries.iter().any(|battery| battery.discharging);
        let given = batteries
            .iter()
            .filter(|battery| battery.discharging)
            .filter_map(|battery| battery.watts)
            .reduce(|a, b| a + b);
        let charges: Vec<_> = batteries.iter().filter_map(|battery| battery.charge_percent).collect();
        let charge_percent = (!charges.is_empty()).then(|| charges.iter().sum::<f64>() / charges.len() as f64);
        let watts = if on_battery { given } else { packages };
        let known = !batteries.is_empty() || watts.is_some();
        known.then_some(PowerSample { on_battery, charge_percent, watts })
    }

    pub(super) fn probes(&self) -> [Probe; 2] {
        let found: Vec<_> = self.batteries.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        let battery = if found.is_empty() { Err("none in this machine".into()) } else { Ok(found.join(", ")) };
        let packages = self.packages.as_ref().map(|_| "/sys/class/powercap".to_owned()).map_err(Clone::clone);
        [Probe::new("Battery", &battery), Probe::new("CPU power (RAPL)", &packages)]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::linux::tests::write;

    #[test]
    fn the_battery_says_what_the_machine_draws_and_else_the_processor() {
        let folder = tempfile::tempdir().unwrap();
        let (supplies, powercap) = (folder.path().join("supplies"), folder.path().join("powercap"));
        let (mut power, begun) = (Power::default(), Instant::now());
        power.list(&supplies, &powercap);
        assert_eq!(power.sample(begun), None, "a desk's machine without counters");
        assert!(power.probes().iter().all(|probe| !probe.found && !probe.detail.is_empty()), "{:?}", power.probes());

        let zone = powercap.join("intel-rapl:0");
        write(&zone, &[("name", "package-0\n"), ("energy_uj", "0\n")]);
        let battery = [("type", "Battery\n"), ("status", "Full\n"), ("capacity", "100\n"), ("power_now", "7000000\n")];
        write(&supplies.join("BAT0"), &battery);
        power.list(&supplies, &powercap);
        power.sample(begun);
        write(&zone, &[("energy_uj", "20000000\n")]);
        let plugged = power.sample(begun + Duration::from_secs(1)).unwrap();
        assert_eq!(plugged, PowerSample { on_battery: false, charge_percent: Some(100.0), watts: Some(20.0) });
        write(&supplies.join("BAT0"), &[("status", "Discharging\n")]);
        let unplugged = power.sample(begun + Duration::from_secs(2)).unwrap();
        assert_eq!(unplugged, PowerSample { on_battery: true, charge_percent: Some(100.0), watts: Some(7.0) });
    }
}

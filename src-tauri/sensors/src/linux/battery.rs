//! Batteries: <https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-class-power>.

use std::path::{Path, PathBuf};

use super::{names, number, text};

/// What a battery says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Battery {
    pub(super) discharging: bool,
    pub(super) charge_percent: Option<f64>,
    /// What it gives or takes.
    pub(super) watts: Option<f64>,
}

/// The machine's own batteries.
pub(super) fn find(supplies: &Path) -> Vec<PathBuf> {
    let word = |supply: &Path, name: &str| text(&supply.join(name)).unwrap_or_default();
    // A mouse's battery is a device's, not the machine's.
    let own = |supply: &PathBuf| word(supply, "type") == "Battery" && word(supply, "scope") != "Device";
    names(supplies).iter().map(|name| supplies.join(name)).filter(own).collect()
}

pub(super) fn read(battery: &Path) -> Battery {
    let micro = |name: &str| number::<f64>(&battery.join(name)).filter(|it| it.is_finite()).map(|it| it.abs() / 1e6);
    let from_current = || Some(micro("current_now")? * micro("voltage_now")?);
    Battery {
        discharging: text(&battery.join("status")).is_some_and(|status| status == "Discharging"),
        charge_percent: number::<f64>(&battery.join("capacity")).filter(|percent| (0.0..=100.0).contains(percent)),
        watts: micro("power_now").or_else(from_current),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::tests::{rubbish, write};

    #[test]
    fn only_the_machines_own_batteries_count() {
        let folder = tempfile::tempdir().unwrap();
        let supplies = folder.path();
        assert!(find(supplies).is_empty() && find(&supplies.join("nowhere")).is_empty());
        write(&supplies.join("mouse"), &[("type", "Battery\n"), ("scope", "Device\n"), ("status", "Discharging\n")]);
        write(&supplies.join("AC"), &[("type", "Mains\n"), ("online", "1\n")]);
        assert!(find(supplies).is_empty());
        let own = supplies.join("BAT0");
        write(&own, &[("type", "Battery\n"), ("status", "Charging\n"), ("capacity", "62\n")]);
        assert_eq!(find(supplies), std::slice::from_ref(&own));
        assert_eq!(read(&own), Battery { discharging: false, charge_percent: Some(62.0), watts: None });
        write(&own, &[("status", "Discharging\n"), ("current_now", "-1500000\n"), ("voltage_now", "12000000\n")]);
        let told = read(&own);
        assert!(told.discharging && told.watts == Some(18.0), "{told:?}");
        write(&own, &[("power_now", "9500000\n")]);
        assert_eq!(read(&own).watts, Some(9.5));
        for text in rubbish() {
            write(&own, &[("status", &text), ("capacity", &text), ("power_now", &text), ("current_now", &text)]);
            assert!(read(&own).charge_percent.is_none(), "{text}");
        }
    }
}

//! The processor's temperature.

use std::path::{Path, PathBuf};

use super::{names, number, text};

/// Drivers of processors' sensors: Intel, AMD (two of them), Arm boards, Raspberry Pi.
const DRIVERS: [&str; 5] = ["coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal"];
/// How the names begin that drivers give to the whole package, the best first: `Tctl` is what the fan is steered by, on
/// some Ryzens up to 27 °C more than the chip has.
const WHOLE: [&str; 4] = ["Package id", "Tdie", "Tctl", "Package"];
/// What a chip that computes can have.
const POSSIBLE_CELSIUS: std::ops::Range<f64> = -40.0..150.0;

/// Where the temperature is told.
#[derive(Debug)]
pub(super) struct Thermometer {
    /// In words.
    pub(super) name: String,
    inputs: Vec<PathBuf>,
}

impl Thermometer {
    /// Looks at the sensors of drivers, then at the zones that the firmware names.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(super) fn find(sys: &Path) -> Result<Self, String> {
        let hwmon = sys.join("class/hwmon");
        let monitors = names(&hwmon).into_iter().map(|name| hwmon.join(name));
        let monitors: Vec<_> = monitors.map(|monitor| (text(&monitor.join("name")), monitor)).collect();
        for driver in DRIVERS {
            // A processor in each socket has a monitor of its own.
            let of_driver = monitors.iter().filter(|(name, _)| name.as_deref() == Some(driver));
            let inputs: Vec<_> = of_driver.flat_map(|(_, monitor)| inputs(monitor)).collect();
            if !inputs.is_empty() {
                return Ok(Self { name: driver.into(), inputs });
            }
        }
        let zones = sys.join("class/thermal");
        let of_cpu = |zone: &PathBuf| {
            let kind = text(&zone.join("type")).unwrap_or_default().to_lowercase();
            ["cpu", "pkg", "soc", "acpitz"].iter().any(|word| kind.contains(word))
        };
        let zones: Vec<_> = names(&zones).iter().map(|name| zones.join(name)).filter(of_cpu).collect();
        if zones.is_empty() {
            return Err("no sensor of a processor in /sys/class/hwmon, no zone of one in /sys/class/thermal".into());
        }
        Ok(Self { name: "thermal zones".into(), inputs: zones.iter().map(|zone| zone.join("temp")).collect() })
    }

    /// The warmest reading.
    pub(super) fn read(&self) -> Option<f64> {
        self.inputs.iter().filter_map(|input| celsius(input)).reduce(f64::max)
    }
}

/// Where a monitor tells of the whole package, else of each part.
fn inputs(monitor: &Path) -> Vec<PathBuf> {
    let is_input = |name: &String| name.starts_with("temp") && name.ends_with("_input");
    let inputs: Vec<_> = names(monitor).into_iter().filter(is_input).collect();
    let label = |input: &String| text(&monitor.join(input.replace("_input", "_label"))).unwrap_or_default();
    let whole = WHOLE.iter().find_map(|whole| inputs.iter().find(|input| label(input).starts_with(*whole)));
    match whole {
        Some(input) => vec![monitor.join(input)],
        None => inputs.iter().map(|input| monitor.join(input)).collect(),
    }
}

/// A sensor's reading; the kernel tells thousandths of a degree.
pub(crate) fn celsius(input: &Path) -> Option<f64> {
    number::<f64>(input).map(|thousandths| thousandths / 1e3).filter(|celsius| POSSIBLE_CELSIUS.contains(celsius))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::tests::write;

    #[test]
    fn the_package_counts_before_its_parts_and_drivers_before_zones() {
        let folder = tempfile::tempdir().unwrap();
        let sys = folder.path();
        assert!(Thermometer::find(sys).unwrap_err().contains("/sys/class/hwmon"));
        write(&sys.join("class/thermal/zone0"), &[("type", "acpitz\n"), ("temp", "41000\n")]);
        write(&sys.join("class/thermal/zone1"), &[("type", "x86_pkg_temp\n"), ("temp", "67500\n")]);
        write(&sys.join("class/thermal/zone2"), &[("type", "cpu9\n"), ("temp", "broken")]);
        write(&sys.join("class/thermal/zone3"), &[("type", "iwlwifi\n"), ("temp", "99000\n")]);
        assert_eq!(Thermometer::find(sys).unwrap().read(), Some(67.5));

        write(&sys.join("class/hwmon/hwmon0"), &[("name", "nvme\n"), ("temp1_input", "88000\n")]);
        let parts = [("name", "coretemp\n"), ("temp2_label", "Core 0\n"), ("temp2_input", "71000\n")];
        write(&sys.join("class/hwmon/hwmon1"), &parts);
        write(&sys.join("class/hwmon/hwmon1"), &[("temp3_input", "64000\n")]);
        assert_eq!(Thermometer::find(sys).unwrap().read(), Some(71.0));
        write(&sys.join("class/hwmon/hwmon1"), &[("temp1_label", "Package id 0\n"), ("temp1_input", "66000\n")]);
        let package = Thermometer::find(sys).unwrap();
        assert_eq!((package.name.as_str(), package.read()), ("coretemp", Some(66.0)));
        write(&sys.join("class/hwmon/hwmon1"), &[("temp1_input", "-9223372036854775808\n")]);
        assert_eq!(package.read(), None, "no chip is that cold");
    }

    #[test]
    fn both_sockets_count_and_the_chip_before_what_steers_its_fan() {
        let folder = tempfile::tempdir().unwrap();
        let sys = folder.path();
        for (monitor, package, celsius) in
            [("hwmon0", "Package id 0\n", "52000\n"), ("hwmon1", "Package id 1\n", "58000\n")]
        {
            let files = [("name", "coretemp\n"), ("temp1_label", package), ("temp1_input", celsius)];
            write(&sys.join("class/hwmon").join(monitor), &files);
            write(&sys.join("class/hwmon").join(monitor), &[("temp2_label", "Core 0\n"), ("temp2_input", "99000\n")]);
        }
        assert_eq!(Thermometer::find(sys).unwrap().read(), Some(58.0), "the warmer socket");

        let folder = tempfile::tempdir().unwrap();
        let ryzen = folder.path().join("class/hwmon/hwmon0");
        write(&ryzen, &[("name", "k10temp\n"), ("temp1_label", "Tctl\n"), ("temp1_input", "87000\n")]);
        assert_eq!(Thermometer::find(folder.path()).unwrap().read(), Some(87.0));
        write(&ryzen, &[("temp2_label", "Tdie\n"), ("temp2_input", "60000\n")]);
        assert_eq!(Thermometer::find(folder.path()).unwrap().read(), Some(60.0));
    }
}

//! The processor's temperature.

use std::path::{Path, PathBuf};

use super::{names, number, text};

/// Drivers of processors' sensors: Intel, AMD (two of them), Arm boards, Raspberry Pi.
const DRIVERS: [&str; 5] = ["coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal"];
/// What drivers call the whole package.
const WHOLE: [&str; 4] = ["Package id 0", "Tctl", "Tdie", "Package"];
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
        for name in names(&hwmon) {
            let folder = hwmon.join(name);
            let driver = text(&folder.join("name")).unwrap_or_default();
            if !DRIVERS.contains(&driver.as_str()) {
                continue;
            }
            let files = names(&folder);
            let inputs: Vec<_> =
                files.iter().filter(|name| name.starts_with("temp") && name.ends_with("_input")).collect();
            let label = |input: &str| text(&folder.join(input.replace("_input", "_label"))).unwrap_or_default();
            let whole = inputs.iter().find(|input| WHOLE.contains(&label(input).as_str()));
            let inputs = whole.map_or(inputs.clone(), |input| vec![*input]);
            if !inputs.is_empty() {
                return Ok(Self { name: driver, inputs: inputs.iter().map(|name| folder.join(name)).collect() });
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
}

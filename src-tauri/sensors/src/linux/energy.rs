//! What the processor draws, from the counters that Linux shows of RAPL (Running Average Power Limit):
//! <https://www.kernel.org/doc/Documentation/power/powercap/powercap.rst>.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use super::{names, number, text};
use crate::rate::Rate;

/// The counters of all packages. Most systems let only root read them.
#[derive(Debug, Default)]
pub(super) struct Packages(Vec<(PathBuf, Rate)>);

impl Packages {
    /// # Errors
    /// Why there are none, in words.
    pub(super) fn find(powercap: &Path) -> Result<Self, String> {
        let mut packages = Vec::new();
        for name in names(powercap) {
            let zone = powercap.join(&name);
            // `intel-rapl-mmio:0` is the same package by another way, `intel-rapl:0:1` a part of one, `psys` all of the
            // machine.
            let package = text(&zone.join("name")).is_some_and(|name| name.starts_with("package"));
            if name.starts_with("intel-rapl:") && package {
                let counter = zone.join("energy_uj");
                if number::<u64>(&counter).is_none() {
                    return Err(format!("{} may not be read by this user", counter.display()));
                }
                packages.push((counter, Rate::default()));
            }
        }
        if packages.is_empty() { Err("no package in /sys/class/powercap".into()) } else { Ok(Self(packages)) }
    }

    /// Watts since the call before; absent at first, and when a counter went round.
    pub(super) fn watts(&mut self, now: Instant) -> Option<f64> {
        // Each must be read, whatever the others say.
        let watts: Vec<_> = self.0.iter_mut().map(|(counter, rate)| rate.per_second(number(counter), now)).collect();
        watts.into_iter().sum::<Option<f64>>().map(|microwatts| microwatts / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::linux::tests::write;

    #[test]
    fn packages_are_added_up_and_their_parts_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let zones = folder.path();
        assert!(Packages::find(zones).unwrap_err().contains("no package"));
        let told = |microjoules: &str| {
            for name in ["intel-rapl:0", "intel-rapl:1", "intel-rapl-mmio:0"] {
                write(&zones.join(name), &[("name", "package-0\n"), ("energy_uj", microjoules)]);
            }
            write(&zones.join("intel-rapl:0:0"), &[("name", "core\n"), ("energy_uj", microjoules)]);
        };
        told("1000000\n");
        let (mut packages, begun) = (Packages::find(zones).unwrap(), Instant::now());
        assert_eq!(packages.watts(begun), None);
        told("31000000\n");
        assert_eq!(packages.watts(begun + Duration::from_secs(2)), Some(30.0));
        told("5\n");
        assert_eq!(packages.watts(begun + Duration::from_secs(3)), None, "the counters went round");
        told("rubbish");
        assert_eq!(packages.watts(begun + Duration::from_secs(4)), None);
        assert!(Packages::find(zones).unwrap_err().contains("may not be read"));
    }
}

//! What goes to the disks and comes from them.

use std::{path::Path, time::Instant};

use super::{names, text};
use crate::{mib, rate::Rate, types::DiskSample};

/// The kernel counts sectors of this size whatever the disk's own are.
const SECTOR_BYTES: u64 = 512;
/// Devices that only pass on what others do, or keep everything in memory.
const NOT_DISKS: [&str; 6] = ["dm-", "loop", "md", "ram", "sr", "zram"];

#[derive(Debug)]
pub(super) struct Disks {
    disks: Vec<String>,
    found: Result<String, String>,
    read: Rate,
    written: Rate,
}

impl Default for Disks {
    fn default() -> Self {
        Self { disks: Vec::new(), found: Err(String::new()), read: Rate::default(), written: Rate::default() }
    }
}

impl Disks {
    pub(super) fn list(&mut self, block: &Path) {
        let disks = names(block);
        let disks: Vec<_> =
            disks.into_iter().filter(|name| !NOT_DISKS.iter().any(|other| name.starts_with(other))).collect();
        if disks != self.disks {
            // Their sum is another one now.
            (self.read, self.written) = Default::default();
        }
        self.found = if disks.is_empty() { Err("no disk in /sys/block".into()) } else { Ok(disks.join(", ")) };
        self.disks = disks;
    }

    pub(super) fn found(&self) -> &Result<String, String> {
        &self.found
    }

    pub(super) fn sample(&mut self, proc: &Path, now: Instant) -> Option<DiskSample> {
        let counted = text(&proc.join("diskstats")).and_then(|text| parse(&text, &self.disks));
        let rate = |rate: &mut Rate, sectors: Option<u64>| {
            rate.per_second(sectors, now).map(|sectors| sectors * mib(SECTOR_BYTES))
        };
        let sample = DiskSample {
            read_mib_per_second: rate(&mut self.read, counted.map(|(read, _)| read)),
            written_mib_per_second: rate(&mut self.written, counted.map(|(_, written)| written)),
        };
        counted.map(|_| sample)
    }
}

/// Sectors read and written so far: <https://docs.kernel.org/admin-guide/iostats.html>.
fn parse(diskstats: &str, disks: &[String]) -> Option<(u64, u64)> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().take(10).collect();
        let known = disks.iter().any(|disk| words.get(2) == Some(&disk.as_str()));
        known.then_some(())?;
        Some((words.get(5)?.parse::<u64>().ok()?, words.get(9)?.parse::<u64>().ok()?))
    };
    let all = diskstats.lines().filter_map(line);
    all.reduce(|sum, disk| (sum.0.saturating_add(disk.0), sum.1.saturating_add(disk.1)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::linux::tests::{rubbish, write};

    #[test]
    fn whole_disks_are_added_up_and_partitions_are_not() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["sda", "nvme0n1", "loop0", "dm-0", "zram0"] {
            std::fs::create_dir_all(folder.path().join("block").join(name)).unwrap();
        }
        let (mut disks, begun) = (Disks::default(), Instant::now());
        disks.list(&folder.path().join("block"));
        assert_eq!(disks.found(), &Ok("nvme0n1, sda".into()));
        let told = |sda: u64, nvme: u64| {
            let text = format!(
                "8 0 sda 1 0 {sda} 0 1 0 {nvme} 0\n8 1 sda1 1 0 99999 0 1 0 99999 0\n 259 0 nvme0n1 1 0 {nvme} 0 1 0 0 0\n253 0 dm-0 1 0 5 0 1 0 5 0"
            );
            write(folder.path(), &[("diskstats", &text)]);
        };
        told(0, 0);
        assert_eq!(disks.sample(folder.path(), begun), Some(DiskSample::default()));
        told(2048, 4096);
        let sample = disks.sample(folder.path(), begun + Duration::from_secs(2)).unwrap();
        assert_eq!((sample.read_mib_per_second, sample.written_mib_per_second), (Some(1.5), Some(1.0)));
        disks.list(&folder.path().join("nowhere"));
        assert!(disks.found().is_err());
        assert_eq!(disks.sample(folder.path(), begun + Duration::from_secs(3)), None);
        for text in rubbish() {
            let _ = parse(&text, &["sda".into()]);
        }
    }
}

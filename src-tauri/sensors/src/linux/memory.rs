//! The memory.

use std::path::Path;

use super::text;
use crate::{mib, types::MemorySample};

pub(super) fn sample(proc: &Path) -> MemorySample {
    parse(&text(&proc.join("meminfo")).unwrap_or_default())
}

/// `/proc/meminfo`.
fn parse(info: &str) -> MemorySample {
    let bytes = |wanted: &str| {
        let lines = info.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = lines.into_iter().find(|(name, _)| *name == wanted)?;
        value.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    };
    let (total, available) = (bytes("MemTotal"), bytes("MemAvailable"));
    let (swap, swap_free) = (bytes("SwapTotal"), bytes("SwapFree"));
    let taken = |total: Option<u64>, free: Option<u64>| Some(mib(total?.saturating_sub(free?)));
    MemorySample {
        total_mib: total.map(mib),
        used_mib: taken(total, available),
        available_mib: available.map(mib),
        swap_total_mib: swap.map(mib),
        swap_used_mib: taken(swap, swap_free),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::tests::rubbish;

    #[test]
    fn used_is_what_is_not_available() {
        let told =
            "MemTotal:  8192000 kB\nMemFree: 100 kB\nMemAvailable:  4096000 kB\nSwapTotal: 2048 kB\nSwapFree: 1024 kB";
        let sample = parse(told);
        assert_eq!(
            (sample.total_mib, sample.used_mib, sample.available_mib),
            (Some(8000.0), Some(4000.0), Some(4000.0))
        );
        assert_eq!((sample.swap_total_mib, sample.swap_used_mib), (Some(2.0), Some(1.0)));
        assert_eq!(parse("MemTotal: 5 kB").used_mib, None, "what is not told is not 0");
        for text in rubbish() {
            let _ = parse(&text);
        }
    }
}

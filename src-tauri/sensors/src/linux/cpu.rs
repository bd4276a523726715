//! The processor: how busy, how fast, how warm.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use super::{number, text, thermometer::Thermometer};
use crate::{
    rate::Busy,
    types::{CpuSample, Probe},
};

/// What a core has done so far, in the kernel's ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Times {
    /// The core's number; absent for all of them together.
    core: Option<u32>,
    busy: u64,
    all: u64,
}

#[derive(Debug)]
pub(super) struct Cpu {
    before: Vec<Times>,
    since: Busy,
    clock: Result<Clock, String>,
    thermometer: Result<Thermometer, String>,
}

/// Where the clock is told.
#[derive(Debug)]
enum Clock {
    /// The folder of all cores, each of which tells its own.
    Each(PathBuf),
    /// What `/proc/cpuinfo` said; a virtual machine's never changes.
    Fixed(f64),
}

impl Default for Cpu {
    fn default() -> Self {
        Self { before: Vec::new(), since: Busy::default(), clock: Err(String::new()), thermometer: Err(String::new()) }
    }
}

impl Cpu {
    pub(super) fn list(&mut self, sys: &Path) {
        let cores = sys.join("devices/system/cpu");
        self.clock = if clock_of(&cores, 0).is_some() {
            Ok(Clock::Each(cores))
        } else {
            let fixed = text(Path::new("/proc/cpuinfo")).and_then(|info| cpuinfo_mhz(&info));
            fixed.map(Clock::Fixed).ok_or_else(|| "neither cpufreq nor /proc/cpuinfo tells it".into())
        };
        self.thermometer = Thermometer::find(sys);
    }

    pub(super) fn sample(&mut self, proc: &Path, now: Instant) -> CpuSample {
        let read = parse(&text(&proc.join("stat")).unwrap_or_default());
        let long_enough = self.since.seconds(now).is_some();
        let mut sample = CpuSample::default();
        let mut busiest = (0, -1.0);
        for times in &read {
            let before = self.before.iter().find(|before| long_enough && before.core == times.core);
            let percent = before.and_then(|before| percent(before, times));
            match times.core {
                None => sample.total_percent = percent,
                Some(core) => {
                    sample.cores_percent.push(percent.map(|percent| percent as f32));
                    if percent.is_some_and(|percent| percent > busiest.1) {
                        busiest = (core, percent.unwrap_or_default());
                    }
                }
            }
        }
        self.before = read;
        sample.frequency_mhz = match &self.clock {
            // Idle cores are slow whatever the others do, and asking each costs with their number.
            Ok(Clock::Each(cores)) => clock_of(cores, busiest.0),
            Ok(Clock::Fixed(mhz)) => Some(*mhz),
            Err(_) => None,
        };
        sample.temperature_celsius = self.thermometer.as_ref().ok().and_then(Thermometer::read);
        sample
    }

    pub(super) fn probes(&self) -> [Probe; 2] {
        let clock = match &self.clock {
            Ok(Clock::Each(_)) => Ok("cpufreq".into()),
            Ok(Clock::Fixed(_)) => Ok("/proc/cpuinfo; there is no cpufreq".into()),
            Err(why) => Err(why.clone()),
        };
        let heat = self.thermometer.as_ref().map(|it| it.name.clone()).map_err(Clone::clone);
        [Probe::new("CPU clock", &clock), Probe::new("CPU temperature", &heat)]
    }
}

fn clock_of(cores: &Path, core: u32) -> Option<f64> {
    let khz: f64 = number(&cores.join(format!("cpu{core}/cpufreq/scaling_cur_freq")))?;
    (khz.is_finite() && khz > 0.0).then_some(khz / 1e3)
}

/// The fastest core's clock as `/proc/cpuinfo` tells it.
fn cpuinfo_mhz(info: &str) -> Option<f64> {
    let lines = info.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| name.trim() == "cpu MHz");
    let all = lines.filter_map(|(_, mhz)| mhz.trim().parse::<f64>().ok());
    all.filter(|mhz| mhz.is_finite() && *mhz > 0.0).reduce(f64::max)
}

/// `/proc/stat`: <https://docs.kernel.org/filesystems/proc.html#miscellaneous-kernel-statistics-in-proc-stat>.
fn parse(stat: &str) -> Vec<Times> {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let core = match words.next()?.strip_prefix("cpu")? {
            "" => None,
            number => Some(number.parse().ok()?),
        };
        // The guests' time, which follows, is part of the user's.
        let ticks: Vec<u64> = words.map_while(|word| word.parse().ok()).take(8).collect();
        let sum = |ticks: &[u64]| ticks.iter().fold(0_u64, |sum, ticks| sum.saturating_add(*ticks));
        // Idle, and waiting for a disk.
        let idle = sum(ticks.get(3..5)?);
        let all = sum(&ticks);
        Some(Times { core, busy: all.saturating_sub(idle), all })
    };
    stat.lines().take_while(|line| line.starts_with("cpu")).filter_map(line).collect()
}

fn percent(before: &Times, now: &Times) -> Option<f64> {
    let all = now.all.checked_sub(before.all).filter(|all| *all > 0)?;
    // The time that was spent waiting for a disk may go back a little.
    let busy = now.busy.saturating_sub(before.busy).min(all);
    Some(busy as f64 / all as f64 * 100.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::linux::tests::{rubbish, write};

    #[test]
    fn the_share_of_busy_ticks_since_the_sample_before_is_told_for_all_and_for_each() {
        let folder = tempfile::tempdir().unwrap();
        let proc = folder.path();
        let (mut cpu, begun) = (Cpu::default(), Instant::now());
        write(proc, &[("stat", "cpu 100 0 50 800 50 0 0 0 0 0\ncpu0 100 0 50 400 50 0 0 0 0 0\nintr 5\n")]);
        let first = cpu.sample(proc, begun);
        assert_eq!((first.total_percent, first.cores_percent), (None, vec![None]));
        // Of 100 ticks: 20 user, 4 system, 1 stolen, 70 idle, 5 waiting. A second core came meanwhile.
        write(proc, &[("stat", "cpu 120 0 54 870 55 0 0 1 9 0\ncpu0 120 0 54 470 55 0 0 1\ncpu1 9 9 9 9 9\n")]);
        let second = cpu.sample(proc, begun + Duration::from_secs(1));
        assert_eq!((second.total_percent, second.cores_percent), (Some(25.0), vec![Some(25.0), None]));
        write(proc, &[("stat", "cpu 1 0 0 1 0 0 0\n")]);
        let third = cpu.sample(proc, begun + Duration::from_secs(2));
        assert_eq!(third.total_percent, None, "the counters began anew");
        write(proc, &[("stat", "cpu 2 0 0 2 0 0 0\n")]);
        let soon = cpu.sample(proc, begun + Duration::from_millis(2020));
        assert_eq!(soon.total_percent, None, "two ticks are not half of the time");
        std::fs::remove_file(proc.join("stat")).unwrap();
        assert_eq!(cpu.sample(proc, begun + Duration::from_secs(3)), CpuSample::default());
    }

    #[test]
    fn the_clock_is_the_busiest_cores() {
        let folder = tempfile::tempdir().unwrap();
        let (proc, sys) = (folder.path().join("proc"), folder.path().join("sys"));
        let cores = "devices/system/cpu";
        write(&sys, &[(&format!("{cores}/cpu0/cpufreq/scaling_cur_freq"), "800000\n")]);
        write(&sys, &[(&format!("{cores}/cpu1/cpufreq/scaling_cur_freq"), "3400000\n")]);
        let (mut cpu, begun) = (Cpu::default(), Instant::now());
        cpu.list(&sys);
        write(&proc, &[("stat", "cpu 0 0 0 0 0\ncpu0 0 0 0 0 0\ncpu1 0 0 0 0 0\n")]);
        cpu.sample(&proc, begun);
        write(&proc, &[("stat", "cpu 9 0 0 11 0\ncpu0 0 0 0 10 0\ncpu1 9 0 0 1 0\n")]);
        assert_eq!(cpu.sample(&proc, begun + Duration::from_secs(1)).frequency_mhz, Some(3400.0));
        assert!(!cpu.probes()[1].found && cpu.probes()[1].detail.contains("hwmon"), "{:?}", cpu.probes());
        assert_eq!(cpuinfo_mhz("cpu MHz\t\t: 2445.406\ncpu MHz : 2500\ncpu MHz : x"), Some(2500.0));
    }

    #[test]
    fn rubbish_is_no_figure_and_no_panic() {
        for first in rubbish() {
            for second in rubbish() {
                for (a, b) in parse(&first).iter().zip(&parse(&second)) {
                    assert!(percent(a, b).is_none_or(|percent| (0.0..=100.0).contains(&percent)), "{first} {second}");
                }
            }
            cpuinfo_mhz(&first);
        }
    }
}

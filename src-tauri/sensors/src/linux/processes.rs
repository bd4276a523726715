//! Processes and their descendants: what they hold and what they compute.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
    time::Instant,
};

use super::{names, text};
use crate::{
    mib,
    rate::Busy,
    types::{Groups, Own, Usage},
};

/// The kernel cuts the names of processes here.
const COMM_BYTES: usize = 15;

/// Only the processes that somebody asks for are read.
#[derive(Debug, Default)]
pub(super) struct Processes {
    /// For whom the members were found; absent when they are to be found anew.
    of: Option<(Vec<u32>, Vec<u32>)>,
    window: Members,
    engines: Members,
}

/// A group's processes.
#[derive(Debug, Default)]
struct Members {
    pids: Vec<u32>,
    /// What of each process's memory belongs to others that share it, in bytes; found seldom, since that costs.
    shared_bytes: HashMap<u32, u64>,
    /// When each began, and the ticks it had computed.
    before: HashMap<u32, (u64, u64)>,
    since: Busy,
}

impl Processes {
    pub(super) fn list_anew(&mut self) {
        self.of = None;
    }

    /// Finds the members of `groups` where they are not known; walks through many files then.
    pub(super) fn find(&mut self, proc: &Path, groups: &Groups<'_>) {
        let asked = (groups.windows, groups.engines);
        if self.of.as_ref().is_none_or(|(windows, engines)| (windows.as_slice(), engines.as_slice()) != asked) {
            let (window, engines) = members(proc, groups);
            self.window.shared_bytes = window.iter().filter_map(|&pid| Some((pid, shared_bytes(proc, pid)?))).collect();
            (self.window.pids, self.engines.pids) = (window, engines);
            self.of = Some((groups.windows.to_vec(), groups.engines.to_vec()));
        }
    }

    /// What the members that were found have `now`: the windows', then the engines'.
    pub(super) fn sample(&mut self, proc: &Path, now: Instant) -> (Option<Usage>, Option<Usage>) {
        (self.window.usage(proc, now), self.engines.usage(proc, now))
    }
}

impl Members {
    fn usage(&mut self, proc: &Path, now: Instant) -> Option<Usage> {
        let mut usage = Usage::default();
        let mut ticks = None;
        let mut current = HashMap::with_capacity(self.pids.len());
        for &pid in &self.pids {
            // One that has ended is not among the next list's.
            let Some(held) = text(&proc.join(format!("{pid}/statm"))).and_then(|statm| parse_statm(&statm)) else {
                continue;
            };
            let Some(times) = text(&proc.join(format!("{pid}/stat"))).and_then(|stat| parse_stat(&stat)) else {
                continue;
            };
            let shared = self.shared_bytes.get(&pid).copied().unwrap_or(0);
            usage.memory_mib += mib(held.resident_bytes.saturating_sub(shared).max(held.private_bytes));
            usage.private_mib += mib(held.private_bytes);
            if let Some((begun, had)) = self.before.get(&pid)
                && *begun == times.begun
            {
                let computed = times.ticks.saturating_sub(*had);
                ticks = Some(ticks.map_or(computed, |sum: u64| sum.saturating_add(computed)));
            }
            current.insert(pid, (times.begun, times.ticks));
        }
        let seconds = |ticks: u64| ticks as f64 / rustix::param::clock_ticks_per_second().max(1) as f64;
        usage.cpu_percent = self.since.seconds(now).zip(ticks).map(|(elapsed, ticks)| seconds(ticks) / elapsed * 100.0);
        let any = !current.is_empty();
        self.before = current;
        any.then_some(usage)
    }
}

/// The processes of the windows and those of the engines.
fn members(proc: &Path, groups: &Groups<'_>) -> (Vec<u32>, Vec<u32>) {
    let engine_names: Vec<&str> =
        groups.engine_names.iter().map(|name| &name[..name.floor_char_boundary(COMM_BYTES)]).collect();
    let mut parents = None;
    let (mut window, mut engines): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    let mut next: Vec<(u32, bool)> = groups.engines.iter().map(|&pid| (pid, true)).collect();
    // Taken from the end: the engines first, so that they are nobody's descendants.
    next.splice(0..0, groups.windows.iter().map(|&pid| (pid, false)));
    while let Some((pid, of_engine)) = next.pop() {
        if !seen.insert(pid) {
            continue;
        }
        let by_name =
            || text(&proc.join(format!("{pid}/comm"))).is_some_and(|comm| engine_names.contains(&comm.as_str()));
        let of_engine = of_engine || (!groups.windows.contains(&pid) && by_name());
        if of_engine { &mut engines } else { &mut window }.push(pid);
        let children = children(proc, pid).unwrap_or_else(|| {
            let parents = parents.get_or_insert_with(|| parents_of_all(proc));
            parents.iter().filter(|(_, parent)| **parent == pid).map(|(child, _)| *child).collect()
        });
        next.extend(children.into_iter().map(|child| (child, of_engine)));
    }
    (window, engines)
}

/// The children that each thread of a process began; absent where the kernel was built without that.
fn children(proc: &Path, pid: u32) -> Option<Vec<u32>> {
    let threads = proc.join(format!("{pid}/task"));
    let told = fs::exists(threads.join(format!("{pid}/children"))).unwrap_or(false);
    let of = |thread: &String| text(&threads.join(thread).join("children")).unwrap_or_default();
    let all: Vec<_> = names(&threads).iter().map(of).collect();
    told.then(|| all.iter().flat_map(|list| list.split_ascii_whitespace()).filter_map(|pid| pid.parse().ok()).collect())
}

/// Every process and its parent, where the kernel does not tell the children.
fn parents_of_all(proc: &Path) -> HashMap<u32, u32> {
    let pids = names(proc).into_iter().filter_map(|name| name.parse().ok());
    pids.filter_map(|pid: u32| Some((pid, parse_stat(&text(&proc.join(format!("{pid}/stat")))?)?.parent))).collect()
}

/// What a process maps that others map too, beyond its own part of it; absent where the system does not tell.
fn shared_bytes(proc: &Path, pid: u32) -> Option<u64> {
    let rollup = text(&proc.join(format!("{pid}/smaps_rollup")))?;
    let bytes = |wanted: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(wanted))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    };
    bytes("Rss:")?.checked_sub(bytes("Pss:")?)
}

#[derive(Debug, PartialEq)]
struct Held {
    resident_bytes: u64,
    /// What is no file's and not shared.
    private_bytes: u64,
}

/// `/proc/PID/statm`, in pages.
fn parse_statm(statm: &str) -> Option<Held> {
    let mut pages = statm.split_ascii_whitespace().skip(1).map(|word| word.parse::<u64>().ok());
    let (resident, shared) = (pages.next()??, pages.next()??);
    let page = rustix::param::page_size() as u64;
    Some(Held {
        resident_bytes: resident.saturating_mul(page),
        private_bytes: resident.saturating_sub(shared).saturating_mul(page),
    })
}

#[derive(Debug, PartialEq)]
struct Stat {
    parent: u32,
    /// Computed so far, with the system's part.
    ticks: u64,
    /// When it began; tells it from another that has its number later.
    begun: u64,
}

/// `/proc/PID/stat`. Its second word is the name in brackets, which may hold anything.
fn parse_stat(stat: &str) -> Option<Stat> {
    let (_, rest) = stat.rsplit_once(')')?;
    let words: Vec<&str> = rest.split_ascii_whitespace().take(20).collect();
    let number = |index: usize| words.get(index)?.parse::<u64>().ok();
    Some(Stat {
        parent: words.get(1)?.parse().ok()?,
        ticks: number(11)?.saturating_add(number(12)?),
        begun: number(19)?,
    })
}

/// What this process has computed and holds.
pub(super) fn own(proc: &Path) -> Option<Own> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let held = parse_statm(&text(&proc.join("self/statm"))?)?;
    Some(Own { cpu_seconds: time.tv_sec as f64 + time.tv_nsec as f64 / 1e9, private_mib: mib(held.private_bytes) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::linux::tests::{rubbish, write};

    /// A process of a made-up `/proc`.
    fn process(proc: &Path, pid: u32, name: &str, children: &str, ticks: u64, pages: u64) {
        let stat = format!("{pid} ({name}) S 1 0 0 0 0 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 77 0");
        let statm = format!("9999 {pages} {} 0 0 0 0", pages / 4);
        let (comm, list) = (format!("{name}\n"), format!("task/{pid}/children"));
        let folder = proc.join(pid.to_string());
        write(&folder, &[("stat", &stat), ("statm", &statm), ("comm", &comm), (&list, children)]);
    }

    #[test]
    fn descendants_count_with_the_window_and_engines_for_themselves() {
        let folder = tempfile::tempdir().unwrap();
        let proc = folder.path();
        process(proc, 10, "tektra) S 1 (", "11 12 13 ", 100, 1024);
        process(proc, 11, "WebKitWebProces", "14", 50, 2048);
        process(proc, 12, "the-engine", "15", 900, 4096);
        process(proc, 13, "tektra-engine-c", "", 30, 256);
        process(proc, 14, "bwrap", "11", 1, 256);
        process(proc, 15, "helper", "", 1, 256);
        let engine_names = ["tektra-engine".to_owned(), "tektra-engine-cuda".to_owned()];
        let groups = Groups { windows: &[10], engines: &[12], engine_names: &engine_names };
        let (mut window, mut engines) = members(proc, &groups);
        window.sort();
        engines.sort();
        assert_eq!((window, engines), (vec![10, 11, 14], vec![12, 13, 15]));
        let one = Groups { engine_names: &engine_names[..1], ..groups };
        assert_eq!(members(proc, &one).1.len(), 2, "another's name is not the engine's");

        let (mut processes, begun) = (Processes::default(), Instant::now());
        processes.find(proc, &groups);
        let (window, engines) = processes.sample(proc, begun);
        let page_mib = mib(rustix::param::page_size() as u64);
        let window = window.unwrap();
        assert_eq!((window.memory_mib, window.private_mib), (3328.0 * page_mib, 2496.0 * page_mib));
        assert_eq!((window.cpu_percent, engines.unwrap().cpu_percent), (None, None), "since when?");

        process(proc, 11, "WebKitWebProces", "14", 75, 2048);
        std::fs::remove_dir_all(proc.join("14")).unwrap();
        processes.find(proc, &groups);
        let (window, engines) = processes.sample(proc, begun + Duration::from_secs(1));
        let percent = 25.0 * 100.0 / rustix::param::clock_ticks_per_second() as f64;
        assert_eq!((window.unwrap().cpu_percent, engines.unwrap().cpu_percent), (Some(percent), Some(0.0)));
        process(proc, 11, "WebKitWebProces", "14", 76, 2048);
        let (window, engines) = processes.sample(proc, begun + Duration::from_millis(1010));
        assert_eq!((window.unwrap().cpu_percent, engines.unwrap().cpu_percent), (None, None), "within one tick");
        processes.find(proc, &Groups { windows: &[99], ..Groups::default() });
        assert_eq!(processes.sample(proc, begun + Duration::from_secs(2)), (None, None));
    }

    #[test]
    fn what_processes_share_is_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let proc = folder.path();
        process(proc, 10, "tektra", "", 1, 2048);
        write(&proc.join("10"), &[("smaps_rollup", "0-1 ---p [rollup]\nRss: 4096 kB\nPss: 3072 kB\n")]);
        let mut processes = Processes::default();
        processes.find(proc, &Groups { windows: &[10], ..Groups::default() });
        let (window, _) = processes.sample(proc, Instant::now());
        let resident = 2048.0 * mib(rustix::param::page_size() as u64);
        assert_eq!(window.unwrap().memory_mib, resident - 1.0);
    }

    #[test]
    fn rubbish_is_no_process_and_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        for text in rubbish() {
            let _ = (parse_stat(&text), parse_statm(&text));
            let files = ["stat", "statm", "comm", "smaps_rollup", "task/7/children", "task/8/children"];
            write(&folder.path().join("7"), &files.map(|name| (name, text.as_str())));
            let groups = Groups { windows: &[7], engines: &[8, 7], engine_names: &["éééééééé".to_owned()] };
            let mut processes = Processes::default();
            processes.find(folder.path(), &groups);
            processes.sample(folder.path(), Instant::now());
        }
    }
}

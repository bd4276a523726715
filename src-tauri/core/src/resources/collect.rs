//! From readings to a sample: whose the memory is, and what the engines did meanwhile.

use std::{collections::HashMap, time::Instant};

use serde::{Deserialize, Serialize};
use tektra_protocol::EngineStats;
use tektra_sensors::{Groups, Probe, Sample, Sampler, Usage};

use super::{EngineSample, ResourceSample, Shares};
use crate::{engine::EngineNow, store::now_ms};

/// A Tektra that runs, and its engines.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) pid: u32,
    /// Answers that wait for their turn.
    pub(crate) waiting: u32,
    pub(crate) engines: Vec<EngineNow>,
}

/// Reads the sensors, and remembers what the engines had done.
#[derive(Debug, Default)]
pub(super) struct Collector {
    sampler: Sampler,
    before: HashMap<u32, (EngineStats, Instant)>,
}

impl Collector {
    pub(super) fn probes(&self) -> Vec<Probe> {
        self.sampler.probes()
    }

    pub(super) fn collect(&mut self, engine_names: &[String], running: &[Running]) -> ResourceSample {
        let windows: Vec<u32> = running.iter().map(|tektra| tektra.pid).collect();
        let engines: Vec<&EngineNow> = running.iter().flat_map(|tektra| &tektra.engines).collect();
        let pids: Vec<u32> = engines.iter().map(|engine| engine.pid).collect();
        // What the engines told is of now; the sensors take a while.
        let now = Instant::now();
        let read = self.sampler.sample(&Groups { windows: &windows, engines: &pids, engine_names });
        let told: Vec<(u32, EngineStats)> = engines.iter().filter_map(|it| Some((it.pid, it.stats?))).collect();
        let waiting = running.iter().map(|tektra| tektra.waiting).sum();
        let engine = self.engine(&told, waiting, now);
        let shares = shares(&read, &told);
        let Sample { cpu, memory, disk, network, gpus, power, .. } = read;
        ResourceSample { at_ms: now_ms() as f64, cpu, memory, disk, network, gpus, power, shares, engine }
    }

    /// What the engines do, and did since the sample before.
    fn engine(&mut self, told: &[(u32, EngineStats)], waiting: u32, now: Instant) -> Option<EngineSample> {
        let before = std::mem::take(&mut self.before);
        self.before = told.iter().map(|(pid, stats)| (*pid, (*stats, now))).collect();
        if told.is_empty() {
            return None;
        }
        let mut sample =
            EngineSample { waiting, kv_mib: mib_of(told, |stats| stats.kv_bytes), ..EngineSample::default() };
        let (mut prefill, mut decode) = (0.0, 0.0);
        for (pid, stats) in told {
            sample.active = sample.active.saturating_add(stats.active);
            sample.waiting = sample.waiting.saturating_add(stats.waiting);
            let Some((had, at)) = before.get(pid) else { continue };
            let seconds = now.saturating_duration_since(*at).as_secs_f64().max(1e-3);
            // Of the time that took it: between two samples a prompt may be computed in a part of it, or go on.
            let prompt_tokens = stats.prompt_tokens.saturating_sub(had.prompt_tokens);
            let prefill_us = stats.prefill_us.saturating_sub(had.prefill_us);
            prefill += prompt_tokens as f64 / (prefill_us.max(1) as f64 / 1e6);
            decode += stats.generated_tokens.saturating_sub(had.generated_tokens) as f64 / seconds;
            let hits = stats.prefix_hit_tokens.saturating_sub(had.prefix_hit_tokens);
            sample.prefix_hit_tokens = sample.prefix_hit_tokens.saturating_add(u32::try_from(hits).unwrap_or(u32::MAX));
        }
        sample.prefill_tokens_per_second = (prefill > 0.0).then_some(prefill);
        sample.decode_tokens_per_second = (decode > 0.0).then_some(decode);
        Some(sample)
    }
}

/// Whose the memory and the processor's time are.
fn shares(read: &Sample, told: &[(u32, EngineStats)]) -> Shares {
    let private = |usage: Option<Usage>| usage.map_or(0.0, |usage| usage.private_mib);
    let percent = |usage: Option<Usage>| usage.and_then(|usage| usage.cpu_percent);
    let (window_cpu_percent, engine_cpu_percent) = (percent(read.window), percent(read.engines));
    // Pages of files count as available, whoever has mapped them.
    let other = |used: f64| (used - private(read.window) - private(read.engines)).max(0.0);
    let all_percent = read.cpu.total_percent.map(|percent| percent * read.cpu.cores_percent.len() as f64);
    let ours_percent = window_cpu_percent.unwrap_or(0.0) + engine_cpu_percent.unwrap_or(0.0);
    Shares {
        window_mib: read.window.map(|usage| usage.memory_mib),
        engine_mib: read.engines.map(|usage| usage.memory_mib),
        weights_mib: mib_of(told, |stats| stats.weights_bytes),
        kv_mib: mib_of(told, |stats| stats.kv_bytes),
        other_mib: read.memory.used_mib.map(other),
        window_cpu_percent,
        engine_cpu_percent,
        other_cpu_percent: all_percent.map(|all| (all - ours_percent).max(0.0)),
    }
}

/// The sum of what the engines tell; absent where none does.
fn mib_of(told: &[(u32, EngineStats)], bytes: impl Fn(&EngineStats) -> Option<u64>) -> Option<f64> {
    let all = told.iter().filter_map(|(_, stats)| bytes(stats));
    all.map(|bytes| bytes as f64 / f64::from(1 << 20)).reduce(|sum, mib| sum + mib)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_of_engines_are_those_since_the_sample_before_and_of_no_tokens_there_are_none() {
        let (mut collector, begun) = (Collector::default(), Instant::now());
        let stats = |prompt_tokens, generated_tokens| EngineStats {
            active: 1,
            prompt_tokens,
            prefill_us: prompt_tokens * 50_000,
            generated_tokens,
            prefix_hit_tokens: prompt_tokens / 2,
            ..EngineStats::default()
        };
        assert_eq!(collector.engine(&[], 3, begun), None);
        let first = collector.engine(&[(1, stats(100, 10))], 3, begun).unwrap();
        assert_eq!((first.prefill_tokens_per_second, first.waiting, first.kv_mib), (None, 3, None));
        let both = [(1, stats(100, 50)), (2, EngineStats { kv_bytes: Some(3 << 20), ..stats(7, 7) })];
        let second = collector.engine(&both, 0, begun + Duration::from_secs(2)).unwrap();
        assert_eq!((second.prefill_tokens_per_second, second.decode_tokens_per_second), (None, Some(20.0)));
        assert_eq!((second.active, second.prefix_hit_tokens, second.kv_mib), (2, 0, Some(3.0)));
        // The first has gone; another with its number began anew.
        let third = collector.engine(&[(1, stats(4, 0))], 0, begun + Duration::from_secs(3)).unwrap();
        assert_eq!((third.prefill_tokens_per_second, third.decode_tokens_per_second), (None, None));
        let fourth = collector.engine(&[(1, stats(24, 0))], 0, begun + Duration::from_secs(4)).unwrap();
        assert_eq!((fourth.prefill_tokens_per_second, fourth.prefix_hit_tokens), (Some(20.0), 10));
    }

    #[test]
    fn what_is_not_told_is_absent_and_the_rest_is_the_others() {
        let told = |kv_bytes| (1, EngineStats { kv_bytes, weights_bytes: None, ..EngineStats::default() });
        let mut read = Sample::default();
        assert_eq!(shares(&read, &[]), Shares::default());
        read.memory.used_mib = Some(1000.0);
        (read.cpu.total_percent, read.cpu.cores_percent) = (Some(50.0), vec![Some(60.0), Some(40.0)]);
        read.window = Some(Usage { memory_mib: 120.0, private_mib: 100.0, cpu_percent: Some(5.0) });
        read.engines = Some(Usage { memory_mib: 500.0, private_mib: 400.0, cpu_percent: None });
        let shares = shares(&read, &[told(Some(1 << 20)), told(Some(2 << 20)), told(None)]);
        assert_eq!((shares.weights_mib, shares.kv_mib, shares.other_mib), (None, Some(3.0), Some(500.0)));
        assert_eq!(
            (shares.engine_mib, shares.engine_cpu_percent, shares.other_cpu_percent),
            (Some(500.0), None, Some(95.0))
        );
    }
}

//! What a request means: its cells, the order that they are measured in, and how long that takes.

use crate::types::{BenchDevice, BenchPreset, BenchRequest, CellKey, Kv};

/// Repetitions of a cell where nothing else is asked: the fewest that have an interval.
const REPETITIONS: u32 = 5;
/// Repetitions that one process measures before another cell has its turn.
const IN_ONE_ROUND: u32 = 2;

/// More side by side is no machine's business here.
const MOST_BATCH: u32 = 64;
/// No model holds a longer context.
const MOST_DEPTH: u32 = 1 << 20;
/// More tell nothing new.
const MOST_REPETITIONS: u32 = 1_000;
/// More would take weeks.
const MOST_CELLS: usize = 5_000;

/// Where nothing was measured: what memory gives to decoding, in bytes of weights a second.
const ASSUMED_BYTES_PER_SECOND: f64 = 6e9;
/// The same of a GPU's memory.
const ASSUMED_GPU_BYTES_PER_SECOND: f64 = 1e11;
/// Where nothing was measured: how many prompt tokens are computed in the time of one written token.
const ASSUMED_PREFILL_RATIO: f64 = 6.0;
/// What another answer side by side adds to the time of a step, in shares of it.
const ANOTHER_ANSWER: f64 = 0.4;
/// Context at which a token takes twice as long, in tokens.
const DOUBLES_AT_DEPTH: f64 = 16_384.0;
/// Starting a process.
const START_SECONDS: f64 = 0.2;
/// Reading a model from a disk and packing it.
const LOAD_BYTES_PER_SECOND: f64 = 5e8;

/// How long what is measured is, in tokens. pp512 and tg128 are llama-bench's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// The prompt.
    pub prompt: u32,
    /// The answer.
    pub decode: u32,
}

impl BenchPreset {
    /// How long what it measures is.
    pub fn lengths(self) -> Lengths {
        match self {
            Self::Quick => Lengths { prompt: 128, decode: 32 },
            Self::Standard | Self::Thorough => Lengths { prompt: 512, decode: 128 },
        }
    }

    /// `quick`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Standard => "standard",
            Self::Thorough => "thorough",
        }
    }
}

/// What is known of a model's speed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ModelSize {
    /// Its files.
    pub size_bytes: u64,
    /// Prompt tokens and written tokens a second on the CPU with all threads, where they were measured.
    pub tokens_per_second: Option<(f64, f64)>,
    /// The same on a GPU.
    pub gpu_tokens_per_second: Option<(f64, f64)>,
}

impl CellKey {
    /// The words for the GPU of this number.
    pub fn on_gpu(index: u32) -> String {
        format!("GPU {index}")
    }

    /// The number of the GPU that it is computed on.
    pub fn gpu(&self) -> Option<u32> {
        self.placement.strip_prefix("GPU ")?.parse().ok()
    }
}

/// # Errors
/// A sentence, for what no machine or model can do, on a machine of `cores`.
pub fn check(request: &BenchRequest, cores: u32) -> Result<(), String> {
    let none = |numbers: &[u32]| numbers.contains(&0);
    let above = |numbers: &[u32], most: u32| numbers.iter().copied().find(|number| *number > most);
    if none(&request.batches) || none(&request.threads) || request.repetitions == Some(0) {
        return Err("Batches, threads and repetitions are counted from 1.".into());
    }
    if let Some(batch) = above(&request.batches, MOST_BATCH) {
        return Err(format!("{batch} answers side by side are too many: {MOST_BATCH} at most."));
    }
    if let Some(threads) = above(&request.threads, cores) {
        return Err(format!("{threads} threads are more than this machine computes side by side: {cores}."));
    }
    if let Some(depth) = above(&request.depths, MOST_DEPTH) {
        return Err(format!("A context of {depth} tokens is longer than any model's: {MOST_DEPTH} at most."));
    }
    if let Some(repetitions) = request.repetitions.filter(|repetitions| *repetitions > MOST_REPETITIONS) {
        return Err(format!("{repetitions} repetitions are too many: {MOST_REPETITIONS} at most."));
    }
    let lists =
        [&request.batches, &request.threads, &request.depths].map(Vec::len).into_iter().chain([request.kvs.len()]);
    let cells = lists.fold(request.models.len().max(1), |all, list| all.saturating_mul(list.max(1)));
    if cells > MOST_CELLS {
        return Err(format!("These are {cells} configurations: {MOST_CELLS} at most."));
    }
    Ok(())
}

/// Repetitions of each cell.
pub fn repetitions(request: &BenchRequest) -> u32 {
    request.repetitions.unwrap_or(REPETITIONS)
}

/// Whether quality is measured.
pub fn with_quality(request: &BenchRequest) -> bool {
    request.quality.unwrap_or(request.preset == BenchPreset::Thorough)
}

/// Whether the other precisions of the models are measured too.
pub fn with_siblings(request: &BenchRequest) -> bool {
    request.preset == BenchPreset::Thorough && request.models.len() < 2
}

/// The configurations of `models` (name, quantization) on a machine of `cores`, where `gpu` is the number of the GPU that
/// can be measured. What a GPU computes does not depend on threads: it is measured with the most of them.
pub fn cells(request: &BenchRequest, models: &[(String, String)], cores: u32, gpu: Option<u32>) -> Vec<CellKey> {
    let doubling =
        |most: u32| std::iter::successors(Some(1_u32), |number| number.checked_mul(2)).take_while(move |it| *it < most);
    let (batches, threads, depths, kvs) = match request.preset {
        BenchPreset::Quick => (vec![1], vec![cores], vec![0], vec![Kv::F16]),
        BenchPreset::Standard => (vec![1, 2, 4], vec![1, cores], vec![0, 4096], vec![Kv::F16]),
        BenchPreset::Thorough => (
            vec![1, 2, 4, 8],
            doubling(cores).chain([cores]).collect(),
            vec![0, 4096, 16_384],
            vec![Kv::F16, Kv::Q8, Kv::F32],
        ),
    };
    let (batches, threads) = (chosen(&request.batches, batches), chosen(&request.threads, threads));
    let (depths, kvs) = (chosen(&request.depths, depths), chosen(&request.kvs, kvs));
    let devices = match (gpu, request.preset) {
        (None, _) => vec![BenchDevice::Cpu],
        (Some(_), BenchPreset::Quick) => vec![BenchDevice::Gpu],
        (Some(_), _) => vec![BenchDevice::Cpu, BenchDevice::Gpu],
    };
    let most_threads = threads.iter().copied().max().unwrap_or(cores);
    let places: Vec<(String, Vec<u32>)> = chosen(&request.devices, devices)
        .into_iter()
        .map(|device| match device {
            BenchDevice::Cpu => ("CPU".into(), threads.clone()),
            BenchDevice::Gpu => (CellKey::on_gpu(gpu.unwrap_or_default()), vec![most_threads]),
        })
        .collect();
    let mut cells = Vec::new();
    for (model, quantization) in models {
        for (placement, threads) in &places {
            for (&kv, &depth_tokens) in kvs.iter().flat_map(|kv| depths.iter().map(move |depth| (kv, depth))) {
                for (&threads, &batch) in threads.iter().flat_map(|it| batches.iter().map(move |batch| (it, batch))) {
                    let (model, quantization, placement) = (model.clone(), quantization.clone(), placement.clone());
                    cells.push(CellKey { model, quantization, batch, threads, depth_tokens, kv, placement });
                }
            }
        }
    }
    cells
}

/// What is asked for, else the preset's; each once.
fn chosen<T: PartialEq + Copy>(asked: &[T], preset: Vec<T>) -> Vec<T> {
    let all = if asked.is_empty() { preset } else { asked.to_vec() };
    let mut once = Vec::with_capacity(all.len());
    for it in all {
        if !once.contains(&it) {
            once.push(it);
        }
    }
    once
}

/// A cell's turn in a round: one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The cell by its place in the plan.
    pub cell: usize,
    /// The round, from 0.
    pub round: u32,
    /// What the process measures after its warm-up.
    pub repetitions: u32,
}

/// In which order cells are measured.
///
/// What changes with time (heat, other programs) must not fall on one cell alone: no process measures more than two
/// repetitions before the other cells have theirs, and every second round goes backwards, so that a slow drift falls on
/// all cells alike. There are two rounds at least where there are two repetitions, because the first loads from the disk
/// and the later ones from the page cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Rounds.
    pub rounds: u32,
    repetitions: u32,
}

impl Schedule {
    /// For `repetitions` of each cell.
    pub fn new(repetitions: u32) -> Self {
        Self { rounds: repetitions.div_ceil(IN_ONE_ROUND).max(repetitions.min(2)), repetitions }
    }

    /// The visits in order, without the first rounds of cells that have `done` them.
    pub fn visits(&self, done: &[u32]) -> Vec<Visit> {
        let mut visits = Vec::new();
        for round in 0..self.rounds {
            let repetitions = self.repetitions_in(round);
            let left = (0..done.len()).filter(|cell| done[*cell] <= round);
            let mut turn: Vec<Visit> = left.map(|cell| Visit { cell, round, repetitions }).collect();
            if round % 2 == 1 {
                turn.reverse();
            }
            visits.extend(turn);
        }
        visits
    }

    /// Repetitions in the rounds before `round`.
    pub fn repetitions_before(&self, round: u32) -> u32 {
        (0..round).map(|round| self.repetitions_in(round)).sum()
    }

    fn repetitions_in(&self, round: u32) -> u32 {
        let rounds = self.rounds.max(1);
        self.repetitions / rounds + u32::from(round < self.repetitions % rounds)
    }
}

/// How long a visit takes, as an estimate: a load, a warm-up and its repetitions.
pub fn seconds(key: &CellKey, visit: &Visit, lengths: Lengths, model: &ModelSize, cores: u32) -> f64 {
    let on_gpu = key.gpu().is_some();
    let (measured, bytes_per_second) = if on_gpu {
        (model.gpu_tokens_per_second, ASSUMED_GPU_BYTES_PER_SECOND)
    } else {
        (model.tokens_per_second, ASSUMED_BYTES_PER_SECOND)
    };
    let assumed = bytes_per_second / model.size_bytes.max(1) as f64;
    let (prefill, decode) = measured.unwrap_or((assumed * ASSUMED_PREFILL_RATIO, assumed));
    let (batch, depth) = (f64::from(key.batch), f64::from(key.depth_tokens));
    let threads = if on_gpu { cores } else { key.threads };
    let slower = f64::from(cores.max(1)) / f64::from(threads.max(1)).min(f64::from(cores.max(1)));
    let deeper = 1.0 + depth / DOUBLES_AT_DEPTH;
    let before = depth * batch / prefill * (1.0 + deeper) / 2.0;
    let prompt = f64::from(lengths.prompt) * batch / prefill * deeper;
    let answer = f64::from(lengths.decode) / decode * (1.0 + ANOTHER_ANSWER * (batch - 1.0)) * deeper;
    // The warm-up is one more.
    let computing = (before + prompt + answer) * f64::from(visit.repetitions + 1);
    START_SECONDS + model.size_bytes as f64 / LOAD_BYTES_PER_SECOND + computing * slower
}

#[cfg(test)]
mod tests {
    use super::{Lengths, ModelSize, Schedule, Visit, cells, check, repetitions, seconds, with_quality, with_siblings};
    use crate::types::{BenchDevice, BenchPreset, BenchRequest, CellKey, Kv};

    fn request(preset: BenchPreset) -> BenchRequest {
        let (batches, threads, depths, kvs, devices) = Default::default();
        let models = Vec::new();
        BenchRequest { preset, models, batches, threads, depths, kvs, devices, repetitions: None, quality: None }
    }

    fn keys(request: &BenchRequest, cores: u32) -> Vec<CellKey> {
        cells(request, &[("m".into(), "Q4_0".into())], cores, None)
    }

    #[test]
    fn presets_are_what_they_say() {
        let quick = keys(&request(BenchPreset::Quick), 4);
        assert_eq!(quick.len(), 1);
        assert_eq!((quick[0].batch, quick[0].threads, quick[0].depth_tokens, quick[0].kv), (1, 4, 0, Kv::F16));
        assert_eq!(keys(&request(BenchPreset::Standard), 4).len(), 3 * 2 * 2);
        assert_eq!(keys(&request(BenchPreset::Standard), 1).len(), 3 * 2, "one core is one number of threads");
        let thorough = keys(&request(BenchPreset::Thorough), 6);
        assert_eq!(thorough.len(), 4 * 4 * 3 * 3, "1, 2, 4 and 6 threads");
        assert!(thorough.iter().any(|key| key.threads == 6 && key.batch == 8 && key.depth_tokens == 16_384));
        assert_eq!(repetitions(&request(BenchPreset::Quick)), 5);
        assert!(with_quality(&request(BenchPreset::Thorough)) && !with_quality(&request(BenchPreset::Standard)));
        assert!(with_siblings(&request(BenchPreset::Thorough)) && !with_siblings(&request(BenchPreset::Quick)));
    }

    #[test]
    fn what_is_asked_for_takes_the_presets_place_once() {
        let asked = BenchRequest { batches: vec![2, 2, 1], depths: vec![64], ..request(BenchPreset::Standard) };
        let keys = keys(&asked, 2);
        assert_eq!(
            keys.iter().map(|key| (key.threads, key.batch)).collect::<Vec<_>>(),
            [(1, 2), (1, 1), (2, 2), (2, 1)]
        );
        assert!(keys.iter().all(|key| key.depth_tokens == 64));
    }

    #[test]
    fn a_gpu_is_measured_beside_the_processor_and_with_one_number_of_threads() {
        let on = |request: &BenchRequest| -> Vec<(String, u32)> {
            let keys = cells(request, &[("m".into(), "Q4_0".into())], 4, Some(1));
            keys.into_iter()
                .filter(|key| key.batch == 1 && key.depth_tokens == 0)
                .map(|it| (it.placement, it.threads))
                .collect()
        };
        let at = |place: &str, threads| (place.to_owned(), threads);
        assert_eq!(on(&request(BenchPreset::Quick)), [at("GPU 1", 4)]);
        assert_eq!(on(&request(BenchPreset::Standard)), [at("CPU", 1), at("CPU", 4), at("GPU 1", 4)]);
        let asked = BenchRequest { devices: vec![BenchDevice::Cpu], ..request(BenchPreset::Quick) };
        assert_eq!(on(&asked), [at("CPU", 4)]);
        let key = CellKey { placement: CellKey::on_gpu(1), ..keys(&request(BenchPreset::Quick), 4)[0].clone() };
        assert_eq!((key.gpu(), keys(&request(BenchPreset::Quick), 4)[0].gpu()), (Some(1), None));
    }

    #[test]
    fn absurd_requests_are_refused_with_a_sentence() {
        let quick = || request(BenchPreset::Quick);
        for (asked, word) in [
            (BenchRequest { batches: vec![0], ..quick() }, "counted from 1"),
            (BenchRequest { threads: vec![0], ..quick() }, "counted from 1"),
            (BenchRequest { repetitions: Some(0), ..quick() }, "counted from 1"),
            (BenchRequest { batches: vec![65], ..quick() }, "65 answers"),
            (BenchRequest { threads: vec![3], ..quick() }, "3 threads"),
            (BenchRequest { depths: vec![2_000_000], ..quick() }, "2000000 tokens"),
            (BenchRequest { repetitions: Some(5000), ..quick() }, "5000 repetitions"),
            (BenchRequest { batches: vec![1; 100], depths: vec![1; 100], ..quick() }, "10000 configurations"),
        ] {
            let why = check(&asked, 2).unwrap_err();
            assert!(why.contains(word) && why.ends_with('.'), "{why}");
        }
        assert_eq!(check(&quick(), 2), Ok(()));
    }

    #[test]
    fn rounds_go_forth_and_back_with_at_most_two_repetitions() {
        let schedule = Schedule::new(5);
        let visits = schedule.visits(&[0, 0, 0]);
        let turns: Vec<(usize, u32)> = visits.iter().map(|visit| (visit.cell, visit.repetitions)).collect();
        assert_eq!(turns, [(0, 2), (1, 2), (2, 2), (2, 2), (1, 2), (0, 2), (0, 1), (1, 1), (2, 1)]);
        assert_eq!((schedule.repetitions_before(0), schedule.repetitions_before(2)), (0, 4));
        for repetitions in 1..40 {
            let visits = Schedule::new(repetitions).visits(&[0]);
            assert_eq!(visits.iter().map(|visit| visit.repetitions).sum::<u32>(), repetitions);
            assert!(visits.iter().all(|visit| (1..=2).contains(&visit.repetitions)));
        }
        assert_eq!(Schedule::new(2).rounds, 2, "the second load finds the file in memory");
        assert_eq!(Schedule::new(1).visits(&[0]).len(), 1);
    }

    #[test]
    fn what_is_done_is_not_done_again() {
        let left = Schedule::new(5).visits(&[3, 1, 2]);
        let turns: Vec<(usize, u32)> = left.iter().map(|visit| (visit.cell, visit.round)).collect();
        assert_eq!(turns, [(1, 1), (1, 2), (2, 2)]);
        assert!(Schedule::new(5).visits(&[u32::MAX]).is_empty());
    }

    #[test]
    fn time_is_estimated_from_speed_threads_and_depth() {
        let key = |batch, threads, depth_tokens| CellKey {
            model: "m".into(),
            quantization: "Q4_0".into(),
            batch,
            threads,
            depth_tokens,
            kv: Kv::F16,
            placement: "CPU".into(),
        };
        let model = ModelSize {
            size_bytes: 500_000_000,
            tokens_per_second: Some((100.0, 10.0)),
            gpu_tokens_per_second: Some((1000.0, 100.0)),
        };
        let visit = Visit { cell: 0, round: 0, repetitions: 1 };
        let lengths = Lengths { prompt: 200, decode: 30 };
        let time = |key| seconds(&key, &visit, lengths, &model, 2);
        // 0.2 to start, 1 to load, twice 200/100 + 30/10.
        assert!((time(key(1, 2, 0)) - 11.2).abs() < 1e-9);
        assert!((time(key(1, 1, 0)) - 21.2).abs() < 1e-9, "half the threads take twice as long");
        let on_gpu = CellKey { placement: CellKey::on_gpu(0), ..key(1, 1, 0) };
        assert!((time(on_gpu) - 2.2).abs() < 1e-9, "threads are nothing to a GPU");
        assert!(time(key(2, 2, 0)) < 2.0 * time(key(1, 2, 0)) && time(key(2, 2, 0)) > time(key(1, 2, 0)));
        assert!(time(key(1, 2, 4096)) > 2.0 * 40.96);
        // The starter model: 100 MB, about 60 tokens a second.
        let starter = ModelSize { size_bytes: 100_000_000, tokens_per_second: None, gpu_tokens_per_second: None };
        let quick: f64 = Schedule::new(5)
            .visits(&[0])
            .iter()
            .map(|visit| seconds(&key(1, 2, 0), visit, BenchPreset::Quick.lengths(), &starter, 2))
            .sum();
        assert!(quick < 60.0, "{quick}");
    }
}

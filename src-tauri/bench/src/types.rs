//! Benchmarks as they are asked for, stored and shown.

use serde::{Deserialize, Serialize};
use specta::Type;

/// How thorough a benchmark is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum BenchPreset {
    /// One configuration with short lengths: under a minute with a small model.
    Quick,
    /// Side by side, threads and a long context.
    Standard,
    /// All that, every KV cache, every precision that is there, and quality.
    Thorough,
}

/// What a run is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum BenchFormat {
    /// Everything, every sample included.
    Json,
    /// A line for each metric of each cell.
    Csv,
    /// A table.
    Markdown,
    /// What llama-bench prints with `-o json`.
    LlamaBenchJson,
}

/// What keys and values are kept in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum Kv {
    /// Half precision.
    #[default]
    F16,
    /// 8-bit integers with a scale for each head.
    Q8,
    /// Single precision.
    F32,
}

impl Kv {
    /// As the engine is told: `f16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Q8 => "q8",
            Self::F32 => "f32",
        }
    }
}

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum BenchDevice {
    /// The processor.
    Cpu,
    /// A GPU, all layers on it.
    Gpu,
}

/// What to measure. Empty lists and what is absent: the preset's own; no model: the one in use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Type)]
pub struct BenchRequest {
    /// How thorough.
    pub preset: BenchPreset,
    /// The models by name.
    pub models: Vec<String>,
    /// Answers side by side.
    pub batches: Vec<u32>,
    /// Threads to compute with.
    pub threads: Vec<u32>,
    /// Tokens that stand in the context before what is measured.
    pub depths: Vec<u32>,
    /// What keys and values are kept in.
    #[specta(inline)]
    pub kvs: Vec<Kv>,
    /// What computes. Runs of before have none.
    #[serde(default)]
    pub devices: Vec<BenchDevice>,
    /// How often each cell is measured, the warm-up not counted.
    pub repetitions: Option<u32>,
    /// Whether quality is measured too.
    pub quality: Option<bool>,
}

/// What a benchmark would do.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct BenchPlan {
    /// Its cells.
    pub cells: Vec<CellKey>,
    /// How long it would take.
    pub seconds: u32,
    /// What a person should know of it: sentences.
    pub notes: Vec<String>,
    /// The GPU that it can be computed on, in words.
    pub gpu: Option<String>,
}

/// One configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Type)]
pub struct CellKey {
    /// The model's name.
    pub model: String,
    /// The type that holds most of its weights: `Q4_1`.
    pub quantization: String,
    /// Answers side by side.
    pub batch: u32,
    /// Threads to compute with; on a GPU those that feed it.
    pub threads: u32,
    /// Tokens that stand in the context before what is measured.
    pub depth_tokens: u32,
    /// What keys and values are kept in.
    #[specta(inline)]
    pub kv: Kv,
    /// Where it is computed, in words: `CPU`, or `GPU 0` for all layers on the GPU of that number.
    pub placement: String,
}

/// How far a running benchmark is.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct BenchProgress {
    /// The run.
    pub run_id: String,
    /// What is being measured.
    pub cell: Option<CellKey>,
    /// Cells that are over.
    pub cells_done: u32,
    /// All cells.
    pub cells: u32,
    /// The repetition of this cell that is being measured, from 1; 0 before the first.
    pub repetition: u32,
    /// All repetitions of a cell.
    pub repetitions: u32,
    /// Since it began or went on.
    pub seconds: u32,
    /// Until its end.
    pub seconds_left: Option<u32>,
    /// Whether it waits for an answer in the chat, which comes first.
    pub waiting: bool,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It goes on.
    Running,
    /// Every cell is over.
    Done,
    /// The person stopped it.
    Cancelled,
    /// Its process ended before it did.
    Interrupted,
}

/// A run in a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Type)]
pub struct BenchRunSummary {
    /// Its id.
    pub id: String,
    /// When it began, in milliseconds since 1970.
    pub started_ms: f64,
    /// How long it has taken.
    pub seconds: u32,
    /// How thorough it is.
    pub preset: BenchPreset,
    /// Its models.
    pub models: Vec<String>,
    /// All cells.
    pub cells: u32,
    /// Cells that are over.
    pub cells_done: u32,
    /// How it stands.
    pub state: RunState,
    /// The machine, in words.
    pub machine: String,
    /// The best median of all cells.
    pub best_decode_tokens_per_second: Option<f64>,
}

/// A run, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Type)]
pub struct BenchRun {
    /// In a line.
    pub summary: BenchRunSummary,
    /// Where it was measured.
    pub machine: MachineInfo,
    /// What makes it doubtful: sentences.
    pub marks: Vec<String>,
    /// What was measured.
    pub cells: Vec<BenchCell>,
}

/// Where a run was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Type)]
pub struct MachineInfo {
    /// The processor's name.
    pub cpu: String,
    /// What it computes side by side.
    pub cores: u32,
    /// Memory.
    pub memory_mib: Option<u32>,
    /// GPUs by name.
    pub gpus: Vec<String>,
    /// The operating system.
    pub system: String,
    /// Tektra's version.
    pub tektra_version: String,
    /// The engine's version.
    pub engine_version: String,
    /// The instructions that the engine computed with; empty before the first cell.
    pub simd: String,
}

/// What came of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Type)]
pub struct BenchCell {
    /// The configuration.
    pub key: CellKey,
    /// How it ended.
    pub outcome: CellOutcome,
    /// What tells the model's file from others: an algorithm, what of the file it covers, and the digest.
    pub model_hash: String,
    /// What was measured.
    pub metrics: Vec<Metric>,
    /// What its precision loses.
    pub quality: Option<CellQuality>,
    /// What makes it doubtful: sentences.
    pub marks: Vec<String>,
}

/// How a cell ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CellOutcome {
    /// It was measured.
    Measured,
    /// There is not enough memory.
    DoesNotFit {
        /// A sentence.
        why: String,
    },
    /// The model or the engine cannot do it.
    NotSupported {
        /// A sentence.
        why: String,
    },
    /// It went wrong.
    Failed {
        /// A sentence.
        why: String,
    },
    /// It is still to be measured, or to its end.
    Pending,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum MetricName {
    /// Prompt tokens of all answers side by side, per second (llama-bench's `pp`).
    PrefillTokensPerSecond,
    /// Tokens written of all answers side by side, per second (llama-bench's `tg`).
    DecodeTokensPerSecond,
    /// From the prompt to the first token.
    FirstTokenMs,
    /// From one token to the next.
    InterTokenMs,
    /// Loading the model from the disk.
    ColdLoadMs,
    /// Loading the model from the page cache.
    WarmLoadMs,
    /// The most memory that the process held.
    PeakResidentMib,
    /// The most memory that was taken of the GPU meanwhile, beyond what was taken of it before.
    PeakGpuMib,
    /// Energy of processor and GPU for each token computed, those of the prompt included.
    JoulesPerToken,
    /// The same of the GPU alone, which is told where most systems keep that of the processor to themselves.
    GpuJoulesPerToken,
    /// From sending a message to the first text of its answer, through the core and the socket.
    EndToEndFirstTokenMs,
    /// Tokens of an answer over all of its time, through the core and the socket.
    EndToEndTokensPerSecond,
}

/// Samples, and what they say. Made by [`Metric::new`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Type)]
pub struct Metric {
    /// What.
    pub name: MetricName,
    /// In what.
    pub unit: String,
    /// Whether more is better.
    pub higher_is_better: bool,
    /// The median.
    pub median: Option<f64>,
    /// Where the median's 95 % interval begins; absent where there are too few samples.
    pub low: Option<f64>,
    /// Where it ends.
    pub high: Option<f64>,
    /// The mean.
    pub mean: Option<f64>,
    /// The standard deviation, with n - 1.
    pub sd: Option<f64>,
    /// 95 of 100 samples are at most this; absent below 20 samples.
    pub p95: Option<f64>,
    /// 99 of 100 samples are at most this; absent below 100 samples.
    pub p99: Option<f64>,
    /// Every sample, in the order of measuring.
    pub samples: Vec<f64>,
}

/// What a precision loses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Type)]
pub struct CellQuality {
    /// On Tektra's text.
    pub perplexity: Option<f64>,
    /// Mean Kullback-Leibler divergence from the reference.
    pub kl_mean: Option<f64>,
    /// Its 99th percentile.
    pub kl_p99: Option<f64>,
    /// How often the likeliest token is the reference's, in percent.
    pub same_top_percent: Option<f64>,
    /// The model that it is compared with.
    pub reference: Option<String>,
}

/// Two runs, cell by cell.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct BenchComparison {
    /// The one.
    pub a: BenchRunSummary,
    /// The other.
    pub b: BenchRunSummary,
    /// Whether they were measured on different machines.
    pub other_machine: bool,
    /// A row for each metric of each cell.
    pub rows: Vec<ComparisonRow>,
}

/// A metric of a cell in two runs.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct ComparisonRow {
    /// The configuration.
    pub key: CellKey,
    /// What.
    pub metric: MetricName,
    /// In what.
    pub unit: String,
    /// The one's median.
    pub a: Option<f64>,
    /// Where its interval begins.
    pub a_low: Option<f64>,
    /// Where it ends.
    pub a_high: Option<f64>,
    /// The other's median.
    pub b: Option<f64>,
    /// Where its interval begins.
    pub b_low: Option<f64>,
    /// Where it ends.
    pub b_high: Option<f64>,
    /// The other by the one.
    pub ratio: Option<f64>,
    /// Which is better.
    pub verdict: Verdict,
}

/// Which of two is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The other, and the intervals are apart.
    BBetter,
    /// The one, and the intervals are apart.
    ABetter,
    /// The intervals overlap, or there are too few samples for one.
    NoDifference,
    /// Only the one has it.
    OnlyA,
    /// Only the other has it.
    OnlyB,
}

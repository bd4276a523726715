//! Benchmarks as figures: what to measure in which order, statistics, comparisons, exports.
//!
//! Nothing here starts a process, reads a file or looks at a clock.
//!
//! - [`cells`], [`Schedule`] and [`seconds`]: what a request means, in which order it is measured, how long that takes.
//! - [`Metric`]: samples with their median, its interval, mean and spread.
//! - [`compare`]: two runs, with a verdict only where the intervals are apart.
//! - [`export`]: a run as JSON, CSV, Markdown or in the shape of llama-bench.

mod compare;
mod export;
mod metric;
mod plan;
mod statistics;
#[cfg(test)]
mod tests;
mod types;

pub use compare::compare;
pub use export::export;
pub use plan::{Lengths, ModelSize, Schedule, Visit, cells, check, repetitions, seconds, with_quality, with_siblings};
pub use statistics::{FEWEST_FOR_INTERVAL, Interval, interval, mean, median, percentile, sd};
pub use types::{
    BenchCell, BenchComparison, BenchDevice, BenchFormat, BenchPlan, BenchPreset, BenchProgress, BenchRequest,
    BenchRun, BenchRunSummary, CellKey, CellOutcome, CellQuality, ComparisonRow, Kv, MachineInfo, Metric, MetricName,
    RunState, Verdict,
};

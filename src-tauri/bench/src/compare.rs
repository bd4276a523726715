//! Two runs, cell by cell.

use crate::types::{BenchCell, BenchComparison, BenchRun, CellOutcome, ComparisonRow, Metric, Verdict};

/// Compares what both have measured; the rows of `a` first, then what only `b` has. Runs of other lengths of prompt and
/// answer have no row in common: their speeds are not the same thing.
pub fn compare(a: &BenchRun, b: &BenchRun) -> BenchComparison {
    let same_lengths = a.summary.preset.lengths() == b.summary.preset.lengths();
    let partner = |of: &BenchRun, cell: &BenchCell, metric: &Metric| -> Option<Metric> {
        let other = of.cells.iter().find(|other| same_lengths && other.key == cell.key && is_measured(other))?;
        other.metrics.iter().find(|other| other.name == metric.name).cloned()
    };
    let mut rows = Vec::new();
    for (cell, metric) in measured(a) {
        rows.push(row(cell, metric, Some(metric), partner(b, cell, metric).as_ref()));
    }
    for (cell, metric) in measured(b) {
        if partner(a, cell, metric).is_none() {
            rows.push(row(cell, metric, None, Some(metric)));
        }
    }
    let machine = |run: &BenchRun| (run.machine.cpu.clone(), run.machine.cores, run.machine.memory_mib);
    BenchComparison {
        other_machine: machine(a) != machine(b) || a.machine.gpus != b.machine.gpus,
        a: a.summary.clone(),
        b: b.summary.clone(),
        rows,
    }
}

fn is_measured(cell: &BenchCell) -> bool {
    cell.outcome == CellOutcome::Measured
}

fn measured(run: &BenchRun) -> impl Iterator<Item = (&BenchCell, &Metric)> {
    let cells = run.cells.iter().filter(|cell| is_measured(cell));
    cells.flat_map(|cell| cell.metrics.iter().map(move |metric| (cell, metric)))
}

fn row(cell: &BenchCell, metric: &Metric, a: Option<&Metric>, b: Option<&Metric>) -> ComparisonRow {
    let (a_median, b_median) = (a.and_then(|it| it.median), b.and_then(|it| it.median));
    ComparisonRow {
        key: cell.key.clone(),
        metric: metric.name,
        unit: metric.unit.clone(),
        a: a_median,
        a_low: a.and_then(|it| it.low),
        a_high: a.and_then(|it| it.high),
        b: b_median,
        b_low: b.and_then(|it| it.low),
        b_high: b.and_then(|it| it.high),
        ratio: a_median.zip(b_median).filter(|(a, _)| *a != 0.0).map(|(a, b)| b / a),
        verdict: match (a, b) {
            (Some(a), Some(b)) => verdict(a, b),
            (Some(_), None) => Verdict::OnlyA,
            (None, _) => Verdict::OnlyB,
        },
    }
}

/// One is better only when the intervals are apart.
fn verdict(a: &Metric, b: &Metric) -> Verdict {
    let ((Some(a_low), Some(a_high)), (Some(b_low), Some(b_high))) = ((a.low, a.high), (b.low, b.high)) else {
        return Verdict::NoDifference;
    };
    let (b_above, a_above) = (a_high < b_low, b_high < a_low);
    match (b_above, a_above) {
        (false, false) => Verdict::NoDifference,
        _ if b_above == a.higher_is_better => Verdict::BBetter,
        _ => Verdict::ABetter,
    }
}

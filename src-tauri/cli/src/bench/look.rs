//! Looking at runs.

use std::fs;

use tektra_core::{BenchComparison, BenchRunSummary, Error, Home, RunState, Tektra, Verdict};

use super::{Format, open};
use crate::outcome::{Outcome, say, say_json};

pub(super) async fn list(home: Home, json: bool) -> Result<Outcome, Error> {
    let all = open(home).await?.bench_runs().await?;
    if json {
        return Ok(say_json(&all));
    }
    if all.is_empty() {
        eprintln!("Nothing was measured yet. `tektra-cli bench` takes about a minute.");
        return Ok(Outcome::Done);
    }
    let lines: String = all.iter().map(line).collect();
    Ok(say(&lines))
}

fn line(run: &BenchRunSummary) -> String {
    let state = match run.state {
        RunState::Running => "running",
        RunState::Done => "done",
        RunState::Cancelled => "stopped",
        RunState::Interrupted => "interrupted",
    };
    let best = run.best_decode_tokens_per_second.map(|best| format!("  best {best:.1} tokens/s")).unwrap_or_default();
    format!(
        "{}  {:8}  {:11}  {:>3} of {:<3}  {}{best}\n",
        run.id,
        run.preset.name(),
        state,
        run.cells_done,
        run.cells,
        run.models.join(", ")
    )
}

pub(super) async fn show(home: Home, id: &str, format: &Format) -> Result<Outcome, Error> {
    print(&open(home).await?, id, format).await
}

/// Prints a run, or writes it into the file that was asked for.
pub(super) async fn print(tektra: &Tektra, id: &str, format: &Format) -> Result<Outcome, Error> {
    let text = tektra.bench_export(id, format.kind()).await?;
    let Some(path) = &format.out else { return Ok(say(&text)) };
    fs::write(path, text)
        .map_err(|error| Error::InvalidInput { what: format!("{} cannot be written: {error}.", path.display()) })?;
    Ok(Outcome::Done)
}

pub(super) async fn compare(home: Home, a: &str, b: &str, json: bool) -> Result<Outcome, Error> {
    let compared = open(home).await?.bench_compare(a, b).await?;
    if json {
        return Ok(say_json(&compared));
    }
    if compared.other_machine {
        eprintln!("The runs were measured on different machines.");
    }
    Ok(say(&table(&compared)))
}

fn table(compared: &BenchComparison) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "–".into(), |value| format!("{value:.1}"));
    let mut text = String::new();
    for row in &compared.rows {
        let verdict = match row.verdict {
            Verdict::ABetter => "A is better",
            Verdict::BBetter => "B is better",
            Verdict::NoDifference => "no certain difference",
            Verdict::OnlyA => "only in A",
            Verdict::OnlyB => "only in B",
        };
        let ratio = row.ratio.map(|ratio| format!(" (× {ratio:.2})")).unwrap_or_default();
        let (key, name) = (&row.key, row.metric.words());
        text += &format!(
            "{} {}, {} threads, batch {}, depth {}, {}: {name} {} → {} {}{ratio}: {verdict}\n",
            key.model,
            key.quantization,
            key.threads,
            key.batch,
            key.depth_tokens,
            key.kv.name(),
            number(row.a),
            number(row.b),
            row.unit
        );
    }
    text
}

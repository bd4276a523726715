//! A run as text.

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::types::{BenchCell, BenchFormat, BenchRun, CellOutcome, Kv, Metric, MetricName};

/// Writes `run` in a format.
///
/// # Errors
/// A sentence when it cannot be expressed in it.
pub fn export(run: &BenchRun, format: BenchFormat) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| format!("The run cannot be written: {error}.");
    match format {
        BenchFormat::Json => serde_json::to_string_pretty(run).map(|json| json + "\n").map_err(|error| failed(&error)),
        BenchFormat::Csv => comma_separated(run).map_err(|error| failed(&error)),
        BenchFormat::Markdown => Ok(markdown(run)),
        BenchFormat::LlamaBenchJson => {
            serde_json::to_string_pretty(&llama_bench(run)).map(|json| json + "\n").map_err(|error| failed(&error))
        }
    }
}

fn words(outcome: &CellOutcome) -> (&'static str, &str) {
    match outcome {
        CellOutcome::Measured => ("measured", ""),
        CellOutcome::DoesNotFit { why } => ("does not fit", why),
        CellOutcome::NotSupported { why } => ("not supported", why),
        CellOutcome::Failed { why } => ("failed", why),
        CellOutcome::Pending => ("pending", ""),
    }
}

fn comma_separated(run: &BenchRun) -> Result<String, csv::Error> {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record([
        "run",
        "model",
        "quantization",
        "model_hash",
        "placement",
        "kv",
        "threads",
        "batch",
        "depth_tokens",
        "outcome",
        "why",
        "metric",
        "unit",
        "median",
        "low",
        "high",
        "mean",
        "sd",
        "p95",
        "p99",
        "samples",
        "marks",
    ])?;
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    for cell in &run.cells {
        let (outcome, why) = words(&cell.outcome);
        let key = &cell.key;
        let begin = [
            run.summary.id.clone(),
            key.model.clone(),
            key.quantization.clone(),
            cell.model_hash.clone(),
            key.placement.clone(),
            key.kv.name().into(),
            key.threads.to_string(),
            key.batch.to_string(),
            key.depth_tokens.to_string(),
            outcome.into(),
            why.into(),
        ];
        let marks = cell.marks.join(" ");
        if cell.metrics.is_empty() {
            let mut end = vec![String::new(); 10];
            end.push(marks.clone());
            out.write_record(begin.iter().chain(&end))?;
        }
        for metric in &cell.metrics {
            let samples: Vec<String> = metric.samples.iter().map(f64::to_string).collect();
            let name = serde_json::to_value(metric.name).ok();
            let end = [
                name.as_ref().and_then(Value::as_str).unwrap_or_default().into(),
                metric.unit.clone(),
                number(metric.median),
                number(metric.low),
                number(metric.high),
                number(metric.mean),
                number(metric.sd),
                number(metric.p95),
                number(metric.p99),
                samples.join(" "),
                marks.clone(),
            ];
            out.write_record(begin.iter().chain(&end))?;
        }
    }
    let bytes = out.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn find(cell: &BenchCell, name: MetricName) -> Option<&Metric> {
    cell.metrics.iter().find(|metric| metric.name == name)
}

/// `12.3 [12.1, 12.6]`.
fn with_interval(metric: Option<&Metric>) -> String {
    let Some((metric, median)) = metric.and_then(|metric| Some((metric, metric.median?))) else { return "–".into() };
    // A token takes a few joules or less.
    let digits = if metric.unit == "J" { 3 } else { 1 };
    match (metric.low, metric.high) {
        (Some(low), Some(high)) => format!("{median:.digits$} [{low:.digits$}, {high:.digits$}]"),
        _ => format!("{median:.digits$}"),
    }
}

/// The figures of a cell in the table, and what stands above them.
const FIGURES: [(MetricName, &str); 8] = [
    (MetricName::PrefillTokensPerSecond, "Prefill tokens/s"),
    (MetricName::DecodeTokensPerSecond, "Decode tokens/s"),
    (MetricName::FirstTokenMs, "First token ms"),
    (MetricName::InterTokenMs, "Between tokens ms"),
    (MetricName::PeakResidentMib, "Peak MiB"),
    (MetricName::PeakGpuMib, "GPU MiB"),
    (MetricName::JoulesPerToken, "J/token"),
    (MetricName::GpuJoulesPerToken, "GPU J/token"),
];

fn markdown(run: &BenchRun) -> String {
    let (machine, lengths) = (&run.machine, run.summary.preset.lengths());
    let memory = machine.memory_mib.map(|mib| format!(", {:.1} GiB", f64::from(mib) / 1024.0)).unwrap_or_default();
    let gpus: String = machine.gpus.iter().map(|gpu| format!(", {gpu}")).collect();
    let mut text = format!(
        "{}, {} cores{memory}{gpus}, {}. Tektra {}, engine {}{}.\n\nPrompt {} tokens, answer {} tokens; medians with their 95 % intervals.\n\n",
        machine.cpu,
        machine.cores,
        machine.system,
        machine.tektra_version,
        machine.engine_version,
        if machine.simd.is_empty() { String::new() } else { format!(" ({})", machine.simd) },
        lengths.prompt,
        lengths.decode,
    );
    // Energy can be read on few machines.
    let is_told = |name| run.cells.iter().any(|cell| find(cell, name).is_some());
    let figures: Vec<_> = FIGURES.into_iter().filter(|&(name, _)| name.unit() != "J" || is_told(name)).collect();
    text += "| Model | Type | On | KV | Threads | Batch | Depth |";
    text.extend(figures.iter().map(|(_, heading)| format!(" {heading} |")));
    text += "\n|---|---|---|---|--:|--:|--:|";
    text += &"--:|".repeat(figures.len());
    text.push('\n');
    for cell in &run.cells {
        let key = &cell.key;
        let mut row = format!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            key.model.replace('|', "\\|"),
            key.quantization,
            key.placement,
            key.kv.name(),
            key.threads,
            key.batch,
            key.depth_tokens
        );
        let (outcome, why) = words(&cell.outcome);
        if cell.outcome == CellOutcome::Measured {
            row.extend(figures.iter().map(|&(name, _)| format!(" {} |", with_interval(find(cell, name)))));
        } else {
            let words = format!("{outcome}: {why}");
            row += &format!(" {} |", words.trim_end_matches([':', ' ']).replace('|', "\\|"));
            row += &" |".repeat(figures.len() - 1);
        }
        text += &row;
        text.push('\n');
    }
    let mut marks: Vec<&String> = run.marks.iter().chain(run.cells.iter().flat_map(|cell| &cell.marks)).collect();
    marks.sort();
    marks.dedup();
    for mark in marks {
        text += &format!("\n- {mark}");
    }
    text.trim_end().to_owned() + "\n"
}

/// The fields of llama.cpp's `tools/llama-bench` that mean the same here. It measures one answer at a time: cells with
/// several side by side have no place in it.
fn llama_bench(run: &BenchRun) -> Vec<Value> {
    let lengths = run.summary.preset.lengths();
    let mut tests = Vec::new();
    let cells = run.cells.iter().filter(|cell| cell.outcome == CellOutcome::Measured && cell.key.batch == 1);
    for cell in cells {
        for (name, n_prompt, n_gen) in [
            (MetricName::PrefillTokensPerSecond, lengths.prompt, 0),
            (MetricName::DecodeTokensPerSecond, 0, lengths.decode),
        ] {
            let Some(metric) = find(cell, name) else { continue };
            let tokens = f64::from(n_prompt + n_gen);
            let samples_ns: Vec<f64> = metric.samples.iter().map(|speed| tokens / speed * 1e9).collect();
            let whole = |value: Option<f64>| value.unwrap_or_default().round() as u64;
            let kv = match cell.key.kv {
                Kv::Q8 => "q8_0",
                other => other.name(),
            };
            tests.push(json!({
                "build_commit": format!("tektra {}", run.machine.tektra_version),
                "build_number": 0,
                "cpu_info": run.machine.cpu,
                "gpu_info": run.machine.gpus.join(", "),
                "backends": cell.key.placement,
                "model_filename": cell.key.model,
                "model_type": cell.key.quantization,
                "n_threads": cell.key.threads,
                "type_k": kv,
                "type_v": kv,
                // As llama-bench is told to put everything on GPUs.
                "n_gpu_layers": if cell.key.gpu().is_some() { 99 } else { 0 },
                "n_prompt": n_prompt,
                "n_gen": n_gen,
                "n_depth": cell.key.depth_tokens,
                "test_time": moment(run.summary.started_ms),
                "avg_ns": whole(crate::mean(&samples_ns)),
                "stddev_ns": whole(crate::sd(&samples_ns)),
                "avg_ts": metric.mean,
                "stddev_ts": metric.sd.unwrap_or_default(),
                "samples_ns": samples_ns.iter().map(|ns| whole(Some(*ns))).collect::<Vec<_>>(),
                "samples_ts": metric.samples,
            }));
        }
    }
    tests
}

/// `2025-04-24T11:58:50Z`.
fn moment(ms: f64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp((ms / 1000.0) as i64).ok();
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_default()
}

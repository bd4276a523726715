//! Comparisons and exports of runs whose figures are known.

use serde_json::Value;

use crate::{
    BenchCell, BenchFormat, BenchPreset, BenchRun, BenchRunSummary, CellKey, CellOutcome, Kv, MachineInfo, Metric,
    MetricName, RunState, Verdict, compare, export,
};

fn cell(batch: u32, metrics: Vec<Metric>) -> BenchCell {
    let (model, quantization, placement) = ("a \"b\", c".into(), "Q4_0".into(), "CPU".into());
    BenchCell {
        key: CellKey { model, quantization, batch, threads: 2, depth_tokens: 0, kv: Kv::Q8, placement },
        outcome: CellOutcome::Measured,
        model_hash: "sha256:00".into(),
        metrics,
        quality: None,
        marks: vec!["It ran on battery.".into()],
    }
}

fn run(cells: Vec<BenchCell>) -> BenchRun {
    BenchRun {
        summary: BenchRunSummary {
            id: "r".into(),
            started_ms: 1_745_495_930_000.0,
            seconds: 3,
            preset: BenchPreset::Standard,
            models: vec!["m".into()],
            cells: cells.len() as u32,
            cells_done: cells.len() as u32,
            state: RunState::Done,
            machine: "a machine".into(),
            best_decode_tokens_per_second: None,
        },
        machine: MachineInfo {
            cpu: "A CPU".into(),
            cores: 2,
            memory_mib: Some(8192),
            gpus: Vec::new(),
            system: "an OS".into(),
            tektra_version: "0.1.0".into(),
            engine_version: "0.1.0".into(),
            simd: "AVX2".into(),
        },
        marks: Vec::new(),
        cells,
    }
}

fn decode(samples: &[f64]) -> Metric {
    Metric::new(MetricName::DecodeTokensPerSecond, samples.to_vec())
}

#[test]
fn better_is_said_only_when_the_intervals_are_apart() {
    let verdict =
        |a: Metric, b: Metric| compare(&run(vec![cell(1, vec![a])]), &run(vec![cell(1, vec![b])])).rows[0].verdict;
    let (slow, fast) = (decode(&[10.0, 11.0, 12.0, 13.0, 14.0]), decode(&[20.0, 21.0, 22.0, 23.0, 24.0]));
    assert_eq!(verdict(slow.clone(), fast.clone()), Verdict::BBetter);
    assert_eq!(verdict(fast.clone(), slow.clone()), Verdict::ABetter);
    assert_eq!(verdict(slow.clone(), decode(&[14.0, 21.0, 22.0, 23.0, 24.0])), Verdict::NoDifference, "they touch");
    assert_eq!(verdict(slow.clone(), decode(&[90.0, 91.0, 92.0])), Verdict::NoDifference, "three are too few");
    // Fewer milliseconds are better.
    let wait = |samples: &[f64]| Metric::new(MetricName::FirstTokenMs, samples.to_vec());
    assert_eq!(verdict(wait(&slow.samples), wait(&fast.samples)), Verdict::ABetter);
}

#[test]
fn every_metric_of_either_run_has_a_row() {
    let a = run(vec![cell(1, vec![decode(&[10.0])]), cell(2, vec![decode(&[12.0])])]);
    let mut b = run(vec![cell(1, vec![decode(&[15.0]), Metric::new(MetricName::FirstTokenMs, vec![7.0])])]);
    b.machine.cpu = "Another".into();
    let compared = compare(&a, &b);
    assert!(compared.other_machine && !compare(&a, &a).other_machine);
    let rows: Vec<_> = compared.rows.iter().map(|row| (row.key.batch, row.metric, row.ratio, row.verdict)).collect();
    let [speed, wait] = [MetricName::DecodeTokensPerSecond, MetricName::FirstTokenMs];
    assert_eq!(
        rows,
        [
            (1, speed, Some(1.5), Verdict::NoDifference),
            (2, speed, None, Verdict::OnlyA),
            (1, wait, None, Verdict::OnlyB)
        ]
    );
    b.summary.preset = BenchPreset::Quick;
    assert!(compare(&a, &b).rows.iter().all(|row| [Verdict::OnlyA, Verdict::OnlyB].contains(&row.verdict)));
}

#[test]
fn json_is_read_back_whole() {
    let run = run(vec![cell(1, vec![decode(&[1.5, 2.5])])]);
    let text = export(&run, BenchFormat::Json).unwrap();
    assert_eq!(serde_json::from_str::<BenchRun>(&text).unwrap(), run);
}

#[test]
fn csv_quotes_names_and_keeps_every_sample() {
    let mut failed = cell(4, Vec::new());
    failed.outcome = CellOutcome::DoesNotFit { why: "Too large.".into() };
    let text = export(&run(vec![cell(1, vec![decode(&[1.5, 2.5])]), failed]), BenchFormat::Csv).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let at = |name: &str, reader: &mut csv::Reader<&[u8]>| {
        reader.headers().unwrap().iter().position(|it| it == name).unwrap()
    };
    let (model, samples, why) = (at("model", &mut reader), at("samples", &mut reader), at("why", &mut reader));
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0][model], &rows[0][samples]), ("a \"b\", c", "1.5 2.5"));
    assert_eq!(&rows[1][why], "Too large.");
}

#[test]
fn markdown_shows_medians_failures_and_marks() {
    let mut failed = cell(4, Vec::new());
    failed.outcome = CellOutcome::Failed { why: "The engine ended.".into() };
    let text =
        export(&run(vec![cell(1, vec![decode(&[1.0, 2.0, 3.0, 4.0, 5.0])]), failed]), BenchFormat::Markdown).unwrap();
    assert!(text.contains("| 3.0 [1.0, 5.0] |"), "{text}");
    assert!(text.contains("failed: The engine ended."), "{text}");
    assert_eq!(text.matches("It ran on battery.").count(), 1);
    let columns = |line: &str| line.matches('|').count();
    let table: Vec<_> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert!(table.len() == 4 && table.iter().all(|line| columns(line) == columns(table[0])), "{text}");
    assert!(!text.contains("J/token"), "no meter, no column: {text}");
}

#[test]
fn markdown_shows_energy_where_it_was_read() {
    let energy = Metric::new(MetricName::GpuJoulesPerToken, vec![0.3125, 0.3125]);
    let mut failed = cell(4, Vec::new());
    failed.outcome = CellOutcome::Pending;
    let read = run(vec![cell(1, vec![energy]), cell(2, vec![decode(&[10.0])]), failed]);
    let text = export(&read, BenchFormat::Markdown).unwrap();
    let table: Vec<_> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert!(table[0].ends_with("| GPU J/token |") && !table[0].contains("| J/token |"), "{text}");
    assert!(table[2].ends_with("| 0.312 |") && table[3].ends_with("| – |"), "{text}");
    assert!(table.iter().all(|line| line.matches('|').count() == table[0].matches('|').count()), "{text}");
}

#[test]
fn llama_bench_finds_its_fields() {
    let prefill = Metric::new(MetricName::PrefillTokensPerSecond, vec![512.0, 256.0]);
    let text = export(
        &run(vec![cell(1, vec![prefill, decode(&[64.0, 64.0])]), cell(2, vec![decode(&[99.0])])]),
        BenchFormat::LlamaBenchJson,
    )
    .unwrap();
    let tests: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(tests.len(), 2, "two answers side by side are no test of llama-bench");
    let [pp, tg] = [&tests[0], &tests[1]];
    assert_eq!(
        (&pp["n_prompt"], &pp["n_gen"], &tg["n_prompt"], &tg["n_gen"]),
        (&512.into(), &0.into(), &0.into(), &128.into())
    );
    assert_eq!((&pp["samples_ns"][0], &pp["avg_ns"]), (&1_000_000_000_u64.into(), &1_500_000_000_u64.into()));
    assert_eq!((pp["avg_ts"].as_f64(), tg["stddev_ts"].as_f64()), (Some(384.0), Some(0.0)));
    assert_eq!((&pp["type_k"], &pp["test_time"]), (&"q8_0".into(), &"2025-04-24T11:58:50Z".into()));
}

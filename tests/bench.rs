//! Benchmarks with a scripted engine: what is kept, what comes first, what goes wrong.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tektra_core::{
    BenchCell, BenchKv, BenchPreset, BenchProgress, BenchRequest, BenchRun, CellOutcome, CoreEvent, ErrorCode, KvWish,
    Metric, MetricName, RunState, Settings, Tektra,
};
use tektra_tests::{Folder, gguf, interrupt, send, stderr, stdout, terminal, wait_for};
use tokio::sync::broadcast::Receiver;

/// A quick run of `models`, without what follows the cells where that is not what is tested.
fn quick(models: &[&str]) -> BenchRequest {
    BenchRequest {
        preset: BenchPreset::Quick,
        models: models.iter().map(|name| (*name).into()).collect(),
        batches: Vec::new(),
        threads: vec![1],
        depths: Vec::new(),
        kvs: Vec::new(),
        devices: Vec::new(),
        repetitions: None,
        quality: None,
    }
}

/// A model that Tektra's own executor computes: heads of 16.
fn tiny() -> Vec<u8> {
    with_number(gguf("llama", &[]), "embedding_length", 64)
}

/// The header with another number under `key`.
fn with_number(mut bytes: Vec<u8>, key: &str, number: u32) -> Vec<u8> {
    let at = bytes.windows(key.len()).position(|it| it == key.as_bytes()).expect("the key") + key.len() + 4;
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// A data folder with such a model.
fn with_model(name: &str) -> Folder {
    let folder = Folder::new();
    folder.add_model(name, &tiny());
    folder
}

async fn ended(events: &mut Receiver<CoreEvent>) {
    wait_for(events, |event| matches!(event, CoreEvent::BenchChanged { progress: None }).then_some(())).await;
}

/// Waits until the benchmark is as far as `wanted`.
async fn progress(events: &mut Receiver<CoreEvent>, wanted: impl Fn(&BenchProgress) -> bool) -> BenchProgress {
    wait_for(events, |event| match event {
        CoreEvent::BenchChanged { progress } => progress.filter(&wanted),
        _ => None,
    })
    .await
}

/// The latest run, whole.
async fn latest(tektra: &Tektra) -> BenchRun {
    let id = tektra.bench_runs().await.unwrap().first().expect("a run").id.clone();
    tektra.bench_run(&id).await.unwrap()
}

async fn measured(tektra: &Tektra, request: BenchRequest) -> BenchRun {
    let mut events = tektra.events();
    tektra.bench_start(request).await.unwrap();
    ended(&mut events).await;
    latest(tektra).await
}

fn metric(cell: &BenchCell, name: MetricName) -> &Metric {
    cell.metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name:?} in {cell:?}"))
}

fn count(cell: &BenchCell, name: MetricName) -> usize {
    metric(cell, name).samples.len()
}

#[tokio::test]
async fn a_quick_run_keeps_every_sample_and_survives() {
    let folder = with_model("small");
    let tektra = folder.open().await;
    let plan = tektra.bench_plan(quick(&[])).await.unwrap();
    assert_eq!((plan.cells.len(), plan.cells[0].model.as_str()), (1, "small"), "the model in use");
    let run = measured(&tektra, BenchRequest { quality: Some(true), ..quick(&[]) }).await;
    let summary = &run.summary;
    assert_eq!((summary.state, summary.cells, summary.cells_done), (RunState::Done, 1, 1));
    assert_eq!((run.machine.engine_version.as_str(), run.machine.simd.as_str()), ("scripted", "a script"));
    let cell = &run.cells[0];
    assert_eq!((&cell.outcome, cell.key.batch, cell.key.threads), (&CellOutcome::Measured, 1, 1));
    assert!(cell.model_hash.starts_with("sha256:"), "{}", cell.model_hash);
    for name in [MetricName::PrefillTokensPerSecond, MetricName::DecodeTokensPerSecond, MetricName::FirstTokenMs] {
        let metric = metric(cell, name);
        let (low, median, high) = (metric.low.unwrap(), metric.median.unwrap(), metric.high.unwrap());
        assert!(metric.samples.len() == 5 && low <= median && median <= high, "{metric:?}");
    }
    // The script's step takes 10 to 11 ms: one token of the answer, ten of the prompt.
    let decode = metric(cell, MetricName::DecodeTokensPerSecond);
    assert!(decode.samples.iter().all(|speed| (90.0..=100.1).contains(speed)), "{decode:?}");
    assert_eq!(summary.best_decode_tokens_per_second, decode.median);
    assert_eq!(count(cell, MetricName::InterTokenMs), 5 * 32);
    assert!(metric(cell, MetricName::InterTokenMs).p99.is_some() && decode.p95.is_none());
    let loads = cell.metrics.iter().filter(|it| [MetricName::ColdLoadMs, MetricName::WarmLoadMs].contains(&it.name));
    assert_eq!(loads.map(|it| it.samples.len()).sum::<usize>(), 3, "a process for each of three rounds");
    assert_eq!(count(cell, MetricName::EndToEndTokensPerSecond), 5);
    assert!(!cell.metrics.iter().any(|it| it.name == MetricName::JoulesPerToken), "no meter, no figure");
    let quality = cell.quality.clone().expect("quality");
    assert_eq!((quality.perplexity, quality.kl_mean, quality.reference), (Some(12.5), None, None), "alone");
    tektra.close().await;

    let again = folder.open().await;
    assert_eq!(latest(&again).await, run);
    again.bench_delete(&run.summary.id).await.unwrap();
    assert_eq!(again.bench_run(&run.summary.id).await.unwrap_err().code(), ErrorCode::NotFound);
    again.close().await;
}

#[tokio::test]
async fn what_cannot_be_measured_is_a_result_and_the_run_goes_on() {
    let folder = with_model("small");
    for name in ["dies", "refuses", "rubbish"] {
        folder.add_model(name, &tiny());
    }
    folder.add_model("vast", &with_number(tiny(), "block_count", 50_000_000));
    let tektra = folder.open().await;
    let request = BenchRequest { depths: vec![0, 4096], ..quick(&["dies", "refuses", "rubbish", "vast", "small"]) };
    assert!(tektra.bench_plan(request.clone()).await.unwrap().notes[0].starts_with("6 of 10"), "two depths of each");
    let run = measured(&tektra, request).await;
    assert_eq!((run.summary.state, run.summary.cells_done), (RunState::Done, 10));
    let outcome = |model: &str, depth| {
        let cell = run.cells.iter().find(|cell| cell.key.model == model && cell.key.depth_tokens == depth);
        cell.expect("a cell").outcome.clone()
    };
    let says = |outcome: CellOutcome, word: &str| match outcome {
        CellOutcome::Failed { why } | CellOutcome::NotSupported { why } | CellOutcome::DoesNotFit { why } => {
            assert!(why.contains(word) && why.ends_with('.'), "{why}");
        }
        other => panic!("{other:?} instead of {word}"),
    };
    assert!(matches!(outcome("dies", 0), CellOutcome::Failed { .. }));
    says(outcome("dies", 0), "signal 6");
    assert!(matches!(outcome("refuses", 0), CellOutcome::NotSupported { .. }));
    says(outcome("refuses", 0), "It does not want to");
    assert!(matches!(outcome("rubbish", 0), CellOutcome::Failed { .. }));
    says(outcome("rubbish", 0), "no measurement");
    assert!(matches!(outcome("vast", 0), CellOutcome::DoesNotFit { .. }));
    says(outcome("vast", 0), "MiB are free");
    says(outcome("small", 4096), "trained for 2048");
    assert_eq!(outcome("small", 0), CellOutcome::Measured);
    tektra.close().await;
}

#[tokio::test]
async fn a_stopped_run_keeps_what_it_has_and_goes_on_later() {
    let folder = with_model("slow");
    let tektra = folder.open().await;
    let mut events = tektra.events();
    tektra.bench_start(BenchRequest { batches: vec![1, 2], ..quick(&[]) }).await.unwrap();
    let refused = tektra.bench_start(quick(&[])).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidInput, "one at a time");
    // The first round of the first cell is over then.
    progress(&mut events, |now| now.cell.as_ref().is_some_and(|key| key.batch == 2) && now.repetition == 2).await;
    let id = tektra.bench_runs().await.unwrap()[0].id.clone();
    assert_eq!(tektra.bench_delete(&id).await.unwrap_err().code(), ErrorCode::InvalidInput, "it runs");
    tektra.bench_cancel().await;
    assert_eq!(tektra.bench_state(), None);
    let stopped = latest(&tektra).await;
    assert_eq!((stopped.summary.state, stopped.summary.cells_done), (RunState::Cancelled, 0));
    assert_eq!(count(&stopped.cells[0], MetricName::DecodeTokensPerSecond), 2);
    assert!(stopped.cells[1].metrics.is_empty(), "half a round is nothing");
    let unfinished = tektra.bench_apply(&id, 0).await.unwrap_err();
    assert_eq!(unfinished.code(), ErrorCode::InvalidInput);

    let mut events = tektra.events();
    tektra.bench_resume(&id).await.unwrap();
    ended(&mut events).await;
    let whole = latest(&tektra).await;
    assert_eq!((whole.summary.state, whole.summary.cells_done), (RunState::Done, 2));
    assert!(whole.cells.iter().all(|cell| count(cell, MetricName::DecodeTokensPerSecond) == 5), "{whole:?}");
    let before = &metric(&stopped.cells[0], MetricName::FirstTokenMs).samples;
    assert_eq!(&metric(&whole.cells[0], MetricName::FirstTokenMs).samples[..2], before, "and no sample was lost");
    assert_eq!(tektra.bench_resume(&id).await.unwrap_err().code(), ErrorCode::InvalidInput, "nothing is left");
    tektra.close().await;
}

#[tokio::test]
async fn a_changed_file_is_not_measured_on() {
    let folder = with_model("slow");
    let tektra = folder.open().await;
    let mut events = tektra.events();
    tektra.bench_start(BenchRequest { batches: vec![1, 2], ..quick(&[]) }).await.unwrap();
    progress(&mut events, |now| now.cell.as_ref().is_some_and(|key| key.batch == 2) && now.repetition == 2).await;
    tektra.bench_cancel().await;
    let mut other = tiny();
    other.extend([1; 64]);
    folder.add_model("slow", &other);
    let mut events = tektra.events();
    tektra.bench_resume(&latest(&tektra).await.summary.id).await.unwrap();
    ended(&mut events).await;
    let CellOutcome::Failed { why } = &latest(&tektra).await.cells[1].outcome else { panic!("it is another model") };
    assert!(why.contains("has changed"), "{why}");
    tektra.close().await;
}

#[tokio::test]
async fn the_chat_comes_first_and_the_round_is_repeated() {
    let folder = with_model("slow");
    folder.add_model("small", &tiny());
    let tektra = folder.open().await;
    tektra.set_settings(&Settings { model: Some("small".into()), ..Settings::default() }).await.unwrap();
    let mut events = tektra.events();
    tektra.bench_start(quick(&["slow"])).await.unwrap();
    progress(&mut events, |now| now.repetition == 2).await;
    let answer = send(&tektra, None, "say 20 words every 30 ms").await.answer.id;
    progress(&mut events, |now| now.waiting).await;
    // While it waits, nothing but the answer happens.
    wait_for(&mut events, |event| match event {
        CoreEvent::AnswerFinished { message, .. } if message.id == answer => Some(()),
        CoreEvent::BenchChanged { progress: Some(now) } => {
            assert!(now.waiting && now.repetition <= 2, "{now:?}");
            None
        }
        _ => None,
    })
    .await;
    ended(&mut events).await;
    let run = latest(&tektra).await;
    assert_eq!(run.summary.state, RunState::Done);
    assert_eq!(count(&run.cells[0], MetricName::DecodeTokensPerSecond), 5, "the interrupted round counts once");
    tektra.close().await;
}

#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_measured() {
    let folder = with_model("slow");
    let tektra = folder.open().await;
    let mut events = tektra.events();
    tektra.bench_start(quick(&[])).await.unwrap();
    tektra.store().limit_pages(1).await.unwrap();
    let trouble = wait_for(&mut events, |event| match event {
        CoreEvent::StoreTrouble { error } => error,
        _ => None,
    });
    assert_eq!(trouble.await.code, ErrorCode::StoreFull);
    ended(&mut events).await;
    let run = latest(&tektra).await;
    assert_eq!((run.summary.state, count(&run.cells[0], MetricName::InterTokenMs)), (RunState::Done, 5 * 32));
    tektra.store().limit_pages(1_000_000).await.unwrap();
    wait_for(&mut events, |event| matches!(event, CoreEvent::StoreTrouble { error: None }).then_some(())).await;
    tektra.close().await;
    let again = folder.open().await;
    let stored = latest(&again).await;
    assert_eq!((stored.summary.state, stored.summary.cells_done), (RunState::Done, 1));
    assert_eq!(stored.cells[0].metrics.len(), run.cells[0].metrics.len());
    assert_eq!(count(&stored.cells[0], MetricName::InterTokenMs), 5 * 32);
    again.close().await;
}

#[tokio::test]
async fn a_cell_is_used_and_its_speed_is_the_profiles() {
    let folder = with_model("small");
    let tektra = folder.open().await;
    assert!(!tektra.profiles().await.unwrap()[0].measured);
    let run = measured(&tektra, BenchRequest { kvs: vec![BenchKv::F16, BenchKv::Q8], ..quick(&[]) }).await;
    let profile = tektra.profiles().await.unwrap()[0].clone();
    assert!(profile.measured);
    let usual = metric(&run.cells[0], MetricName::DecodeTokensPerSecond).median.unwrap();
    assert!((profile.tokens_per_second - usual).abs() < 1e-6, "of the usual KV cache");

    let settings = tektra.bench_apply(&run.summary.id, 1).await.unwrap();
    assert_eq!(settings.model.as_deref(), Some("small"));
    let wish = tektra.placement_plan("small".into(), None).await.unwrap().wish;
    assert_eq!(wish.kv, KvWish::Q8);
    assert_eq!(tektra.bench_apply(&run.summary.id, 9).await.unwrap_err().code(), ErrorCode::NotFound);
    tektra.close().await;
}

/// `tektra-cli bench` with `arguments`.
fn bench(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = terminal(folder, "scripted-engine");
    command.arg("bench").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn runs(folder: &Folder) -> Vec<Value> {
    let listed = bench(folder, &["list", "--json"]).output().unwrap();
    assert!(listed.status.success(), "{}", stderr(&listed));
    serde_json::from_str(&stdout(&listed)).unwrap()
}

#[test]
fn the_terminal_measures_lists_shows_and_compares() {
    let folder = with_model("small");
    let first = bench(&folder, &["--preset", "quick", "--threads", "1", "--batch", "1,2", "--json"]).output().unwrap();
    assert!(first.status.success(), "{}", stderr(&first));
    let run: Value = serde_json::from_str(&stdout(&first)).unwrap();
    assert_eq!(run["cells"].as_array().map(Vec::len), Some(2));
    assert_eq!(run["cells"][1]["outcome"]["kind"], "measured");
    let own = run["cells"][0]["key"]["quantization"].as_str().unwrap();
    let plain = bench(&folder, &["--quant", own, "--threads", "1", "--batch", "1"]).output().unwrap();
    assert!(plain.status.success() && stdout(&plain).contains("small"), "{}", stderr(&plain));
    let absent = bench(&folder, &["--quant", "int8"]).output().unwrap();
    assert!(absent.status.code() == Some(2) && stderr(&absent).contains("no int8 of"), "{}", stderr(&absent));
    let file = folder.0.path().join("llama.json");
    let out = file.display().to_string();
    let second =
        bench(&folder, &["--threads", "1", "--reps", "3", "--llama-bench-json", "--out", &out]).output().unwrap();
    assert!(second.status.success() && second.stdout.is_empty(), "{}", stderr(&second));
    let tests: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!((tests.len(), tests[0]["samples_ts"].as_array().map(Vec::len)), (2, Some(3)));

    let all = runs(&folder);
    let id = |at: usize| all[at]["id"].as_str().unwrap().to_owned();
    assert_eq!((all.len(), &all[2]["id"]), (3, &run["summary"]["id"]), "the latest first");
    let shown = bench(&folder, &["show", &id(2), "--csv"]).output().unwrap();
    assert!(stdout(&shown).lines().filter(|line| line.contains("decode_tokens_per_second")).count() == 2);
    let compared = bench(&folder, &["compare", &id(2), &id(0), "--json"]).output().unwrap();
    let compared: Value = serde_json::from_str(&stdout(&compared)).unwrap();
    assert_eq!(compared["other_machine"], false);
    let rows = compared["rows"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["verdict"] == "only_a" && row["key"]["batch"] == 2));
    let both = rows.iter().find(|row| row["metric"] == "decode_tokens_per_second" && row["key"]["batch"] == 1).unwrap();
    assert_eq!(both["verdict"], "no_difference", "three samples are too few: {both}");
    let words = bench(&folder, &["compare", &id(2), &id(0)]).output().unwrap();
    assert!(stdout(&words).contains("no certain difference"), "{}", stdout(&words));
}

#[test]
fn absurd_wishes_are_refused_with_a_sentence() {
    let folder = with_model("small");
    for (arguments, word) in [
        (&["--batch", "0"][..], "counted from 1"),
        (&["--threads", "100000"], "100000 threads"),
        (&["--reps", "1000000"], "1000000 repetitions"),
        (&["--depth", "99999999"], "99999999 tokens"),
        (&["--kv", "q7"], "write f16, q8 or f32"),
        (&["--on", "npu"], "write cpu or gpu"),
        // Also where there is a GPU: this engine is built for none.
        (&["--on", "gpu"], "Nothing can be measured on a GPU."),
        (&["--preset", "endless"], "write quick, standard or thorough"),
        (&["show", "nothing"], "does not exist"),
        (&["--out", "/nowhere/at/all.json"], "cannot be written"),
    ] {
        let refused = bench(&folder, arguments).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {}", stderr(&refused));
        assert!(stderr(&refused).contains(word), "{}", stderr(&refused));
    }
    assert_eq!(bench(&folder, &["--model", "nobody"]).output().unwrap().status.code(), Some(3));
    assert!(runs(&folder).is_empty(), "nothing was begun");
}

/// Starts a slow run and waits until a round of it is stored.
fn begin(folder: &Folder) -> std::process::Child {
    let child = bench(folder, &["--threads", "1", "--batch", "1,2", "--reps", "5"]).spawn().unwrap();
    let tries = (0..300).take_while(|_| {
        std::thread::sleep(Duration::from_millis(50));
        !has_metrics(folder)
    });
    assert!(tries.count() < 300, "nothing is measured");
    child
}

/// Whether the first cell of the latest run has figures.
fn has_metrics(folder: &Folder) -> bool {
    let Some(id) = runs(folder).first().and_then(|run| run["id"].as_str().map(ToOwned::to_owned)) else { return false };
    let shown = bench(folder, &["show", &id, "--json"]).output().unwrap();
    let run = serde_json::from_str::<Value>(&stdout(&shown)).unwrap_or_default();
    run["cells"][0]["metrics"].as_array().is_some_and(|metrics| !metrics.is_empty())
}

#[test]
fn ctrl_c_keeps_what_is_measured() {
    let folder = with_model("slow");
    let child = begin(&folder);
    let second = bench(&folder, &["--threads", "1"]).output().unwrap();
    assert_eq!(second.status.code(), Some(2), "another process must not disturb it");
    interrupt(&child);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{}", stderr(&ended));
    assert!(stderr(&ended).contains("kept"), "{}", stderr(&ended));
    assert_eq!(runs(&folder)[0]["state"], "cancelled");
}

#[test]
fn a_killed_run_is_interrupted_and_goes_on() {
    let folder = with_model("slow");
    let mut child = begin(&folder);
    child.kill().unwrap();
    child.wait().unwrap();
    let all = runs(&folder);
    assert_eq!(all[0]["state"], "interrupted");
    let resumed = bench(&folder, &["resume", all[0]["id"].as_str().unwrap(), "--json"]).output().unwrap();
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    let run: Value = serde_json::from_str(&stdout(&resumed)).unwrap();
    assert_eq!((&run["summary"]["state"], &run["summary"]["cells_done"]), (&"done".into(), &2.into()));
    let metrics = run["cells"][0]["metrics"].as_array().unwrap();
    let decode = metrics.iter().find(|metric| metric["name"] == "decode_tokens_per_second").unwrap();
    assert_eq!(decode["samples"].as_array().map(Vec::len), Some(5));
}

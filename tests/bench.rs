//! Benchmarks with a scripted engine: what is kept, what comes first, what goes wrong.

use tektra_core::{
    BenchCell, BenchKv, BenchPreset, BenchProgress, BenchRequest, BenchRun, CellOutcome, CoreEvent, ErrorCode, KvWish,
    Metric, MetricName, RunState, Settings, Tektra,
};
use tektra_tests::{Folder, send, tiny, wait_for, with_number};
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
    let folder = Folder::with_tiny("small");
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
    let folder = Folder::with_tiny("small");
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
    let folder = Folder::with_tiny("slow");
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
    let folder = Folder::with_tiny("slow");
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
    let folder = Folder::with_tiny("slow");
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
    let folder = Folder::with_tiny("slow");
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
    let folder = Folder::with_tiny("small");
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

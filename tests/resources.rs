//! What the machine does and whose that is, as a person sees it.

use std::{
    collections::HashSet,
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use tektra_core::{AnswerMark, CoreEvent, ErrorCode, Observer, ResourceSample, UnloadReason};
use tektra_tests::*;
use tokio::{
    sync::{Mutex, broadcast},
    time::sleep,
};

type Events = broadcast::Receiver<CoreEvent>;

/// The tests share a process, and the engines that it starts all count as its own.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

async fn sampled(events: &mut Events) -> ResourceSample {
    sample_where(events, |_| true).await
}

async fn sample_where(events: &mut Events, wanted: impl Fn(&ResourceSample) -> bool) -> ResourceSample {
    wait_for(events, |event| match event {
        CoreEvent::ResourcesSampled { sample } if wanted(&sample) => Some(*sample),
        _ => None,
    })
    .await
}

async fn marked(events: &mut Events, id: &str) -> AnswerMark {
    wait_for(events, |event| match event {
        CoreEvent::AnswerMarked { mark } if mark.message_id == id => Some(mark),
        _ => None,
    })
    .await
}

/// How many samples came until now.
fn count(events: &mut Events) -> usize {
    let mut count = 0;
    while let Ok(event) = events.try_recv() {
        count += usize::from(matches!(event, CoreEvent::ResourcesSampled { .. }));
    }
    count
}

/// Ticks of the whole processor, those it was idle and all.
fn ticks() -> (u64, u64) {
    let stat = fs::read_to_string("/proc/stat").expect("/proc/stat");
    let ticks: Vec<u64> =
        stat.lines().next().expect("a line").split_whitespace().skip(1).take(8).map(|it| it.parse().unwrap()).collect();
    (ticks[3] + ticks[4], ticks.iter().sum())
}

fn mib_of(file: &str, name: &str) -> f64 {
    let text = fs::read_to_string(file).expect(file);
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect(name);
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
}

fn close(what: &str, told: f64, expected: f64, tolerance: f64) {
    assert!((told - expected).abs() <= tolerance, "{what}: {told}, and /proc says {expected}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_is_what_the_system_tells_in_the_same_second() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let mut events = tektra.events();
    tektra.resources_watch(1000).unwrap();
    sampled(&mut events).await;
    let (idle_before, all_before) = ticks();
    let sample = sampled(&mut events).await;
    let (idle, all) = ticks();

    let busy = 100.0 - (idle - idle_before) as f64 / (all - all_before) as f64 * 100.0;
    close("CPU", sample.cpu.total_percent.unwrap(), busy, 15.0);
    let cores = fs::read_to_string("/proc/stat").unwrap().lines().filter(|line| line.starts_with("cpu")).count() - 1;
    assert_eq!(sample.cpu.cores_percent.len(), cores);
    assert!(sample.cpu.cores_percent.iter().flatten().all(|percent| (0.0..=100.0).contains(percent)), "{sample:?}");
    let (total, available) = (mib_of("/proc/meminfo", "MemTotal:"), mib_of("/proc/meminfo", "MemAvailable:"));
    close("memory", sample.memory.total_mib.unwrap(), total, 0.01);
    close("memory in use", sample.memory.used_mib.unwrap(), total - available, 256.0);
    close("the window", sample.shares.window_mib.unwrap(), mib_of("/proc/self/smaps_rollup", "Pss:"), 16.0);
    let ours = sample.shares.window_mib.unwrap() + sample.shares.engine_mib.unwrap_or(0.0);
    close("all together", ours + sample.shares.other_mib.unwrap(), total - available, 512.0);
    let cpu = sample.shares.window_cpu_percent.unwrap() + sample.shares.other_cpu_percent.unwrap();
    assert!(cpu <= cores as f64 * 100.0 + 20.0, "{:?}", sample.shares);
    assert_eq!((sample.engine, sample.shares.engine_mib), (None, None), "no engine runs, which is not 0");
    tektra.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sampled_while_nobody_looks() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let mut events = tektra.events();
    converse(&tektra, None, "say 3 words").await;
    sleep(Duration::from_millis(1200)).await;
    assert_eq!(count(&mut events), 0);

    assert!(tektra.resources_watch(500).unwrap().samples.is_empty());
    let first = sampled(&mut events).await;
    let second = sampled(&mut events).await;
    let apart_ms = second.at_ms - first.at_ms;
    assert!((250.0..5000.0).contains(&apart_ms), "{apart_ms} ms between two samples");
    // Another interval holds from now on, without another watcher.
    let history = tektra.resources_watch(5000).unwrap();
    assert_eq!(history.interval_ms, 5000);
    assert!(history.samples.len() >= 2);
    count(&mut events);
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(count(&mut events), 0, "the next comes after 5 s");

    tektra.resources_watch(500).unwrap();
    sampled(&mut events).await;
    tektra.resources_unwatch();
    sleep(Duration::from_millis(200)).await;
    count(&mut events);
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(count(&mut events), 0);
    assert!(tektra.resources_watch(500).unwrap().samples.len() >= 3, "what was sampled is kept");
    tektra.close().await;
}

#[tokio::test]
async fn an_interval_that_makes_no_sense_is_refused_and_changes_nothing() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let mut events = tektra.events();
    for interval_ms in [0, 1, 499, 5001, u32::MAX] {
        let error = tektra.resources_watch(interval_ms).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidInput);
        assert!(error.to_string().contains("500 to 5000 ms"), "{error}");
    }
    sleep(Duration::from_millis(700)).await;
    assert_eq!(count(&mut events), 0);
    tektra.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_has_its_mark_however_it_ended() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let mut events = tektra.events();
    let started = send(&tektra, None, "say 30 words every 10 ms").await;
    let mark = marked(&mut events, &started.answer.id).await;
    assert_eq!((mark.tokens, &mark.conversation_id), (30, &started.conversation_id));
    assert!((200.0..30_000.0).contains(&(mark.ended_ms - mark.started_ms)), "{mark:?}");
    let failed = send(&tektra, None, "fail").await;
    assert_eq!(marked(&mut events, &failed.answer.id).await.tokens, 0);
    let stopped = send(&tektra, None, "say 1000 words every 5 ms").await;
    wait_for(&mut events, |event| matches!(event, CoreEvent::AnswerDelta { tokens: 5, .. }).then_some(())).await;
    tektra.stop(&stopped.answer.id);
    assert!(marked(&mut events, &stopped.answer.id).await.tokens >= 5);
    // They are there for whoever looks later.
    let marks = tektra.resources_watch(1000).unwrap().marks;
    let ids: Vec<_> = marks.iter().map(|mark| mark.message_id.as_str()).collect();
    assert_eq!(ids, [started.answer.id, failed.answer.id, stopped.answer.id]);
    tektra.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_time_and_tokens_are_attributed_to_the_engine() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let mut events = tektra.events();
    tektra.resources_watch(500).unwrap();
    let started = send(&tektra, None, "say 1000 words every 5 ms").await;
    // Sent at once, either could be the first.
    wait_for(&mut events, |event| matches!(event, CoreEvent::AnswerDelta { .. }).then_some(())).await;
    let waits = send(&tektra, None, "say 3 words").await;
    let first =
        sample_where(&mut events, |sample| sample.engine.as_ref().is_some_and(|engine| engine.active > 0)).await;
    let sample = sampled(&mut events).await;
    let engine = sample.engine.clone().expect("it runs");
    assert_eq!((engine.active, engine.waiting), (1, 1), "{engine:?}");
    let rate = engine.decode_tokens_per_second.unwrap();
    assert!((10.0..=220.0).contains(&rate), "at most a word every 5 ms: {rate}");
    assert_eq!((engine.prefill_tokens_per_second, engine.prefix_hit_tokens), (None, 0), "the prompt is read");
    let pid = tektra.engine().pid().await.unwrap();
    let shares = &sample.shares;
    close("the engine", shares.engine_mib.unwrap(), mib_of(&format!("/proc/{pid}/status"), "VmRSS:"), 2.0);
    assert_eq!(shares.weights_mib, Some(3.0));
    assert!((1.0..2.0).contains(&shares.kv_mib.unwrap()) && engine.kv_mib == shares.kv_mib, "{shares:?}");
    assert!(engine.kv_mib > first.engine.unwrap().kv_mib, "it grows with the answer");
    assert!(shares.engine_cpu_percent.is_some() && shares.window_cpu_percent.is_some(), "{shares:?}");

    finished(&mut events, &started.answer.id).await;
    finished(&mut events, &waits.answer.id).await;
    tektra.engine().unload(UnloadReason::Asked).await;
    let after = sample_where(&mut events, |sample| sample.engine.is_none()).await;
    let after = if after.shares.engine_mib.is_some() { sampled(&mut events).await } else { after };
    assert_eq!((after.shares.engine_mib, after.shares.weights_mib, after.shares.kv_mib), (None, None, None));
    tektra.close().await;
}

#[tokio::test]
async fn every_probe_says_what_it_found_or_why_not() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let probes = tektra.resources_probes().await.unwrap();
    let of =
        |name: &str| probes.iter().find(|probe| probe.name == name).unwrap_or_else(|| panic!("{name}: {probes:?}"));
    assert!(of("CPU and memory").found);
    for name in ["NVIDIA (NVML)", "AMD (sysfs)", "CPU temperature", "CPU clock", "Battery", "Disk", "Network"] {
        assert!(!of(name).detail.is_empty(), "{:?}", of(name));
    }
    let names: HashSet<_> = probes.iter().map(|probe| &probe.name).collect();
    assert_eq!(names.len(), probes.len(), "the page tells them apart by their names");
    tektra.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gpus_are_what_nvidia_smi_says_in_the_same_second() {
    let _alone = ONE_AT_A_TIME.lock().await;
    // Without an engine: this test is of use on machines to which nothing else of Tektra was brought.
    let folder = Folder::new();
    let mut observer = Observer::new(folder.home());
    observer.begin().await.unwrap();
    let query =
        ["--query-gpu=index,memory.total,memory.used,temperature.gpu,power.draw", "--format=csv,noheader,nounits"];
    let told = Command::new("nvidia-smi").args(query).output().ok().filter(|told| told.status.success());
    let sample = observer.sample().await.unwrap();
    let Some(told) = told else {
        println!("SKIPPED: there is no GPU here that nvidia-smi knows, so there is nothing to compare with.");
        let probes = observer.probes().await.unwrap();
        let nvidia = probes.iter().find(|probe| probe.name.starts_with("NVIDIA")).unwrap();
        assert!(!nvidia.found && nvidia.detail.len() > 10, "{nvidia:?}");
        return;
    };
    let lines: Vec<String> = stdout(&told).lines().map(Into::into).collect();
    assert_eq!(sample.gpus.len(), lines.len());
    for (gpu, line) in sample.gpus.iter().zip(&lines) {
        let figures: Vec<Option<f64>> = line.split(',').map(|word| word.trim().parse().ok()).collect();
        assert_eq!(figures[0], Some(f64::from(gpu.index)));
        let pairs = [
            ("memory", gpu.memory_total_mib, figures[1], 1024.0),
            ("memory in use", gpu.memory_used_mib, figures[2], 1024.0),
            ("temperature", gpu.temperature_celsius, figures[3], 3.0),
            ("power", gpu.power_watts, figures[4], 60.0),
        ];
        for (what, ours, theirs, tolerance) in pairs {
            assert_eq!(ours.is_some(), theirs.is_some(), "{what}: {line}");
            if let (Some(ours), Some(theirs)) = (ours, theirs) {
                close(what, ours, theirs, tolerance);
            }
        }
    }
}

/// Runs a terminal command while this process goes on to answer others.
async fn run(mut command: Command) -> std::process::Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test]
async fn top_prints_a_sample_a_line_with_the_engines_of_this_data_folder() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    converse(&tektra, None, "say 3 words").await;
    let mut command = terminal(&folder, "scripted-engine");
    command.args(["top", "--json", "--samples", "3", "--interval", "500"]);
    let output = run(command).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let samples: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(samples.len(), 3);
    for sample in &samples {
        assert!(sample["at_ms"].is_number() && sample["cpu"]["total_percent"].is_number(), "{sample}");
        assert_eq!(sample["shares"]["weights_mib"], 3.0, "the engine of this test's process");
        assert_eq!(sample["engine"]["active"], 0);
        assert!(sample["shares"]["window_mib"].as_f64().unwrap() > 1.0);
        assert!(sample["gpus"].is_array() && sample["memory"]["used_mib"].is_number());
    }
    assert!(
        stderr(&output).contains("3 samples in") && stderr(&output).contains("% of one core"),
        "{}",
        stderr(&output)
    );
    tektra.close().await;
}

#[test]
fn top_needs_a_terminal_or_json_and_sensible_numbers() {
    let _alone = ONE_AT_A_TIME.blocking_lock();
    let folder = Folder::new();
    let check = |arguments: &[&str], words: &str| {
        let output = terminal(&folder, "scripted-engine").arg("top").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stdout(&output).is_empty() && stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
    };
    check(&[], "top --json");
    check(&["--json", "--samples", "0"], "--samples");
    check(&["--json", "--interval", "10"], "500..=5000");
    check(&["--json", "--interval=-1"], "--interval");
    let alone = terminal(&folder, "scripted-engine").args(["top", "--json", "--samples", "1"]).output().unwrap();
    let sample: serde_json::Value = serde_json::from_str(&stdout(&alone)).expect("one object");
    assert!(sample["engine"].is_null() && sample["shares"]["window_mib"].is_null(), "no Tektra runs: {sample}");
}

#[tokio::test]
async fn ctrl_c_ends_top_while_another_tektra_does_not_answer() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let folder = Folder::with_model("small");
    // It would answer on this thread, which waits for the terminal instead.
    let tektra = folder.open().await;
    let mut command = terminal(&folder, "scripted-engine");
    command.args(["top", "--json", "--interval", "500"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
    lines.read_line(&mut String::new()).expect("a sample");
    interrupt(&child);
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(130), "{}", stderr(&ended));
    assert!(stderr(&ended).contains("samples in"), "{}", stderr(&ended));
    tektra.close().await;
}

/// Runs a shell's command on a terminal of its own, which `script` gives it.
fn on_a_terminal(folder: &Folder, command: &str) -> std::process::Output {
    let mut script = Command::new("script");
    script.args(["-qec", command, "/dev/null"]).env("TEKTRA_HOME", folder.0.path()).env("TERM", "xterm-256color");
    script.output().expect("script, of bsdutils")
}

#[test]
fn top_draws_on_a_terminal() {
    let _alone = ONE_AT_A_TIME.blocking_lock();
    let folder = Folder::new();
    let top = executable("tektra-cli");
    let output =
        on_a_terminal(&folder, &format!("stty rows 40 cols 120; {} top --samples 2 --interval 500", top.display()));
    let picture = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{picture}");
    let device = if picture.contains("GPU 0") { "GPU 0" } else { "CPU mode" };
    for words in ["CPU", "Memory", "Engine", "leaves", device] {
        assert!(picture.contains(words), "{words} in {picture}");
    }
    assert!(picture.contains("\u{1b}[?1049l"), "the screen is given back");
}

#[test]
fn a_terminal_that_gives_no_keys_is_refused_with_a_word() {
    let _alone = ONE_AT_A_TIME.blocking_lock();
    let folder = Folder::new();
    // In a session of its own it may write to the terminal, but has none to read keys from.
    let command = format!("setsid --wait {} top --samples 1 </dev/null", executable("tektra-cli").display());
    let output = on_a_terminal(&folder, &command);
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    assert!(stdout(&output).contains("cannot use this terminal"), "{}", stdout(&output));
    assert!(!stdout(&output).contains("panicked"), "{}", stdout(&output));
}

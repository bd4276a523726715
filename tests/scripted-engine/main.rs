//! An engine without a model, for tests of behaviour: it does what the message tells it.
//!
//! `load` (what it was asked to load) · `say N words` · `flood N` (tokens without a pause) · `say N words every M ms` · `crash after N words` · `hang` · `fail` · `overflow` ·
//! anything else is answered with what the engine was given. A model whose file name contains
//! `refuses` is not loaded, one with `dies` ends the process, one with `slow` takes half a second.

mod cell;

use std::{
    collections::HashMap,
    io::Read,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use tektra_protocol::{
    EngineStats, Failure, FinishReason, GenerateRequest, Hello, Launch, Loaded, PROTOCOL_VERSION, Reply, Request,
    Stages, Usage, connect,
};
use tokio::sync::{mpsc, oneshot};

/// Answers in progress, and all words that were said.
static ACTIVE: AtomicU32 = AtomicU32::new(0);
static WORDS: AtomicU64 = AtomicU64::new(0);
/// Answers that were begun; each pretends to a prompt of 7 tokens, 3 of which were computed before.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// 3 MiB of weights, 1 MiB of caches and a KiB a word.
fn stats() -> EngineStats {
    let (words, begun) = (WORDS.load(Ordering::Relaxed), BEGUN.load(Ordering::Relaxed));
    EngineStats {
        weights_bytes: Some(3 << 20),
        kv_bytes: Some((1 << 20) + (words << 10)),
        active: ACTIVE.load(Ordering::Relaxed),
        waiting: 0,
        prompt_tokens: begun * 7,
        prefill_us: begun * 1000,
        generated_tokens: words,
        prefix_hit_tokens: begun * 3,
    }
}

/// As an executor would tell it, with what is nobody's business among it.
const METRICS: &str = "# HELP mistralrs_steps_total Steps\n# TYPE mistralrs_steps_total counter\n\
    mistralrs_steps_total{kind=\"decode\"} 5\n\n# TYPE other_total counter\nother_total 1\n\n\
    # TYPE mistralrs_step_seconds histogram\nmistralrs_step_seconds_bucket{le=\"+Inf\"} 2\n\
    mistralrs_step_seconds_sum 0.5\nmistralrs_step_seconds_count 2\n";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("devices") => return println!(r#"{{"cuda":false}}"#),
        Some("cell") => return cell::cell(),
        Some("quality") => return cell::quality(),
        Some("--version") => return eprintln!("tektra-engine scripted"),
        _ => {}
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("a launch line");
    let launch: Launch = serde_json::from_str(&line).expect("a launch line");
    std::thread::spawn(|| {
        while matches!(std::io::stdin().read(&mut [0; 64]), Ok(1..)) {}
        std::process::exit(0);
    });
    let (mut requests, mut replies) = connect::<Request, Reply>(&launch.socket).await.expect("the core listens");
    let (out, mut queue) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(reply) = queue.recv().await {
            if replies.send(&reply).await.is_err() {
                break;
            }
        }
    });
    let hello = Hello {
        protocol_version: PROTOCOL_VERSION,
        token: launch.token,
        pid: std::process::id(),
        engine_version: "scripted".into(),
    };
    let _ = out.send(Reply::Hello(hello));
    let mut asked = String::new();
    let mut cancels: HashMap<u64, oneshot::Sender<()>> = HashMap::new();
    while let Some(Ok(request)) = requests.next().await {
        match request {
            Request::Load(load) if load.path.contains("refuses") => {
                let reason = "it does not want to".into();
                let _ = out.send(Reply::LoadFailed { reason, gpu_memory_full: false });
            }
            Request::Load(load) if load.path.contains("crowds") => {
                let reason = "the GPU has no memory left for 9 MiB more".into();
                let _ = out.send(Reply::LoadFailed { reason, gpu_memory_full: true });
            }
            Request::Load(load) if load.path.contains("dies") => std::process::exit(9),
            Request::Load(load) => {
                asked = format!("{} tokens, {:?}, {:?}", load.context_length, load.kv, load.layers);
                let parallel = if load.path.contains("parallel") { 4 } else { 1 };
                if load.path.contains("slow") {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                let _ = out.send(Reply::Loaded(Loaded {
                    load_ms: 1,
                    device: "a script".into(),
                    parallel,
                    warnings: load
                        .path
                        .contains("strange")
                        .then(|| "this model is strange.".into())
                        .into_iter()
                        .collect(),
                }));
            }
            Request::Generate(request) => {
                let (cancel, cancelled) = oneshot::channel();
                cancels.insert(request.id, cancel);
                let acting = act(request, asked.clone(), cancelled, out.clone());
                tokio::spawn(async move {
                    BEGUN.fetch_add(1, Ordering::Relaxed);
                    ACTIVE.fetch_add(1, Ordering::Relaxed);
                    acting.await;
                    ACTIVE.fetch_sub(1, Ordering::Relaxed);
                });
            }
            Request::Cancel { id } => drop(cancels.remove(&id)),
            // The longest is never done.
            Request::Profile { seconds: 60, .. } => {}
            Request::Profile { id, .. } => {
                let _ = out.send(Reply::Profiled {
                    id,
                    stacks: Some("executor;a_script;speaks 3\nmain;waits 1\n".into()),
                    error: None,
                });
            }
            Request::Stats { id } => drop(out.send(Reply::Stats { id, stats: stats() })),
            Request::Metrics { id } => drop(out.send(Reply::Metrics { id, text: METRICS.into() })),
            Request::Ping { nonce } => drop(out.send(Reply::Pong { nonce })),
            Request::Shutdown => std::process::exit(0),
        }
    }
}

async fn act(
    request: GenerateRequest,
    asked: String,
    mut cancelled: oneshot::Receiver<()>,
    out: mpsc::UnboundedSender<Reply>,
) {
    let id = request.id;
    let told = request.messages.last().map(|turn| turn.text.clone()).unwrap_or_default();
    let numbers: Vec<u32> = told.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let (words, every) = (numbers.first().copied().unwrap_or(0), numbers.get(1).copied().unwrap_or(1));
    let end = |reason, tokens| Reply::Finished {
        id,
        reason,
        usage: Usage {
            prompt_tokens: 7,
            cached_tokens: 0,
            completion_tokens: tokens,
            prefill_ms: Some(10.0),
            decode_ms: 100.0,
            stages: Stages { tokenize_ms: 1.0, wait_ms: Some(2.0), sample_ms: Some(3.0), detokenize_ms: None },
        },
    };
    if let Some(begun) = &request.continue_from {
        let _ = out.send(Reply::Delta {
            id,
            text: format!(" [went on after {} characters]", begun.chars().count()),
            completion_tokens: 5,
        });
        let _ = out.send(end(FinishReason::Stop, 5));
    } else if told.starts_with("flood") {
        for token in 1..=words {
            let _ = out.send(Reply::Delta { id, text: "x".into(), completion_tokens: token });
        }
        let _ = out.send(end(FinishReason::Stop, words));
    } else if ["say", "crash", "unplug"].iter().any(|word| told.starts_with(word)) {
        for word in 1..=words.min(request.max_tokens) {
            tokio::select! {
                _ = &mut cancelled => {
                    let _ = out.send(end(FinishReason::Cancelled, word - 1));
                    return;
                }
                () = tokio::time::sleep(Duration::from_millis(every.into())) => {}
            }
            WORDS.fetch_add(1, Ordering::Relaxed);
            let text = if word == 1 { "word1".to_owned() } else { format!(" word{word}") };
            let _ = out.send(Reply::Delta { id, text, completion_tokens: word });
        }
        if told.starts_with("crash") {
            tokio::time::sleep(Duration::from_millis(50)).await;
            std::process::abort();
        }
        if told.starts_with("unplug") {
            let failure = Failure::Unreadable { reason: "the drive has gone".into() };
            let _ = out.send(Reply::Failed { id, failure });
            return;
        }
        let reason = if words > request.max_tokens { FinishReason::Length } else { FinishReason::Stop };
        let _ = out.send(end(reason, words.min(request.max_tokens)));
    } else if told == "load" {
        let _ = out.send(Reply::Delta { id, text: asked, completion_tokens: 1 });
        let _ = out.send(end(FinishReason::Stop, 1));
    } else if told == "hang" {
        std::future::pending::<()>().await;
    } else if told == "fail" {
        let _ = out.send(Reply::Failed { id, failure: Failure::Engine { reason: "the script says so".into() } });
    } else if told == "grow" {
        let _ = out.send(Reply::Failed { id, failure: Failure::OutOfGpuMemory });
    } else if told == "overflow" {
        let failure = Failure::ContextOverflow { prompt_tokens: 9000, context_length: 8192 };
        let _ = out.send(Reply::Failed { id, failure });
    } else {
        let given: Vec<String> =
            request.messages.iter().map(|turn| format!("{}: {}", turn.role.name(), turn.text)).collect();
        let _ = out.send(Reply::Delta { id, text: given.join(" | "), completion_tokens: 3 });
        let _ = out.send(end(FinishReason::Stop, 3));
    }
}

//! One engine process that measures: started for a cell's round, listened to, and ended at once when it must.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::Deserialize;
use tektra_bench::{CellKey, Lengths, Metric, MetricName};
use tektra_fetch::CancellationToken;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::watch,
    time::timeout,
};

use super::{conditions::Conditions, gpu::GpuWatch};
use crate::{
    engine::{ending, read_errors},
    event::EngineState,
    models::sentence,
};

/// A chat that was at work is over after this long a silence.
const QUIET_FOR: Duration = Duration::from_millis(500);

/// What a process is started for.
pub(super) struct Order<'a> {
    pub(super) executable: &'a Path,
    pub(super) model: &'a Path,
    /// The GPU by number, and the layers that it is to have: all.
    pub(super) gpu: Option<(u32, u32)>,
    pub(super) key: &'a CellKey,
    pub(super) lengths: Lengths,
    pub(super) repetitions: u32,
    /// Whether the file's pages were dropped before.
    pub(super) cold: bool,
    /// One that says nothing for longer has failed.
    pub(super) patience: Duration,
}

/// When a measurement must end.
pub(super) struct Halts {
    pub(super) cancel: CancellationToken,
    /// The chat's engine: what it computes comes first.
    pub(super) chat: watch::Receiver<EngineState>,
}

/// How a process ended.
pub(super) enum Ended {
    Measured(Measured),
    NotSupported(String),
    Failed(String),
    /// An answer in the chat began.
    Overlapped,
    Cancelled,
}

/// What a process measured.
#[derive(Default)]
pub(super) struct Measured {
    /// The instructions that it computed with.
    pub(super) simd: String,
    pub(super) samples: Vec<(MetricName, Vec<f64>)>,
    pub(super) marks: Vec<String>,
}

impl Measured {
    fn add(&mut self, name: MetricName, sample: f64) {
        match self.samples.iter_mut().find(|(known, _)| *known == name) {
            Some((_, samples)) => samples.push(sample),
            None => self.samples.push((name, vec![sample])),
        }
    }

    /// Adds everything to a cell's metrics.
    pub(super) fn into_metrics(self, metrics: &mut Vec<Metric>) {
        for (name, samples) in self.samples {
            Metric::add(metrics, name, &samples);
        }
    }
}

/// A line of `tektra-engine cell`.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Said {
    Loaded {
        load_ms: f64,
        simd: String,
    },
    /// What is measured begins.
    Warm,
    Repetition {
        prefill_ms: f64,
        decode_ms: f64,
        first_token_ms: f64,
        inter_token_ms: Vec<f64>,
        joules: Option<f64>,
    },
    Done {
        peak_resident_mib: f64,
    },
    Error {
        why: String,
    },
}

/// Whether the chat's engine computes, or is about to.
pub(super) fn is_busy(state: &EngineState) -> bool {
    matches!(state, EngineState::Starting | EngineState::Loading { .. } | EngineState::Thinking { .. })
}

impl Halts {
    /// Waits until the chat computes nothing; `false` when the benchmark is cancelled meanwhile.
    pub(super) async fn chat_is_quiet(&mut self) -> bool {
        let mut quiet = !is_busy(&self.chat.borrow());
        while !quiet {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return false,
                _ = self.chat.wait_for(|state| !is_busy(state)) => {}
            }
            // Between its load and its first answer a model is ready for a moment.
            quiet = timeout(QUIET_FOR, self.chat.wait_for(is_busy)).await.is_err();
        }
        !self.cancel.is_cancelled()
    }

    /// Ends when something else must come first: the cancel, or an answer.
    pub(super) async fn halted(&mut self) -> Ended {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Ended::Cancelled,
            _ = self.chat.wait_for(is_busy) => Ended::Overlapped,
        }
    }
}

/// Starts a process and listens to it; `repetition` hears how many repetitions are done. The process is gone afterwards.
pub(super) async fn measure(order: &Order<'_>, halts: &mut Halts, repetition: impl FnMut(u32)) -> Ended {
    let gpu = match order.gpu {
        Some((index, _)) => tokio::task::spawn_blocking(move || GpuWatch::begin(index)).await.ok().flatten(),
        None => None,
    };
    let mut child = match spawn(order) {
        Ok(child) => child,
        Err(error) => return Ended::Failed(format!("The engine does not start: {error}.")),
    };
    let ended = tokio::select! {
        biased;
        halted = halts.halted() => halted,
        ended = listen(order, &mut child, gpu, repetition) => ended,
    };
    // One that has ended already cannot be killed, and need not be.
    let _ = child.kill().await;
    ended
}

fn spawn(order: &Order<'_>) -> std::io::Result<Child> {
    let Lengths { prompt, decode } = order.lengths;
    let mut command = Command::new(order.executable);
    if let Some((_, layers)) = order.gpu {
        command.args(["cell", "--gpu-layers", &layers.to_string()]);
    } else {
        command.arg("cell");
    }
    command
        // As for answers: it sees the GPU that it is to use, and no other.
        .env("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        .env("CUDA_VISIBLE_DEVICES", order.gpu.map(|(index, _)| index.to_string()).unwrap_or_default())
        .arg("--model")
        .arg(order.model)
        .args(["--threads", &order.key.threads.to_string()])
        .args(["--kv", order.key.kv.name()])
        .args(["--batch", &order.key.batch.to_string()])
        .args(["--depth", &order.key.depth_tokens.to_string()])
        .args(["--prompt", &prompt.to_string()])
        .args(["--decode", &decode.to_string()])
        .args(["--repetitions", &order.repetitions.to_string()])
        // Held open for as long as this process lives.
        .arg("--until-stdin-closes")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

async fn listen(
    order: &Order<'_>,
    child: &mut Child,
    mut gpu: Option<GpuWatch>,
    mut repetition: impl FnMut(u32),
) -> Ended {
    let last_words = read_errors(child);
    let pid = child.id().unwrap_or_default();
    let Some(stdout) = child.stdout.take() else { return Ended::Failed("The engine has no output.".into()) };
    let mut lines = BufReader::new(stdout).lines();
    let mut conditions = Conditions::begin();
    let (mut measured, mut loaded, mut repetitions) = (Measured::default(), false, 0);
    let failed = |words: &str| Ended::Failed(words.into());
    loop {
        let line = match timeout(order.patience, lines.next_line()).await {
            Err(_) => {
                let seconds = order.patience.as_secs();
                return Ended::Failed(format!("The engine said nothing for {seconds} seconds and was ended."));
            }
            Ok(Err(_)) => return failed("The engine said something that is no text."),
            Ok(Ok(None)) => {
                let how = ending(child.wait().await.ok(), &last_words);
                return Ended::Failed(format!("The engine ended unexpectedly ({how})."));
            }
            Ok(Ok(Some(line))) => line,
        };
        conditions.look(pid);
        if let Some(gpu) = &mut gpu {
            gpu.look();
        }
        // Libraries print too; what the engine says is JSON.
        if !line.starts_with('{') {
            continue;
        }
        let Ok(said) = serde_json::from_str(&line) else {
            return failed("The engine said something that is no measurement.");
        };
        match said {
            Said::Loaded { load_ms, simd } if is_time(load_ms) => {
                loaded = true;
                measured.simd = simd;
                measured.add(if order.cold { MetricName::ColdLoadMs } else { MetricName::WarmLoadMs }, load_ms);
            }
            Said::Warm => {
                if let Some(gpu) = &mut gpu {
                    gpu.begin_stretch();
                }
            }
            Said::Repetition { prefill_ms, decode_ms, first_token_ms, inter_token_ms, joules }
                if [prefill_ms, decode_ms, first_token_ms].into_iter().all(is_time)
                    && inter_token_ms.iter().all(|ms| ms.is_finite() && *ms >= 0.0) =>
            {
                let (batch, lengths) = (f64::from(order.key.batch), order.lengths);
                let [prompt, decode] = [lengths.prompt, lengths.decode].map(|tokens| f64::from(tokens) * batch);
                measured.add(MetricName::PrefillTokensPerSecond, prompt / prefill_ms * 1e3);
                measured.add(MetricName::DecodeTokensPerSecond, decode / decode_ms * 1e3);
                measured.add(MetricName::FirstTokenMs, first_token_ms);
                for ms in inter_token_ms {
                    measured.add(MetricName::InterTokenMs, ms);
                }
                let joules = joules.filter(|joules| joules.is_finite() && *joules >= 0.0);
                if let Some(energy) = gpu.as_mut().and_then(|gpu| gpu.energy(prompt + decode, joules)) {
                    measured.add(MetricName::GpuJoulesPerToken, energy.gpu_joules);
                    if let Some(joules) = energy.all_joules {
                        measured.add(MetricName::JoulesPerToken, joules);
                    }
                }
                if let Some(joules) = joules.filter(|_| order.gpu.is_none()) {
                    measured.add(MetricName::JoulesPerToken, joules / (prompt + decode));
                }
                repetitions += 1;
                repetition(repetitions);
            }
            Said::Done { peak_resident_mib } if repetitions == order.repetitions && peak_resident_mib.is_finite() => {
                measured.add(MetricName::PeakResidentMib, peak_resident_mib);
                if let Some(mib) = gpu.as_ref().and_then(GpuWatch::peak_mib) {
                    measured.add(MetricName::PeakGpuMib, mib);
                }
                measured.marks = conditions.marks();
                measured.marks.extend(gpu.as_ref().and_then(GpuWatch::mark));
                return Ended::Measured(measured);
            }
            Said::Error { why } if !loaded => return Ended::NotSupported(as_sentence(&why)),
            Said::Error { why } => return Ended::Failed(as_sentence(&why)),
            Said::Loaded { .. } | Said::Repetition { .. } | Said::Done { .. } => {
                return failed("The engine's figures make no sense.");
            }
        }
    }
}

fn is_time(ms: f64) -> bool {
    ms.is_finite() && ms > 0.0
}

/// The engine's reason with a capital letter and a full stop.
pub(super) fn as_sentence(why: &str) -> String {
    let words = sentence(why.trim());
    if words.ends_with(['.', '!', '?']) { words } else { format!("{words}.") }
}

/// What `tektra-engine quality` says.
#[derive(Deserialize)]
pub(super) struct QualitySaid {
    pub(super) perplexity: f64,
    pub(super) kl_mean: f64,
    pub(super) kl_p99: f64,
    pub(super) same_top_percent: f64,
}

/// Measures what a model loses against `reference`. `Ok(Err)` is why that was not possible; `Err` why it was halted.
pub(super) async fn quality(
    executable: &Path,
    [model, text, reference]: [&PathBuf; 3],
    halts: &mut Halts,
) -> Result<Result<QualitySaid, String>, Ended> {
    let spawned = Command::new(executable)
        .arg("quality")
        .arg("--model")
        .arg(model)
        .arg("--text")
        .arg(text)
        .arg("--against")
        .arg(reference)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let child = match spawned {
        Ok(child) => child,
        Err(error) => return Ok(Err(format!("the engine does not start ({error})"))),
    };
    tokio::select! {
        biased;
        halted = halts.halted() => Err(halted),
        said = child.wait_with_output() => Ok(said.map_err(|error| error.to_string()).and_then(|said| {
            let text = String::from_utf8_lossy(&said.stdout);
            let line = text.lines().rfind(|line| line.starts_with('{')).unwrap_or_default();
            match (serde_json::from_str(line), serde_json::from_str(line)) {
                (Ok(said), _) => Ok(said),
                (Err(_), Ok(Said::Error { why })) => Err(why),
                _ => Err(format!("the engine ended with {}", said.status)),
            }
        })),
    }
}

//! What is counted of mistral.rs's answers, by us: version 0.8.1 has no counters of its own.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tektra_protocol::{EngineStats, Failure, FinishReason, Usage};

const REQUESTS: &str = "mistralrs_requests_total";
const TOKENS: &str = "mistralrs_tokens_total";
const FIRST_TOKEN: &str = "mistralrs_first_token_seconds";
const DECODE: &str = "mistralrs_decode_duration_seconds";

/// Upper bounds of the histograms' buckets: from a millisecond to ten minutes.
const BUCKETS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0];

/// What a model has answered so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    active: AtomicU32,
    prompt_tokens: AtomicU64,
    prefill_us: AtomicU64,
    generated_tokens: AtomicU64,
}

/// An answer in progress.
pub(super) struct Active(Arc<Counts>);

impl Counts {
    pub(super) fn begin(self: &Arc<Self>) -> Active {
        record();
        self.active.fetch_add(1, Ordering::Relaxed);
        Active(self.clone())
    }

    pub(super) fn prompt(&self, tokens: u32, took: Duration) {
        self.prompt_tokens.fetch_add(tokens.into(), Ordering::Relaxed);
        self.prefill_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }

    pub(super) fn generated(&self) {
        self.generated_tokens.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> EngineStats {
        EngineStats {
            active: self.active.load(Ordering::Relaxed),
            prompt_tokens: self.prompt_tokens.load(Ordering::Relaxed),
            prefill_us: self.prefill_us.load(Ordering::Relaxed),
            generated_tokens: self.generated_tokens.load(Ordering::Relaxed),
            ..EngineStats::default()
        }
    }
}

impl Active {
    pub(super) fn end(self, answer: &Result<(FinishReason, Usage), Failure>) {
        let outcome = match answer {
            Ok((FinishReason::Cancelled, _)) => "stopped",
            Ok(_) => "complete",
            Err(_) => "failed",
        };
        counter!(REQUESTS, "outcome" => outcome).increment(1);
        let Ok((_, usage)) = answer else { return };
        counter!(TOKENS, "kind" => "prompt").increment(usage.prompt_tokens.into());
        counter!(TOKENS, "kind" => "generated").increment(usage.completion_tokens.into());
        if let Some(prefill_ms) = usage.prefill_ms {
            histogram!(FIRST_TOKEN).record(prefill_ms / 1e3);
            histogram!(DECODE).record(usage.decode_ms / 1e3);
        }
        // The samples are kept one by one until they are counted, and perhaps nobody ever asks for the metrics.
        if let Some(Some(recorder)) = RECORDER.get() {
            recorder.run_upkeep();
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Begins to record with the first answer; never a reason not to give it.
fn record() {
    let begin = || {
        let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS);
        let handle = builder.ok()?.install_recorder().ok()?;
        describe_counter!(REQUESTS, "Answers of mistral.rs by how they ended");
        describe_counter!(TOKENS, "Tokens by kind: prompt tokens, generated tokens");
        describe_histogram!(FIRST_TOKEN, Unit::Seconds, "From an answer's arrival in the engine to its first token");
        describe_histogram!(DECODE, Unit::Seconds, "From the first token of an answer to its last");
        Some(handle)
    };
    RECORDER.get_or_init(begin);
}

/// Everything that was recorded, in the text format of Prometheus; empty before the first answer.
pub(crate) fn metrics() -> String {
    let Some(Some(recorder)) = RECORDER.get() else { return String::new() };
    recorder.run_upkeep();
    recorder.render()
}

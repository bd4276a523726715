//! What this process measures of its answers, in the text format of Prometheus.
//!
//! Names and units follow <https://prometheus.io/docs/practices/naming/>: base units, bounded labels.

mod merge;
mod now;

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub(crate) use now::Now;

use crate::{
    engine::Answer,
    event::{FinishReason, Unloaded},
};

const REQUESTS: &str = "tektra_requests_total";
const DURATION: &str = "tektra_request_duration_seconds";
const QUEUE: &str = "tektra_queue_duration_seconds";
const LOAD: &str = "tektra_model_load_duration_seconds";
const FIRST_TOKEN: &str = "tektra_inference_first_token_seconds";
const INTER_TOKEN: &str = "tektra_inference_inter_token_seconds";
const TOKENS: &str = "tektra_tokens_total";
const CACHE_HITS: &str = "tektra_cache_hits_total";
const STORE: &str = "tektra_store_write_duration_seconds";
const UNLOADS: &str = "tektra_model_unloads_total";
const WAITING: &str = "tektra_requests_waiting";
const MEMORY: &str = "tektra_model_memory_bytes";
const CPU: &str = "tektra_process_cpu_ratio";
const GPU_MEMORY: &str = "tektra_gpu_memory_bytes";

const OUTCOMES: [&str; 3] = ["stopped", "complete", "failed"];
const TOKEN_KINDS: [&str; 2] = ["prompt", "generated"];
const UNLOAD_REASONS: [&str; 3] = ["asked", "idle", "made_room"];

/// Upper bounds of the histograms' buckets: from a millisecond to ten minutes.
const BUCKETS: [f64; 18] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// Begins to measure; once a process, and never a reason not to start.
pub(crate) fn begin() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let begin = || {
        let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS);
        let handle = builder.ok()?.install_recorder().ok()?;
        for (name, unit, what) in [
            (DURATION, Unit::Seconds, "From a message to the end of its answer"),
            (QUEUE, Unit::Seconds, "Waiting for other answers"),
            (LOAD, Unit::Seconds, "Starting the engine and loading the model, where that was needed"),
            (FIRST_TOKEN, Unit::Seconds, "From a message to the first piece of its answer, all waiting included"),
            (INTER_TOKEN, Unit::Seconds, "Between two tokens of an answer"),
            (STORE, Unit::Seconds, "Writing a piece of an answer to the disk"),
        ] {
            describe_histogram!(name, unit, what);
        }
        describe_counter!(REQUESTS, "Answers by how they ended");
        describe_counter!(TOKENS, "Tokens by kind: computed prompt tokens, generated tokens");
        describe_counter!(CACHE_HITS, "Prompt tokens whose computation was saved, by cache level");
        describe_counter!(UNLOADS, "Models taken out of memory, by reason");
        // What has not happened yet is told as 0: a series that appears with its first event hides that event from rates.
        for name in [DURATION, QUEUE, LOAD, FIRST_TOKEN, INTER_TOKEN, STORE] {
            let _ = histogram!(name);
        }
        OUTCOMES.iter().for_each(|outcome| counter!(REQUESTS, "outcome" => *outcome).increment(0));
        TOKEN_KINDS.iter().for_each(|kind| counter!(TOKENS, "kind" => *kind).increment(0));
        UNLOAD_REASONS.iter().for_each(|reason| counter!(UNLOADS, "reason" => *reason).increment(0));
        counter!(CACHE_HITS, "level" => "prefix").increment(0);
        Some(handle)
    };
    HANDLE.get_or_init(begin).as_ref()
}

/// The time between the tokens of one answer.
#[derive(Default)]
pub(crate) struct Pace(Option<(Instant, u32)>);

impl Pace {
    /// A piece arrived with which the answer has `tokens`; a piece of several tokens counts as that many.
    pub(crate) fn at(&mut self, tokens: u32) {
        let now = Instant::now();
        if let Some((before, had)) = self.0
            && tokens > had
        {
            let each = (now - before).as_secs_f64() / f64::from(tokens - had);
            (had..tokens).for_each(|_| histogram!(INTER_TOKEN).record(each));
        }
        self.0 = Some((now, tokens));
    }
}

/// An answer ended.
pub(crate) fn answered(answer: &Answer, took: Duration) {
    let outcome = match answer {
        Ok(receipt) if receipt.finish_reason == FinishReason::Cancelled => OUTCOMES[0],
        Ok(_) => OUTCOMES[1],
        Err(_) => OUTCOMES[2],
    };
    // The samples are kept one by one until they are counted, and perhaps nobody ever asks for the metrics.
    if let Some(handle) = begin() {
        handle.run_upkeep();
    }
    counter!(REQUESTS, "outcome" => outcome).increment(1);
    histogram!(DURATION).record(took.as_secs_f64());
    let Ok(receipt) = answer else { return };
    histogram!(QUEUE).record(receipt.queue_ms / 1e3);
    if receipt.load_ms > 0.0 {
        histogram!(LOAD).record(receipt.load_ms / 1e3);
    }
    if let Some(ttft_ms) = receipt.ttft_ms {
        histogram!(FIRST_TOKEN).record(ttft_ms / 1e3);
    }
    let computed = receipt.prompt_tokens.saturating_sub(receipt.cached_tokens);
    counter!(TOKENS, "kind" => TOKEN_KINDS[0]).increment(computed.into());
    counter!(TOKENS, "kind" => TOKEN_KINDS[1]).increment(receipt.completion_tokens.into());
    counter!(CACHE_HITS, "level" => "prefix").increment(receipt.cached_tokens.into());
}

/// A piece of an answer is on the disk.
pub(crate) fn stored(took: Duration) {
    histogram!(STORE).record(took.as_secs_f64());
}

/// A model was taken out of memory.
pub(crate) fn unloaded(unloaded: &Unloaded) {
    use crate::event::UnloadReason::{Asked, Idle, MadeRoom};
    let reason = match unloaded.why {
        Asked => UNLOAD_REASONS[0],
        Idle { .. } => UNLOAD_REASONS[1],
        MadeRoom { .. } => UNLOAD_REASONS[2],
    };
    counter!(UNLOADS, "reason" => reason).increment(1);
}

/// What is so at this moment, everything that was counted, and what the engines of models measured themselves, as text.
pub(crate) fn text(now: &Now<'_>, told: &[(String, String)]) -> String {
    let counted = begin().map(|handle| {
        handle.run_upkeep();
        handle.render()
    });
    format!("{}{}{}", counted.unwrap_or_default(), now.text(), merge::merged(told))
}

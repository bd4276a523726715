//! What the executor does and has done, for whoever asks while it computes.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

/// Written by the thread that computes, a few stores a step, and read by any other.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    active: AtomicU32,
    waiting: AtomicU32,
    prompt_tokens: AtomicU64,
    prefill_us: AtomicU64,
    generated_tokens: AtomicU64,
    prefix_hit_tokens: AtomicU64,
    kv_bytes: AtomicU64,
}

/// What an executor holds and does at a moment, and what it has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes of the packed weights.
    pub weights_bytes: u64,
    /// Bytes of all KV caches.
    pub kv_bytes: u64,
    /// Answers that are being computed.
    pub active: u32,
    /// Answers that wait for their turn.
    pub waiting: u32,
    /// Prompt tokens computed.
    pub prompt_tokens: u64,
    /// Time of the steps that computed some, in microseconds.
    pub prefill_us: u64,
    /// Tokens generated.
    pub generated_tokens: u64,
    /// Prompt tokens that were in the KV cache.
    pub prefix_hit_tokens: u64,
}

impl Counters {
    pub(crate) fn submitted(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn begun(&self, prefix_hit_tokens: usize) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.active.fetch_add(1, Ordering::Relaxed);
        self.prefix_hit_tokens.fetch_add(prefix_hit_tokens as u64, Ordering::Relaxed);
    }

    pub(crate) fn computed(&self, prompt_tokens: usize, generated_tokens: usize, took: Duration) {
        if prompt_tokens > 0 {
            self.prompt_tokens.fetch_add(prompt_tokens as u64, Ordering::Relaxed);
            self.prefill_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
        }
        self.generated_tokens.fetch_add(generated_tokens as u64, Ordering::Relaxed);
    }

    pub(crate) fn held(&self, active: usize, kv_bytes: usize) {
        self.active.store(active as u32, Ordering::Relaxed);
        self.kv_bytes.store(kv_bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, weights_bytes: u64) -> Counts {
        Counts {
            weights_bytes,
            kv_bytes: self.kv_bytes.load(Ordering::Relaxed),
            active: self.active.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            prompt_tokens: self.prompt_tokens.load(Ordering::Relaxed),
            prefill_us: self.prefill_us.load(Ordering::Relaxed),
            generated_tokens: self.generated_tokens.load(Ordering::Relaxed),
            prefix_hit_tokens: self.prefix_hit_tokens.load(Ordering::Relaxed),
        }
    }
}

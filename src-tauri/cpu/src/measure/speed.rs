//! How fast a model reads and writes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{MeasureError, Subject};
use crate::{
    forward::{Run, StepError},
    kv::Cache,
};

/// The speed of a prompt and of what follows it.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Prompt tokens a second.
    pub prefill_tokens_per_second: f64,
    /// Generated tokens a second, all sequences together.
    pub decode_tokens_per_second: f64,
}

/// What is computed in each [`Repetition`].
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Sequences that are computed side by side.
    pub sequences: usize,
    /// Tokens that are in each sequence's KV cache before anything is timed.
    pub depth: usize,
    /// Tokens of each sequence's prompt.
    pub prompt: usize,
    /// Tokens that are then generated in each sequence.
    pub decode: usize,
}

impl Workload {
    /// Whether Tektra computes such a thing at all, with any model.
    ///
    /// # Errors
    /// [`MeasureError::Sequences`] or [`MeasureError::NoTokens`].
    pub fn check(&self) -> Result<(), MeasureError> {
        self.check_sequences(tektra_cuda::MOST_GENERATED)?;
        if self.prompt == 0 || self.decode == 0 {
            return Err(MeasureError::NoTokens);
        }
        Ok(())
    }

    fn check_sequences(&self, most: usize) -> Result<(), MeasureError> {
        match self.sequences {
            wanted if (1..=most).contains(&wanted) => Ok(()),
            wanted => Err(MeasureError::Sequences { wanted, most }),
        }
    }
}

/// KV caches of a workload's depth, from which all its repetitions start.
pub struct AtDepth {
    pub(super) workload: Workload,
    pub(super) caches: Vec<Cache>,
}

/// How long one repetition took.
#[derive(Clone, Debug)]
pub struct Repetition {
    /// The prompts of all sequences, one after another, in milliseconds.
    pub prefill_ms: f64,
    /// Each step of decoding, which is one token of every sequence, in milliseconds.
    pub inter_token_ms: Vec<f64>,
}

impl Repetition {
    /// All steps of decoding, in milliseconds.
    pub fn decode_ms(&self) -> f64 {
        self.inter_token_ms.iter().sum()
    }

    /// The prompts and the first step after them, in milliseconds.
    pub fn first_token_ms(&self) -> f64 {
        self.prefill_ms + self.inter_token_ms.first().unwrap_or(&0.0)
    }
}

impl Subject {
    /// Prefills `prefill` random tokens into each of `sequences` empty caches, then generates `decode` tokens in each.
    ///
    /// # Errors
    /// When the model's file cannot be read any more.
    pub fn speed(&mut self, prefill: usize, decode: usize, sequences: usize) -> Result<Speed, MeasureError> {
        let mut random = random();
        let mut caches = vec![Cache::default(); sequences];
        let prefill_ms = self.prefill(&mut caches, prefill, &mut random)?;
        let decode_ms: f64 = self.decode(&mut caches, decode, &mut random)?.iter().sum();
        Ok(Speed {
            prefill_tokens_per_second: (prefill * sequences) as f64 * 1e3 / prefill_ms,
            decode_tokens_per_second: (decode * sequences) as f64 * 1e3 / decode_ms,
        })
    }

    /// Computes what lies in the caches before anything is timed.
    ///
    /// # Errors
    /// As [`Workload::check`], [`MeasureError::Context`] when a sequence becomes longer than the model allows, and
    /// [`MeasureError::Unreadable`] when its file cannot be read any more.
    pub fn at_depth(&mut self, workload: Workload) -> Result<AtDepth, MeasureError> {
        workload.check()?;
        workload.check_sequences(self.forward.most_together())?;
        self.check_context(workload.depth.saturating_add(workload.prompt.max(workload.decode)))?;
        let mut first = Cache::default();
        self.prefill(std::slice::from_mut(&mut first), workload.depth, &mut random())?;
        // Sequences that shared their pages would find each other's in the processor's caches.
        let copy = |_| {
            let pages = first.pages.iter().map(|page| page.try_copy().map(Arc::new)).collect::<Result<_, _>>()?;
            Ok(Cache { tokens: first.tokens.clone(), pages })
        };
        let mut caches = (1..workload.sequences).map(copy).collect::<Result<Vec<Cache>, MeasureError>>()?;
        caches.push(first);
        Ok(AtDepth { workload, caches })
    }

    /// Brings code, memory and clocks to where they are in the middle of a run, as llama-bench does: with the prompts
    /// and one step of decoding.
    ///
    /// # Errors
    /// When the model's file cannot be read any more.
    pub fn warm_up(&mut self, start: &AtDepth) -> Result<(), MeasureError> {
        self.prefill_from(start, &mut random())?;
        self.decode_from(start, 1, &mut random())?;
        Ok(())
    }

    /// Computes the workload once. Prompts and decoding both start at the depth, so that they are what llama-bench
    /// (<https://github.com/ggml-org/llama.cpp/tree/master/tools/llama-bench>) calls pp and tg at `-d`; as there, tokens
    /// are random and nothing is sampled.
    ///
    /// # Errors
    /// When the model's file cannot be read any more.
    pub fn repetition(&mut self, start: &AtDepth) -> Result<Repetition, MeasureError> {
        let mut random = random();
        let (prefill_ms, _) = self.prefill_from(start, &mut random)?;
        let (inter_token_ms, _) = self.decode_from(start, start.workload.decode, &mut random)?;
        Ok(Repetition { prefill_ms, inter_token_ms })
    }

    /// The time that the prompts take, and the caches with them.
    pub(super) fn prefill_from(
        &mut self,
        start: &AtDepth,
        random: &mut fastrand::Rng,
    ) -> Result<(f64, Vec<Cache>), StepError> {
        let mut caches = start.caches.clone();
        Ok((self.prefill(&mut caches, start.workload.prompt, random)?, caches))
    }

    /// The times that the steps of decoding take, and the caches with what they generated.
    pub(super) fn decode_from(
        &mut self,
        start: &AtDepth,
        steps: usize,
        random: &mut fastrand::Rng,
    ) -> Result<(Vec<f64>, Vec<Cache>), StepError> {
        let mut caches = start.caches.clone();
        Ok((self.decode(&mut caches, steps, random)?, caches))
    }

    /// Appends `count` random tokens to each cache, one after another as the executor does; returns milliseconds.
    fn prefill(&mut self, caches: &mut [Cache], count: usize, random: &mut fastrand::Rng) -> Result<f64, StepError> {
        let vocabulary = self.vocabulary();
        let begun = Instant::now();
        for cache in caches {
            let tokens: Vec<u32> = (0..count).map(|_| random.u32(..vocabulary)).collect();
            let mut chunks = tokens.chunks(self.forward.prefill_tokens(false)).peekable();
            while let Some(tokens) = chunks.next() {
                let logits = usize::from(chunks.peek().is_none());
                self.forward.step(&mut [Run { cache: &mut *cache, tokens, logits, generated: false }])?;
            }
        }
        Ok(milliseconds(begun.elapsed()))
    }

    /// Appends `steps` random tokens to all caches together, token by token; returns each step's milliseconds.
    fn decode(
        &mut self,
        caches: &mut [Cache],
        steps: usize,
        random: &mut fastrand::Rng,
    ) -> Result<Vec<f64>, StepError> {
        let vocabulary = self.vocabulary();
        let mut begun = Instant::now();
        let step = |_| {
            let tokens: Vec<u32> = caches.iter().map(|_| random.u32(..vocabulary)).collect();
            let runs = caches.iter_mut().zip(tokens.chunks(1));
            let run = |(cache, tokens)| Run { cache, tokens, logits: 1, generated: true };
            let mut runs: Vec<Run<'_>> = runs.map(run).collect();
            self.forward.step(&mut runs)?;
            let ended = Instant::now();
            Ok(milliseconds(ended - std::mem::replace(&mut begun, ended)))
        };
        (0..steps).map(step).collect()
    }

    fn vocabulary(&self) -> u32 {
        self.forward.weights.shape.vocabulary as u32
    }
}

/// The same tokens every time.
pub(super) fn random() -> fastrand::Rng {
    fastrand::Rng::with_seed(7)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

//! Measurements that anyone can repeat: speed as llama-bench takes it, perplexity, and what the memory delivers.

use std::{path::Path, time::Instant};

use tektra_kernels::{KvType, Pool};

use crate::{
    LoadError,
    executor::read_tokenizer,
    forward::{Forward, Run},
    kv::Cache,
    tokenizer::Tokenizer,
    weights::ModelFile,
};

/// One repetition.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Prompt tokens a second.
    pub prefill_tokens_per_second: f64,
    /// Generated tokens a second, all sequences together.
    pub decode_tokens_per_second: f64,
}

/// A model whose speed or quality is measured, without tokenizer, sampling or queue.
pub struct Subject {
    forward: Forward,
    tokenizer: Tokenizer,
}

impl Subject {
    /// Loads the model at `path` to compute on `threads` threads, with KV caches of the type `kv`.
    ///
    /// # Errors
    /// As [`crate::Executor::load`].
    pub fn load(path: &Path, threads: usize, kv: KvType) -> Result<Self, LoadError> {
        let file = ModelFile::open(path)?;
        let tokenizer = read_tokenizer(&file)?;
        Ok(Self { forward: Forward::load(file, threads, kv, &tokenizer, &mut |_| {})?, tokenizer })
    }

    /// The instruction set that computes.
    pub fn simd(&self) -> &'static str {
        tektra_kernels::level().name()
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// When the tokenizer refuses it.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>, crate::PromptError> {
        Ok(self.tokenizer.encode(text, false)?)
    }

    /// Prefills `prefill` random tokens into each of `sequences` empty caches, then generates `decode` tokens in each.
    pub fn speed(&mut self, prefill: usize, decode: usize, sequences: usize) -> Speed {
        let mut random = fastrand::Rng::with_seed(7);
        let vocabulary = self.forward.weights.shape.vocabulary as u32;
        let mut caches = vec![Cache::default(); sequences];
        let begun = Instant::now();
        for cache in &mut caches {
            let tokens: Vec<u32> = (0..prefill).map(|_| random.u32(..vocabulary)).collect();
            for tokens in tokens.chunks(crate::executor::PREFILL_TOKENS) {
                let end = cache.tokens.len() + tokens.len() == prefill;
                self.forward.step(&mut [Run { cache: &mut *cache, tokens, logits: usize::from(end) }]);
            }
        }
        let prefilled = Instant::now();
        for _ in 0..decode {
            let tokens: Vec<u32> = caches.iter().map(|_| random.u32(..vocabulary)).collect();
            let runs = caches.iter_mut().zip(tokens.chunks(1));
            let mut runs: Vec<Run<'_>> = runs.map(|(cache, tokens)| Run { cache, tokens, logits: 1 }).collect();
            self.forward.step(&mut runs);
        }
        Speed {
            prefill_tokens_per_second: (prefill * sequences) as f64 / (prefilled - begun).as_secs_f64(),
            decode_tokens_per_second: (decode * sequences) as f64 / prefilled.elapsed().as_secs_f64(),
        }
    }

    /// Perplexity of `tokens` in windows of `window`, every token but the first of each window counted; `None` when
    /// there is nothing to count.
    pub fn perplexity(&mut self, tokens: &[u32], window: usize) -> Option<f64> {
        let vocabulary = self.forward.weights.shape.vocabulary;
        let (mut loss, mut count) = (0.0, 0);
        for window in tokens.chunks(window.max(1)) {
            // The last token is only predicted; a window of one has nothing to predict it from.
            let Some((_, context)) = window.split_last() else { continue };
            let mut cache = Cache::default();
            let mut targets = window.iter().skip(1);
            for tokens in context.chunks(crate::executor::PREFILL_TOKENS) {
                let logits = self.forward.step(&mut [Run { cache: &mut cache, tokens, logits: tokens.len() }]);
                for (logits, &target) in logits.chunks_exact(vocabulary).zip(targets.by_ref().take(tokens.len())) {
                    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
                    loss += sum.ln() - f64::from(logits[target as usize] - largest);
                    count += 1;
                }
            }
        }
        (count > 0).then(|| (loss / f64::from(count)).exp())
    }
}

/// How fast `threads` threads read memory, in GB/s (10^9 bytes): the ceiling of decoding. The best of five times over
/// half a GiB of memory like that of the weights.
///
/// # Errors
/// When the system starts no more threads or gives no memory.
pub fn read_gigabytes_per_second(threads: usize) -> std::io::Result<f64> {
    const BYTES: usize = 512 << 20;
    const CHUNK: usize = 2 << 20;
    let mut memory = tektra_kernels::memory(BYTES)?;
    // Pages that were never written are all the same one.
    memory.fill(1);
    let mut pool = Pool::new(threads)?;
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let begun = Instant::now();
        pool.run(BYTES / CHUNK, &|chunk| {
            let mut sums = [0_u64; 32];
            for words in memory[chunk * CHUNK..][..CHUNK].as_chunks::<256>().0 {
                for (sum, word) in sums.iter_mut().zip(words.as_chunks::<8>().0) {
                    *sum = sum.wrapping_add(u64::from_ne_bytes(*word));
                }
            }
            std::hint::black_box(sums);
        });
        best = best.min(begun.elapsed().as_secs_f64());
    }
    Ok(BYTES as f64 / best / 1e9)
}

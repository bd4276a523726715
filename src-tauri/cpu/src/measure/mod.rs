//! Measurements that anyone can repeat: speed as llama-bench takes it, quality as llama.cpp's perplexity tool takes it,
//! what the memory delivers and what the processor draws.

mod bandwidth;
mod energy;
mod quality;
mod speed;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use bandwidth::read_gigabytes_per_second;
pub use energy::PackageEnergy;
pub use quality::{Divergence, Quality};
pub use speed::{AtDepth, Repetition, Speed, Workload};
use tektra_kernels::KvType;

use crate::{
    LoadError, MOST_TOGETHER, executor::read_tokenizer, forward::Forward, tokenizer::Tokenizer, weights::ModelFile,
};

/// A model whose speed or quality is measured, without sampling or queue.
pub struct Subject {
    forward: Forward,
    tokenizer: Tokenizer,
    threads: usize,
}

/// Why something cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// Not as many sequences as are ever computed together.
    #[error("1 to {MOST_TOGETHER} sequences are computed together, not {0}")]
    Sequences(usize),
    /// A workload without a prompt or without decoding.
    #[error("the prompt and what is decoded must have at least one token each")]
    NoTokens,
    /// More tokens than the model was made for.
    #[error("the model was trained on {trained} tokens at once: {wanted} do not fit")]
    Context {
        /// Tokens of one sequence.
        wanted: usize,
        /// The model's context length.
        trained: usize,
    },
    /// A text without a token to predict.
    #[error("the text is too short to measure anything")]
    TooShort,
    /// Models that do not mean the same by a token.
    #[error("the two models have different vocabularies: only models with the same tokens can be compared")]
    Vocabularies,
    /// Logits that are infinite or not numbers.
    #[error("the model computes something that is not a number: its file may be damaged")]
    NotANumber,
    /// The model's file could be read when it was loaded, and now it cannot.
    #[error("the model's file cannot be read any more ({0}): connect its drive, or download it again")]
    Unreadable(#[from] std::io::Error),
}

impl Subject {
    /// Loads the model at `path` to compute on `threads` threads, with KV caches of the type `kv`.
    ///
    /// # Errors
    /// As [`crate::Executor::load`].
    pub fn load(path: &Path, threads: usize, kv: KvType) -> Result<Self, LoadError> {
        let file = ModelFile::open(path)?;
        let tokenizer = read_tokenizer(&file)?;
        Ok(Self { forward: Forward::load(file, threads, kv, &tokenizer, &mut |_| {})?, tokenizer, threads })
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

    /// Refuses sequences that are longer than those that the model was trained on, where its file says how long they are.
    fn check_context(&self, wanted: usize) -> Result<(), MeasureError> {
        let header = &self.forward.weights.file.header;
        let architecture = header.text("general.architecture").unwrap_or_default();
        match header.number(&format!("{architecture}.context_length")) {
            Some(trained) if wanted as f64 > trained => {
                Err(MeasureError::Context { wanted, trained: trained.max(0.0) as usize })
            }
            _ => Ok(()),
        }
    }
}

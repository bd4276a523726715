//! Measurements that anyone can repeat: speed as llama-bench takes it, quality as llama.cpp's perplexity tool takes it,
//! what the memory delivers and what the processor draws.

mod bandwidth;
mod energy;
mod quality;
mod speed;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use bandwidth::{DecodeAndRead, ReadBandwidth};
pub use energy::PackageEnergy;
pub use quality::{Divergence, Quality};
pub use speed::{AtDepth, Repetition, Speed, Workload};
use tektra_kernels::KvType;

use crate::{
    LoadError,
    executor::read_tokenizer,
    file::ModelFile,
    forward::{Forward, StepError},
    tokenizer::Tokenizer,
};

/// A model whose speed or quality is measured, without sampling or queue.
pub struct Subject {
    forward: Forward,
    tokenizer: Tokenizer,
    threads: usize,
    /// Tokens of a text that are read in one step: the logits of each are in memory.
    step_tokens: usize,
}

/// Why something cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// Not as many sequences as are ever computed together.
    #[error("1 to {most} sequences are computed together, not {wanted}")]
    Sequences {
        /// What was wanted.
        wanted: usize,
        /// What is possible.
        most: usize,
    },
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
    /// Half a GiB to read is not to be had.
    #[error("there is no memory to read ({0}): close other programs and measure again")]
    NoMemory(std::io::Error),
    /// A GPU is full, or fails.
    #[error(transparent)]
    Gpu(#[from] tektra_cuda::GpuError),
}

impl From<StepError> for MeasureError {
    fn from(error: StepError) -> Self {
        match error {
            StepError::Unreadable(error) => error.into(),
            StepError::Gpu(error) => error.into(),
        }
    }
}

impl Subject {
    /// Loads the model at `path` to compute on `threads` threads, with KV caches of the type `kv`, and as many of its
    /// layers on each GPU as `gpu_layers` says.
    ///
    /// # Errors
    /// As [`crate::Executor::load`].
    pub fn load(path: &Path, threads: usize, kv: KvType, gpu_layers: &[usize]) -> Result<Self, LoadError> {
        let file = ModelFile::open(path)?;
        let tokenizer = read_tokenizer(&file)?;
        let forward = Forward::load(file, threads, kv, gpu_layers, &tokenizer, &mut |_| {})?;
        Ok(Self { forward, tokenizer, threads, step_tokens: 128 })
    }

    /// Reads texts token by token, as an answer is written; GPUs compute that in another way.
    pub fn one_by_one(self) -> Self {
        Self { step_tokens: 1, ..self }
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

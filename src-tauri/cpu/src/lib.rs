//! Tektra's CPU executor: GGUF models of the Llama family on Tektra's own kernels.
//!
//! Weights are copied once into the kernels' order; embeddings stay in the file. Any number of conversations advance together, each with a paged KV
//! cache; conversations that begin alike share pages. Whatever is batched, cached or computed anew: a conversation's
//! numbers are the same to the last bit.

mod answer;
mod counters;
mod executor;
mod file;
mod forward;
mod gpus;
mod kv;
#[cfg(test)]
mod kv_tests;
mod measure;
mod sampler;
mod template;
mod tokenizer;
mod weights;

pub use counters::Counts;
pub use executor::{Ended, Executor, Job, Options, Outcome, Piece, PromptError, Room};
pub use forward::MOST_TOGETHER;
pub use measure::{
    AtDepth, DecodeAndRead, Divergence, MeasureError, PackageEnergy, Quality, ReadBandwidth, Repetition, Speed,
    Subject, Workload,
};
pub use sampler::Sampling;
pub use tektra_cuda::GpuError;
pub use tektra_kernels::{KvType, UnknownKvType};
pub use template::TemplateError;
pub use tokenizer::{FolderError, TokenizerError, Warning, write_tokenizer_folder};
pub use weights::LoadError;

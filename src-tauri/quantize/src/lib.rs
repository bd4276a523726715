//! Writing GGUF files: from safetensors, in another precision, and back.
//!
//! - [`convert`]: a Hugging Face folder of safetensors into one GGUF file, each matrix in the format that a [`Plan`]
//!   says
//! - [`requantize`]: a GGUF file into another one
//! - [`options`]: what can be had of either, and the exact size of each
//! - [`to_safetensors`]: a GGUF file back into a folder
//! - [`encode`]: the encoders, rows of `f32` into ggml's block formats
//!
//! Nothing appears under its final name before it is complete and on the disk.

mod config;
mod convert;
mod encode;
mod error;
mod export;
mod files;
mod folder;
mod format;
mod gguf;
mod layout;
mod metadata;
mod options;
mod plan;
mod pre;
mod requantize;
mod tensors;
pub mod tiny;
mod vocabulary;
mod write;

pub use config::Architecture;
pub use convert::convert;
pub use encode::{EncodeError, encode};
pub use error::Error;
pub use export::to_safetensors;
pub use format::{format_name, parse_format};
pub use options::{Choice, options};
pub use plan::{Base, Group, Pattern, Plan, Report, Rule};
pub use requantize::requantize;
pub use write::Progress;

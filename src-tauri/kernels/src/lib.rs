//! Tektra's CPU kernels.
//!
//! Slices in, slices out; nothing here knows a model or a file. Every result is a function of its inputs alone, to the
//! last bit: the number of threads, the number of rows computed together and the order in which they arrive change
//! nothing. A conversation that is continued, batched with others or computed anew therefore gets the same answer.
//!
//! - [`multiply`]: products of activations with weights in any [`Format`], which a [`Matrix`] has as in the file and a
//!   [`Packed`] in the kernels' own order
//! - [`attend`]: attention over a paged KV cache of any [`KvType`]
//! - [`ops`]: norms, rotation, activation functions
//! - [`Pool`]: the threads
//! - [`tune`]: how far ahead this machine's memory wants to be asked
//!
//! The instruction set is chosen when the program runs: see [`Level`].

#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "index loops keep a kernel in registers, where iterators did not")]

mod activations;
mod ahead;
mod attention;
mod decode;
mod float;
mod format;
mod memory;
pub mod ops;
mod packed;
mod pool;
mod product;
mod quantized;
mod simd;

pub use activations::{ActivationRow, Activations};
pub use ahead::{CANDIDATES as AHEAD_BYTES, ask_for, read, tune};
pub use attention::{
    AttentionRun, AttentionShape, KvPage, KvPages, KvType, PAGE, UnknownKvType, attend, store_key, store_value,
};
pub use decode::{dequantize, f16_to_f32, f32_to_f16};
pub use format::{Format, Matrix};
pub use memory::{Arena, Piece};
pub use packed::Packed;
pub use pool::Pool;
pub use product::{Next, Product, multiply, multiply_gated};
pub use simd::{Level, level};

#[cfg(test)]
mod tests;

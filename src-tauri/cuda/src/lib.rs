//! Layers of a model on NVIDIA GPUs: Tektra's own kernels, in the same arithmetic as its CPU kernels.
//!
//! Activations are quantized as on the CPU and multiplied with the weights' codes in whole numbers; what is left to
//! differ is the order in which floats add up. A token's results depend on the tokens before it in its sequence and on
//! how it came to be, generated or given, and on nothing else: not on what is computed beside it.
//!
//! - [`Layers`]: consecutive layers of a model on one GPU, with the model's output where it lies there
//! - [`Page`]: keys and values of 32 positions in these layers
//!
//! Without the feature `cuda` there are no GPUs, and nothing of this can come to be.

#![cfg_attr(feature = "cuda", allow(unsafe_code))]

#[cfg(feature = "cuda")]
mod attend;
#[cfg(feature = "cuda")]
mod gpu;
#[cfg(feature = "cuda")]
mod launches;
#[cfg(feature = "cuda")]
mod layers;
#[cfg(feature = "cuda")]
mod matrix;
#[cfg(not(feature = "cuda"))]
mod none;
#[cfg(feature = "cuda")]
mod page;
#[cfg(feature = "cuda")]
mod scratch;

use tektra_kernels::{KvType, Matrix, ops::RopePairs};

#[cfg(feature = "cuda")]
pub use self::{layers::Layers, page::Page};
#[cfg(not(feature = "cuda"))]
pub use none::{Layers, Page};

/// Rows of one step at most.
pub const MOST_ROWS: usize = 512 + MOST_GENERATED;

/// Tokens that are generated side by side at most.
pub const MOST_GENERATED: usize = 16;

/// Why a GPU does not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// Its memory is full.
    #[error("the GPU has no memory left for {} MiB more", needed_bytes.div_ceil(1 << 20))]
    OutOfMemory {
        /// What was asked for.
        needed_bytes: usize,
    },
    /// A shape that the kernels do not know.
    #[error("{0}")]
    Unsupported(String),
    /// What the driver says.
    #[error("the GPU failed: {0}")]
    Driver(String),
}

/// The sizes of a model's layers.
#[derive(Clone, Copy, Debug)]
pub struct LayerShape {
    /// Elements of a token's vector.
    pub dim: usize,
    /// Query heads; a multiple of `kv_heads`.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Elements between the products of a feed-forward network.
    pub feed_forward: usize,
    /// What is added to a mean square.
    pub epsilon: f32,
    /// Elements of a head that are rotated.
    pub rotated: usize,
    /// Which of them turn together.
    pub pairs: RopePairs,
    /// What keys and values are kept in.
    pub kv: KvType,
}

/// The weights of a layer, as they are in the file.
pub struct LayerWeights<'a> {
    /// Before attention.
    pub attention_norm: &'a [f32],
    /// Of queries, keys and values.
    pub products: [Matrix<'a>; 3],
    /// What is added to those, where there is something.
    pub biases: [Option<&'a [f32]>; 3],
    /// Of each head's queries.
    pub query_norm: Option<&'a [f32]>,
    /// Of each head's keys.
    pub key_norm: Option<&'a [f32]>,
    /// After attention.
    pub output: Matrix<'a>,
    /// Before the feed-forward network.
    pub feed_forward_norm: &'a [f32],
    /// The network's gate, and what it lets through.
    pub gate_up: [Matrix<'a>; 2],
    /// Its end.
    pub down: Matrix<'a>,
}

/// Consecutive new tokens of a sequence.
pub struct StepRun<'a> {
    /// The position of the first.
    pub first_position: usize,
    /// How many.
    pub tokens: usize,
    /// The sequence's pages, with room for all of them.
    pub pages: Vec<&'a Page>,
}

/// New tokens of any number of sequences; their rows are in the order of the runs.
pub struct Step<'a> {
    /// The first so many runs have one token each, which was generated.
    pub generated: usize,
    /// The runs.
    pub runs: &'a [StepRun<'a>],
    /// Cosine and sine of each pair of each row: rows x rotated.
    pub angles: &'a [f32],
}

/// What comes after the layers.
pub enum Then<'a> {
    /// Other layers elsewhere: the rows come back.
    Rows,
    /// The model's output, which lies on this GPU: logits of these rows, in their order.
    Logits(&'a [u32]),
}

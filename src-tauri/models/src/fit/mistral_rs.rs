//! What mistral.rs 0.8.1 keeps of a GGUF model, by kind of device.
//!
//! The embeddings, the last norm and the output lie on its main device, which is the first GPU where one is used; each
//! layer lies on the device that it is mapped to (`from_gguf` in `models/quantized_*.rs` of mistralrs-core).

use super::{MIB, PAGE_TOKENS, Sizes};
use crate::{
    facts::{Facts, Part, TypeBytes},
    precision::KvType,
};

/// Tokens by which its KV cache grows (`CACHE_GROW_SIZE`).
const GROWTH_TOKENS: u64 = 512;

/// What a model takes on devices of one kind, in bytes, keys and values aside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// The weights of all layers.
    pub(crate) layers: u64,
    /// Embeddings and output.
    pub(crate) ends: u64,
    /// What each device needs to compute.
    pub(crate) compute: u64,
}

/// With candle 0.11 on a CPU: the tensors, embeddings as F32 beside them, and the copies that candle makes of matrices of
/// some types at their first use (`repack_x86.rs`: of a block of 256 numbers 192 bytes for Q4_K, 320 for Q6_K, of Q8_0 as
/// many as there are; 16-bit floats become F32).
pub(crate) fn on_cpu(facts: &Facts) -> Held {
    let shape = Sizes::of(facts);
    let whole_blocks = shape.embedding.is_multiple_of(256);
    let copy = |kind: &TypeBytes, many_rows: bool| match kind.name.as_str() {
        "Q4_K" if whole_blocks => (kind.bytes / 144).saturating_mul(192),
        "Q6_K" if whole_blocks && many_rows => (kind.bytes / 210).saturating_mul(320),
        "Q8_0" if whole_blocks => kind.bytes,
        "F16" | "BF16" => kind.bytes,
        _ => 0,
    };
    let copies = |part: Part, many_rows: bool| -> u64 {
        facts.types_of(part).iter().map(|kind| copy(kind, many_rows)).fold(0, u64::saturating_add)
    };
    // The output meets one row at a time, for which candle leaves Q6_K as it is.
    let output = if facts.embeddings_are_output() { Part::Embeddings } else { Part::Output };
    let of_layers = [Part::Attention, Part::FeedForward, Part::Other].map(|part| copies(part, true));
    Held {
        layers: of_layers.into_iter().fold(layer_tensors(facts), u64::saturating_add),
        ends: end_tensors(facts).saturating_add(shape.embeddings_as_f32()).saturating_add(copies(output, false)),
        // Measured: 117 to 154 MiB with 49,152 tokens, most of it the tokenizer and the executable.
        compute: 70 * MIB + u64::from(facts.shape.vocabulary) * 1200,
    }
}

/// On a GPU: the tensors as they are, embeddings as F32 beside them; and the driver's context and the libraries'
/// workspaces, which nobody documents (measured on an H200: 757 MiB beside the starter model, 696 beside one of 8 B).
pub(crate) fn on_gpu(facts: &Facts) -> Held {
    Held {
        layers: layer_tensors(facts),
        ends: end_tensors(facts).saturating_add(Sizes::of(facts).embeddings_as_f32()),
        compute: 768 * MIB,
    }
}

/// Keys and values of one conversation in all layers, those on GPUs.
pub(crate) fn gpu_kv_bytes(facts: &Facts, context_tokens: u32, kv: KvType) -> u64 {
    kv_bytes(facts, u64::from(context_tokens).next_multiple_of(PAGE_TOKENS), kv)
}

/// Keys and values of one conversation in all layers, those on the CPU.
pub(crate) fn cpu_layers_kv_bytes(facts: &Facts, context_tokens: u32, kv: KvType) -> u64 {
    kv_bytes(facts, u64::from(context_tokens).next_multiple_of(GROWTH_TOKENS), kv)
}

fn kv_bytes(facts: &Facts, tokens: u64, kv: KvType) -> u64 {
    let bytes = if kv == KvType::F32 { 4 } else { 2 };
    Sizes::of(facts).kv_elements().saturating_mul(tokens.saturating_mul(bytes))
}

fn layer_tensors(facts: &Facts) -> u64 {
    let parts = [Part::Attention, Part::FeedForward, Part::Norms, Part::Other];
    parts.map(|part| facts.part_bytes(part)).into_iter().fold(0, u64::saturating_add)
}

fn end_tensors(facts: &Facts) -> u64 {
    facts.part_bytes(Part::Embeddings).saturating_add(facts.part_bytes(Part::Output))
}

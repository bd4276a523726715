//! What Tektra's own executor keeps of a model whose first layers lie on GPUs: `tektra-cuda` (`matrix.rs`, `scratch.rs`,
//! `page.rs`) there, and the CPU executor's forms on the CPU.

use super::{Held, MIB, PAGE_TOKENS, Parts, Plan, Sizes, cpu_executor};
use crate::{
    facts::{Facts, Part},
    precision::KvType,
};

/// Answers that a GPU computes side by side at most; more wait for their turn.
pub const MOST_ON_GPU: u32 = 16;

/// Rows of a step (`MOST_ROWS`), of them tokens that are generated side by side (`MOST_GENERATED`), and rows whose logits
/// are computed at once (`LOGIT_ROWS`).
const STEP_ROWS: u64 = 528;
const GENERATED_ROWS: u64 = MOST_ON_GPU as u64;
const LOGIT_ROWS: u64 = 64;

/// What attention keeps of prompts at most (`SCORES_BYTES`), for so many positions at a time (`SPAN`), in parts (`PART`).
const SCORES_BYTES: u64 = 96 * MIB;
const SPAN: u64 = 1024;
const PART: u64 = 256;

/// What pages are taken from the GPU in (`PIECE_BYTES`).
const PAGES_BYTES: u64 = 32 * MIB;

/// The driver's context and the kernels' code: measured on an H200, 511 to 517 MiB.
const CONTEXT_BYTES: u64 = 520 * MIB;

/// Memory comes in pieces of 2 MiB: what is left over of them, as a share of all layers' weights. Measured, one in 38.
const LEFT_OVER: u64 = 40;

/// On a GPU: its layers' tensors as they are; on the first the output, which may be the embeddings; and memory for a step.
pub(crate) fn on_gpu(facts: &Facts, context_tokens: u32) -> Held {
    let shape = Sizes::of(facts);
    let output = if facts.embeddings_are_output() { Part::Embeddings } else { Part::Output };
    let parts = [Part::Attention, Part::FeedForward, Part::Norms, Part::Other];
    let queries = shape.heads.saturating_mul(shape.key_length);
    let keys = shape.kv_heads.saturating_mul(shape.key_length);
    let floats = [shape.embedding * 2, queries * 2, keys * 2, shape.feed_forward * 2, shape.key_length];
    // A code, and 16 bytes for 32 of them.
    let codes = (shape.embedding + queries + shape.feed_forward) * 3 / 2;
    let row = floats.iter().fold(codes, |sum, count| sum.saturating_add(count.saturating_mul(4)));
    let heads = shape.heads.max(1);
    let rows = (SCORES_BYTES / (4 * heads * SPAN)).clamp(GENERATED_ROWS, STEP_ROWS);
    // Scores with the largest of each page, and six floats for four elements of what came of the positions before.
    let of_prompts = rows * heads * 4 * (SPAN + SPAN / PAGE_TOKENS + shape.key_length * 3 / 2);
    let positions = u64::from(context_tokens).max(1).next_multiple_of(rows * SPAN / GENERATED_ROWS);
    let of_generated = (heads * GENERATED_ROWS).saturating_mul(positions.div_ceil(PART));
    let kept = of_generated.saturating_mul(4 * shape.key_length + 8).saturating_add(of_prompts);
    let logits = LOGIT_ROWS * 4 * shape.vocabulary;
    let step = STEP_ROWS.saturating_mul(row).saturating_add(kept).saturating_add(logits);
    let layers = parts.map(|part| facts.part_bytes(part)).into_iter().fold(0, u64::saturating_add);
    Held {
        layers,
        ends: facts.part_bytes(output),
        compute: step.saturating_add(layers / LEFT_OVER).saturating_add(PAGES_BYTES + CONTEXT_BYTES),
    }
}

/// On the CPU: layers as the CPU executor keeps them, without an output.
pub(crate) fn on_cpu(facts: &Facts, context_tokens: u32) -> Held {
    let Parts { weights, compute, .. } = cpu_executor(facts, &Plan::cpu(context_tokens));
    let output = if facts.embeddings_are_output() { Part::Embeddings } else { Part::Output };
    Held { layers: weights.saturating_sub(facts.part_bytes(output)), ends: 0, compute }
}

/// Keys and values of one conversation in all layers, wherever they lie.
pub(crate) fn kv_bytes(facts: &Facts, context_tokens: u32, kv: KvType) -> u64 {
    let tokens = u64::from(context_tokens).next_multiple_of(PAGE_TOKENS);
    Sizes::of(facts).kv_token_bytes(kv).saturating_mul(tokens)
}

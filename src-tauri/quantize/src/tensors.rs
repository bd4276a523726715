//! The tensors of a model: how they are called in a folder and in GGUF, and what shape they must have.
//!
//! Source: `gguf-py/gguf/tensor_mapping.py` in <https://github.com/ggml-org/llama.cpp>.

use crate::config::{Architecture, Config};

/// A tensor that a model has, or may have.
pub(crate) struct Part {
    /// The name in safetensors.
    pub(crate) theirs: String,
    /// The name in GGUF.
    pub(crate) ours: String,
    /// The innermost size last.
    pub(crate) shape: Vec<usize>,
    /// The heads whose rows are in another order in GGUF.
    pub(crate) reordered_heads: Option<usize>,
    pub(crate) optional: bool,
}

/// The embeddings.
pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";

/// The output, where it is not the embeddings.
pub(crate) const OUTPUT: &str = "lm_head.weight";

/// The parts outside of the layers.
fn outer(config: &Config, vocabulary: usize, tied: bool) -> Vec<Part> {
    let part = |theirs: &str, ours: &str, shape: &[usize]| Part {
        theirs: theirs.into(),
        ours: ours.into(),
        shape: shape.into(),
        reordered_heads: None,
        optional: false,
    };
    let mut parts = vec![
        part(EMBEDDING, "token_embd.weight", &[vocabulary, config.dim]),
        part("model.norm.weight", "output_norm.weight", &[config.dim]),
    ];
    if !tied {
        parts.push(part(OUTPUT, "output.weight", &[vocabulary, config.dim]));
    }
    parts
}

/// The parts of layer `index`.
fn layer(config: &Config, index: usize) -> Vec<Part> {
    let Config { architecture, dim, heads, kv_heads, head_dim, feed_forward, .. } = *config;
    let mut parts = Vec::new();
    let mut part = |theirs: &str, ours: &str, shape: &[usize], optional| {
        let rotated = match ours.split('.').next() {
            Some("attn_q") => Some(heads),
            Some("attn_k") => Some(kv_heads),
            _ => None,
        };
        parts.push(Part {
            theirs: format!("model.layers.{index}.{theirs}"),
            ours: format!("blk.{index}.{ours}"),
            shape: shape.into(),
            // GGUF's llama rotates neighbours, transformers' the two halves of a head.
            reordered_heads: rotated.filter(|_| architecture == Architecture::Llama),
            optional,
        });
    };
    part("input_layernorm.weight", "attn_norm.weight", &[dim], false);
    for (letter, rows) in [('q', heads * head_dim), ('k', kv_heads * head_dim), ('v', kv_heads * head_dim)] {
        part(&format!("self_attn.{letter}_proj.weight"), &format!("attn_{letter}.weight"), &[rows, dim], false);
        let optional = architecture != Architecture::Qwen2;
        part(&format!("self_attn.{letter}_proj.bias"), &format!("attn_{letter}.bias"), &[rows], optional);
    }
    if architecture == Architecture::Qwen3 {
        part("self_attn.q_norm.weight", "attn_q_norm.weight", &[head_dim], false);
        part("self_attn.k_norm.weight", "attn_k_norm.weight", &[head_dim], false);
    }
    part("self_attn.o_proj.weight", "attn_output.weight", &[dim, heads * head_dim], false);
    part("post_attention_layernorm.weight", "ffn_norm.weight", &[dim], false);
    part("mlp.gate_proj.weight", "ffn_gate.weight", &[feed_forward, dim], false);
    part("mlp.up_proj.weight", "ffn_up.weight", &[feed_forward, dim], false);
    part("mlp.down_proj.weight", "ffn_down.weight", &[dim, feed_forward], false);
    parts
}

/// All parts, the outer ones first.
pub(crate) fn all(config: &Config, vocabulary: usize, tied: bool) -> impl Iterator<Item = Part> {
    outer(config, vocabulary, tied).into_iter().chain((0..config.layers).flat_map(|index| layer(config, index)))
}

/// What transformers once saved and computes anew: nothing of it is in GGUF.
pub(crate) fn is_computed(theirs: &str) -> bool {
    theirs.ends_with(".rotary_emb.inv_freq")
}

/// The row in safetensors of row `row` in GGUF, of `rows` that belong to `heads`: pairs that are rotated together are
/// neighbours in one and half a head apart in the other.
pub(crate) fn their_row(row: usize, rows: usize, heads: usize) -> usize {
    let head_dim = rows / heads;
    let (head, at) = (row / head_dim, row % head_dim);
    head * head_dim + at % 2 * (head_dim / 2) + at / 2
}

/// The row in GGUF of row `row` in safetensors.
pub(crate) fn our_row(row: usize, rows: usize, heads: usize) -> usize {
    let head_dim = rows / heads;
    let (head, at) = (row / head_dim, row % head_dim);
    head * head_dim + at % (head_dim / 2) * 2 + at / (head_dim / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_there_and_back() {
        // Two heads of six: as transformers has them, numbered, in GGUF's order.
        let order: Vec<usize> = (0..12).map(|row| their_row(row, 12, 2)).collect();
        assert_eq!(order, [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]);
        assert!((0..12).all(|row| our_row(their_row(row, 12, 2), 12, 2) == row));
    }
}

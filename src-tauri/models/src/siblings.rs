//! The same model in other precisions.

use serde::{Deserialize, Serialize};

use crate::{
    catalogue::Catalogue,
    facts::{Facts, Part},
    fit::{Need, Plan, fit},
};

/// Another precision of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sibling {
    /// The name in the library where it is installed, else the id in the catalogue.
    pub name: String,
    /// `Q6_K`; of the catalogue as it is published: `Q4_K_M`.
    pub quantization: String,
    /// Size of its files.
    pub size_bytes: u64,
    /// Whether it is on this machine.
    pub installed: bool,
    /// The memory that it needs.
    pub need: Need,
}

/// The other precisions of a model, the smallest first: those among `all`, the models of this machine by name, and those
/// of the catalogue that are not here. Each is counted for `plan`.
///
/// The same model has the same architecture and sizes, as many parameters (within 2 %), and the same name but for the
/// quantization at its end.
pub fn siblings(facts: &Facts, all: &[(&str, &Facts)], catalogue: &Catalogue, plan: &Plan) -> Vec<Sibling> {
    let others = all.iter().filter(|(_, other)| *other != facts && same_model(facts, other));
    let mut found: Vec<Sibling> = others
        .map(|(name, other)| Sibling {
            name: (*name).into(),
            quantization: other.quantization.clone(),
            size_bytes: other.size_bytes,
            installed: true,
            need: fit(other, plan),
        })
        .collect();
    for entry in &catalogue.entries {
        let other = entry.facts();
        let known = |quantization: &str| quantization == other.quantization;
        let here = known(&facts.quantization) || found.iter().any(|sibling| known(&sibling.quantization));
        if !here && same_model(facts, &other) {
            found.push(Sibling {
                name: entry.id.clone(),
                quantization: entry.quantization.clone(),
                size_bytes: entry.size_bytes,
                installed: false,
                need: fit(&other, plan),
            });
        }
    }
    found.sort_by(|a, b| a.size_bytes.cmp(&b.size_bytes).then_with(|| a.name.cmp(&b.name)));
    found
}

fn same_model(one: &Facts, other: &Facts) -> bool {
    let sizes = |facts: &Facts| {
        let shape = &facts.shape;
        (shape.layers, shape.embedding_length, shape.feed_forward_length, shape.heads, shape.kv_heads)
    };
    // Some files hold the table of embeddings a second time, as the output.
    let counts = |facts: &Facts| {
        let output = facts.groups.iter().find(|group| group.part == Part::Output).map_or(0, |group| group.parameters);
        [facts.parameters, facts.parameters.saturating_sub(output)]
    };
    let close = |a: u64, b: u64| a.abs_diff(b) as f64 <= 0.02 * a.max(b) as f64;
    one.architecture == other.architecture
        && sizes(one) == sizes(other)
        && counts(one).iter().any(|a| counts(other).iter().any(|b| close(*a, *b)))
        && model_name(&one.name) == model_name(&other.name)
}

/// The name in small letters without the quantization at its end.
fn model_name(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let starts = name.match_indices(['-', '.', '_', ':']).map(|(at, _)| at);
    let end = starts.into_iter().find(|&at| is_quantization(&name[at + 1..])).unwrap_or(name.len());
    name[..end].into()
}

/// Whether publishers name quantizations so: `q4_k_m`, `iq4_xs`, `f16`, `ud-q4_k_xl`, `i1-q4_k_m`.
fn is_quantization(text: &str) -> bool {
    let text = text.strip_prefix("ud-").or_else(|| text.strip_prefix("i1-")).unwrap_or(text);
    if ["f16", "f32", "bf16", "fp16", "fp32", "mxfp4"].contains(&text) {
        return true;
    }
    let mut words = text.split('_');
    let kind = words.next().unwrap_or_default();
    let bits = ["iq", "tq", "q"].iter().find_map(|prefix| kind.strip_prefix(prefix));
    bits.is_some_and(|bits| bits.len() == 1 && bits.bytes().all(|byte| byte.is_ascii_digit()))
        && words.all(|word| ["0", "1", "k", "xxs", "xs", "s", "m", "l", "xl", "nl"].contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_before_its_quantization() {
        for name in [
            "SmolLM2-135M-Instruct",
            "SmolLM2-135M-Instruct-Q4_K_M",
            "smollm2-135m-instruct.Q4_K",
            "SmolLM2-135M-Instruct-F16",
            "smollm2-135m-instruct:q8_0",
            "SmolLM2-135M-Instruct_iq4_xs",
            "SmolLM2-135M-Instruct-UD-Q4_K_XL",
            "SmolLM2-135M-Instruct.i1-Q6_K",
            "smollm2-135m-instruct-bf16",
            "smollm2-135m-instruct-q4",
        ] {
            assert_eq!(model_name(name), "smollm2-135m-instruct", "{name}");
        }
        for name in ["qwen3-4b-instruct-2507", "phi-3-mini-4k-instruct", "model-q", "model-q44", "f16", ""] {
            assert_eq!(model_name(name), name, "nothing to take off");
        }
    }
}

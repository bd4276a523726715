//! Which executor runs a model, judged by its header before any of them sees it.

use tektra_gguf::Header;

use crate::{
    facts::{Runs, Shape},
    ggml,
};

/// Architectures that mistral.rs 0.8.1 runs from GGUF on a CPU (`GGUFArchitecture` in its sources; it panics on others, and
/// on `qwen3moe` without a GPU).
const ARCHITECTURES: [&str; 7] = ["llama", "mistral3", "phi2", "phi3", "starcoder2", "qwen2", "qwen3"];

/// Those among them that the CPU executor runs.
const CPU_ARCHITECTURES: [&str; 3] = ["llama", "qwen2", "qwen3"];

/// Metadata without which mistral.rs panics or refuses, each below the architecture's prefix.
const NEEDED: [&str; 5] =
    ["attention.head_count", "attention.head_count_kv", "block_count", "embedding_length", "context_length"];

/// Architectures of models that turn texts into vectors.
const EMBEDDING: [&str; 9] = [
    "bert",
    "nomic-bert",
    "nomic-bert-moe",
    "neo-bert",
    "jina-bert-v2",
    "jina-bert-v3",
    "modern-bert",
    "gemma-embedding",
    "t5encoder",
];

const OTHER: &str = "Choose another model.";

/// What runs the model of these headers, the first of which has the metadata.
pub(super) fn gguf(header: &Header, architecture: &str, shape: &Shape, headers: &[Header]) -> Runs {
    match refusal(header, architecture, headers) {
        Some(refusal) => refusal,
        None if cpu_executor_knows(header, architecture, shape, headers) => Runs::TektraCpu,
        None if headers.len() > 1 => Runs::no(
            format!("it is split into {} files, and mistral.rs, which runs its kind, is given one.", headers.len()),
            "Choose a model in a single file.",
        ),
        // Its phi3 reader wants an output of its own; Phi-4-mini has none.
        None if architecture == "phi3" && !has_tensor(headers, "output.weight") => Runs::no(
            "its output is its table of embeddings, which mistral.rs does not know of this architecture.",
            "Choose Phi-3 or Phi-3.5, or another model.",
        ),
        None => Runs::MistralRs,
    }
}

fn has_tensor(headers: &[Header], name: &str) -> bool {
    headers.iter().flat_map(|header| &header.tensors).any(|tensor| tensor.name == name)
}

/// Why nothing runs it.
fn refusal(header: &Header, architecture: &str, headers: &[Header]) -> Option<Runs> {
    if architecture == "clip" || header.text("general.type") == Some("mmproj") {
        return Some(Runs::no(
            "it is the part of another model that reads pictures (mmproj), not one that converses.",
            "Choose the model beside it.",
        ));
    }
    if header.text("general.type") == Some("adapter") {
        return Some(Runs::no("it is an adapter (LoRA) for another model.", "Choose a whole model."));
    }
    if architecture.is_empty() {
        return Some(Runs::no("its header names no architecture.", OTHER));
    }
    if EMBEDDING.contains(&architecture) {
        return Some(Runs::no("it turns texts into vectors for searching and does not converse.", OTHER));
    }
    if !ARCHITECTURES.contains(&architecture) {
        let known = ARCHITECTURES.join(", ");
        return Some(Runs::no(
            format!("its architecture \"{architecture}\" is not one that the engine runs ({known})."),
            OTHER,
        ));
    }
    if headers.len() == 1 && header.number("split.count").is_some_and(|parts| parts > 1.0) {
        return Some(Runs::no(
            "it is one part of a split model, and its name does not say which.",
            "Give the parts the names that they were published with, or choose a model in a single file.",
        ));
    }
    let kinds = || headers.iter().flat_map(|header| &header.tensors).map(|tensor| tensor.kind);
    if let Some(kind) = kinds().find(|&kind| !ggml::is_computed_with(kind)) {
        return Some(Runs::no(
            format!("its weights are of a type that the engine does not read ({}).", ggml::name_of(kind)),
            "Choose another quantization of it: Q4_K_M is a good one.",
        ));
    }
    let missing = NEEDED.iter().map(|key| format!("{architecture}.{key}")).find(|key| header.number(key).is_none());
    if let Some(key) = missing {
        return Some(Runs::no(format!("its header lacks \"{key}\"."), OTHER));
    }
    match header.text("tokenizer.ggml.model") {
        Some("gpt2" | "llama" | "replit") => {}
        Some(other) => {
            return Some(Runs::no(format!("its tokenizer \"{other}\" is not one that the engine knows."), OTHER));
        }
        None => return Some(Runs::no("it has no tokenizer.", OTHER)),
    }
    if header.number("tokenizer.ggml.eos_token_id").is_none() {
        return Some(Runs::no("its tokenizer names no end token.", OTHER));
    }
    header.text("tokenizer.chat_template").is_none().then(no_template)
}

/// Why a model without a chat template is refused.
pub(super) fn no_template() -> Runs {
    Runs::no("it has no chat template, so it was not made to converse.", "Choose an \"instruct\" or \"chat\" model.")
}

/// Whether the CPU executor knows the model: what its loader reports as unsupported goes to mistral.rs.
fn cpu_executor_knows(header: &Header, architecture: &str, shape: &Shape, headers: &[Header]) -> bool {
    let number = |key: &str| header.number(&format!("{architecture}.{key}"));
    let scaling = header.text(&format!("{architecture}.rope.scaling.type"));
    let mut kinds = headers.iter().flat_map(|header| &header.tensors).map(|tensor| tensor.kind);
    // The loader takes the name as it is written.
    header.text("general.architecture").is_some_and(|name| CPU_ARCHITECTURES.contains(&name))
        && number("expert_count").is_none_or(|experts| experts <= 0.0)
        && shape.key_length == shape.value_length
        && heads_fit(shape)
        && matches!(scaling, None | Some("none" | "linear"))
        && matches!(header.text("tokenizer.ggml.model"), Some("gpt2" | "llama"))
        && kinds.all(ggml::is_known_to_cpu_executor)
}

/// Whether the CPU executor's attention takes these heads.
pub(super) fn heads_fit(shape: &Shape) -> bool {
    shape.kv_heads > 0
        && shape.heads.is_multiple_of(shape.kv_heads)
        && shape.key_length > 0
        && shape.key_length.is_multiple_of(16)
}

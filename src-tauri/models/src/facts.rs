//! What is known of a model without loading it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is known of a model without loading it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The file's name without its ending and without the number of a part; the folder's name.
    pub name: String,
    /// What the files are.
    pub format: Format,
    /// As the file names it, in small letters: `llama`.
    pub architecture: String,
    /// Numbers in all tensors.
    pub parameters: u64,
    /// The type that holds most of the weights: `Q4_K`, `BF16`.
    pub quantization: String,
    /// The tensors by what they do, in the order of [`Part`]; parts without tensors are absent.
    pub groups: Vec<Group>,
    /// The longest context in tokens that the model was trained for; 0 when it is not said.
    pub context_length: u32,
    /// Its sizes.
    pub shape: Shape,
    /// Whether it says how a conversation is written, and so was made to converse.
    pub chat_template: bool,
    /// As the file names it: `apache-2.0`.
    pub licence: Option<String>,
    /// Size of all files.
    pub size_bytes: u64,
    /// Its files, in order.
    pub files: Vec<PathBuf>,
    /// What runs it.
    pub runs: Runs,
}

/// What a model's files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// One file, or several parts.
    Gguf,
    /// A folder as the Hugging Face libraries write it.
    Safetensors,
}

/// What tensors do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Queries, keys, values and their output.
    Attention,
    /// The feed-forward layers, experts included.
    FeedForward,
    /// The table from tokens to vectors; it is the output too where there is no output part.
    Embeddings,
    /// From vectors to tokens.
    Output,
    /// Norms, biases and other short vectors.
    Norms,
    /// Anything else.
    Other,
}

/// The tensors of one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// What they do.
    pub part: Part,
    /// Numbers in them.
    pub parameters: u64,
    /// Their types, the one with the most bytes first.
    pub types: Vec<TypeBytes>,
}

/// How many bytes a type takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeBytes {
    /// `Q6_K`.
    pub name: String,
    /// Bytes in the file.
    pub bytes: u64,
}

/// The sizes of a model; 0 where they are not said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Layers.
    pub layers: u32,
    /// Length of a token's vector.
    pub embedding_length: u32,
    /// Length of the feed-forward layers.
    pub feed_forward_length: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads.
    pub kv_heads: u32,
    /// Elements of a key (and query) of one head.
    pub key_length: u32,
    /// Elements of a value of one head.
    pub value_length: u32,
    /// Tokens known.
    pub vocabulary: u32,
    /// Merges of its tokenizer; of safetensors as many as tokens.
    pub merges: u32,
}

/// What runs a model on this build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Runs {
    /// Tektra's own executor on the CPU, and on GPUs where the engine has its kernels; mistral.rs on others.
    TektraCpu,
    /// mistral.rs, on the CPU too.
    MistralRs,
    /// Nothing as it is; Tektra can make a GGUF file of it.
    Convert,
    /// Nothing.
    No(Problem),
}

/// Why something cannot be used, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A sentence without its subject: "its header names no architecture."
    pub reason: String,
    /// A sentence.
    pub hint: String,
}

/// Who computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Executor {
    /// Tektra's own, on the CPU.
    TektraCpu,
    /// Tektra's own, with layers on GPUs.
    TektraGpu,
    /// mistral.rs on the CPU.
    MistralRsCpu,
    /// mistral.rs on a GPU.
    MistralRsGpu,
}

impl Facts {
    /// Bytes of all tensors of a part.
    pub fn part_bytes(&self, part: Part) -> u64 {
        self.types_of(part).iter().map(|kind| kind.bytes).fold(0, u64::saturating_add)
    }

    /// The types of a part; none when the model lacks it.
    pub fn types_of(&self, part: Part) -> &[TypeBytes] {
        self.groups.iter().find(|group| group.part == part).map_or(&[], |group| &group.types)
    }

    /// Whether one table serves as embeddings and as output.
    pub fn embeddings_are_output(&self) -> bool {
        self.types_of(Part::Output).is_empty()
    }

    /// Why nothing runs it.
    pub fn problem(&self) -> Option<&Problem> {
        match &self.runs {
            Runs::No(problem) => Some(problem),
            _ => None,
        }
    }
}

impl Runs {
    pub(crate) fn no(reason: impl Into<String>, hint: &str) -> Self {
        Self::No(Problem { reason: reason.into(), hint: hint.into() })
    }
}

/// Collects tensors into groups.
#[derive(Default)]
pub(crate) struct Groups(Vec<Group>);

impl Groups {
    pub(crate) fn add(&mut self, part: Part, type_name: &str, parameters: u64, bytes: u64) {
        let at = self.0.iter().position(|group| group.part == part).unwrap_or_else(|| {
            self.0.push(Group { part, parameters: 0, types: Vec::new() });
            self.0.len() - 1
        });
        let group = &mut self.0[at];
        group.parameters = group.parameters.saturating_add(parameters);
        match group.types.iter_mut().find(|kind| kind.name == type_name) {
            Some(kind) => kind.bytes = kind.bytes.saturating_add(bytes),
            None => group.types.push(TypeBytes { name: type_name.into(), bytes }),
        }
    }

    /// The groups in order, and all numbers in them.
    pub(crate) fn finish(mut self) -> (Vec<Group>, u64) {
        self.0.sort_by_key(|group| group.part);
        for group in &mut self.0 {
            group.types.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        }
        let parameters = self.0.iter().map(|group| group.parameters).fold(0, u64::saturating_add);
        (self.0, parameters)
    }
}

//! What a person sees of a model.

use std::path::Path;

use serde::Serialize;
use specta::Type;
use tektra_models::{Facts, Found, Part, Runs, Source};

use super::{convertible, mib, unusable};
use crate::ErrorReport;

/// Where a model was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Tektra's own folder.
    Tektra,
    /// A folder that the person added.
    Added,
    /// LM Studio's folder.
    LmStudio,
    /// Ollama's store.
    Ollama,
    /// Jan's folder.
    Jan,
    /// The cache of the Hugging Face libraries.
    HuggingFace,
}

impl From<Source> for Origin {
    fn from(source: Source) -> Self {
        match source {
            Source::Tektra => Self::Tektra,
            Source::Added => Self::Added,
            Source::LmStudio => Self::LmStudio,
            Source::Ollama => Self::Ollama,
            Source::Jan => Self::Jan,
            Source::HuggingFace => Self::HuggingFace,
        }
    }
}

/// What runs a model on a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum RunsOn {
    /// Tektra's own executor.
    TektraCpu,
    /// mistral.rs.
    MistralRs,
    /// Nothing as it is; Tektra can make a GGUF file of it.
    Convert,
    /// Nothing.
    Nothing,
}

impl From<&Runs> for RunsOn {
    fn from(runs: &Runs) -> Self {
        match runs {
            Runs::TektraCpu => Self::TektraCpu,
            Runs::MistralRs => Self::MistralRs,
            Runs::Convert => Self::Convert,
            Runs::No(_) => Self::Nothing,
        }
    }
}

/// A model of the list, usable or not.
#[derive(Clone, Debug, Serialize, Type)]
pub struct ModelSummary {
    /// Its name, like no other's.
    pub name: String,
    /// Its file, the first of its files, or its folder.
    pub path: String,
    /// Size of its files in MiB, rounded up.
    pub size_mib: u32,
    /// As the file names it; empty when it cannot be read.
    pub architecture: String,
    /// The type that holds most of the weights; empty when it cannot be read.
    pub quantization: String,
    /// The longest context in tokens; 0 when it cannot be read.
    pub context_length: u32,
    /// Parameters in millions; 0 when it cannot be read.
    pub parameters_millions: f64,
    /// Where it was found.
    pub origin: Origin,
    /// What runs it on a CPU.
    pub runs_on: RunsOn,
    /// Why it cannot be used.
    pub problem: Option<ErrorReport>,
}

impl ModelSummary {
    pub(super) fn new(found: &Found) -> Self {
        let facts = found.facts.as_ref();
        let problem = match facts.map(|facts| &facts.runs) {
            Some(Runs::Convert) => Some(convertible(&found.path)),
            _ => found.problem.clone(),
        };
        Self {
            name: found.name.clone(),
            path: found.path.display().to_string(),
            size_mib: mib(found.size_bytes),
            architecture: facts.map_or_else(String::new, |facts| facts.architecture.clone()),
            quantization: facts.map_or_else(String::new, |facts| facts.quantization.clone()),
            context_length: facts.map_or(0, |facts| facts.context_length),
            parameters_millions: facts.map_or(0.0, |facts| facts.parameters as f64 / 1e6),
            origin: found.source.into(),
            runs_on: facts.map_or(RunsOn::Nothing, |facts| (&facts.runs).into()),
            problem: problem.map(|problem| unusable(found.name.clone(), problem).report()),
        }
    }
}

/// Tensors that do the same thing.
#[derive(Clone, Debug, Serialize, Type)]
pub struct PartSummary {
    /// `attention`, `feed-forward`, `embeddings`, `output`, `norms`, `other`.
    pub part: String,
    /// Their types with the MiB that each takes, the largest first: `Q4_K`, 120.5.
    pub types: Vec<(String, f64)>,
}

/// Everything that is known of a model without loading it.
#[derive(Clone, Debug, Serialize, Type)]
pub struct ModelDetails {
    /// Its name.
    pub name: String,
    /// Where it was found; absent when it was named by its path.
    pub origin: Option<Origin>,
    /// Its files.
    pub files: Vec<String>,
    /// Size of its files in MiB, rounded up.
    pub size_mib: u32,
    /// As the file names it.
    pub architecture: String,
    /// Parameters in millions.
    pub parameters_millions: f64,
    /// The type that holds most of the weights.
    pub quantization: String,
    /// The types of its parts.
    pub parts: Vec<PartSummary>,
    /// The longest context in tokens that it was trained for.
    pub context_length: u32,
    /// Layers.
    pub layers: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads.
    pub kv_heads: u32,
    /// Tokens known.
    pub vocabulary: u32,
    /// Whether it says how a conversation is written.
    pub chat_template: bool,
    /// As the file names it.
    pub licence: Option<String>,
    /// What runs it on a CPU.
    pub runs_on: RunsOn,
    /// Why it cannot be used.
    pub problem: Option<ErrorReport>,
}

impl ModelDetails {
    pub(super) fn new(name: String, path: &Path, source: Option<Source>, facts: &Facts) -> Self {
        let problem = match &facts.runs {
            Runs::Convert => Some(convertible(path)),
            _ => facts.problem().cloned(),
        };
        let part_name = |part| match part {
            Part::Attention => "attention",
            Part::FeedForward => "feed-forward",
            Part::Embeddings => "embeddings",
            Part::Output => "output",
            Part::Norms => "norms",
            Part::Other => "other",
        };
        let types = |part| facts.types_of(part).iter().map(|kind| (kind.name.clone(), kind.bytes as f64 / 1_048_576.0));
        let parts = facts
            .groups
            .iter()
            .map(|group| PartSummary { part: part_name(group.part).into(), types: types(group.part).collect() });
        Self {
            origin: source.map(Into::into),
            files: facts.files.iter().map(|path| path.display().to_string()).collect(),
            size_mib: mib(facts.size_bytes),
            architecture: facts.architecture.clone(),
            parameters_millions: facts.parameters as f64 / 1e6,
            quantization: facts.quantization.clone(),
            parts: parts.collect(),
            context_length: facts.context_length,
            layers: facts.shape.layers,
            heads: facts.shape.heads,
            kv_heads: facts.shape.kv_heads,
            vocabulary: facts.shape.vocabulary,
            chat_template: facts.chat_template,
            licence: facts.licence.clone(),
            runs_on: (&facts.runs).into(),
            problem: problem.map(|problem| unusable(name.clone(), problem).report()),
            name,
        }
    }
}

//! In which precisions a model can be had, and what each costs: memory, speed, quality.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use specta::Type;
use tektra_models::{Facts, Format, Plan, Sibling, Speed, fit, quality, siblings};

use super::{Library, Memory, sentence};
use crate::{Error, Result, Store};

/// Name of the measured perplexities in the store.
const NAME: &str = "perplexities";

/// The conversation that the memory is for, in tokens.
const CONTEXT_TOKENS: u32 = 4096;

/// What the slowest memory that machines still have gives to decoding, in bytes a second, where nothing was measured.
const ASSUMED_BYTES_PER_SECOND: f64 = 6e9;

const MIB: f64 = 1_048_576.0;

/// What a precision loses.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct Quality {
    /// How much higher the perplexity is than that of the most precise form, in percent; absent where nothing is known.
    pub loss_percent: Option<f64>,
    /// Whether it was measured on this machine, or is an estimate.
    pub measured: bool,
    /// The measured perplexity.
    pub perplexity: Option<f64>,
}

/// Tensors that a precision keeps in another type than most.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct PrecisionPart {
    /// Their name, with `*` for the layer.
    pub tensors: String,
    /// How many they are.
    pub count: u32,
    /// Their type: `Q6_K`.
    pub format: String,
    /// Why it is not the one that was asked for.
    pub why: Option<String>,
    /// Their size in MiB.
    pub size_mib: f64,
}

/// A precision that the model could be written in, or that is there already.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct Precision {
    /// What it is asked for by: `int4`, `Q4_0`; the type of one that is there.
    pub kind: String,
    /// The type of most weights: `Q4_K`.
    pub format: String,
    /// Size of its file in MiB.
    pub size_mib: f64,
    /// Memory that it needs for a conversation of [`Precisions::context_tokens`], reserve included, in MiB.
    pub need_mib: f64,
    /// Whether that is free now.
    pub fits: bool,
    /// How fast it writes.
    pub tokens_per_second: f64,
    /// Whether the speed was measured on this machine, or is an estimate.
    pub speed_measured: bool,
    /// What it loses.
    pub quality: Quality,
    /// Why it makes no sense for this model, or cannot be done: a sentence.
    pub problem: Option<String>,
    /// The model of the library that is this.
    pub installed: Option<String>,
    /// What a download of it is started with.
    pub download: Option<String>,
    /// What it is made of.
    pub parts: Vec<PrecisionPart>,
}

/// The precisions of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct Precisions {
    /// The model.
    pub model: String,
    /// Whether it is a folder of safetensors, which must be written in one of them to be used.
    pub must_convert: bool,
    /// What Tektra can write.
    pub choices: Vec<Precision>,
    /// The same model in other precisions: on this machine, and in the catalogue.
    pub siblings: Vec<Precision>,
    /// What the memory is for, in tokens.
    pub context_tokens: u32,
    /// What the measured losses are compared with: a model of the library.
    pub reference: Option<String>,
}

/// A perplexity as it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// On Tektra's text.
    pub(crate) perplexity: f64,
    /// Size of the model's files: another size is another model.
    pub(crate) size_bytes: u64,
}

impl Store {
    /// The measured perplexities by the models' names.
    pub(crate) async fn perplexities(&self) -> Result<HashMap<String, Measured>> {
        Ok(self.setting(NAME).await?.unwrap_or_default())
    }

    /// Keeps one.
    pub(crate) async fn add_perplexity(&self, name: &str, measured: Measured) -> Result<()> {
        let mut all = self.perplexities().await?;
        all.insert(name.into(), measured);
        self.set_setting(NAME, &all).await
    }
}

/// What was measured on this machine, by the models' names.
pub(crate) struct Known {
    pub(crate) speeds: HashMap<String, Speed>,
    pub(crate) perplexities: HashMap<String, Measured>,
}

impl Precisions {
    /// The precisions of the model `name`. Reads the beginning of every model.
    ///
    /// # Errors
    /// [`Error::ModelNotFound`], or [`Error::ModelUnusable`] for what is no model at all.
    pub(crate) fn new(library: &Library, name: &str, known: &Known) -> Result<Self> {
        let (path, facts) = library.facts(name)?;
        let found: Vec<(String, Facts)> =
            library.scan().models.into_iter().filter_map(|found| Some((found.name, found.facts?))).collect();
        let all: Vec<(&str, &Facts)> = found.iter().map(|(name, facts)| (name.as_str(), facts)).collect();
        let catalogue = tektra_models::catalogue().map_err(|error| Error::InvalidInput { what: error.to_string() })?;
        let context_tokens = CONTEXT_TOKENS.min(facts.context_length.max(1));
        let plan = Plan::cpu(context_tokens);
        let mut others = siblings(&facts, &all, &catalogue, &plan);
        if facts.format == Format::Gguf {
            let itself = Sibling {
                name: name.into(),
                quantization: facts.quantization.clone(),
                size_bytes: facts.size_bytes,
                installed: true,
                need: fit(&facts, &plan),
            };
            let at = others.partition_point(|other| other.size_bytes < itself.size_bytes);
            others.insert(at, itself);
        }
        let measures = Measures::new(known, &all, &others);
        let siblings: Vec<Precision> = others.iter().map(|sibling| measures.sibling(sibling)).collect();
        let beside_weights = fit(&facts, &plan);
        let beside_weights = beside_weights.total_bytes - beside_weights.weights_bytes;
        let choices = tektra_quantize::options(&path).unwrap_or_default().into_iter();
        let mut choices: Vec<Precision> =
            choices.map(|choice| measures.choice(choice, beside_weights, &siblings)).collect();
        if facts.format == Format::Safetensors {
            choices.push(hqq());
        }
        Ok(Self {
            model: name.into(),
            must_convert: facts.format == Format::Safetensors,
            choices,
            context_tokens,
            reference: measures.reference.map(|(name, _)| name),
            siblings,
        })
    }
}

/// What is known of this machine and of the model's siblings.
struct Measures<'a> {
    known: &'a Known,
    bytes_per_second: f64,
    free_bytes: u64,
    /// The most precise sibling that was measured, and its perplexity.
    reference: Option<(String, f64)>,
}

impl<'a> Measures<'a> {
    fn new(known: &'a Known, all: &[(&str, &Facts)], siblings: &[Sibling]) -> Self {
        let reached = all.iter().filter_map(|(name, facts)| {
            let speed = known.speeds.get(*name)?;
            Some(speed.decode_tokens_per_second * facts.size_bytes as f64)
        });
        let bytes_per_second = reached.reduce(f64::max).unwrap_or(ASSUMED_BYTES_PER_SECOND);
        let mut measures = Self { known, bytes_per_second, free_bytes: Memory::now().available_bytes, reference: None };
        let measured = |sibling: &Sibling| Some((sibling.name.clone(), measures.perplexity(sibling)?));
        measures.reference = siblings.iter().rev().find_map(measured);
        measures
    }

    fn perplexity(&self, sibling: &Sibling) -> Option<f64> {
        let measured = self.known.perplexities.get(&sibling.name)?;
        (sibling.installed && measured.size_bytes == sibling.size_bytes).then_some(measured.perplexity)
    }

    fn sibling(&self, sibling: &Sibling) -> Precision {
        let speed = self.known.speeds.get(&sibling.name).filter(|_| sibling.installed);
        let perplexity = self.perplexity(sibling);
        let loss =
            perplexity.zip(self.reference.as_ref()).map(|(perplexity, (_, best))| (perplexity / best - 1.0) * 100.0);
        // One measurement alone is compared with nothing.
        let alone = self.reference.as_ref().is_some_and(|(name, _)| *name == sibling.name);
        let quality = match loss.filter(|_| !alone || is_float(&sibling.quantization)) {
            Some(loss) => Quality { loss_percent: Some(loss), measured: true, perplexity },
            None => Quality { perplexity, ..estimate(&sibling.quantization) },
        };
        Precision {
            kind: sibling.quantization.clone(),
            format: sibling.quantization.clone(),
            size_mib: sibling.size_bytes as f64 / MIB,
            need_mib: sibling.need.total_bytes as f64 / MIB,
            fits: tektra_models::fits(&sibling.need, self.free_bytes),
            tokens_per_second: speed.map_or(self.bytes_per_second / sibling.size_bytes.max(1) as f64, |speed| {
                speed.decode_tokens_per_second
            }),
            speed_measured: speed.is_some(),
            quality,
            problem: None,
            installed: sibling.installed.then(|| sibling.name.clone()),
            download: (!sibling.installed).then(|| sibling.name.clone()),
            parts: Vec::new(),
        }
    }

    fn choice(&self, choice: tektra_quantize::Choice, beside_weights: u64, siblings: &[Precision]) -> Precision {
        let format = tektra_quantize::format_name(choice.base.format());
        let need_bytes = choice.size_bytes.saturating_add(beside_weights);
        let part = |group: &tektra_quantize::Group| PrecisionPart {
            tensors: group.tensors.clone(),
            count: group.count as u32,
            format: tektra_quantize::format_name(group.used).into(),
            why: group.why.clone(),
            size_mib: group.size_bytes as f64 / MIB,
        };
        Precision {
            kind: choice.base.to_string(),
            format: format.into(),
            size_mib: choice.size_bytes as f64 / MIB,
            need_mib: need_bytes as f64 / MIB,
            fits: need_bytes <= self.free_bytes,
            tokens_per_second: self.bytes_per_second / choice.size_bytes.max(1) as f64,
            speed_measured: false,
            quality: estimate(format),
            problem: choice.possible.err().map(|why| sentence(&format!("{why}."))),
            installed: siblings
                .iter()
                .find(|sibling| sibling.format == format)
                .and_then(|sibling| sibling.installed.clone()),
            download: None,
            parts: choice.groups.iter().map(part).collect(),
        }
    }
}

/// What people look for and do not find.
fn hqq() -> Precision {
    Precision {
        kind: "HQQ".into(),
        format: "HQQ".into(),
        size_mib: 0.0,
        need_mib: 0.0,
        fits: false,
        tokens_per_second: 0.0,
        speed_measured: false,
        quality: estimate("HQQ"),
        problem: Some("No GGUF file holds it, and Tektra runs GGUF files. int4 is as small.".into()),
        installed: None,
        download: None,
        parts: Vec::new(),
    }
}

fn is_float(quantization: &str) -> bool {
    ["F16", "BF16", "F32"].contains(&quantization)
}

fn estimate(quantization: &str) -> Quality {
    let loss_percent = quality(quantization).map(|loss| loss.perplexity_increase_percent);
    Quality { loss_percent, measured: false, perplexity: None }
}

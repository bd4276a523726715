//! A folder of safetensors into a GGUF file.

use std::{collections::HashSet, path::Path, sync::atomic::AtomicBool};

use tektra_kernels::{Format, dequantize};

use crate::{
    Error, Plan, Progress, Report,
    config::Config,
    files::read_text,
    folder::Folder,
    format,
    gguf::Stored,
    layout::{Layout, Source, Tensor},
    metadata::Metadata,
    plan::{Base, Decision, Planner},
    tensors::{self, Part},
    vocabulary::Vocabulary,
};

/// Converts the model folder at `folder` (`config.json`, `tokenizer.json`, safetensors and what belongs to them) into a
/// GGUF file at `out`, as `plan` says.
///
/// `progress` hears of every stretch that is written. Once `cancel` is true, the next stretch is not. Until the file is
/// complete it is called `….part`; whatever ends the work removes that.
///
/// # Errors
/// When the folder is no model of a known kind or damaged, when the plan can't be followed, when the disk is full,
/// when cancelled.
pub fn convert(
    folder: &Path,
    plan: &Plan,
    out: &Path,
    progress: &mut dyn FnMut(Progress),
    cancel: &AtomicBool,
) -> Result<Report, Error> {
    let model = Model::open(folder)?;
    model.layout(plan)?.write(out, progress, cancel)
}

/// A model folder, read as far as needed to plan.
pub(crate) struct Model {
    folder: Folder,
    config: Config,
    vocabulary: Vocabulary,
    tied: bool,
    name: String,
    licence: Option<String>,
    warnings: Vec<String>,
}

impl Model {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let (config, json) = Config::read(path)?;
        let folder = Folder::open(path)?;
        let missing = |name: &str| Error::damaged(path, format!("`{name}` is missing"));
        let rows = match folder.shape(tensors::EMBEDDING) {
            Some(&[rows, _]) if rows > 0 && u32::try_from(rows).is_ok() => rows,
            Some(shape) => {
                let what = format!("`{}` has the shape {shape:?}, which no vocabulary has", tensors::EMBEDDING);
                return Err(Error::damaged(path, what));
            }
            None => return Err(missing(tensors::EMBEDDING)),
        };
        let separate = folder.shape(tensors::OUTPUT).is_some();
        let tied = config.tied.unwrap_or(!separate);
        if !tied && !separate {
            return Err(missing(tensors::OUTPUT));
        }
        let mut warnings = Vec::new();
        let vocabulary = Vocabulary::read(path, &json, rows, &mut warnings)?;
        if let Some(window) = config.window.filter(|&window| window < config.context) {
            warnings.push(format!(
                "its attention was trained to look back {window} positions; GGUF's {} looks back on all of them",
                config.architecture.name()
            ));
        }
        let own_name = || path.canonicalize().ok()?.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = config.name.clone().filter(|name| !name.is_empty()).or_else(own_name).unwrap_or_default();
        let licence = licence(path)?;
        let model = Self { folder, config, vocabulary, tied, name, licence, warnings };
        model.check_names(path)?;
        Ok(model)
    }

    /// Fails when the model lacks a part, or has something that has no place in the file: it would answer wrongly.
    fn check_names(&self, path: &Path) -> Result<(), Error> {
        let mut names = HashSet::from([tensors::OUTPUT.to_owned()]);
        for part in self.parts() {
            if !part.optional && self.folder.shape(&part.theirs).is_none() {
                return Err(Error::damaged(path, format!("`{}` is missing", part.theirs)));
            }
            names.insert(part.theirs);
        }
        match self.folder.names().find(|name| !names.contains(*name) && !tensors::is_computed(name)) {
            Some(name) => {
                let architecture = self.config.architecture.name();
                Err(Error::Unsupported(format!("it has `{name}`, which GGUF's {architecture} has no place for")))
            }
            None => Ok(()),
        }
    }

    /// Most bits that a weight has.
    pub(crate) fn bits(&self) -> Result<f64, Error> {
        let mut bits = 0.0_f64;
        for part in self.parts().filter(|part| part.shape.len() > 1) {
            let stored = self.folder.find(&part.theirs, &part.shape)?;
            bits = stored.map_or(bits, |stored| bits.max(format::bits(stored.format)));
        }
        Ok(bits)
    }

    fn parts(&self) -> impl Iterator<Item = Part> {
        tensors::all(&self.config, self.vocabulary.tokens.len(), self.tied)
    }

    /// The file that `plan` makes of the model.
    pub(crate) fn layout(&self, plan: &Plan) -> Result<Layout<'_>, Error> {
        let mut planner = Planner::new(plan, self.config.layers, self.tied);
        let mut tensors = Vec::new();
        let vector = || Decision { wanted: Format::F32, used: Format::F32, why: None };
        if let Some(factors) = self.config.rope_factors() {
            let tensor = Tensor {
                name: "rope_freqs.weight".into(),
                dimensions: vec![factors.len() as u64],
                format: Format::F32,
                source: Source::Rows(Box::new(move |_, out| out.copy_from_slice(&factors))),
            };
            planner.report(&tensor.name, vector(), tensor.len_bytes());
            tensors.push(tensor);
        }
        for part in self.parts() {
            // A part that is not there was found to be optional.
            let Some(stored) = self.folder.find(&part.theirs, &part.shape)? else { continue };
            let matrix = part.shape.len() > 1;
            let decision = if matrix { planner.matrix(&part.ours, stored.columns) } else { vector() };
            let tensor = Tensor {
                dimensions: part.shape.iter().rev().map(|&size| size as u64).collect(),
                format: decision.used,
                source: source(stored, &part),
                name: part.ours,
            };
            planner.report(&tensor.name, decision, tensor.len_bytes());
            tensors.push(tensor);
        }
        Ok(Layout::new(&self.metadata(plan.base), tensors, planner.finish()?, self.warnings.clone()))
    }

    fn metadata(&self, base: Base) -> Metadata {
        let mut metadata = Metadata::default();
        metadata.text("general.architecture", self.config.architecture.name());
        metadata.text("general.type", "model");
        metadata.text("general.name", &self.name);
        if let Some(licence) = &self.licence {
            metadata.text("general.license", licence);
        }
        metadata.number("general.file_type", base.file_type());
        metadata.number("general.quantization_version", 2);
        self.config.write(&mut metadata);
        let key = format!("{}.vocab_size", self.config.architecture.name());
        metadata.number(&key, self.vocabulary.tokens.len() as u32);
        self.vocabulary.write(&mut metadata);
        metadata
    }
}

/// Where a tensor's rows come from, in GGUF's order.
fn source<'a>(stored: Stored<'a>, part: &Part) -> Source<'a> {
    // A vector's elements are in the order of its matrix's rows.
    let vector = part.shape.len() == 1;
    match part.reordered_heads {
        None => Source::Rows(Box::new(move |row, out| dequantize(stored.format, stored.row(row), out))),
        Some(heads) if vector => Source::Rows(Box::new(move |_, out| {
            let mut values = vec![0.0; out.len()];
            dequantize(stored.format, stored.bytes, &mut values);
            for (row, out) in out.iter_mut().enumerate() {
                *out = values[tensors::their_row(row, values.len(), heads)];
            }
        })),
        Some(heads) => Source::Rows(Box::new(move |row, out| {
            dequantize(stored.format, stored.row(tensors::their_row(row, stored.rows, heads)), out);
        })),
    }
}

/// `license` in the first lines of the model card.
fn licence(folder: &Path) -> Result<Option<String>, Error> {
    let card = read_text(&folder.join("README.md"))?.unwrap_or_default();
    let front = card.strip_prefix("---").and_then(|card| card.split_once("\n---")).map_or("", |(front, _)| front);
    let line = front.lines().find_map(|line| line.strip_prefix("license:"));
    let licence = line.map(|licence| licence.trim().trim_matches(['"', '\'']).to_owned());
    Ok(licence.filter(|licence| !licence.is_empty()))
}

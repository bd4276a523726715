//! The models on this machine: found in the models folder, judged by their headers before the engine sees them.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use serde::Serialize;
use specta::Type;

use crate::{Error, ErrorReport, Home, Result};
use tektra_gguf::{Header, HeaderError};

/// Folders below the models folder that are searched.
const DEPTH: usize = 3;

/// Architectures that mistral.rs 0.8.1 runs from GGUF on a CPU (`GGUFArchitecture` in its sources; it panics on others, and
/// on `qwen3moe` without a GPU).
const ARCHITECTURES: [&str; 7] = ["llama", "mistral3", "phi2", "phi3", "starcoder2", "qwen2", "qwen3"];

/// Metadata without which mistral.rs panics or refuses, each below the architecture's prefix.
const NEEDED: [&str; 5] =
    ["attention.head_count", "attention.head_count_kv", "block_count", "embedding_length", "context_length"];

/// A model that can be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// The file's name without its ending.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Size of the file.
    pub size_bytes: u64,
    /// As the file names it: `llama`.
    pub architecture: String,
    /// The type that holds most of the weights: `Q4_1`.
    pub quantization: String,
    /// The longest context in tokens that the model was trained for.
    pub context_length: u32,
}

/// A model of the list, usable or not.
#[derive(Clone, Debug, Serialize, Type)]
pub struct ModelSummary {
    /// The file's name without its ending.
    pub name: String,
    /// The file.
    pub path: String,
    /// Size of the file in MiB, rounded up.
    pub size_mib: u32,
    /// As the file names it; empty when it cannot be read.
    pub architecture: String,
    /// The type that holds most of the weights; empty when it cannot be read.
    pub quantization: String,
    /// The longest context in tokens; 0 when it cannot be read.
    pub context_length: u32,
    /// Why it cannot be used.
    pub problem: Option<ErrorReport>,
}

impl Model {
    /// Reads and judges the header of `path`.
    ///
    /// # Errors
    /// [`Error::ModelNotFound`] or [`Error::ModelUnusable`].
    pub fn open(path: &Path) -> Result<Self> {
        let name =
            path.file_stem().map_or_else(|| path.display().to_string(), |stem| stem.to_string_lossy().into_owned());
        let unusable =
            |reason: String, hint: &str| Error::ModelUnusable { name: name.clone(), reason, hint: hint.into() };
        let unreadable = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::ModelNotFound { name: path.display().to_string(), known: Vec::new() }
            }
            _ => unusable(format!("the file cannot be read ({error})."), "Check its permissions."),
        };
        let file = File::open(path).map_err(unreadable)?;
        let attributes = file.metadata().map_err(unreadable)?;
        if !attributes.is_file() {
            return Err(unusable("it is not a file.".into(), "Give the path of a GGUF file."));
        }
        let size_bytes = attributes.len();
        if size_bytes == 0 {
            return Err(unusable("the file is empty.".into(), "Download it again."));
        }
        // SAFETY: the map is only read, and every read is bounds-checked. A program that shortens the file meanwhile
        // would end this process, as with any mapped model; the header is read in one go to keep that window short.
        #[allow(unsafe_code)]
        let bytes = unsafe { memmap2::Mmap::map(&file) }.map_err(unreadable)?;
        let header = Header::read(&bytes).map_err(|error| {
            let hint = match error {
                HeaderError::Magic => "Choose a file that was published as GGUF.",
                _ => "Download it again.",
            };
            unusable(format!("the file {error}."), hint)
        })?;
        if header.expected_bytes > size_bytes {
            return Err(unusable(
                format!("the file is cut short: {size_bytes} of {} bytes are there.", header.expected_bytes),
                "Download it again.",
            ));
        }
        judge(&header).map_err(|(reason, hint)| unusable(reason, hint))?;
        let architecture = header.text("general.architecture").unwrap_or_default().to_ascii_lowercase();
        let context_length = header.number(&format!("{architecture}.context_length")).unwrap_or_default() as u32;
        Ok(Self {
            path: std::path::absolute(path).map_err(unreadable)?,
            size_bytes,
            quantization: header.quantization().unwrap_or("unknown").into(),
            context_length,
            architecture,
            name,
        })
    }

    /// The size in MiB, rounded up.
    pub fn size_mib(&self) -> u32 {
        mib(self.size_bytes)
    }

    fn summary(path: &Path) -> ModelSummary {
        let size_bytes = path.metadata().map_or(0, |attributes| attributes.len());
        let (model, problem) = match Self::open(path) {
            Ok(model) => (Some(model), None),
            Err(error) => (None, Some(error.report())),
        };
        ModelSummary {
            name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            path: path.display().to_string(),
            size_mib: mib(size_bytes),
            architecture: model.as_ref().map_or_else(String::new, |model| model.architecture.clone()),
            quantization: model.as_ref().map_or_else(String::new, |model| model.quantization.clone()),
            context_length: model.as_ref().map_or(0, |model| model.context_length),
            problem,
        }
    }
}

fn mib(bytes: u64) -> u32 {
    bytes.div_ceil(1024 * 1024) as u32
}

/// Whether the engine can run what the header describes: the reason and what to do where not.
fn judge(header: &Header) -> Result<(), (String, &'static str)> {
    const OTHER: &str = "Choose another model.";
    let architecture = header.text("general.architecture").unwrap_or_default().to_ascii_lowercase();
    if architecture.is_empty() {
        return Err(("its header names no architecture.".into(), OTHER));
    }
    if !ARCHITECTURES.contains(&architecture.as_str()) {
        return Err((
            format!(
                "its architecture \"{architecture}\" is not one that the engine runs ({}).",
                ARCHITECTURES.join(", ")
            ),
            OTHER,
        ));
    }
    if header.number("split.count").is_some_and(|parts| parts > 1.0) {
        return Err(("it is one part of a split model.".into(), "Choose a model in a single file."));
    }
    if let Some(kind) = header.unknown_type() {
        return Err((
            format!("its weights are of a type that the engine does not read (ggml type {kind})."),
            "Choose another quantization of it: Q4_K_M is a good one.",
        ));
    }
    let missing = NEEDED.iter().map(|key| format!("{architecture}.{key}")).find(|key| header.number(key).is_none());
    if let Some(key) = missing {
        return Err((format!("its header lacks \"{key}\"."), OTHER));
    }
    match header.text("tokenizer.ggml.model") {
        Some("gpt2" | "llama" | "replit") => {}
        Some(other) => return Err((format!("its tokenizer \"{other}\" is not one that the engine knows."), OTHER)),
        None => return Err(("it has no tokenizer.".into(), OTHER)),
    }
    if header.number("tokenizer.ggml.eos_token_id").is_none() {
        return Err(("its tokenizer names no end token.".into(), OTHER));
    }
    if header.text("tokenizer.chat_template").is_none() {
        return Err((
            "it has no chat template, so it was not made to converse.".into(),
            "Choose an \"instruct\" or \"chat\" model.",
        ));
    }
    Ok(())
}

/// Every GGUF file of the models folder, by name.
pub fn list(home: &Home) -> Vec<ModelSummary> {
    files(home).iter().map(|path| Model::summary(path)).collect()
}

/// The model called `wanted` (a name or a path), or the first usable one.
///
/// # Errors
/// [`Error::NoModel`], [`Error::ModelNotFound`] or [`Error::ModelUnusable`].
pub fn find(home: &Home, wanted: Option<&str>) -> Result<Model> {
    let files = files(home);
    let Some(wanted) = wanted else {
        // With nothing usable, the first file's problem is the most useful answer.
        let mut problem = Error::NoModel { folder: home.models() };
        for (index, path) in files.iter().enumerate() {
            match Model::open(path) {
                Ok(model) => return Ok(model),
                Err(error) if index == 0 => problem = error,
                Err(_) => {}
            }
        }
        return Err(problem);
    };
    let named = |path: &&PathBuf| path.file_stem().is_some_and(|stem| stem.eq_ignore_ascii_case(wanted));
    if let Some(path) = files.iter().find(named) {
        return Model::open(path);
    }
    let path = Path::new(wanted);
    if path.exists() {
        return Model::open(path);
    }
    let known = files.iter().filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect();
    Err(Error::ModelNotFound { name: wanted.into(), known })
}

fn files(home: &Home) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&home.models(), DEPTH, &mut found);
    found.sort_by_key(|path| path.file_stem().map(|stem| stem.to_ascii_lowercase()));
    found
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && depth > 0 {
            collect(&path, depth - 1, found);
        } else if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf")) {
            found.push(path);
        }
    }
}

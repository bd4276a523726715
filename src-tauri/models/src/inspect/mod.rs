//! The facts of one model, read from its header.

mod gguf;
mod judge;
mod parts;
mod safetensors;

use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

pub(crate) use gguf::is_gguf_name;
pub(crate) use safetensors::is_safetensors_name;

use crate::facts::{Facts, Problem};

/// Why a model has no facts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// There is nothing at this path.
    #[error("There is no model at {}.", .0.display())]
    NotFound(PathBuf),
    /// It is no model, or a broken one.
    #[error("The model \"{name}\" cannot be used: {}", problem.reason)]
    Unusable {
        /// The file's name without its ending.
        name: String,
        /// Why, and what to do.
        problem: Problem,
    },
}

impl InspectError {
    /// Why, and what to do.
    pub fn problem(&self) -> Problem {
        match self {
            Self::NotFound(path) => Problem {
                reason: format!("there is nothing at {}.", path.display()),
                hint: "Check the path, or download the model again.".into(),
            },
            Self::Unusable { problem, .. } => problem.clone(),
        }
    }
}

/// The facts of the model at `path`: a GGUF file, any part of a model in several GGUF files, or a folder with
/// `config.json` and safetensors (or a file in it). Only headers are read.
///
/// # Errors
/// When there is nothing, when a file is broken, or when parts are missing: those are named.
pub fn inspect(path: &Path) -> Result<Facts, InspectError> {
    let attributes = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if attributes.is_dir() {
        return safetensors::inspect(path);
    }
    if is_safetensors_name(path) || path.file_name().is_some_and(|name| name == "config.json") {
        return safetensors::inspect(path.parent().unwrap_or(Path::new(".")));
    }
    gguf::inspect(path)
}

/// The file's name without its ending.
fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| path.display().to_string(), |stem| stem.to_string_lossy().into_owned())
}

fn unusable(name: impl Into<String>, reason: impl Into<String>, hint: &str) -> InspectError {
    InspectError::Unusable { name: name.into(), problem: Problem { reason: reason.into(), hint: hint.into() } }
}

fn unreadable(path: &Path, error: &std::io::Error) -> InspectError {
    match error.kind() {
        ErrorKind::NotFound => InspectError::NotFound(path.into()),
        _ => unusable(stem(path), format!("the file cannot be read ({error})."), "Check its permissions."),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.into())
}

/// At most the first `most` bytes of a file.
pub(crate) fn beginning(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

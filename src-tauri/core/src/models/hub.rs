//! The hub: looked through only when the person asks for it.

use std::path::Path;

use serde::Serialize;
use specta::Type;
use tektra_fetch::{Client, HubFile, HubRepository};
use tektra_gguf::PartName;
use tektra_models::Plan;

use super::{Library, Memory, mib};
use crate::{Error, Result};

/// Repositories that a search shows.
const MOST: u32 = 40;

/// A repository with GGUF files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Type)]
pub struct HubModel {
    /// `owner/repository`.
    pub id: String,
    /// Downloads of the last month.
    pub downloads: Option<u32>,
    /// How many people like it.
    pub likes: Option<u32>,
    /// As its author named it.
    pub licence: Option<String>,
    /// Whether its licence must be accepted on its page first.
    pub gated: bool,
}

impl From<HubRepository> for HubModel {
    fn from(found: HubRepository) -> Self {
        let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            id: found.id,
            downloads: found.downloads.map(count),
            likes: found.likes.map(count),
            licence: found.licence,
            gated: found.gated.unwrap_or(false),
        }
    }
}

/// A model of a repository: a GGUF file, or the first of its parts.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct HubGguf {
    /// Its path in the repository.
    pub file: String,
    /// What a download is started with.
    pub source: String,
    /// Size of all its parts in MiB.
    pub size_mib: Option<u32>,
    /// The type in its name: `Q4_K_M`.
    pub quantization: Option<String>,
    /// How many files it is made of.
    pub parts: u32,
    /// Whether it would fit into memory by its size, which is an estimate; absent when that is not known.
    pub fits: Option<bool>,
    /// Whether a file of that name is on this machine.
    pub installed: bool,
    /// Why it is of no use.
    pub problem: Option<String>,
}

/// Searches the hub for repositories with GGUF files.
///
/// # Errors
/// [`Error::DownloadFailed`] when the hub cannot be reached or refuses.
pub(crate) async fn search(client: &Client, text: &str) -> Result<Vec<HubModel>> {
    let found = client.search(text.trim(), MOST).await.map_err(|error| failed(&error))?;
    Ok(found.into_iter().map(HubModel::from).collect())
}

/// The GGUF files of `repository`, smallest first.
///
/// # Errors
/// As [`search`].
pub(crate) async fn files(client: &Client, repository: &str, library: Library) -> Result<Vec<HubGguf>> {
    let files = client.files(repository).await.map_err(|error| failed(&error))?;
    let here = tokio::task::spawn_blocking(move || library.list()).await.map_err(|_| Error::Interrupted)?;
    let here: Vec<String> = here.into_iter().map(|model| model.path).collect();
    let free_bytes = Memory::now().available_bytes;
    let mut models: Vec<HubGguf> = Vec::new();
    for (first, size_bytes, parts) in whole_models(files) {
        let name = first.rsplit('/').next().unwrap_or(&first).to_owned();
        models.push(HubGguf {
            source: format!("hf://{repository}/{first}"),
            size_mib: size_bytes.map(mib),
            quantization: quantization(&name),
            parts,
            // What is read of the file stays in memory; the rest is small beside it.
            fits: size_bytes.map(|size| size.saturating_add(Plan::cpu(1).reserve_bytes) <= free_bytes),
            installed: here.iter().any(|path| path.ends_with(&format!("{}{name}", std::path::MAIN_SEPARATOR))),
            problem: unknown_type(&name).then(|| "Tektra cannot compute with its type.".into()),
            file: first,
        });
    }
    models.sort_by_key(|model| model.size_mib);
    Ok(models)
}

/// GGUF files with their sizes; of a model in parts the first, the size of all, and their number. Projectors of images
/// are no models.
fn whole_models(files: Vec<HubFile>) -> Vec<(String, Option<u64>, u32)> {
    let mut models: Vec<(String, String, Option<u64>, u32)> = Vec::new();
    for file in files {
        let lower = file.path.to_ascii_lowercase();
        if !lower.ends_with(".gguf") || lower.contains("mmproj") {
            continue;
        }
        let part = PartName::of(Path::new(&file.path));
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let stem = part.map_or_else(|| file.path.clone(), |part| format!("{folder}/{}/{}", part.base, part.count));
        match models.iter_mut().find(|(known, ..)| *known == stem) {
            Some((_, _, size, parts)) => {
                *size = size.zip(file.size_bytes).map(|(a, b)| a.saturating_add(b));
                *parts += 1;
            }
            None => models.push((stem, file.path, file.size_bytes, 1)),
        }
    }
    models.into_iter().map(|(_, first, size, parts)| (first, size, parts)).collect()
}

/// `Q4_K_M` of `model-Q4_K_M.gguf`.
fn quantization(file: &str) -> Option<String> {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let word = stem.rsplit(['-', '.']).find(|word| {
        let word = word.to_ascii_uppercase();
        let kinds = ["Q", "IQ", "TQ", "F16", "F32", "BF16", "MXFP"];
        kinds.iter().any(|kind| word.starts_with(kind)) && word.chars().any(|c| c.is_ascii_digit())
    })?;
    Some(word.to_ascii_uppercase())
}

/// Whether the file's name says that its weights are of a type that no executor knows.
fn unknown_type(file: &str) -> bool {
    quantization(file).is_some_and(|kind| ["IQ", "TQ", "MXFP"].iter().any(|unknown| kind.starts_with(unknown)))
}

fn failed(error: &tektra_fetch::Error) -> Error {
    Error::DownloadFailed { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_read_from_the_name() {
        assert_eq!(quantization("SmolLM2-135M-Instruct.Q4_1.gguf").as_deref(), Some("Q4_1"));
        assert_eq!(quantization("qwen3-4b-q4_k_m.gguf").as_deref(), Some("Q4_K_M"));
        assert_eq!(quantization("Qwen3-8B-Q8_0-00001-of-00002.gguf").as_deref(), Some("Q8_0"));
        assert_eq!(quantization("qwen.gguf"), None);
        assert!(unknown_type("Qwen3-8B-IQ4_XS.gguf") && !unknown_type("Qwen3-8B-Q4_K_M.gguf"));
    }

    #[test]
    fn parts_are_one_model() {
        let file = |path: &str, size| HubFile { path: path.into(), size_bytes: Some(size), sha256: None };
        let models = whole_models(vec![
            file("README.md", 1),
            file("a-00001-of-00002.gguf", 10),
            file("a-00002-of-00002.gguf", 20),
            file("mmproj-a.gguf", 5),
            file("b.gguf", 7),
        ]);
        assert_eq!(models, [("a-00001-of-00002.gguf".into(), Some(30), 2), ("b.gguf".into(), Some(7), 1)]);
    }
}

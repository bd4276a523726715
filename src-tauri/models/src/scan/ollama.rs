//! Ollama's models: `manifests/HOST/NAMESPACE/MODEL/TAG` name the files in `blobs`.
//!
//! Source: <https://github.com/ollama/ollama/blob/main/manifest/paths.go> and
//! <https://github.com/ollama/ollama/blob/main/types/model/name.go>.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Candidate, Note, Place, walk::Walk};
use crate::inspect::beginning;

#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: String,
}

const MODEL: &str = "application/vnd.ollama.image.model";

/// Manifests have a few hundred bytes.
const MOST_MANIFEST_BYTES: u64 = 1 << 20;

pub(super) fn models(place: &Place, notes: &mut Vec<Note>) -> Vec<Candidate> {
    let manifests = place.folder.join("manifests");
    if !manifests.is_dir() {
        return Vec::new();
    }
    let mut files: Vec<PathBuf> = Vec::new();
    Walk::new(notes).below(&manifests, &mut |_, inner| files.extend_from_slice(inner));
    let mut candidates = Vec::new();
    for file in files {
        let Some(name) = file.strip_prefix(&manifests).ok().and_then(name) else { continue };
        match blob(&place.folder, &file) {
            Ok(Some(path)) if path.is_file() => {
                candidates.push(Candidate { name, source: place.source, path, detail: file.display().to_string() });
            }
            Ok(Some(_)) => notes.push(Note { path: file, text: "names a file that is not there".into() }),
            // Models that run elsewhere have no file.
            Ok(None) => {}
            Err(text) => notes.push(Note { path: file, text }),
        }
    }
    // One file may have several tags: the one that says most stands for it.
    candidates.sort_by_key(|candidate| candidate.name.ends_with(":latest"));
    candidates
}

/// `llama3.2:1b`, or with its namespace and host where they are not Ollama's own.
fn name(relative: &Path) -> Option<String> {
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
    let [host, namespace, model, tag] = &parts[..] else { return None };
    Some(match (host.as_ref(), namespace.as_ref()) {
        ("registry.ollama.ai", "library") => format!("{model}:{tag}"),
        ("registry.ollama.ai", _) => format!("{namespace}/{model}:{tag}"),
        _ => format!("{host}/{namespace}/{model}:{tag}"),
    })
}

/// The weights' file that a manifest names.
fn blob(folder: &Path, manifest: &Path) -> Result<Option<PathBuf>, String> {
    let text = beginning(manifest, MOST_MANIFEST_BYTES).map_err(|error| format!("cannot be read ({error})"))?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|_| "is not a manifest of Ollama".to_owned())?;
    let Some(layer) = manifest.layers.iter().find(|layer| layer.media_type == MODEL) else { return Ok(None) };
    let hash = layer.digest.strip_prefix("sha256:").or_else(|| layer.digest.strip_prefix("sha256-"));
    let hash = hash.filter(|hash| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let hash = hash.ok_or("names no file")?;
    Ok(Some(folder.join("blobs").join(format!("sha256-{hash}"))))
}

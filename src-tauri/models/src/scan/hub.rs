//! The cache of the Hugging Face libraries: `models--OWNER--NAME/snapshots/REVISION/FILE`, links to `blobs/HASH`.
//!
//! Source: <https://huggingface.co/docs/huggingface_hub/guides/manage-cache>.

use std::path::Path;

use super::{Candidate, Note, Place, models_below, walk::folders_in};
use crate::inspect::beginning;

pub(super) fn models(place: &Place, notes: &mut Vec<Note>) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for repository in folders_in(&place.folder, notes) {
        let folder = repository.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(id) = folder.strip_prefix("models--") else { continue };
        let id = id.replace("--", "/");
        let name = id.rsplit('/').next().unwrap_or(&id);
        let mut snapshots = folders_in(&repository.join("snapshots"), notes);
        // The newest first: what older ones have besides is listed too, what they share once.
        let newest = newest(&repository);
        snapshots.sort_by_key(|snapshot| {
            newest.as_deref().is_none_or(|newest| snapshot.file_name().is_none_or(|name| name != newest))
        });
        for (index, snapshot) in snapshots.iter().enumerate() {
            let revision = snapshot.file_name().unwrap_or_default().to_string_lossy();
            for mut candidate in models_below(snapshot, place, Some(name), notes) {
                let short: String = revision.chars().take(8).collect();
                candidate.detail = if index == 0 { id.clone() } else { format!("{id} {short}") };
                candidates.push(candidate);
            }
        }
    }
    candidates
}

/// The revision that `main` was when it was last downloaded.
fn newest(repository: &Path) -> Option<String> {
    let revision = beginning(&repository.join("refs").join("main"), 256).ok()?;
    Some(String::from_utf8_lossy(&revision).trim().to_owned())
}

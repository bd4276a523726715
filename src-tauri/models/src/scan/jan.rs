//! Jan's models: `llamacpp/models/ID/model.yml` in its data folder names the weights, which may lie anywhere.
//!
//! Source: `importModel` in <https://github.com/janhq/jan/blob/dev/extensions/llamacpp-extension/src/index.ts>.

use std::path::{Path, PathBuf};

use super::{Candidate, Note, Place, walk::Walk};
use crate::inspect::beginning;

/// They have a few hundred bytes.
const MOST_YML_BYTES: u64 = 1 << 20;

pub(super) fn models(place: &Place, notes: &mut Vec<Note>) -> Vec<Candidate> {
    let models = place.folder.join("llamacpp").join("models");
    if !models.is_dir() {
        return Vec::new();
    }
    let mut files: Vec<PathBuf> = Vec::new();
    Walk::new(notes).below(&models, &mut |_, inner| {
        files.extend(inner.iter().filter(|file| file.file_name().is_some_and(|name| name == "model.yml")).cloned());
    });
    let mut candidates = Vec::new();
    for file in files {
        let folder = file.parent().unwrap_or(&models);
        let path = match beginning(&file, MOST_YML_BYTES) {
            Ok(text) => value(&String::from_utf8_lossy(&text), "model_path"),
            Err(error) => {
                notes.push(Note { path: file, text: format!("cannot be read ({error})") });
                continue;
            }
        };
        // A path of its own stays itself when it is joined.
        match path.map(|path| place.folder.join(path)) {
            Some(path) if path.is_file() => candidates.push(Candidate {
                name: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                source: place.source,
                path,
                detail: folder.strip_prefix(&models).unwrap_or(folder).display().to_string(),
            }),
            Some(_) => notes.push(Note { path: file, text: "names a file that is not there".into() }),
            None => notes.push(Note { path: file, text: "names no model".into() }),
        }
    }
    candidates
}

/// The text of `key` on the first level of a YAML file as programs write it: plain or in quotation marks, on one line.
fn value(yml: &str, key: &str) -> Option<PathBuf> {
    let value = yml.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?.trim();
    let quoted = |mark: char| value.strip_prefix(mark)?.strip_suffix(mark);
    let value = match (quoted('"'), quoted('\'')) {
        (Some(value), _) => value.replace("\\\\", "\\").replace("\\\"", "\""),
        (None, Some(value)) => value.replace("''", "'"),
        (None, None) => value.into(),
    };
    (!value.is_empty()).then(|| Path::new(&value).to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_however_it_is_quoted() {
        let of = |line: &str| value(&format!("name: x\n{line}\nsize_bytes: 1\n"), "model_path");
        assert_eq!(of("model_path: llamacpp/models/x/model.gguf"), Some("llamacpp/models/x/model.gguf".into()));
        assert_eq!(of(r"model_path: C:\Models\x.gguf"), Some(r"C:\Models\x.gguf".into()));
        assert_eq!(of(r#"model_path: "C:\\Models\\x.gguf""#), Some(r"C:\Models\x.gguf".into()));
        assert_eq!(of("model_path: '/it''s.gguf'"), Some("/it's.gguf".into()));
        assert_eq!(of("  model_path: nested.gguf"), None);
        assert_eq!(of("model_path:"), None);
    }
}

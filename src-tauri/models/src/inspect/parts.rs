//! Models in several files: which of them are there.

use std::path::{Path, PathBuf};

use tektra_gguf::PartName;

/// All parts of the model that `path` is one of, in order, or the names of those that are missing.
pub(crate) fn siblings(path: &Path, part: &PartName) -> Result<Vec<PathBuf>, Vec<String>> {
    let all = part.all(path);
    let missing: Vec<String> = all
        .iter()
        .filter(|path| !path.is_file())
        .map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
        .collect();
    if missing.is_empty() { Ok(all) } else { Err(missing) }
}

/// "a, b, c and 12 more".
pub(crate) fn few(names: &[String]) -> String {
    const SHOWN: usize = 5;
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (0..7).map(|number| number.to_string()).collect();
        assert_eq!(few(&names), "0, 1, 2, 3, 4 and 2 more");
        assert_eq!(few(&names[..5]), "0, 1, 2, 3, 4");
    }
}

//! Models in several files: `name-00001-of-00003.gguf`, as llama.cpp and the Hugging Face libraries number them.

use std::path::{Path, PathBuf};

/// The most parts that are believed; published models have a few hundred.
const MOST_PARTS: u32 = 10_000;

/// A file that is one of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartName {
    /// What the parts have in common: `name`.
    pub base: String,
    /// From 1 on.
    pub number: u32,
    /// How many there are.
    pub count: u32,
    ending: String,
}

impl PartName {
    /// How the file is numbered; `None` when it is not one of several.
    pub fn of(path: &Path) -> Option<Self> {
        let (name, ending) = path.file_name()?.to_str()?.rsplit_once('.')?;
        let (rest, count) = name.rsplit_once("-of-")?;
        let (base, number) = rest.rsplit_once('-')?;
        let digits = |text: &str| (text.len() == 5).then(|| text.parse::<u32>().ok()).flatten();
        let (number, count) = (digits(number)?, digits(count)?);
        let sound = !base.is_empty() && (1..=count).contains(&number) && count <= MOST_PARTS;
        sound.then(|| Self { base: base.into(), number, count, ending: ending.into() })
    }

    /// All parts of the model that `path` is one of, in order.
    pub fn all(&self, path: &Path) -> Vec<PathBuf> {
        let name = |number| format!("{}-{number:05}-of-{:05}.{}", self.base, self.count, self.ending);
        (1..=self.count).map(|number| path.with_file_name(name(number))).collect()
    }
}

/// The files of the model that `path` is, or is a part of, in order; they may not all exist.
pub fn parts(path: &Path) -> Vec<PathBuf> {
    PartName::of(path).map_or_else(|| vec![path.to_owned()], |part| part.all(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_names_all() {
        let part = PartName::of(Path::new("/m/big-model-00002-of-00003.gguf")).expect("a part");
        assert_eq!((part.base.as_str(), part.number, part.count), ("big-model", 2, 3));
        let all = parts(Path::new("/m/big-model-00002-of-00003.gguf"));
        assert_eq!(all[0], Path::new("/m/big-model-00001-of-00003.gguf"));
        assert_eq!(all.len(), 3);
    }

    #[test]
    fn other_names_stand_alone() {
        for name in
            ["a.gguf", "a-1-of-3.gguf", "a-00004-of-00003.gguf", "-00001-of-00001.gguf", "a-00000-of-00002.gguf"]
        {
            assert_eq!(parts(Path::new(name)), [Path::new(name)], "{name}");
        }
    }
}

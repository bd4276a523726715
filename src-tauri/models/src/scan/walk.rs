//! Walking through folders that may hold anything: links in circles, folders of other people, a whole disk.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::Note;

/// Folders below the first that are searched.
const MOST_DEPTH: usize = 6;

/// Files and folders that are looked at below one folder.
const MOST_ENTRIES: usize = 50_000;

/// What makes a file or folder the same under all of its names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity(#[cfg(unix)] (u64, u64), #[cfg(not(unix))] PathBuf);

/// The identity of what `path` leads to; `None` when it leads nowhere.
pub(super) fn identity(path: &Path) -> Option<Identity> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let attributes = fs::metadata(path).ok()?;
        Some(Identity((attributes.dev(), attributes.ino())))
    }
    #[cfg(not(unix))]
    {
        Some(Identity(fs::canonicalize(path).ok()?))
    }
}

pub(super) struct Walk<'a> {
    notes: &'a mut Vec<Note>,
    seen: HashSet<Identity>,
    entries: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(notes: &'a mut Vec<Note>) -> Self {
        Self { notes, seen: HashSet::new(), entries: 0 }
    }

    /// Calls `visit` with each folder from `folder` down and the files in it, both in order of their names. Links are
    /// followed, every folder is visited once, hidden ones are not.
    pub(super) fn below(&mut self, folder: &Path, visit: &mut dyn FnMut(&Path, &[PathBuf])) {
        self.visit(folder, 0, visit);
        if self.entries > MOST_ENTRIES {
            let text = format!("holds more than {MOST_ENTRIES} files; the rest was not searched");
            self.notes.push(Note { path: folder.into(), text });
        }
    }

    fn visit(&mut self, folder: &Path, depth: usize, visit: &mut dyn FnMut(&Path, &[PathBuf])) {
        if identity(folder).is_none_or(|identity| !self.seen.insert(identity)) {
            return;
        }
        let Some(entries) = self.entries_of(folder) else { return };
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        for path in entries {
            match fs::metadata(&path) {
                Ok(attributes) if attributes.is_dir() => folders.push(path),
                Ok(attributes) if attributes.is_file() => files.push(path),
                Ok(_) => {}
                Err(error) => self.note(&path, &error),
            }
        }
        visit(folder, &files);
        if depth < MOST_DEPTH {
            for folder in folders {
                self.visit(&folder, depth + 1, visit);
            }
        }
    }

    /// What is in a folder and not hidden, as far as it may still be looked at.
    fn entries_of(&mut self, folder: &Path) -> Option<Vec<PathBuf>> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                self.note(folder, &error);
                return None;
            }
        };
        let mut paths = Vec::new();
        for entry in entries {
            self.entries += 1;
            if self.entries > MOST_ENTRIES {
                break;
            }
            match entry {
                Ok(entry) if entry.file_name().to_string_lossy().starts_with('.') => {}
                Ok(entry) => paths.push(entry.path()),
                Err(error) => self.note(folder, &error),
            }
        }
        paths.sort();
        Some(paths)
    }

    fn note(&mut self, path: &Path, error: &io::Error) {
        let text = match error.kind() {
            // A link whose file is gone.
            io::ErrorKind::NotFound => "leads nowhere".into(),
            _ => format!("cannot be read ({error})"),
        };
        self.notes.push(Note { path: path.into(), text });
    }
}

/// The folders right inside of `folder`, by name; notes when it cannot be read, nothing when it is not there.
pub(super) fn folders_in(folder: &Path, notes: &mut Vec<Note>) -> Vec<PathBuf> {
    if !folder.exists() {
        return Vec::new();
    }
    let Some(mut entries) = Walk::new(notes).entries_of(folder) else { return Vec::new() };
    entries.retain(|path| path.is_dir());
    entries
}

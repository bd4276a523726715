//! Every model on this machine, found in place: nothing is copied, changed or written.

mod hub;
mod jan;
mod names;
mod ollama;
mod places;
mod walk;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub use places::{Layout, Place, Source, Surroundings, System, places};

use tektra_gguf::PartName;

use crate::{
    facts::{Facts, Problem, Runs},
    inspect::{InspectError, inspect, is_gguf_name, is_safetensors_name},
};
use walk::{Identity, Walk};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    /// The models by name, usable or not.
    pub models: Vec<Found>,
    /// What could not be looked at.
    pub notes: Vec<Note>,
}

/// A model that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Its name, like no other's of this scan, whatever the case of letters.
    pub name: String,
    /// Whose it is.
    pub source: Source,
    /// Its file, the first of its files, or its folder: what [`inspect`] takes.
    pub path: PathBuf,
    /// Size of its files; of a broken one that of the file that was found.
    pub size_bytes: u64,
    /// What is known of it; `None` when it is broken.
    pub facts: Option<Facts>,
    /// Why it cannot be used.
    pub problem: Option<Problem>,
}

impl Found {
    /// Whether something runs it as it is.
    pub fn is_usable(&self) -> bool {
        self.facts.as_ref().is_some_and(|facts| matches!(facts.runs, Runs::TektraCpu | Runs::MistralRs))
    }
}

/// Something that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Where.
    pub path: PathBuf,
    /// A clause after the path: "cannot be read (permission denied)".
    pub text: String,
}

/// A model before it is looked at.
struct Candidate {
    name: String,
    source: Source,
    path: PathBuf,
    /// What tells it from others of its name and source: the folder below the place, the repository.
    detail: String,
}

/// Finds every model of `places`. A model that is found twice is listed once, where it was found first.
pub fn scan(places: &[Place]) -> Scan {
    let mut notes = Vec::new();
    let mut candidates = Vec::new();
    let mut seen = HashSet::new();
    for place in places {
        let mut found = match place.layout {
            Layout::Folder => folder(place, &mut notes),
            Layout::Ollama => ollama::models(place, &mut notes),
            Layout::Hub => hub::models(place, &mut notes),
            Layout::Jan => jan::models(place, &mut notes),
        };
        found.retain(|candidate: &Candidate| match identity(&candidate.path) {
            Some(identity) => seen.insert(identity),
            // A name without a file behind it.
            None => {
                notes.push(Note { path: candidate.path.clone(), text: "leads nowhere".into() });
                false
            }
        });
        candidates.extend(found);
    }
    names::make_unique(&mut candidates);
    let mut models: Vec<Found> = candidates.into_iter().map(look).collect();
    models.sort_by_cached_key(|model| (model.name.to_lowercase(), model.name.clone()));
    Scan { models, notes }
}

/// A folder of safetensors is its first file: the same one may be linked from many folders.
fn identity(path: &Path) -> Option<Identity> {
    if !path.is_dir() {
        return walk::identity(path);
    }
    let entries = std::fs::read_dir(path).ok()?;
    let files = entries.flatten().map(|entry| entry.path()).filter(|path| is_safetensors_name(path));
    files.min().and_then(|first| walk::identity(&first))
}

fn look(candidate: Candidate) -> Found {
    let Candidate { name, source, path, .. } = candidate;
    match inspect(&path) {
        Ok(facts) => {
            let problem = facts.problem().cloned();
            Found { name, source, path, size_bytes: facts.size_bytes, facts: Some(facts), problem }
        }
        Err(error) => {
            let size_bytes = path.metadata().map_or(0, |file| if file.is_file() { file.len() } else { 0 });
            let problem = Some(InspectError::problem(&error));
            Found { name, source, path, size_bytes, facts: None, problem }
        }
    }
}

/// A folder that holds models in any order.
fn folder(place: &Place, notes: &mut Vec<Note>) -> Vec<Candidate> {
    if !place.folder.exists() {
        if place.source == Source::Added {
            notes.push(Note { path: place.folder.clone(), text: "does not exist".into() });
        }
        return Vec::new();
    }
    models_below(&place.folder, place, None, notes)
}

/// The GGUF files and safetensors folders below `folder`; a safetensors folder that is `folder` itself is called `own_name`.
fn models_below(folder: &Path, place: &Place, own_name: Option<&str>, notes: &mut Vec<Note>) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    let mut parts = HashSet::new();
    let mut walk = Walk::new(notes);
    walk.below(folder, &mut |inner, files| {
        let relative = inner.strip_prefix(&place.folder).unwrap_or(inner);
        let detail = relative.to_string_lossy().replace('\\', "/");
        let mut add = |name: String, path: PathBuf| {
            candidates.push(Candidate { name, source: place.source, path, detail: detail.clone() });
        };
        for file in files.iter().filter(|file| is_gguf_name(file)) {
            // Parts stand for one model, which the first that is there represents.
            let name = match PartName::of(file) {
                Some(part) if !parts.insert((inner.to_path_buf(), part.base.clone(), part.count)) => continue,
                Some(part) => part.base,
                None => file.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            };
            add(name, file.clone());
        }
        let has_config = files.iter().any(|file| file.file_name().is_some_and(|name| name == "config.json"));
        if has_config && files.iter().any(|file| is_safetensors_name(file)) {
            let own_name = own_name.filter(|_| inner == folder).map(Into::into);
            let name = || inner.file_name().unwrap_or_default().to_string_lossy().into_owned();
            add(own_name.unwrap_or_else(name), inner.to_path_buf());
        }
    });
    candidates
}

//! The models on this machine: found in Tektra's folder, in folders that the person added and in those of other
//! programs, judged by their headers before the engine sees them.

mod downloads;
mod fit;
pub(crate) mod hub;
mod memory;
pub(crate) mod placement;
mod precision;
mod profiles;
mod quantize;
mod suggest;
mod summary;
mod workshop;

use std::path::{Path, PathBuf};

use tektra_models::{Facts, Found, InspectError, Problem, Runs, Scan, Source, Surroundings, inspect, places, scan};

use crate::{Error, Home, Result, Settings};

pub use downloads::{Download, DownloadState, Downloads, Wanted, download};
pub use fit::{FitReport, FitSummary};
pub use hub::{HubGguf, HubModel};
pub use memory::Memory;
pub(crate) use memory::resident_bytes;
pub use placement::{DeviceInfo, DeviceShare, DeviceWish, DtypeWish, KvWish, PlacementPlan, PlacementWish, Refusal};
pub(crate) use precision::Known;
pub use precision::{Precision, PrecisionPart, Precisions, Quality};
pub use profiles::profiles_now;
pub use profiles::{ProfileGoal, ProfileSummary};
pub use quantize::{quantize, to_safetensors};
pub use suggest::{Best, Suggestion, Suggestions};
pub use summary::{ModelDetails, ModelSummary, Origin, PartSummary, RunsOn};
pub(crate) use workshop::TEXT;
pub use workshop::{Work, WorkKind, WorkState, Workshop};

/// Set to `0`, it leaves other programs' models alone, whatever the settings say.
const OTHER_PROGRAMS: &str = "TEKTRA_OTHER_PROGRAMS";

/// A model that can be loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Its name in the library, or its file's name without its ending.
    pub name: String,
    /// Its file, or the first of its files.
    pub path: PathBuf,
    /// Size of its files.
    pub size_bytes: u64,
    /// As the file names it: `llama`.
    pub architecture: String,
    /// The type that holds most of the weights: `Q4_1`.
    pub quantization: String,
    /// The longest conversation in tokens: what the model was trained for, or less where the person wishes so.
    pub context_length: u32,
    /// Everything that its header says.
    pub facts: Facts,
    /// Where and how it is to be computed.
    pub wish: PlacementWish,
}

impl Model {
    /// Reads and judges the header of `path`.
    ///
    /// # Errors
    /// [`Error::ModelNotFound`] or [`Error::ModelUnusable`].
    pub fn open(path: &Path) -> Result<Self> {
        let facts = inspect(path).map_err(|error| match error {
            InspectError::NotFound(path) => {
                Error::ModelNotFound { name: path.display().to_string(), known: Vec::new() }
            }
            InspectError::Unusable { name, problem } => unusable(name, problem),
        })?;
        Self::usable(facts.name.clone(), path, facts)
    }

    fn usable(name: String, path: &Path, facts: Facts) -> Result<Self> {
        match &facts.runs {
            Runs::No(problem) => return Err(unusable(name, problem.clone())),
            Runs::Convert => return Err(unusable(name, convertible(path))),
            Runs::TektraCpu | Runs::MistralRs => {}
        }
        let first = facts.files.first().map_or(path, PathBuf::as_path);
        let path = std::path::absolute(first).map_err(|error| {
            unusable(
                name.clone(),
                Problem { reason: format!("its path cannot be used ({error})."), hint: String::new() },
            )
        })?;
        Ok(Self {
            name,
            path,
            size_bytes: facts.size_bytes,
            architecture: facts.architecture.clone(),
            quantization: facts.quantization.clone(),
            context_length: facts.context_length,
            facts,
            wish: PlacementWish::default(),
        })
    }

    /// The same, to be computed as `wish` says.
    pub fn placed(mut self, wish: PlacementWish) -> Self {
        let trained = self.facts.context_length;
        self.context_length = wish.context_tokens.map_or(trained, |tokens| tokens.clamp(1, trained.max(1)));
        self.wish = wish;
        self
    }

    /// The size in MiB, rounded up.
    pub fn size_mib(&self) -> u32 {
        mib(self.size_bytes)
    }
}

fn unusable(name: String, Problem { reason, hint }: Problem) -> Error {
    Error::ModelUnusable { name, reason, hint }
}

fn convertible(path: &Path) -> Problem {
    Problem {
        reason: "it is a folder of safetensors, which has to be made into a GGUF file first.".into(),
        hint: format!(
            "Choose a precision under Quantization, or run `tektra-cli models quantize \"{}\" --type int4`.",
            path.display()
        ),
    }
}

/// With a capital letter: "it has 30 layers." becomes "It has 30 layers."
pub(crate) fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Bytes in MiB, rounded up.
pub(crate) fn mib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024 * 1024)).unwrap_or(u32::MAX)
}

/// Where models are looked for.
#[derive(Clone, Debug)]
pub struct Library {
    home: Home,
    added: Vec<PathBuf>,
    other_programs: bool,
}

impl Library {
    /// Tektra's own folder, the folders of the settings, and other programs' where the settings allow that.
    pub fn new(home: &Home, settings: &Settings) -> Self {
        let allowed = std::env::var_os(OTHER_PROGRAMS).is_none_or(|value| value != "0");
        Self {
            home: home.clone(),
            added: settings.model_folders.iter().map(PathBuf::from).collect(),
            other_programs: settings.other_programs && allowed,
        }
    }

    /// Tektra's own folder alone.
    pub fn own(home: &Home) -> Self {
        Self { home: home.clone(), added: Vec::new(), other_programs: false }
    }

    /// Looks for models now: every model by name, and what could not be looked at. Reads files.
    pub fn scan(&self) -> Scan {
        let mut all = places(&Surroundings::of_process(), &self.home.models(), &self.added);
        all.retain(|place| self.other_programs || matches!(place.source, Source::Tektra | Source::Added));
        scan(&all)
    }

    /// Every model, usable or not, by name.
    pub fn list(&self) -> Vec<ModelSummary> {
        self.scan().models.iter().map(ModelSummary::new).collect()
    }

    /// What is known of the model called `wanted` (a name or a path), usable or not.
    ///
    /// # Errors
    /// [`Error::ModelNotFound`] or [`Error::ModelUnusable`] when nothing can be read of it.
    pub fn details(&self, wanted: &str) -> Result<ModelDetails> {
        let (name, path, source, facts) = self.look_up(wanted)?;
        Ok(ModelDetails::new(name, &path, source, &facts))
    }

    /// The files and the facts of the model called `wanted` (a name or a path), usable or not.
    ///
    /// # Errors
    /// As [`Library::details`].
    pub fn facts(&self, wanted: &str) -> Result<(PathBuf, Facts)> {
        self.look_up(wanted).map(|(_, path, _, facts)| (path, facts))
    }

    fn look_up(&self, wanted: &str) -> Result<(String, PathBuf, Option<Source>, Facts)> {
        match self.scan().models.into_iter().find(|found| is_named(found, wanted)) {
            Some(Found { name, path, source, facts: Some(facts), .. }) => Ok((name, path, Some(source), facts)),
            Some(Found { name, problem, .. }) => Err(unusable(name, problem.unwrap_or_else(unexplained))),
            None if Path::new(wanted).exists() => {
                let facts = inspect(Path::new(wanted)).map_err(|error| unusable(wanted.into(), error.problem()))?;
                Ok((facts.name.clone(), wanted.into(), None, facts))
            }
            None => Err(self.not_found(wanted)),
        }
    }

    /// The model called `wanted` (a name or a path), or the first usable one, Tektra's own before those of others.
    ///
    /// # Errors
    /// [`Error::NoModel`], [`Error::ModelNotFound`] or [`Error::ModelUnusable`].
    pub fn find(&self, wanted: Option<&str>) -> Result<Model> {
        let Some(wanted) = wanted else { return self.first() };
        match self.scan().models.into_iter().find(|found| is_named(found, wanted)) {
            Some(found) => load(found),
            None if Path::new(wanted).exists() => Model::open(Path::new(wanted)),
            None => Err(self.not_found(wanted)),
        }
    }

    fn first(&self) -> Result<Model> {
        let mut models = self.scan().models;
        models.sort_by_key(|found| (found.source, !found.is_usable()));
        let usable = models.iter().position(Found::is_usable).unwrap_or_default();
        if models.is_empty() {
            return Err(Error::NoModel { folder: self.home.models() });
        }
        // With nothing usable, the first file's problem is the most useful answer.
        load(models.swap_remove(usable))
    }

    fn not_found(&self, wanted: &str) -> Error {
        let known = self.scan().models.into_iter().map(|found| found.name).collect();
        Error::ModelNotFound { name: wanted.into(), known }
    }
}

fn is_named(found: &Found, wanted: &str) -> bool {
    found.name.eq_ignore_ascii_case(wanted)
}

fn load(found: Found) -> Result<Model> {
    match found.facts {
        Some(facts) => Model::usable(found.name, &found.path, facts),
        None => Err(unusable(found.name, found.problem.unwrap_or_else(unexplained))),
    }
}

fn unexplained() -> Problem {
    Problem { reason: "its file cannot be read.".into(), hint: "Download it again.".into() }
}

//! Where models lie: Tektra's folder, what the person added, and other programs' folders.

use std::{
    collections::HashMap,
    env,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::inspect::beginning;

/// Whose models they are, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// In Tektra's own folder.
    Tektra,
    /// In a folder that the person added.
    Added,
    /// LM Studio's.
    LmStudio,
    /// Ollama's.
    Ollama,
    /// Jan's.
    Jan,
    /// In the cache of the Hugging Face libraries.
    HuggingFace,
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Tektra => "Tektra",
            Self::Added => "added folder",
            Self::LmStudio => "LM Studio",
            Self::Ollama => "Ollama",
            Self::Jan => "Jan",
            Self::HuggingFace => "Hugging Face",
        })
    }
}

/// How a place is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Files in any folders.
    Folder,
    /// `manifests` and `blobs`.
    Ollama,
    /// `models--OWNER--NAME/snapshots`.
    Hub,
    /// Jan's data folder.
    Jan,
}

/// A place to search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Whose it is.
    pub source: Source,
    /// Where.
    pub folder: PathBuf,
    /// How it is laid out.
    pub layout: Layout,
}

/// Operating systems that keep things in different places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Linux and whatever follows the XDG folders.
    Linux,
    /// macOS.
    MacOs,
    /// Windows.
    Windows,
}

/// What tells where a person's folders are.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The person's own folder.
    pub home: Option<PathBuf>,
    /// Environment variables.
    pub variables: HashMap<String, OsString>,
    /// The operating system.
    pub system: System,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let variables = env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        let system = match env::consts::OS {
            "macos" => System::MacOs,
            "windows" => System::Windows,
            _ => System::Linux,
        };
        Self { home: env::home_dir().filter(|home| !home.as_os_str().is_empty()), variables, system }
    }

    /// The path in a variable, `~` standing for the person's folder.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let value = self.variables.get(name).filter(|value| !value.is_empty())?;
        Some(self.expanded(Path::new(value)))
    }

    fn expanded(&self, path: &Path) -> PathBuf {
        match (path.strip_prefix("~"), &self.home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => path.into(),
        }
    }

    fn at_home(&self, path: &str) -> Option<PathBuf> {
        Some(self.home.as_ref()?.join(path))
    }

    /// Where programs keep data.
    fn data(&self) -> Option<PathBuf> {
        match self.system {
            System::Linux => self.path("XDG_DATA_HOME").or_else(|| self.at_home(".local/share")),
            System::MacOs => self.at_home("Library/Application Support"),
            System::Windows => self.path("APPDATA").or_else(|| self.at_home("AppData/Roaming")),
        }
    }
}

/// The places to search, the most important first: `tektra`, the folders that the person `added`, other programs' places.
/// Those that do not exist are among them.
pub fn places(surroundings: &Surroundings, tektra: &Path, added: &[PathBuf]) -> Vec<Place> {
    let mut places = Vec::new();
    let mut add = |source, layout, folders: Vec<Option<PathBuf>>| {
        for folder in folders.into_iter().flatten() {
            if !places.iter().any(|place: &Place| place.folder == folder && place.layout == layout) {
                places.push(Place { source, folder, layout });
            }
        }
    };
    add(Source::Tektra, Layout::Folder, vec![Some(tektra.into())]);
    add(Source::Added, Layout::Folder, added.iter().cloned().map(Some).collect());
    add(Source::LmStudio, Layout::Folder, lm_studio(surroundings));
    add(Source::Ollama, Layout::Ollama, ollama(surroundings));
    let jan = jan(surroundings);
    let older = jan.iter().map(|data| data.as_ref().map(|data| data.join("models")));
    let older: Vec<_> = older.chain([surroundings.at_home("jan/models")]).collect();
    add(Source::Jan, Layout::Jan, jan);
    add(Source::Jan, Layout::Folder, older);
    add(Source::HuggingFace, Layout::Hub, hugging_face(surroundings));
    places
}

/// Source: <https://github.com/lmstudio-ai/lms> (`findLMStudioHome`, `resolveModelsFolderPath`).
fn lm_studio(surroundings: &Surroundings) -> Vec<Option<PathBuf>> {
    let pointer = surroundings.at_home(".lmstudio-home-pointer").and_then(|file| beginning(&file, 4096).ok());
    let pointer = pointer.map(|path| String::from_utf8_lossy(&path).trim().to_owned()).filter(|path| !path.is_empty());
    let homes = [
        pointer.map(|path| surroundings.expanded(Path::new(&path))),
        surroundings.at_home(".lmstudio"),
        surroundings.at_home(".cache/lm-studio"),
    ];
    let folders = homes.into_iter().flatten().flat_map(|home| {
        let chosen = text_in(&home.join("settings.json"), "downloadsFolder");
        [chosen.map(|path| surroundings.expanded(&path)), Some(home.join("models"))]
    });
    folders.collect()
}

/// Source: <https://github.com/ollama/ollama/blob/main/docs/faq.mdx>, "Where are models stored?".
fn ollama(surroundings: &Surroundings) -> Vec<Option<PathBuf>> {
    let service = (surroundings.system == System::Linux).then(|| "/usr/share/ollama/.ollama/models".into());
    vec![surroundings.path("OLLAMA_MODELS"), surroundings.at_home(".ollama/models"), service]
}

/// Jan's data folders. Source: <https://github.com/janhq/jan/blob/dev/src-tauri/src/core/app/commands.rs>.
fn jan(surroundings: &Surroundings) -> Vec<Option<PathBuf>> {
    let data = surroundings.data().map(|data| data.join("Jan"));
    let settings = [data.clone(), surroundings.at_home(".config/Jan")];
    let chosen = settings.into_iter().flatten().map(|folder| text_in(&folder.join("settings.json"), "data_folder"));
    let mut folders = vec![surroundings.path("JAN_DATA_FOLDER")];
    folders.extend(chosen);
    folders.extend([data.map(|data| data.join("data")), surroundings.at_home(".config/Jan/data")]);
    folders
}

/// Source: <https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables>.
fn hugging_face(surroundings: &Surroundings) -> Vec<Option<PathBuf>> {
    let in_folder = |name: &str, inner: &str| surroundings.path(name).map(|folder| folder.join(inner));
    vec![
        surroundings.path("HF_HUB_CACHE"),
        surroundings.path("HUGGINGFACE_HUB_CACHE"),
        in_folder("HF_HOME", "hub"),
        in_folder("XDG_CACHE_HOME", "huggingface/hub"),
        surroundings.at_home(".cache/huggingface/hub"),
    ]
}

/// The path in `key` of a small JSON file of settings.
fn text_in(file: &Path, key: &str) -> Option<PathBuf> {
    let text = beginning(file, 16 << 20).ok()?;
    let json: Value = serde_json::from_slice(&text).ok()?;
    let path = json.get(key)?.as_str()?;
    (!path.is_empty()).then(|| path.into())
}

//! What a person can set.

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use specta::Type;

use crate::{Error, Result, Store};

/// Name of the settings in the store.
const NAME: &str = "settings";

/// Light or dark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum Theme {
    /// As the system is.
    #[default]
    System,
    /// Always light.
    Light,
    /// Always dark.
    Dark,
}

/// The settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Type)]
pub struct Settings {
    /// Light or dark.
    pub theme: Theme,
    /// Name of the model to use; absent for the first usable one.
    pub model: Option<String>,
    /// Instructions that stand before every conversation; empty for none.
    pub system_prompt: String,
    /// From 0 (the likeliest token every time) to 2.
    pub temperature: f64,
    /// The longest answer in tokens.
    pub max_tokens: u32,
    /// Folders besides Tektra's own that models are looked for in.
    pub model_folders: Vec<String>,
    /// Whether models of LM Studio, Ollama, Jan and the Hugging Face cache are listed and used in place.
    pub other_programs: bool,
    /// Minutes without a message after which the model is unloaded; 0 keeps it.
    pub idle_unload_minutes: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            theme: Theme::System,
            model: None,
            system_prompt: String::new(),
            // Small models lose the thread at mistral.rs's default of 1.
            temperature: 0.7,
            max_tokens: 1024,
            model_folders: Vec::new(),
            other_programs: true,
            idle_unload_minutes: 15,
        }
    }
}

impl Settings {
    /// # Errors
    /// [`Error::InvalidInput`] for values that no answer could be made with.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::InvalidInput { what: what.into() });
        if !(0.0..=2.0).contains(&self.temperature) {
            return wrong("The temperature must lie between 0 and 2.");
        }
        if self.max_tokens == 0 {
            return wrong("The answer limit must be at least 1 token.");
        }
        if let Some(folder) = self.model_folders.iter().find(|folder| !Path::new(folder).is_absolute()) {
            return wrong(&format!("\"{folder}\" is not a whole path: folders of models are named from the root on."));
        }
        Ok(())
    }
}

impl Store {
    /// The settings; what is missing or unreadable in the store has its default.
    pub async fn settings(&self) -> Result<Settings> {
        Ok(over_default(self.setting(NAME).await?.unwrap_or_default()))
    }

    /// Stores the settings.
    ///
    /// # Errors
    /// [`Error::InvalidInput`], or when they cannot be stored.
    pub async fn set_settings(&self, settings: &Settings) -> Result<()> {
        settings.check()?;
        self.set_setting(NAME, settings).await
    }
}

/// What differs from the stored settings while this process runs.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// A model's name or path.
    pub model: Option<String>,
    /// Instructions that stand before every conversation.
    pub system_prompt: Option<String>,
    /// The longest answer in tokens.
    pub max_tokens: Option<u32>,
    /// From 0 to 2.
    pub temperature: Option<f64>,
    /// After how long without a message the model is unloaded; zero keeps it.
    pub idle_unload: Option<Duration>,
}

impl Overrides {
    /// `settings` with what is set here in its place.
    pub fn apply(&self, settings: Settings) -> Settings {
        Settings {
            model: self.model.clone().or_else(|| settings.model.clone()),
            system_prompt: self.system_prompt.clone().unwrap_or_else(|| settings.system_prompt.clone()),
            temperature: self.temperature.unwrap_or(settings.temperature),
            max_tokens: self.max_tokens.unwrap_or(settings.max_tokens),
            ..settings
        }
    }
}

/// The default with what was stored in its place; the default alone when what was stored cannot be read.
pub(crate) fn over_default<T: Default + Serialize + DeserializeOwned>(stored: Map<String, Value>) -> T {
    let mut value = serde_json::to_value(T::default()).unwrap_or_default();
    if let Some(value) = value.as_object_mut() {
        value.extend(stored);
    }
    serde_json::from_value(value).unwrap_or_default()
}

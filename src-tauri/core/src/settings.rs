//! What a person can set.

use serde::{Deserialize, Serialize};
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
        Ok(())
    }
}

impl Store {
    /// The settings; what is missing or unreadable in the store has its default.
    pub async fn settings(&self) -> Result<Settings> {
        let stored: Option<serde_json::Map<_, _>> = self.setting(NAME).await?;
        let mut settings = serde_json::to_value(Settings::default()).unwrap_or_default();
        if let Some(settings) = settings.as_object_mut() {
            settings.extend(stored.unwrap_or_default());
        }
        Ok(serde_json::from_value(settings).unwrap_or_default())
    }

    /// Stores the settings.
    pub(crate) async fn set_settings(&self, settings: &Settings) -> Result<()> {
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
}

impl Overrides {
    /// `settings` with what is set here in its place.
    pub fn apply(&self, settings: Settings) -> Settings {
        Settings {
            theme: settings.theme,
            model: self.model.clone().or(settings.model),
            system_prompt: self.system_prompt.clone().unwrap_or(settings.system_prompt),
            temperature: self.temperature.unwrap_or(settings.temperature),
            max_tokens: self.max_tokens.unwrap_or(settings.max_tokens),
        }
    }
}

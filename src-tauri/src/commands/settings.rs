//! The settings.

use tauri::State;
use tektra_core::Settings;

use super::{Reply, report};
use crate::shell::Shell;

/// The settings.
#[tauri::command]
#[specta::specta]
pub(crate) async fn settings_get(shell: State<'_, Shell>) -> Reply<Settings> {
    shell.core().await?.settings().await.map_err(report)
}

/// Changes the settings.
#[tauri::command]
#[specta::specta]
pub(crate) async fn settings_set(shell: State<'_, Shell>, settings: Settings) -> Reply<()> {
    shell.core().await?.set_settings(&settings).await.map_err(report)
}

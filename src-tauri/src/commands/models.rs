//! The models: on this machine, in the catalogue, on their way here.

use tauri::State;
use tektra_core::{Download, FitSummary, ModelDetails, ModelSummary, Suggestions};

use super::{Reply, report};
use crate::shell::Shell;

/// Every model on this machine.
#[tauri::command]
#[specta::specta]
pub(crate) async fn models_list(shell: State<'_, Shell>) -> Reply<Vec<ModelSummary>> {
    shell.core().await?.models().await.map_err(report)
}

/// Everything that is known of a model without loading it.
#[tauri::command]
#[specta::specta]
pub(crate) async fn model_details(shell: State<'_, Shell>, name: String) -> Reply<ModelDetails> {
    shell.core().await?.model_details(name).await.map_err(report)
}

/// What a model needs of the memory for a conversation of `context_tokens`; for its longest when absent.
#[tauri::command]
#[specta::specta]
pub(crate) async fn model_fit(shell: State<'_, Shell>, name: String, context_tokens: Option<u32>) -> Reply<FitSummary> {
    shell.core().await?.model_fit(name, context_tokens).await.map_err(report)
}

/// Models worth having, and the best for this machine.
#[tauri::command]
#[specta::specta]
pub(crate) async fn suggestions() -> Reply<Suggestions> {
    Suggestions::now(None).map_err(report)
}

/// Every download.
#[tauri::command]
#[specta::specta]
pub(crate) async fn downloads_list(shell: State<'_, Shell>) -> Reply<Vec<Download>> {
    Ok(shell.core().await?.downloads().list())
}

/// Starts a download, or continues it: an id of the catalogue, hf://owner/repository/file.gguf, an address, or the file's
/// name of one that is paused.
#[tauri::command]
#[specta::specta]
pub(crate) async fn download_start(shell: State<'_, Shell>, what: String) -> Reply<()> {
    shell.core().await?.downloads().start(&what).await.map_err(report)
}

/// Stops a download; what has arrived is kept.
#[tauri::command]
#[specta::specta]
pub(crate) async fn download_pause(shell: State<'_, Shell>, file: String) -> Reply<()> {
    shell.core().await?.downloads().pause(&file);
    Ok(())
}

/// Stops a download and removes what has arrived; a finished one is only no longer listed.
#[tauri::command]
#[specta::specta]
pub(crate) async fn download_remove(shell: State<'_, Shell>, file: String) -> Reply<()> {
    shell.core().await?.downloads().remove(&file).await.map_err(report)
}

//! The models: on this machine, in the catalogue, on their way here.

use tauri::State;
use tektra_core::{
    Download, FitSummary, HubGguf, HubModel, ModelDetails, ModelSummary, PlacementPlan, PlacementWish, Precisions,
    ProfileGoal, ProfileSummary, Settings, Suggestions, Work,
};

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

/// Which part of a model lies where, as the person wishes, or as it is stored.
#[tauri::command]
#[specta::specta]
pub(crate) async fn placement_plan(
    shell: State<'_, Shell>,
    name: String,
    wish: Option<PlacementWish>,
) -> Reply<PlacementPlan> {
    shell.core().await?.placement_plan(name, wish).await.map_err(report)
}

/// Stores where a model is to be placed; the next message finds it so. Refuses what cannot be done.
#[tauri::command]
#[specta::specta]
pub(crate) async fn placement_set(shell: State<'_, Shell>, name: String, wish: PlacementWish) -> Reply<()> {
    shell.core().await?.set_placement(name, wish).await.map_err(report)
}

/// Fast, Balanced, Quality for this machine as it is now.
#[tauri::command]
#[specta::specta]
pub(crate) async fn profiles_list(shell: State<'_, Shell>) -> Reply<Vec<ProfileSummary>> {
    shell.core().await?.profiles().await.map_err(report)
}

/// Uses a profile: its model with its context. Returns the settings as they are then.
#[tauri::command]
#[specta::specta]
pub(crate) async fn profile_apply(shell: State<'_, Shell>, goal: ProfileGoal) -> Reply<Settings> {
    shell.core().await?.apply_profile(goal).await.map_err(report)
}

/// In which precisions a model can be had, and what each costs.
#[tauri::command]
#[specta::specta]
pub(crate) async fn precisions(shell: State<'_, Shell>, name: String) -> Reply<Precisions> {
    shell.core().await?.precisions(name).await.map_err(report)
}

/// Writes a model in another precision into Tektra's folder; `rules` are exceptions, PATTERN=FORMAT.
#[tauri::command]
#[specta::specta]
pub(crate) async fn quantize_start(
    shell: State<'_, Shell>,
    name: String,
    kind: String,
    rules: Vec<String>,
) -> Reply<()> {
    shell.core().await?.quantize(name, kind, rules).await.map_err(report)
}

/// Measures a model's perplexity on Tektra's text.
#[tauri::command]
#[specta::specta]
pub(crate) async fn quality_measure(shell: State<'_, Shell>, name: String) -> Reply<()> {
    shell.core().await?.measure_quality(name).await.map_err(report)
}

/// Stops what the workshop does; what has ended is forgotten.
#[tauri::command]
#[specta::specta]
pub(crate) async fn workshop_stop(shell: State<'_, Shell>) -> Reply<()> {
    shell.core().await?.workshop().stop();
    Ok(())
}

/// What the workshop does, or did last.
#[tauri::command]
#[specta::specta]
pub(crate) async fn workshop_state(shell: State<'_, Shell>) -> Reply<Option<Work>> {
    Ok(shell.core().await?.workshop().state())
}

/// Searches the hub for repositories with GGUF files.
#[tauri::command]
#[specta::specta]
pub(crate) async fn hub_search(shell: State<'_, Shell>, text: String) -> Reply<Vec<HubModel>> {
    shell.core().await?.hub_search(&text).await.map_err(report)
}

/// The GGUF files of a repository.
#[tauri::command]
#[specta::specta]
pub(crate) async fn hub_files(shell: State<'_, Shell>, repository: String) -> Reply<Vec<HubGguf>> {
    shell.core().await?.hub_files(&repository).await.map_err(report)
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

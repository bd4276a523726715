//! The engine.

use tauri::State;
use tektra_core::{EngineState, UnloadReason, Unloaded};

use super::{Reply, report};
use crate::shell::Shell;

/// What the engine is doing.
#[tauri::command]
#[specta::specta]
pub(crate) async fn engine_state(shell: State<'_, Shell>) -> Reply<EngineState> {
    Ok(shell.core().await?.engine().state().borrow().clone())
}

/// Starts the engine, so that the next message finds it ready.
#[tauri::command]
#[specta::specta]
pub(crate) async fn engine_warm(shell: State<'_, Shell>) -> Reply<()> {
    shell.core().await?.warm().await.map_err(report)
}

/// Starts the engine anew.
#[tauri::command]
#[specta::specta]
pub(crate) async fn engine_restart(shell: State<'_, Shell>) -> Reply<()> {
    shell.core().await?.restart_engine().await.map_err(report)
}

/// Takes the model out of memory; tells what that gave back.
#[tauri::command]
#[specta::specta]
pub(crate) async fn engine_unload(shell: State<'_, Shell>) -> Reply<Vec<Unloaded>> {
    Ok(shell.core().await?.engine().unload(UnloadReason::Asked).await)
}

//! Sending, stopping, continuing, answering again. What is said comes back as events.

use tauri::State;
use tektra_core::{SendRequest, Started};

use super::{Reply, report};
use crate::shell::Shell;

/// Stores a message and begins its answer.
#[tauri::command]
#[specta::specta]
pub(crate) async fn chat_send(shell: State<'_, Shell>, request: SendRequest) -> Reply<Started> {
    shell.core().await?.send(request).await.map_err(report)
}

/// Stops an answer; what is written stays.
#[tauri::command]
#[specta::specta]
pub(crate) async fn chat_stop(shell: State<'_, Shell>, message_id: String) -> Reply<()> {
    shell.core().await?.stop(&message_id);
    Ok(())
}

/// Goes on writing an answer where it ended.
#[tauri::command]
#[specta::specta]
pub(crate) async fn chat_continue(shell: State<'_, Shell>, message_id: String) -> Reply<Started> {
    shell.core().await?.go_on(&message_id).await.map_err(report)
}

/// Writes another answer beside one that exists.
#[tauri::command]
#[specta::specta]
pub(crate) async fn chat_regenerate(shell: State<'_, Shell>, message_id: String) -> Reply<Started> {
    shell.core().await?.regenerate(&message_id).await.map_err(report)
}

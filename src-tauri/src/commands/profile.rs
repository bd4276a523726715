//! Where the time goes.

use tauri::State;
use tektra_core::{AnswerTrace, ProfiledProcess};

use super::{Reply, report};
use crate::shell::Shell;

/// Of the last answers, at most 20, the latest first: where their time went. Kept in memory only.
#[tauri::command]
#[specta::specta]
pub(crate) async fn profile_traces(shell: State<'_, Shell>) -> Reply<Vec<AnswerTrace>> {
    shell.core().await?.profile_traces().await.map_err(report)
}

/// Samples the stacks of a process for so many seconds: a flame graph as SVG, or null when it was cancelled.
#[tauri::command]
#[specta::specta]
pub(crate) async fn profile_record(
    shell: State<'_, Shell>,
    process: ProfiledProcess,
    seconds: u32,
) -> Reply<Option<String>> {
    shell.core().await?.profile_record(process, seconds).await.map_err(report)
}

/// Ends the recording.
#[tauri::command]
#[specta::specta]
pub(crate) async fn profile_cancel(shell: State<'_, Shell>) -> Reply<()> {
    shell.core().await?.profile_cancel();
    Ok(())
}

/// What the page spent on painting an answer, once its last frame is there.
#[tauri::command]
#[specta::specta]
pub(crate) async fn profile_render(
    shell: State<'_, Shell>,
    message_id: String,
    milliseconds: f64,
    frames: u32,
) -> Reply<()> {
    shell.core().await?.profile_render(&message_id, milliseconds, frames);
    Ok(())
}

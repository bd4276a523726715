//! The conversation list, and which branch of a conversation is shown.

use tauri::State;
use tektra_core::{Conversation, ConversationSummary};

use super::{Reply, report};
use crate::shell::Shell;

/// All conversations, the latest first.
#[tauri::command]
#[specta::specta]
pub(crate) async fn conversations_list(shell: State<'_, Shell>) -> Reply<Vec<ConversationSummary>> {
    shell.core().await?.store().conversations().await.map_err(report)
}

/// Conversations that contain every word of `query`, the latest first.
#[tauri::command]
#[specta::specta]
pub(crate) async fn conversations_search(shell: State<'_, Shell>, query: String) -> Reply<Vec<ConversationSummary>> {
    shell.core().await?.store().search(&query).await.map_err(report)
}

/// A conversation as it is at this moment.
#[tauri::command]
#[specta::specta]
pub(crate) async fn conversation_open(shell: State<'_, Shell>, id: String) -> Reply<Conversation> {
    shell.core().await?.open_conversation(&id).await.map_err(report)
}

/// Gives a conversation another title.
#[tauri::command]
#[specta::specta]
pub(crate) async fn conversation_rename(shell: State<'_, Shell>, id: String, title: String) -> Reply<()> {
    shell.core().await?.rename(&id, &title).await.map_err(report)
}

/// Deletes a conversation; for a minute it can be restored.
#[tauri::command]
#[specta::specta]
pub(crate) async fn conversation_delete(shell: State<'_, Shell>, id: String) -> Reply<()> {
    shell.core().await?.delete(&id).await.map_err(report)
}

/// Brings a deleted conversation back.
#[tauri::command]
#[specta::specta]
pub(crate) async fn conversation_restore(shell: State<'_, Shell>, id: String) -> Reply<()> {
    shell.core().await?.restore(&id).await.map_err(report)
}

/// Shows the branch that leads through a message.
#[tauri::command]
#[specta::specta]
pub(crate) async fn branch_select(shell: State<'_, Shell>, message_id: String) -> Reply<Conversation> {
    shell.core().await?.select_branch(&message_id).await.map_err(report)
}

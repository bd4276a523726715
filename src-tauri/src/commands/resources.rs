//! What the machine does.

use tauri::State;
use tektra_core::{Probe, ResourceHistory};

use super::{Reply, report};
use crate::shell::Shell;

/// Starts sampling, or changes how often (500 to 5000 ms); what was sampled in the last ten minutes.
#[tauri::command]
#[specta::specta]
pub(crate) async fn resources_watch(shell: State<'_, Shell>, interval_ms: u32) -> Reply<ResourceHistory> {
    shell.core().await?.resources_watch(interval_ms).map_err(report)
}

/// Nobody looks any more: sampling stops.
#[tauri::command]
#[specta::specta]
pub(crate) async fn resources_unwatch(shell: State<'_, Shell>) -> Reply<()> {
    shell.core().await?.resources_unwatch();
    Ok(())
}

/// Which sensors were looked for, and what came of it.
#[tauri::command]
#[specta::specta]
pub(crate) async fn resources_probes(shell: State<'_, Shell>) -> Reply<Vec<Probe>> {
    shell.core().await?.resources_probes().await.map_err(report)
}

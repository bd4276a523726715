//! Opening the data folder, events, and the way out of the window.

use serde::{Deserialize, Serialize};
use specta::Type;
use tauri::{State, ipc::Channel};
use tektra_core::{CoreEvent, Error};

use super::{Reply, report};
use crate::shell::Shell;

/// What the page shows of the installation.
#[derive(Serialize, Type)]
pub(crate) struct StartupInfo {
    version: String,
    data_folder: String,
    models_folder: String,
    logs_folder: String,
}

/// A folder that the page can show in the file browser.
#[derive(Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FolderKind {
    Data,
    Models,
    Logs,
}

/// Opens the data folder. Fails with the reason when it cannot be used; may be called again.
#[tauri::command]
#[specta::specta]
pub(crate) async fn startup(shell: State<'_, Shell>) -> Reply<StartupInfo> {
    shell.core().await?;
    Ok(StartupInfo {
        version: env!("CARGO_PKG_VERSION").into(),
        data_folder: shell.home.folder().display().to_string(),
        models_folder: shell.home.models().display().to_string(),
        logs_folder: shell.home.logs().display().to_string(),
    })
}

/// Sends everything that happens into `channel`, beginning with the engine's state.
#[tauri::command]
#[specta::specta]
pub(crate) async fn events_subscribe(shell: State<'_, Shell>, channel: Channel<CoreEvent>) -> Reply<()> {
    shell.subscribe(channel).await
}

/// Opens a web or mail address in the person's own program.
#[tauri::command]
#[specta::specta]
pub(crate) async fn open_external(url: String) -> Reply<()> {
    let allowed = ["http://", "https://", "mailto:"].iter().any(|scheme| url.to_ascii_lowercase().starts_with(scheme));
    if !allowed {
        return Err(report(Error::InvalidInput { what: "Only web and mail addresses can be opened.".into() }));
    }
    open(&url)
}

/// Shows one of Tektra's folders in the file browser.
#[tauri::command]
#[specta::specta]
pub(crate) async fn open_folder(shell: State<'_, Shell>, which: FolderKind) -> Reply<()> {
    let folder = match which {
        FolderKind::Data => shell.home.folder().into(),
        FolderKind::Models => shell.home.models(),
        FolderKind::Logs => shell.home.logs(),
    };
    open(folder)
}

fn open(target: impl AsRef<std::ffi::OsStr>) -> Reply<()> {
    let what = target.as_ref().to_string_lossy().into_owned();
    open::that_detached(target).map_err(|error| {
        report(Error::InvalidInput { what: format!("{what} cannot be opened: no program for it was found ({error}).") })
    })
}

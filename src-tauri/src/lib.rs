//! The window: the only code that knows Tauri. Commands forward to [`tektra_core`], events come back over one channel.

mod carry;
mod commands;
mod instance;
#[cfg(target_os = "linux")]
mod painting;
mod shell;

use std::{path::Path, process::ExitCode};

use tauri::{
    Manager, RunEvent, WebviewUrl, WebviewWindowBuilder,
    webview::{NewWindowResponse, PageLoadEvent},
};
use tektra_core::{Error, Home};

use shell::Shell;

/// Opens the window and returns when it is closed.
pub fn run() -> ExitCode {
    #[cfg(target_os = "linux")]
    painting::choose();
    if cfg!(target_os = "linux") && ["DISPLAY", "WAYLAND_DISPLAY"].iter().all(|name| std::env::var_os(name).is_none()) {
        eprintln!("There is no display to open a window on. `tektra-cli chat` converses in the terminal.");
        return ExitCode::FAILURE;
    }
    match start() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("Tektra cannot start. {error} {}", error.hint());
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<ExitCode, Error> {
    let home = Home::find()?;
    let _log = tektra_core::log::init(&home, std::env::args().any(|argument| argument == "--verbose"));
    // A data folder that cannot be written is shown in the window, with its reason.
    let lock = match tektra_core::claim_window(&home) {
        Ok(None) => {
            instance::focus_first(&home);
            return Ok(ExitCode::SUCCESS);
        }
        Ok(lock) => lock,
        Err(error) => {
            tracing::warn!(%error, "no window lock");
            None
        }
    };
    let failed = |error: tauri::Error| Error::InvalidInput { what: format!("The window cannot be opened ({error}).") };
    let commands = commands::all();
    let app = tauri::Builder::default()
        .manage(Shell::new(home.clone()))
        .invoke_handler(commands.invoke_handler())
        .setup(move |app| {
            commands.mount_events(app);
            open_window(app.handle())?;
            instance::listen(app.handle(), &home);
            Ok(())
        })
        .build(tauri::generate_context!())
        .map_err(failed)?;
    app.run(|app, event| {
        if let RunEvent::Exit = event {
            tauri::async_runtime::block_on(Shell::of(app).close());
        }
    });
    drop(lock);
    Ok(ExitCode::SUCCESS)
}

fn open_window(app: &tauri::AppHandle) -> tauri::Result<()> {
    let config = app.config().app.windows.first().cloned().unwrap_or_default();
    WebviewWindowBuilder::new(app, &config.label, WebviewUrl::default())
        .title(&config.title)
        .inner_size(config.width, config.height)
        .min_inner_size(config.min_width.unwrap_or_default(), config.min_height.unwrap_or_default())
        // An answer may contain any link: the window itself never leaves its own page.
        .on_navigation(|url| {
            matches!(url.scheme(), "tauri") || matches!(url.host_str(), Some("tauri.localhost" | "localhost"))
        })
        .on_new_window(|_, _| NewWindowResponse::Deny)
        .on_page_load(|window, page| {
            if matches!(page.event(), PageLoadEvent::Started) {
                Shell::of(window.app_handle()).page_begins();
            }
        })
        .build()?;
    Ok(())
}

/// Writes the typed bindings of all commands and events for the window's code to `path`.
///
/// # Errors
/// When a type cannot be expressed in TypeScript or the file cannot be written.
pub fn write_bindings(path: &Path) -> Result<(), specta_typescript::Error> {
    commands::all().export(specta_typescript::Typescript::default().header("// Generated; do not edit.\n"), path)
}

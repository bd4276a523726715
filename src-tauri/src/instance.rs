//! One window on a data folder: a second start brings the first one forward.

use std::hash::{DefaultHasher, Hash, Hasher};

use interprocess::local_socket::{
    GenericNamespaced, ListenerOptions, Stream, ToNsName, tokio::prelude::*, traits::Stream as _,
};
use tauri::{AppHandle, Manager};
use tektra_core::Home;

/// Asks the window that is open to come forward.
pub(crate) fn focus_first(home: &Home) {
    let connected = name(home).to_ns_name::<GenericNamespaced>().and_then(Stream::connect);
    match connected {
        Ok(_) => eprintln!("Tektra is open already; its window comes forward."),
        Err(_) => eprintln!("Tektra is open already."),
    }
}

/// Comes forward whenever another start connects.
pub(crate) fn listen(app: &AppHandle, home: &Home) {
    let (app, name) = (app.clone(), name(home));
    tauri::async_runtime::spawn(async move {
        let listener =
            name.to_ns_name::<GenericNamespaced>().and_then(|name| ListenerOptions::new().name(name).create_tokio());
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => return tracing::warn!(%error, "a second start cannot bring this window forward"),
        };
        while listener.accept().await.is_ok() {
            if let Some(window) = app.get_webview_window("main") {
                let _ = window.unminimize().and_then(|()| window.show()).and_then(|()| window.set_focus());
            }
        }
    });
}

fn name(home: &Home) -> String {
    let mut hasher = DefaultHasher::new();
    home.folder().hash(&mut hasher);
    format!("tektra-window-{:016x}", hasher.finish())
}

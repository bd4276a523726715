//! The commands that the page can call: each forwards to the core.

mod bench;
mod chat;
mod conversations;
mod engine;
mod models;
mod profile;
mod resources;
mod settings;
mod startup;

use tektra_core::ErrorReport;

/// Every command's result: an error is a code, a sentence and what to do.
pub(crate) type Reply<T> = Result<T, ErrorReport>;

/// All commands and their types.
pub(crate) fn all() -> tauri_specta::Builder<tauri::Wry> {
    tauri_specta::Builder::new().disable_serde_phases().commands(tauri_specta::collect_commands![
        startup::startup,
        startup::events_subscribe,
        startup::open_external,
        startup::open_folder,
        conversations::conversations_list,
        conversations::conversations_search,
        conversations::conversation_open,
        conversations::conversation_rename,
        conversations::conversation_delete,
        conversations::conversation_restore,
        conversations::branch_select,
        chat::chat_send,
        chat::chat_stop,
        chat::chat_continue,
        chat::chat_regenerate,
        engine::engine_state,
        engine::engine_warm,
        engine::engine_restart,
        engine::engine_unload,
        models::models_list,
        models::model_details,
        models::model_fit,
        models::placement_plan,
        models::placement_set,
        models::profiles_list,
        models::profile_apply,
        models::precisions,
        models::quantize_start,
        models::quality_measure,
        models::workshop_stop,
        models::workshop_state,
        models::hub_search,
        models::hub_files,
        models::suggestions,
        models::downloads_list,
        models::download_start,
        models::download_pause,
        models::download_remove,
        resources::resources_watch,
        resources::resources_unwatch,
        resources::resources_probes,
        bench::bench_plan,
        bench::bench_start,
        bench::bench_cancel,
        bench::bench_resume,
        bench::bench_state,
        bench::bench_runs,
        bench::bench_run,
        bench::bench_delete,
        bench::bench_compare,
        bench::bench_export,
        bench::bench_apply,
        bench::loadtest_start,
        bench::loadtest_cancel,
        bench::loadtest_state,
        profile::profile_traces,
        profile::profile_record,
        profile::profile_cancel,
        profile::profile_render,
        settings::settings_get,
        settings::settings_set,
    ])
}

/// An error on its way to the page.
fn report(error: tektra_core::Error) -> ErrorReport {
    tracing::warn!(code = ?error.code(), "a command failed");
    error.report()
}

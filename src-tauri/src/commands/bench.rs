//! Benchmarks and load tests.

use tauri::State;
use tektra_core::{
    BenchComparison, BenchFormat, BenchPlan, BenchProgress, BenchRequest, BenchRun, BenchRunSummary, LoadRequest,
    LoadState, Settings,
};

use super::{Reply, report};
use crate::shell::Shell;

/// What a benchmark would do, and how long it would take.
#[tauri::command]
#[specta::specta]
pub(crate) async fn bench_plan(shell: State<'_, Shell>, request: BenchRequest) -> Reply<BenchPlan> {
    shell.core().await?.bench_plan(request).await.map_err(report)
}

/// Begins a benchmark; one at a time.
#[tauri::command]
#[specta::specta]
pub(crate) async fn bench_start(shell: State<'_, Shell>, request: BenchRequest) -> Reply<()> {
    shell.core().await?.bench_start(request).await.map_err(report)
}

/// Stops it at once; what is measured is kept.
#[tauri::command]
#[specta::specta]
pub(crate) async fn bench_cancel(shell: State<'_, Shell>) -> Reply<()> {
    shell.core().await?.bench_cancel().await;
    Ok(())
}

/// Goes on with a run that was interrupted.
#[tauri::command]
#[specta::specta]
pub(crate) async fn bench_resume(shell: State<'_, Shell>, id: String) -> Reply<()> {
    shell.core().await?.bench_resume(&id).await.map_err(report)
}

/// How far the running benchmark is.
#[tauri::command]
#[specta::specta]
pub(crate) async fn bench_state(shell: State<'_, Shell>) -> Reply<Option<BenchProgress>> {
    Ok(shell.core().await?.bench_state())
}

/// Every run, the latest first.
#[tauri::command]
#[specta::specta]
pub(crate) async fn bench_runs(shell: State<'_, Shell>) -> Reply<Vec<BenchRunSummary>> {
    shell.core().await?.bench_runs().await.map_err(report)
}

/// One run, whole.
#[tauri::command]
#[specta::specta]
pub(crate) async fn bench_run(shell: State<'_, Shell>, id: String) -> Reply<BenchRun> {
    shell.core().await?.bench_run(&id).await.map_err(report)
}

/// Forgets a run.
#[tauri::command]
#[specta::specta]
pub(crate) async fn bench_delete(shell: State<'_, Shell>, id: String) -> Reply<()> {
    shell.core().await?.bench_delete(&id).await.map_err(report)
}

/// Two runs, cell by cell.
#[tauri::command]
#[specta::specta]
pub(crate) async fn bench_compare(shell: State<'_, Shell>, a: String, b: String) -> Reply<BenchComparison> {
    shell.core().await?.bench_compare(&a, &b).await.map_err(report)
}

/// A run as text in a format.
#[tauri::command]
#[specta::specta]
pub(crate) async fn bench_export(shell: State<'_, Shell>, id: String, format: BenchFormat) -> Reply<String> {
    shell.core().await?.bench_export(&id, format).await.map_err(report)
}

/// Uses a cell's model and placement from now on; the settings as they are then.
#[tauri::command]
#[specta::specta]
pub(crate) async fn bench_apply(shell: State<'_, Shell>, id: String, cell: u32) -> Reply<Settings> {
    shell.core().await?.bench_apply(&id, cell).await.map_err(report)
}

/// Loads the model in use and lets requests arrive; one test at a time, and not beside a benchmark.
#[tauri::command]
#[specta::specta]
pub(crate) async fn loadtest_start(shell: State<'_, Shell>, request: LoadRequest) -> Reply<()> {
    shell.core().await?.loadtest_start(request).await.map_err(report)
}

/// No more requests come, those that are being answered are stopped, and what was answered until then is the report.
#[tauri::command]
#[specta::specta]
pub(crate) async fn loadtest_cancel(shell: State<'_, Shell>) -> Reply<()> {
    shell.core().await?.loadtest_cancel();
    Ok(())
}

/// How far the load test is, or what came of the last one since the window opened.
#[tauri::command]
#[specta::specta]
pub(crate) async fn loadtest_state(shell: State<'_, Shell>) -> Reply<LoadState> {
    Ok(shell.core().await?.loadtest_state())
}

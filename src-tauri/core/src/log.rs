//! Logging: to a rotating file in the data folder, and to the terminal as far as it is asked for.
//! The text of a conversation is never logged at `info` or above.

use std::io::IsTerminal;

use tracing_appender::{
    non_blocking::WorkerGuard,
    rolling::{RollingFileAppender, Rotation},
};
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use crate::Home;

/// Daily files that are kept.
const KEPT_FILES: usize = 7;

/// Begins logging. The terminal shows what `RUST_LOG` asks for, everything of Tektra with `verbose`, else nothing.
/// A data folder that cannot be written costs the file, not the work. Keep the guard until the end: it writes what is left.
pub fn init(home: &Home, verbose: bool) -> Option<WorkerGuard> {
    let terminal = match (std::env::var("RUST_LOG"), verbose) {
        (Ok(filter), _) => EnvFilter::new(filter),
        (Err(_), true) => EnvFilter::new("tektra=debug,tektra_core=debug,tektra_cli=debug,tektra_engine=debug"),
        (Err(_), false) => EnvFilter::new("off"),
    };
    let terminal = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter(terminal);
    let appender = home.create().ok().and_then(|()| {
        let rolling = RollingFileAppender::builder().rotation(Rotation::DAILY).max_log_files(KEPT_FILES);
        rolling.filename_prefix("tektra").filename_suffix("log").build(home.logs()).ok()
    });
    let (file, guard) = appender.map(tracing_appender::non_blocking).unzip();
    let file = file.map(|file| {
        let filter = EnvFilter::new("info,sqlx=warn,zbus=warn");
        tracing_subscriber::fmt::layer().with_writer(file).with_ansi(false).with_filter(filter)
    });
    let _ = tracing_subscriber::registry().with(terminal).with(file).try_init();
    guard
}

//! Tektra's inference process: one model, spoken to over the engine protocol.
//!
//! Started by the core, never by hand. It ends when it is asked to, when the connection closes and
//! when its standard input closes, so that it never outlives the window or terminal that began it.

mod bench;
mod load;
mod mistral_rs;
mod serve;
mod session;

use std::{
    io::{BufRead, Read},
    process::exit,
};

use tektra_protocol::Launch;

/// Exit status after a panic: the core reads it as a crash and starts a new engine.
const EXIT_PANIC: i32 = 70;

/// What both executables do: see the arguments' `--help`, and [`tektra_protocol`] for the rest.
pub fn run() {
    if std::env::args().nth(1).as_deref() == Some("--version") {
        eprintln!("tektra-engine {}", env!("CARGO_PKG_VERSION"));
        return;
    }
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("TEKTRA_ENGINE_LOG")
                .unwrap_or_else(|_| "warn,tektra_engine=info".into()),
        )
        .init();

    match std::env::args().nth(1).as_deref() {
        Some(command @ ("bench" | "cell" | "quality")) => exit(bench::run(command, std::env::args().skip(2))),
        Some("devices") => exit(load::devices()),
        _ => {}
    }
    let Some(launch) = read_launch() else {
        eprintln!("tektra-engine is started by Tektra. Use `tektra-cli ask \"…\"` or open the window.");
        exit(2);
    };
    std::thread::spawn(end_with_the_core);

    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            exit(EXIT_PANIC);
        }
    };
    let status = match runtime.block_on(serve::serve(launch)) {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!(%error, "the connection to the core broke");
            1
        }
    };
    // Not a return: dropping the runtime would wait for a prefill that nobody needs any more.
    exit(status);
}

fn read_launch() -> Option<Launch> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}

/// The core holds the other end of standard input for as long as it lives, even if it is killed.
fn end_with_the_core() {
    let mut rest = [0; 64];
    while matches!(std::io::stdin().lock().read(&mut rest), Ok(1..)) {}
    exit(0);
}

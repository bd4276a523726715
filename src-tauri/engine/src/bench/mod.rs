//! The commands that measure: `bench` for scripts, `cell` and `quality` for the benchmark that the core runs, each call
//! in a fresh process. What they find is JSON on standard output, a line each.

mod cell;
mod options;
mod quality;
mod speed;

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::exit,
};

use serde_json::{Value, json};
use tektra_cpu::{KvType, LoadError, Subject};

/// Exit status after wrong arguments.
const EXIT_USAGE: i32 = 2;

/// Runs one of the commands and returns its exit status.
pub(crate) fn run(command: &str, arguments: impl Iterator<Item = String>) -> i32 {
    let said = |why: &str| say(&json!({ "kind": "error", "why": why }));
    match command {
        "cell" => measure(cell::Cell::read(arguments), cell::HELP, cell::Cell::measure, said),
        "quality" => measure(quality::Comparison::read(arguments), quality::HELP, quality::Comparison::measure, said),
        _ => measure(speed::Bench::read(arguments), speed::HELP, speed::Bench::measure, |why| eprintln!("{why}")),
    }
}

fn measure<T>(
    read: Result<T, String>,
    help: &str,
    measure: impl FnOnce(&T) -> Result<(), String>,
    say_failed: impl FnOnce(&str),
) -> i32 {
    match read.map(|what| measure(&what)) {
        Ok(Ok(())) => 0,
        Ok(Err(why)) => {
            say_failed(&why);
            1
        }
        Err(why) => {
            eprintln!("{why}\n\n{help}");
            EXIT_USAGE
        }
    }
}

fn load(model: &Path, threads: usize, kv: KvType, gpu_layers: &[usize]) -> Result<Subject, String> {
    Subject::load(model, threads, kv, gpu_layers).map_err(|error| match error {
        LoadError::Unsupported(reason) => format!(
            "{} ({reason}) is run by mistral.rs, which this benchmark cannot measure alone",
            model.file_name().unwrap_or_default().display()
        ),
        error => format!("{}: {error}", model.display()),
    })
}

/// The text of a file; of standard input where its name is `-`.
fn read_text(path: &Path) -> Result<String, String> {
    let text = if path.as_os_str() == "-" { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) };
    text.map_err(|error| format!("{}: {error}", path.display()))
}

/// What this process holds in memory, the mapped file's part included; absent where the system does not say.
fn resident_mib() -> Option<f64> {
    memory_mib("VmRSS:")
}

/// The most that [`resident_mib`] has been since the process began.
fn peak_resident_mib() -> Option<f64> {
    memory_mib("VmHWM:")
}

fn memory_mib(name: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib / 1024.0)
}

/// Prints a line at once. The process ends when nobody reads it any more.
fn say(line: &Value) {
    let mut out = io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        exit(1);
    }
}

//! `tektra-engine bench`: what the CPU executor does, measured for scripts. One line of JSON a repetition.

use std::{fs, io, path::PathBuf};

use serde_json::{Value, json};
use tektra_cpu::{KvType, Subject, UnknownKvType, read_gigabytes_per_second};

const HELP: &str = "\
tektra-engine bench --model FILE [--threads N] [--prefill 512] [--decode 128] [--sequences 1] [--repetitions 5] [--kv f16]
    speed, one line of JSON a repetition
tektra-engine bench --model FILE --perplexity TEXT [--threads N] [--window 512] [--kv f16]
    perplexity of the model on a text; - for standard input
tektra-engine bench --bandwidth [--threads N]
    what the memory delivers";

/// Exit status after wrong arguments.
const EXIT_USAGE: i32 = 2;

#[derive(Default)]
struct Options {
    model: Option<PathBuf>,
    perplexity: Option<PathBuf>,
    bandwidth: bool,
    kv: KvType,
    numbers: Vec<(String, usize)>,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{name} wants a value"));
            match name.as_str() {
                "--kv" => options.kv = value()?.parse().map_err(|error: UnknownKvType| error.to_string())?,
                "--bandwidth" => options.bandwidth = true,
                "--model" => options.model = Some(value()?.into()),
                "--perplexity" => options.perplexity = Some(value()?.into()),
                "--threads" | "--prefill" | "--decode" | "--sequences" | "--repetitions" | "--window" => {
                    let number = value()?.parse().ok().filter(|number| (1..=1 << 20).contains(number));
                    options.numbers.push((name.clone(), number.ok_or(format!("{name} wants a number from 1 on"))?));
                }
                _ => return Err(format!("{name} is not an option")),
            }
        }
        Ok(options)
    }

    fn number(&self, name: &str, default: usize) -> usize {
        self.numbers.iter().rev().find(|number| number.0 == name).map_or(default, |number| number.1)
    }
}

/// Runs the command and returns its exit status.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> i32 {
    match Options::read(arguments) {
        Ok(options) if options.bandwidth || options.model.is_some() => match measure(&options) {
            Ok(()) => 0,
            Err(reason) => {
                eprintln!("{reason}");
                1
            }
        },
        Ok(_) => {
            eprintln!("{HELP}");
            EXIT_USAGE
        }
        Err(reason) => {
            eprintln!("{reason}\n\n{HELP}");
            EXIT_USAGE
        }
    }
}

fn measure(options: &Options) -> Result<(), String> {
    let threads = options.number("--threads", crate::load::threads());
    if options.bandwidth {
        let speed = read_gigabytes_per_second(threads).map_err(|error| error.to_string())?;
        say(&json!({ "read_gb_per_second": speed, "threads": threads }));
        return Ok(());
    }
    let Some(model) = &options.model else { return Ok(()) };
    let mut subject =
        Subject::load(model, threads, options.kv).map_err(|error| format!("{}: {error}", model.display()))?;
    if let Some(path) = &options.perplexity {
        let text = if path.as_os_str() == "-" { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) };
        let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
        let tokens = subject.tokens(&text).map_err(|error| error.to_string())?;
        let perplexity = subject.perplexity(&tokens, options.number("--window", 512));
        let perplexity = perplexity.ok_or(format!("{}: too short to measure anything", path.display()))?;
        say(&json!({ "perplexity": perplexity, "tokens": tokens.len(), "simd": subject.simd() }));
        return Ok(());
    }
    let (prefill, decode) = (options.number("--prefill", 512), options.number("--decode", 128));
    let sequences = options.number("--sequences", 1);
    for _ in 0..options.number("--repetitions", 5) {
        let speed = subject.speed(prefill, decode, sequences);
        say(&json!({
            "file": model,
            "threads": threads,
            "sequences": sequences,
            "prefill_tokens": prefill,
            "prefill_tokens_per_second": speed.prefill_tokens_per_second,
            "decode_tokens": decode,
            "decode_tokens_per_second": speed.decode_tokens_per_second,
            "resident_mib": resident_mib(),
            "simd": subject.simd(),
        }));
    }
    Ok(())
}

/// What this process holds in memory, the mapped file's part included; absent where the system does not say.
fn resident_mib() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib / 1024.0)
}

#[allow(clippy::print_stdout, reason = "this command's output is its result")]
fn say(line: &Value) {
    println!("{line}");
}

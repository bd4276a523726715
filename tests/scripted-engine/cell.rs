//! `cell` and `quality` with made-up figures: what a model's file is called says what happens.
//!
//! `slow` takes a quarter of a second a repetition · `dies` ends after the first · `rubbish` says what is no measurement ·
//! `refuses` says why it does not want to · `mute` never says anything.

use std::{io::Read, path::Path, process::exit, time::Duration};

use serde_json::{Value, json};

fn say(value: &Value) {
    println!("{value}");
}

fn argument(name: &str) -> String {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).unwrap_or_else(|| panic!("{name} is missing"))
}

fn number(name: &str) -> u32 {
    argument(name).parse().expect("a number")
}

fn model() -> String {
    Path::new(&argument("--model")).file_name().expect("a file").to_string_lossy().into_owned()
}

/// Measures nothing and says something.
pub(crate) fn cell() {
    std::thread::spawn(|| {
        while matches!(std::io::stdin().read(&mut [0; 64]), Ok(1..)) {}
        exit(0);
    });
    let model = model();
    let (batch, depth, threads) = (number("--batch"), number("--depth"), number("--threads"));
    let (prompt, decode, kv) = (number("--prompt"), number("--decode"), argument("--kv"));
    assert!(["f16", "q8", "f32"].contains(&kv.as_str()));
    if model.contains("refuses") {
        say(&json!({ "kind": "error", "why": "it does not want to" }));
        exit(1);
    }
    if model.contains("mute") {
        std::thread::sleep(Duration::from_secs(3600));
    }
    say(&json!({ "kind": "loaded", "load_ms": 120.5, "resident_mib": 64.0, "simd": "a script" }));
    for index in 0..number("--repetitions") {
        if model.contains("rubbish") {
            say(&Value::from("what a library prints"));
            say(&json!({ "kind": "repetition", "prefill_ms": "soon" }));
        }
        if model.contains("slow") {
            std::thread::sleep(Duration::from_millis(250));
        }
        let wobble = f64::from((std::process::id() + index * 7) % 11) / 10.0;
        let step_ms = (10.0 + wobble) * (1.0 + f64::from(depth) / 4096.0) / f64::from(threads);
        let between: Vec<f64> = (0..batch * decode).map(|token| step_ms + f64::from(token % 5) / 10.0).collect();
        say(&json!({
            "kind": "repetition",
            "index": index,
            "prefill_ms": f64::from(prompt * batch) * step_ms / 10.0,
            "decode_ms": f64::from(decode) * step_ms,
            "first_token_ms": f64::from(prompt) * step_ms / 10.0 + step_ms,
            "inter_token_ms": between,
            "resident_mib": 70.0,
            "joules": null,
        }));
        if model.contains("dies") {
            std::process::abort();
        }
    }
    say(&json!({ "kind": "done", "peak_resident_mib": 70.0 + f64::from(batch) }));
}

/// Compares nothing and says something.
pub(crate) fn quality() {
    let text = std::fs::read_to_string(argument("--text")).expect("a text");
    assert!(Path::new(&argument("--against")).is_file());
    if model().contains("rubbish") {
        say(&json!({ "kind": "error", "why": "there are no words for this" }));
        exit(1);
    }
    let tokens = text.split_whitespace().count();
    say(&json!({ "perplexity": 12.5, "kl_mean": 0.01, "kl_p99": 0.2, "same_top_percent": 97.5, "tokens": tokens }));
}

//! The catalogue, and the best of it for a machine.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::HashSet;

use tektra_models::{
    Basis, Catalogue, Choice, Device, Executor, Machine, Plan, Purpose, best_for, catalogue, fit, max_context,
};

const GIB: u64 = 1 << 30;

fn best(machine: Machine) -> Choice {
    best_for(&machine, &catalogue().unwrap()).unwrap()
}

fn with_ram(gib: u64, read_gb_per_second: Option<f64>) -> Machine {
    Machine { ram_free_bytes: gib * GIB * 3 / 4, ram_total_bytes: gib * GIB, read_gb_per_second, ..Machine::default() }
}

#[test]
fn every_entry_can_be_downloaded_and_run() {
    let catalogue = catalogue().unwrap();
    assert!(catalogue.entries.len() >= 15);
    let mut sources = HashSet::new();
    let mut sizes = Vec::new();
    for entry in &catalogue.entries {
        let source = entry.source();
        assert!(source.starts_with("hf://") && source.split('/').count() == 5, "{source}");
        assert!(sources.insert(source));
        // Published sizes and checksums, none guessed.
        assert!(!entry.size_is_estimate && entry.sha256.is_some(), "{}", entry.id);
        let bits = entry.size_bytes as f64 * 8.0 / entry.parameters as f64;
        assert!((4.0..9.0).contains(&bits), "{}: {bits} bits a parameter", entry.id);
        assert!(["llama", "qwen2", "qwen3", "phi3"].contains(&entry.architecture.as_str()));
        assert_eq!(entry.executor == Executor::MistralRsCpu, entry.architecture == "phi3");
        let need = fit(&entry.facts(), &Plan::cpu(4096));
        assert!(need.held_bytes() > entry.size_bytes, "{}", entry.id);
        assert_eq!(need.basis == Basis::Counted, entry.executor == Executor::TektraCpu);
        assert_eq!(max_context(&entry.facts(), &Plan::cpu(1), 1 << 45), Some(entry.context_length / 32 * 32));
        sizes.push(entry.parameters);
    }
    assert!(sizes.is_sorted(), "the smallest first");
    assert!(catalogue.entries.iter().any(|entry| entry.purpose == Purpose::Code));
    assert_eq!(catalogue.find("llama-3.2-1b").unwrap().title, "Llama 3.2 1B");
}

#[test]
fn what_is_missed_has_a_reason_and_a_substitute() {
    let catalogue = catalogue().unwrap();
    let absent = |title: &str| catalogue.absent.iter().find(|absent| absent.title == title).unwrap();
    assert!(absent("DialoGPT-small").reason.contains("chat template"));
    assert!(catalogue.find(absent("DialoGPT-small").instead.as_deref().unwrap()).is_some());
    assert!(absent("Qwen2.5-VL-7B-Instruct").reason.contains("pictures"));
}

#[test]
fn a_wrong_catalogue_is_refused_by_name() {
    let json = serde_json::to_value(catalogue().unwrap()).unwrap();
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut json = json.clone();
        change(&mut json);
        Catalogue::read(&json.to_string()).unwrap_err().to_string()
    };
    let entry = |key: &'static str, value: serde_json::Value| refused(&|json| json["entries"][1][key] = value.clone());
    assert!(entry("id", "smollm2-135m".into()).contains("\"smollm2-135m\": another entry has the same id"));
    assert!(entry("size_bytes", 0.into()).contains("a size is zero"));
    assert!(entry("repository", "https://elsewhere.example/x".into()).contains("not OWNER/NAME"));
    assert!(entry("repository", "../x".into()).contains("not OWNER/NAME"));
    assert!(entry("file", "../../x.gguf".into()).contains("not a GGUF file"));
    assert!(entry("sha256", "ABC".into()).contains("not one of SHA-256"));
    assert!(entry("parameters", 1000.into()).contains("as many parameters"));
    assert!(entry("licence", " ".into()).contains("not said"));
    assert!(refused(&|json| json["absent"][0]["instead"] = "nobody".into()).contains("nothing takes its place"));
    assert!(Catalogue::read("[]").unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn larger_machines_get_larger_models() {
    let sizes: Vec<u64> =
        [2, 4, 8, 16, 64].iter().map(|&gib| best(with_ram(gib, Some(60.0))).entry.parameters).collect();
    assert!(sizes.is_sorted(), "{sizes:?}");
    assert!(sizes[0] < 1_000_000_000 && *sizes.last().unwrap() > 7_000_000_000, "{sizes:?}");
    let small = best(with_ram(4, Some(60.0)));
    assert!(small.fits_with_room && small.need.total_bytes <= 3 * GIB);
    assert_eq!(small.device, Device::Cpu);
    assert_eq!(small.entry.purpose, Purpose::Chat);
}

#[test]
fn slow_memory_gets_a_smaller_model_than_would_fit() {
    let fast = best(with_ram(64, Some(80.0)));
    let slow = best(with_ram(64, Some(15.0)));
    assert!(slow.entry.parameters < fast.entry.parameters);
    assert!(slow.expected_tokens_per_second >= 8.0 && slow.fits_with_room);
    assert!(fast.expected_first_token_ms > 0.0);
    assert!(slow.why.contains("an estimate, from the memory's measured speed"), "{}", slow.why);
    let unknown = best(with_ram(64, None));
    assert!(unknown.why.contains("not known yet") && unknown.entry.parameters <= slow.entry.parameters);
    assert_eq!(best(with_ram(64, Some(f64::NAN))).entry.id, unknown.entry.id);
}

#[test]
fn an_estimate_is_near_what_was_measured() {
    // BENCHMARKS.md: 15.4 tokens a second of a 3 B Q4_K with 32.8 GB/s, 35.6 of a 1 B.
    let machine = with_ram(24, Some(32.8));
    let catalogue = catalogue().unwrap();
    for (id, low, high) in [("llama-3.2-3b", 7.7, 15.4), ("llama-3.2-1b", 18.0, 36.0)] {
        let mut only = catalogue.clone();
        only.entries.retain(|entry| entry.id == id);
        let choice = best_for(&machine, &only).unwrap();
        assert!((low..=high).contains(&choice.expected_tokens_per_second), "{id}: {}", choice.why);
    }
}

#[test]
fn a_gpu_is_used_where_the_model_fits_it() {
    let machine =
        Machine { vram_free_bytes: Some(12 * GIB), vram_gb_per_second: Some(300.0), ..with_ram(16, Some(15.0)) };
    let choice = best(machine);
    assert_eq!(choice.device, Device::Gpu);
    assert!(choice.entry.parameters > 7_000_000_000 && choice.why.contains("GPU memory"), "{}", choice.why);
    assert_eq!(best(Machine { vram_free_bytes: Some(GIB / 4), ..machine }).device, Device::Cpu);
}

#[test]
fn where_nothing_fits_the_smallest_is_named_as_such() {
    let choice = best(with_ram(1, Some(30.0)));
    assert!(!choice.fits_with_room && choice.entry.id == "smollm2-135m");
    assert!(choice.why.starts_with("The smallest there is; none fits"), "{}", choice.why);
    let crawling = best(with_ram(8, Some(0.5)));
    assert!(crawling.fits_with_room && crawling.why.starts_with("The fastest that fits"), "{}", crawling.why);
    assert!(best_for(&with_ram(8, None), &Catalogue { entries: Vec::new(), absent: Vec::new() }).is_none());
}

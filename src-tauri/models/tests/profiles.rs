//! Which models are proposed for what.

use tektra_models::{Candidate, Devices, Goal, Gpu, Machine, Speed, catalogue, profiles};

const GIB: u64 = 1 << 30;

fn machine(free_gib: u64) -> Machine {
    let ram_free_bytes = free_gib * GIB;
    Machine {
        ram_free_bytes,
        ram_total_bytes: 2 * ram_free_bytes,
        read_gb_per_second: Some(30.0),
        ..Machine::default()
    }
}

fn devices(free_gib: u64) -> Devices {
    Devices { ram_free_bytes: free_gib * GIB, ..Devices::default() }
}

/// The catalogue's models, as if they were installed.
fn installed(ids: &[&str]) -> Vec<Candidate> {
    let catalogue = catalogue().expect("the catalogue");
    let candidate = |id: &&str| {
        let facts = catalogue.find(id).unwrap_or_else(|| panic!("{id} is in the catalogue")).facts();
        Candidate { name: (*id).into(), facts, measured: None }
    };
    ids.iter().map(candidate).collect()
}

fn by_size() -> (String, String) {
    let catalogue = catalogue().expect("the catalogue");
    let mut entries: Vec<_> = catalogue.entries.iter().collect();
    entries.sort_by_key(|entry| entry.parameters);
    (entries[0].id.clone(), entries[entries.len() - 1].id.clone())
}

#[test]
fn the_smallest_is_fast_and_the_largest_that_fits_is_quality() {
    let (small, large) = by_size();
    let found = profiles(&machine(64), &devices(64), &installed(&[&small, &large]));
    let goals: Vec<_> = found.iter().map(|profile| (profile.goal, profile.model.clone(), profile.same_as)).collect();
    assert_eq!(goals[0], (Goal::Fast, small.clone(), None));
    assert_eq!(goals[2], (Goal::Quality, large.clone(), None));
    assert!(found.iter().all(|profile| !profile.measured && profile.need.total_bytes <= 64 * GIB));
    assert!(found.iter().all(|profile| profile.placement == "CPU"));
    assert!(found[0].first_token_ms < found[2].first_token_ms);

    let found = profiles(&machine(2), &devices(2), &installed(&[&small, &large]));
    assert!(found.iter().all(|profile| profile.model == small), "the large one does not fit");
    assert_eq!(found[2].same_as, Some(Goal::Balanced), "it says so when two coincide");
}

#[test]
fn what_was_measured_counts_more_than_what_was_expected() {
    let (small, large) = by_size();
    let mut candidates = installed(&[&small, &large]);
    candidates[1].measured = Some(Speed { prefill_tokens_per_second: 9_000.0, decode_tokens_per_second: 900.0 });
    candidates[0].measured = Some(Speed { prefill_tokens_per_second: 10.0, decode_tokens_per_second: 2.0 });
    let found = profiles(&machine(64), &devices(64), &candidates);
    assert_eq!((&found[0].model, found[0].tokens_per_second, found[0].measured), (&large, 900.0, true));
}

#[test]
fn without_a_model_or_memory_there_is_no_profile() {
    assert!(profiles(&machine(64), &devices(64), &[]).is_empty());
    let (small, _) = by_size();
    assert!(profiles(&machine(0), &devices(0), &installed(&[&small])).is_empty());
}

#[test]
fn a_profile_names_the_gpu_and_what_is_left_to_the_cpu() {
    let gpu = |free_gib: u64| Gpu {
        index: 0,
        name: "A card".into(),
        total_bytes: free_gib * GIB,
        free_bytes: free_gib * GIB,
        compute_capability: Some((8, 9)),
        drives_display: false,
    };
    let with = |free_gib| Devices { gpus: vec![gpu(free_gib)], ..devices(64) };
    let one = installed(&["llama-3.1-8b"]);
    let found = profiles(&machine(64), &with(80), &one);
    assert!(found.iter().all(|profile| profile.placement == "GPU 0"), "{found:?}");
    assert_eq!(found[2].context_tokens, 32_768, "as long as it fits there");
    let found_divided = profiles(&machine(64), &with(6), &one);
    let placement = &found_divided[0].placement;
    assert!(placement.starts_with("GPU 0 + CPU (") && placement.ends_with(" of 32 layers)"), "{placement}");
    assert!(found_divided[0].tokens_per_second < found[0].tokens_per_second, "the CPU holds it up");
    let found = profiles(&machine(64), &with(6), &installed(&["qwen3-8b"]));
    assert_eq!(found[0].placement, "CPU", "this one cannot be divided");
}

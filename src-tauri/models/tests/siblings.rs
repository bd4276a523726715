//! The other precisions of a model.

use tektra_models::{Catalogue, Facts, Plan, catalogue, fit, siblings};

fn known() -> Catalogue {
    catalogue().unwrap_or_else(|error| panic!("{error}"))
}

fn model(id: &str, name: &str, quantization: &str, size_bytes: u64) -> Facts {
    let mut facts = known().find(id).unwrap_or_else(|| panic!("{id} is in the catalogue")).facts();
    (facts.name, facts.quantization, facts.size_bytes) = (name.into(), quantization.into(), size_bytes);
    facts
}

#[test]
fn files_of_the_same_model_are_found_here_and_in_the_catalogue() {
    let plan = Plan::cpu(4096);
    let f16 = model("qwen3-1.7b", "Qwen3-1.7B-F16", "F16", 3_400_000_000);
    let q8 = model("qwen3-1.7b", "qwen3-1.7b.Q8_0", "Q8_0", 1_800_000_000);
    let other_size = model("qwen3-4b-2507", "Qwen3-1.7B-Q6_K", "Q6_K", 3_000_000_000);
    let other_name = model("qwen3-1.7b", "Qwen3-1.7B-Base-Q6_K", "Q6_K", 1_400_000_000);
    let all = [("f16", &f16), ("q8", &q8), ("larger", &other_size), ("base", &other_name)];

    let found = siblings(&f16, &all, &known(), &plan);
    let seen: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.quantization.as_str(), one.installed)).collect();
    assert_eq!(seen, [("qwen3-1.7b", "Q4_K_M", false), ("q8", "Q8_0", true)], "the smallest first");
    assert_eq!(found[1].need, fit(&q8, &plan));
    assert_eq!(found[0].need, fit(&model("qwen3-1.7b", "", "Q4_K", 0), &plan));

    // What is here already is not offered for download.
    let q4 = model("qwen3-1.7b", "Qwen3-1.7B-Q4_K_M", "Q4_K", 1_100_000_000);
    let found = siblings(&q4, &[("f16", &f16), ("q4", &q4)], &known(), &plan);
    assert_eq!(found.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["f16"]);
}

#[test]
fn a_table_held_twice_makes_no_other_model_and_more_parameters_do() {
    let plan = Plan::cpu(4096);
    let one = model("llama-3.1-8b", "Meta-Llama-3.1-8B-Instruct-Q8_0", "Q8_0", 8_500_000_000);
    let mut once = model("llama-3.1-8b", "Meta-Llama-3.1-8B-Instruct-F16", "F16", 15_000_000_000);
    once.parameters -= 128_256 * 4096;
    once.groups.retain(|group| group.part != tektra_models::Part::Output);
    assert_eq!(siblings(&one, &[("once", &once)], &known(), &plan).iter().filter(|one| one.installed).count(), 1);
    once.parameters = one.parameters + one.parameters / 40;
    assert_eq!(siblings(&one, &[("more", &once)], &known(), &plan).iter().filter(|one| one.installed).count(), 0);
}

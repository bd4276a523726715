//! The memory that models need.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use support::Gguf;
use tektra_models::{
    Basis, Device, Executor, Facts, Format, Group, KEPT_KV_BYTES, KvType, Part, Plan, Runs, Shape, TypeBytes, fit,
    fits, inspect, max_context,
};

const MIB: f64 = 1048576.0;

/// One conversation and nothing else.
fn alone(context_tokens: u32) -> Plan {
    Plan { kept_kv_bytes: 0, reserve_bytes: 0, ..Plan::cpu(context_tokens) }
}

/// The facts of a model in the shape of Llama 3.2 1B with another vocabulary, all of its matrices of one type.
fn one_billion(quantization: &str, bits: f64, runs: Runs) -> Facts {
    let layer = [2048_u64 * 2048 * 2 + 2048 * 512 * 2, 2048 * 8192 * 3];
    let table = 49_152 * 2048;
    let group = |part, parameters: u64| {
        let bytes = (parameters as f64 * bits / 8.0) as u64;
        Group { part, parameters, types: vec![TypeBytes { name: quantization.into(), bytes }] }
    };
    Facts {
        name: "1b".into(),
        format: Format::Gguf,
        architecture: "llama".into(),
        parameters: 16 * (layer[0] + layer[1]) + table,
        quantization: quantization.into(),
        groups: vec![
            group(Part::Attention, 16 * layer[0]),
            group(Part::FeedForward, 16 * layer[1]),
            group(Part::Embeddings, table),
        ],
        context_length: 8192,
        shape: Shape {
            layers: 16,
            embedding_length: 2048,
            feed_forward_length: 8192,
            heads: 32,
            kv_heads: 8,
            key_length: 64,
            value_length: 64,
            vocabulary: 49_152,
            merges: 48_900,
        },
        chat_template: true,
        licence: None,
        size_bytes: 0,
        files: Vec::new(),
        runs,
    }
}

fn smollm2() -> Facts {
    let mut facts = one_billion("Q4_1", 5.0, Runs::TektraCpu);
    let group = |part, parameters, name: &str, bytes| Group {
        part,
        parameters,
        types: vec![TypeBytes { name: name.into(), bytes }],
    };
    facts.groups = vec![
        group(Part::Attention, 30 * 884_736, "Q4_1", 30 * 552_960),
        group(Part::FeedForward, 30 * 2_654_208, "Q4_1", 30 * 1_658_880),
        group(Part::Embeddings, 28_311_552, "Q8_0", 30_081_024),
    ];
    facts.shape = Shape {
        layers: 30,
        embedding_length: 576,
        feed_forward_length: 1536,
        heads: 9,
        kv_heads: 3,
        key_length: 64,
        value_length: 64,
        vocabulary: 49_152,
        merges: 48_900,
    };
    facts
}

fn check(what: &str, predicted_bytes: u64, measured_mib: f64) {
    let predicted = predicted_bytes as f64 / MIB;
    let off = (predicted - measured_mib).abs();
    assert!(off <= measured_mib * 0.05 + 10.0, "{what}: predicted {predicted:.0} MiB, measured {measured_mib:.0} MiB");
}

/// The most that the process held, in MiB, measured on Linux x86-64 with two threads: `tektra-engine bench --prefill
/// N --decode 4`, `resident_mib`.
#[test]
fn predictions_are_what_was_measured_of_the_cpu_executor() {
    for (context, measured) in [(192, 126.8), (2064, 168.3), (8200, 305.5)] {
        check("SmolLM2 135M", fit(&smollm2(), &alone(context)).held_bytes(), measured);
    }
    let eight = Plan { parallel: 8, ..alone(516) };
    check("SmolLM2 135M, eight conversations", fit(&smollm2(), &eight).held_bytes(), 219.7);
    let quantized = [
        ("Q2_K", 2.625, 520, 401.9),
        ("Q3_K", 3.4375, 2056, 554.0),
        ("Q4_K", 4.5, 144, 628.1),
        ("Q4_K", 4.5, 2056, 689.7),
        ("Q6_K", 6.5625, 4104, 1017.8),
        ("Q8_0", 8.5, 520, 1153.7),
        ("F16", 16.0, 132, 2099.9),
        ("F16", 16.0, 2052, 2161.6),
    ];
    for (name, bits, context, measured) in quantized {
        let facts = one_billion(name, bits, Runs::TektraCpu);
        check(name, fit(&facts, &alone(context)).held_bytes(), measured);
    }
    // While it loads, the file's pages of one layer lie beside the copy.
    let peaks = [
        ("Q2_K", 2.625, 382.4),
        ("Q3_K", 3.4375, 493.4),
        ("Q4_K", 4.5, 637.5),
        ("Q6_K", 6.5625, 915.3),
        ("Q8_0", 8.5, 1177.2),
        ("F16", 16.0, 2193.2),
    ];
    for (name, bits, peak) in peaks {
        let need = fit(&one_billion(name, bits, Runs::TektraCpu), &alone(3));
        check(&format!("{name} while it loads"), need.peak_resident_bytes, peak);
        assert_eq!(need.basis, Basis::Counted);
    }
}

/// As above, mistral.rs 0.8.1 in the product's engine, on a processor with AVX-512 VNNI.
#[test]
fn predictions_are_what_was_measured_of_mistral_rs_on_a_cpu() {
    let mut starter = smollm2();
    starter.runs = Runs::MistralRs;
    check("SmolLM2 135M", fit(&starter, &alone(50)).held_bytes(), 343.8);
    check("SmolLM2 135M, longer", fit(&starter, &alone(1400)).held_bytes(), 410.1);
    let measured = [
        ("Q2_K", 2.625, 906.1),
        ("Q3_K", 3.4375, 982.0),
        ("Q4_K", 4.5, 1886.6),
        ("Q6_K", 6.5625, 2545.3),
        ("Q8_0", 8.5, 2723.0),
        ("F16", 16.0, 4641.3),
    ];
    for (name, bits, measured) in measured {
        let need = fit(&one_billion(name, bits, Runs::MistralRs), &alone(50));
        check(name, need.held_bytes(), measured);
        assert_eq!((need.executor, need.basis), (Executor::MistralRsCpu, Basis::Estimated));
    }
}

#[test]
fn the_parts_add_up_and_a_gpu_is_an_estimate() {
    let facts = one_billion("Q4_K", 4.5, Runs::TektraCpu);
    for plan in [Plan::cpu(4096), Plan::gpu(4096), Plan { parallel: 8, ..Plan::cpu(4096) }] {
        let need = fit(&facts, &plan);
        let sum = need.weights_bytes + need.kv_bytes + need.compute_bytes + need.reserve_bytes;
        assert_eq!(need.total_bytes, sum);
        assert_eq!(need.held_bytes(), sum - plan.reserve_bytes);
        assert!(fits(&need, sum) && !fits(&need, sum - 1));
        assert_eq!(need.basis == Basis::Counted, plan.device == Device::Cpu);
    }
    let on_cpu = fit(&facts, &Plan::cpu(4096)).weights_bytes;
    let gpu = fit(&facts, &Plan::gpu(4096));
    assert_eq!((gpu.executor, gpu.weights_bytes), (Executor::TektraGpu, on_cpu), "the same numbers in another order");
    // 16 layers x 8 heads x (64 + 64) elements x 2 bytes.
    assert_eq!(gpu.kv_bytes, 4096 * 32_768);
    let mistral_rs = fit(&one_billion("Q4_K", 4.5, Runs::MistralRs), &Plan::gpu(4096));
    assert_eq!((mistral_rs.executor, mistral_rs.kv_bytes), (Executor::MistralRsGpu, gpu.kv_bytes));
    assert!(mistral_rs.weights_bytes > on_cpu, "embeddings lie there as F32");
}

#[test]
fn kept_conversations_and_those_in_use_share_a_budget() {
    let facts = one_billion("Q4_K", 4.5, Runs::TektraCpu);
    let kv = |parallel, context_tokens, kept_kv_bytes| {
        fit(&facts, &Plan { parallel, kept_kv_bytes, ..alone(context_tokens) }).kv_bytes
    };
    assert_eq!(kv(1, 4096, KEPT_KV_BYTES), KEPT_KV_BYTES);
    let one = kv(1, 8192, 0);
    assert_eq!(kv(8, 8192, KEPT_KV_BYTES), 8 * one, "those in use may pass the budget");
    assert_eq!(kv(1, 1, 0), kv(1, 32, 0), "a page has 32 positions");
    assert!(kv(1, 33, 0) > kv(1, 32, 0));
}

#[test]
fn keys_and_values_are_as_large_as_their_type() {
    let kv = |runs, kv| fit(&one_billion("Q4_K", 4.5, runs), &Plan { kv, ..alone(3200) }).kv_bytes;
    let pages = 100 * 4096;
    // 16 layers x 8 heads x (64 + 64) elements, and for q8 two scales of 4 bytes a head.
    assert_eq!(kv(Runs::TektraCpu, KvType::F16), 3200 * 16 * 8 * 128 * 2 + pages);
    assert_eq!(kv(Runs::TektraCpu, KvType::F32), 3200 * 16 * 8 * 128 * 4 + pages);
    assert_eq!(kv(Runs::TektraCpu, KvType::Q8), 3200 * 16 * 8 * (128 + 8) + pages);
    let of_mistral_rs = |kind| kv(Runs::MistralRs, kind);
    assert_eq!(of_mistral_rs(KvType::F16), of_mistral_rs(KvType::F32), "it has f32 only");
    assert_eq!(of_mistral_rs(KvType::Q8), 3584 * 16 * 8 * 128 * 4);
    let stored = serde_json::to_string(&alone(64)).unwrap().replace(r#","kv":"f16""#, "");
    assert_eq!(serde_json::from_str::<Plan>(&stored).unwrap(), alone(64), "plans of before are f16");
}

#[test]
fn the_longest_context_is_the_longest_that_fits() {
    let facts = one_billion("Q4_K", 4.5, Runs::TektraCpu);
    let plan = alone(1);
    let free = fit(&facts, &alone(3200)).total_bytes;
    assert_eq!(max_context(&facts, &plan, free), Some(3200));
    assert_eq!(max_context(&facts, &plan, free - 1), Some(3168));
    assert_eq!(max_context(&facts, &plan, u64::MAX), Some(8192), "what it was trained for");
    assert_eq!(max_context(&facts, &plan, 1 << 20), None);
    let mut untold = facts.clone();
    untold.context_length = 0;
    assert_eq!(max_context(&untold, &plan, u64::MAX), Some(4096));
}

#[test]
fn a_model_in_a_file_and_the_one_to_be_converted_have_needs() {
    let folder = tempfile::tempdir().unwrap();
    let path = support::write(&folder.path().join("tiny.gguf"), &Gguf::model("llama").bytes());
    let need = fit(&inspect(&path).unwrap(), &alone(64));
    assert!((14.0..22.0).contains(&(need.held_bytes() as f64 / MIB)), "mostly the process: {need:?}");
    support::write_safetensors(&folder.path().join("model"));
    let need = fit(&inspect(&folder.path().join("model")).unwrap(), &alone(64));
    assert_eq!((need.executor, need.basis), (Executor::TektraCpu, Basis::Estimated));
}

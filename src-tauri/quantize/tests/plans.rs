//! Per-layer plans, and one GGUF file made into another.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;

use std::{fs, sync::atomic::AtomicBool};

use common::{Gguf, names, run, tiny_model};
use tektra_kernels::Format;
use tektra_quantize::{Architecture, Base, Plan, requantize};

#[test]
fn rules_reach_the_file_and_the_report() {
    let place = tiny_model(Architecture::Llama);
    let [model, gguf] = ["model", "out.gguf"].map(|name| place.path().join(name));
    let rules = ["1=Q3_K", "*.ffn_*.weight=Q5_K"].map(|rule| rule.parse().unwrap()).to_vec();
    let report = run(&model, Plan { base: Base::Int4, rules }, &gguf).unwrap();
    let file = Gguf::read(&gguf);
    assert_eq!(file.format("token_embd.weight"), Format::Q6K);
    assert_eq!(file.format("blk.0.attn_q.weight"), Format::Q4K);
    assert_eq!(file.format("blk.0.ffn_up.weight"), Format::Q5K);
    assert_eq!(file.format("blk.1.ffn_up.weight"), Format::Q3K);
    assert_eq!(file.format("blk.1.attn_norm.weight"), Format::F32);
    let norms = report.groups.iter().find(|group| group.tensors == "blk.*.attn_norm.weight").unwrap();
    assert_eq!((norms.count, norms.used, norms.size_bytes), (2, Format::F32, 2048));
    let wanted: usize = report.groups.iter().filter(|group| group.wanted == Format::Q3K).map(|group| group.count).sum();
    assert_eq!(wanted, 7);
    assert!(report.groups.iter().all(|group| group.why.is_none()));

    let plan = Plan { base: Base::Int4, rules: vec!["7-9=Q8_0".parse().unwrap()] };
    let error = run(&model, plan, &place.path().join("other.gguf")).unwrap_err().to_string();
    assert_eq!(error, "the rule \"7-9=Q8_0\" matches no matrix of this model");
    assert_eq!(names(place.path()), ["model", "out.gguf"]);
}

#[test]
fn a_file_becomes_another_with_all_that_it_says() {
    let place = tiny_model(Architecture::Qwen2);
    let file = |name: &str| place.path().join(name);
    run(&file("model"), Base::F16, &file("f16.gguf")).unwrap();
    let again = |from: &str, to: &str, base: Base, allow: bool| {
        requantize(&file(from), &base.into(), &file(to), allow, &mut |_| {}, &AtomicBool::new(false))
    };
    // The same as straight from the safetensors.
    run(&file("model"), Base::Int4, &file("straight.gguf")).unwrap();
    let report = again("f16.gguf", "int4.gguf", Base::Int4, false).unwrap();
    assert_eq!(report.size_bytes, fs::metadata(file("int4.gguf")).unwrap().len());
    let [straight, int4] = ["straight.gguf", "int4.gguf"].map(|name| Gguf::read(&file(name)));
    for tensor in &straight.header.tensors {
        assert_eq!(int4.format(&tensor.name), straight.format(&tensor.name));
        assert!(int4.values(&tensor.name) == straight.values(&tensor.name), "{}", tensor.name);
    }
    let keys = |file: &Gguf| file.header.metadata.keys().cloned().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(keys(&int4), keys(&straight));
    for name in ["tokenizer.ggml.tokens", "tokenizer.ggml.merges"] {
        assert!(int4.header.texts(&int4.bytes, name) == straight.header.texts(&straight.bytes, name));
    }
    assert_eq!(int4.header.number("general.file_type"), Some(15.0));

    // Nearly lossless files can be gone down from; the others only lose.
    again("f16.gguf", "int8.gguf", Base::Int8, false).unwrap();
    again("int8.gguf", "from8.gguf", Base::Int5, false).unwrap();
    let error = |from, base, allow| again(from, "refused.gguf", base, allow).unwrap_err().to_string();
    let more = "`token_embd.weight` is F16 and would become F32: a larger file that holds no more";
    assert_eq!(error("f16.gguf", Base::F32, false), more);
    assert_eq!(error("f16.gguf", Base::F32, true), more);
    let more = "`token_embd.weight` is Q6_K and would become Q8_0: a larger file that holds no more";
    assert_eq!(error("int4.gguf", Base::Int8, false), more);
    let twice = "`token_embd.weight` is Q6_K already; made Q4_0 it would lose a second time. Start from a file with more \
                 bits";
    assert_eq!(error("int4.gguf", Base::Exact(Format::Q4_0), false), twice);
    again("int4.gguf", "allowed.gguf", Base::Int8, true).unwrap();
    assert_eq!(Gguf::read(&file("allowed.gguf")).format("blk.0.attn_q.weight"), Format::Q8_0);
    let error = again("f16.gguf", "f16.gguf", Base::Int4, false).unwrap_err().to_string();
    assert_eq!(error, "the new file needs another name than the old one");
    assert!(!names(place.path()).iter().any(|name| name.ends_with(".part") || name == "refused.gguf"));

    // The same type again is the same file.
    again("int4.gguf", "copy.gguf", Base::Int4, false).unwrap();
    assert!(fs::read(file("copy.gguf")).unwrap() == fs::read(file("int4.gguf")).unwrap());
}

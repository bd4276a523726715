//! From GGUF to safetensors and back: nothing is lost but what the formats cannot hold, and what comes out runs.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;

use std::fs;

use common::{Gguf, edit, folder, names, run, starter, tiny_model, to_folder};
use serde_json::json;
use tektra_cpu::{KvType, Subject};
use tektra_kernels::{f16_to_f32, f32_to_f16};
use tektra_quantize::{Architecture, Base};

/// Digits, code, contractions, emoji, several scripts and special tokens.
const TEXT: &str = "It's 1234567 o'clock, don't you KNOW?\n\n\tfn main() { let x_1 = 0x7f; }  \r\n naïve café Größe \
    你好，世界 こんにちは привет שלום हिन्दी ไทย 👍🏽👨‍👩‍👧 <|im_end|> ½ ٣٤ \u{a0}\u{3000}end   ";

#[test]
fn the_starter_model_comes_back_bit_for_bit() {
    let place = folder();
    let (model, out) = (place.path().join("model"), place.path().join("back.gguf"));
    to_folder(&starter(), &model).unwrap();
    assert_eq!(
        names(&model),
        [
            "README.md",
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json"
        ]
    );
    let report = run(&model, Base::F16, &out).unwrap();
    assert_eq!(report.warnings, [""; 0]);
    assert_eq!(report.size_bytes, fs::metadata(&out).unwrap().len());
    assert_eq!(names(place.path()), ["back.gguf", "model"]);

    let (before, after) = (Gguf::read(&starter()), Gguf::read(&out));
    assert_eq!(after.header.tensors.len(), before.header.tensors.len());
    for tensor in &before.header.tensors {
        let mut expected = before.values(&tensor.name);
        if tensor.dimensions.len() > 1 {
            expected.iter_mut().for_each(|value| *value = f16_to_f32(f32_to_f16(*value)));
        }
        assert!(after.values(&tensor.name) == expected, "{}", tensor.name);
        let there = after.header.tensors.iter().find(|other| other.name == tensor.name).unwrap();
        assert_eq!(there.dimensions, tensor.dimensions);
    }
    for (name, value) in &before.header.metadata {
        let text = |file: &Gguf| file.header.texts(&file.bytes, name);
        let numbers = |file: &Gguf| file.header.numbers(&file.bytes, name);
        let about_its_making = ["general.organization", "general.finetune", "general.basename", "general.size_label"];
        if about_its_making.contains(&name.as_str()) || matches!(&**name, "general.languages" | "general.file_type") {
            continue;
        }
        match value {
            tektra_gguf::Value::Array(_) => {
                assert!(text(&before) == text(&after) && numbers(&before) == numbers(&after), "{name}");
            }
            value => assert_eq!(after.header.metadata.get(name), Some(value), "{name}"),
        }
    }
    assert_eq!(after.header.number("general.file_type"), Some(1.0));

    // Who reads the folder gets the same tokens as who reads the file.
    let tokenizer = tokenizers::Tokenizer::from_file(model.join("tokenizer.json")).unwrap();
    let theirs = tokenizer.encode(TEXT.replace("<|im_end|>", ""), false).unwrap();
    let ours =
        Subject::load(&starter(), 1, KvType::default(), &[]).unwrap().tokens(&TEXT.replace("<|im_end|>", "")).unwrap();
    assert_eq!(theirs.get_ids(), ours);
    let special = tokenizer.encode("a<|im_end|>b", false).unwrap();
    assert_eq!(special.get_tokens(), ["a", "<|im_end|>", "b"]);
    assert_eq!(tokenizer.decode(&ours, false).unwrap(), TEXT.replace("<|im_end|>", ""));
}

#[test]
fn every_architecture_runs_and_loses_little() {
    for architecture in [Architecture::Llama, Architecture::Qwen2, Architecture::Qwen3] {
        let place = tiny_model(architecture);
        let size = fs::metadata(place.path().join("model/model.safetensors")).unwrap().len();
        assert!(size < 3_000_000, "{size}");
        let mut measured = Vec::new();
        for base in [Base::F16, Base::Int8, Base::Int6, Base::Int5, Base::Int4] {
            let out = place.path().join("out.gguf");
            run(&place.path().join("model"), base, &out).unwrap();
            let mut subject = Subject::load(&out, 1, KvType::default(), &[]).unwrap();
            let tokens = subject.tokens(&TEXT.repeat(2)).unwrap();
            measured.push(subject.perplexity(&tokens, 512).unwrap());
        }
        assert!((100.0..1e6).contains(&measured[0]), "{architecture:?} knows nothing of language: {measured:?}");
        for (perplexity, most) in measured[1..].iter().zip([0.01, 0.02, 0.04, 0.08]) {
            assert!((perplexity / measured[0] - 1.0).abs() < most, "{architecture:?}: {measured:?}");
        }
        assert!(measured.windows(2).all(|pair| pair[0] != pair[1]), "{measured:?}");
    }
}

#[test]
fn every_architecture_comes_back() {
    for architecture in [Architecture::Llama, Architecture::Qwen2, Architecture::Qwen3] {
        let place = tiny_model(architecture);
        let [gguf, model, again] = ["out.gguf", "again", "again.gguf"].map(|name| place.path().join(name));
        run(&place.path().join("model"), Base::F16, &gguf).unwrap();
        to_folder(&gguf, &model).unwrap();
        for file in names(&model) {
            let [before, after] =
                ["model", "again"].map(|folder| fs::read(place.path().join(folder).join(&file)).unwrap());
            assert!(before == after, "{architecture:?}: {file}");
        }
        run(&model, Base::F16, &again).unwrap();
        assert!(fs::read(gguf).unwrap() == fs::read(again).unwrap(), "{architecture:?}");
    }
}

#[test]
fn llama_3_positions_come_back() {
    let place = tiny_model(Architecture::Llama);
    let [model, gguf, again] = ["model", "out.gguf", "again"].map(|name| place.path().join(name));
    let scaling = json!({
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    });
    edit(&model.join("config.json"), |config| {
        config["rope_scaling"] = scaling.clone();
        config["rope_theta"] = json!(500_000.0);
    });
    run(&model, Base::Int8, &gguf).unwrap();
    let factors = Gguf::read(&gguf).values("rope_freqs.weight");
    assert_eq!((factors.len(), factors[0], factors[31]), (32, 1.0, 32.0));
    // Those that transformers computes for these parameters.
    let middle: Vec<String> = factors[13..20].iter().map(|factor| format!("{factor:.2}")).collect();
    assert_eq!(middle, ["1.00", "1.00", "1.65", "3.29", "9.67", "32.00", "32.00"]);
    Subject::load(&gguf, 1, KvType::default(), &[]).unwrap();
    to_folder(&gguf, &again).unwrap();
    edit(&again.join("config.json"), |config| assert_eq!(config["rope_scaling"], scaling));
}

#[test]
fn linear_positions_and_newer_configurations_are_read() {
    let place = tiny_model(Architecture::Llama);
    let [model, gguf] = ["model", "out.gguf"].map(|name| place.path().join(name));
    edit(&model.join("config.json"), |config| {
        config["rope_parameters"] = json!({ "rope_type": "linear", "factor": 4.0, "rope_theta": 123_456.0 });
        config["rope_theta"] = json!(null);
    });
    run(&model, Base::Int8, &gguf).unwrap();
    let header = Gguf::read(&gguf).header;
    assert_eq!(header.text("llama.rope.scaling.type"), Some("linear"));
    assert_eq!(header.number("llama.rope.scaling.factor"), Some(4.0));
    assert_eq!(header.number("llama.rope.freq_base"), Some(123_456.0));
    edit(&model.join("config.json"), |config| config["rope_parameters"]["rope_type"] = json!("longrope"));
    let error = run(&model, Base::Int8, &gguf).unwrap_err().to_string();
    assert_eq!(error, "this model cannot be converted: its positions are scaled by \"longrope\"");
}

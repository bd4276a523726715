//! The facts of a model, and the sentences about those that cannot be used.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::{fs, path::Path};

use support::{Gguf, Value, safetensors, write, write_config, write_safetensors};
use tektra_models::{Facts, Format, InspectError, Part, Runs, inspect};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// What the file of this content is said to be.
fn facts_of(bytes: &[u8]) -> Facts {
    let folder = folder();
    inspect(&write(&folder.path().join("tiny.gguf"), bytes)).unwrap()
}

/// Why the file of this content is refused, and what to do.
fn refusal(bytes: &[u8]) -> (String, String) {
    let folder = folder();
    let problem = match inspect(&write(&folder.path().join("tiny.gguf"), bytes)) {
        Ok(facts) => facts.problem().cloned().expect("a refusal"),
        Err(error) => {
            assert!(error.to_string().starts_with("The model \"tiny\" cannot be used: "), "{error}");
            error.problem()
        }
    };
    (problem.reason, problem.hint)
}

fn check_refusal(gguf: &Gguf, words: &str) {
    let (reason, hint) = refusal(&gguf.bytes());
    assert!(reason.contains(words), "{reason}");
    assert!(reason.ends_with('.') && hint.ends_with('.'), "{reason} {hint}");
}

#[test]
fn a_model_is_described_as_it_is() {
    let folder = folder();
    let bytes = Gguf::model("llama").bytes();
    let path = write(&folder.path().join("Tiny-Q4_K_M.gguf"), &bytes);
    let facts = inspect(&path).unwrap();
    assert_eq!((facts.name.as_str(), facts.format), ("Tiny-Q4_K_M", Format::Gguf));
    assert_eq!((facts.architecture.as_str(), facts.quantization.as_str()), ("llama", "Q4_K"));
    assert_eq!((facts.context_length, facts.chat_template), (2048, true));
    assert_eq!((facts.licence.as_deref(), facts.size_bytes), (Some("apache-2.0"), bytes.len() as u64));
    assert_eq!(facts.files, [path]);
    assert_eq!(facts.runs, Runs::TektraCpu);
    let shape = &facts.shape;
    assert_eq!((shape.layers, shape.heads, shape.kv_heads, shape.key_length), (2, 4, 2, 64));
    assert_eq!((shape.value_length, shape.vocabulary, shape.merges), (64, 96, 2));
    // Two layers of 256x256 twice, 256x128 twice, 256x512 three times; 96 tokens; norms.
    let attention = 2 * (2 * 256 * 256 + 2 * 256 * 128);
    let feed_forward = 2 * 3 * 256 * 512;
    assert_eq!(facts.parameters, attention + feed_forward + 96 * 256 + 5 * 256);
    assert_eq!(facts.part_bytes(Part::Attention), attention / 256 * 144);
    assert_eq!(facts.part_bytes(Part::FeedForward), feed_forward / 256 * 144);
    assert_eq!(facts.part_bytes(Part::Norms), 5 * 256 * 4);
    assert_eq!(facts.types_of(Part::Embeddings)[0].name, "Q6_K");
    assert!(facts.embeddings_are_output());
}

#[test]
fn an_output_of_its_own_and_mixed_types_are_seen() {
    let mut gguf = Gguf::model("qwen2");
    gguf.tensor("output.weight", &[256, 96], 8);
    gguf.tensor("blk.0.attn_q.bias", &[256], 0);
    gguf.tensors.iter_mut().find(|tensor| tensor.0 == "blk.1.attn_v.weight").unwrap().2 = 14;
    let facts = facts_of(&gguf.bytes());
    assert!(!facts.embeddings_are_output());
    assert_eq!(facts.types_of(Part::Output)[0].name, "Q8_0");
    let attention: Vec<&str> = facts.types_of(Part::Attention).iter().map(|kind| kind.name.as_str()).collect();
    assert_eq!(attention, ["Q4_K", "Q6_K"], "the most bytes first; a bias is no matrix");
    assert_eq!(facts.runs, Runs::TektraCpu);
}

#[test]
fn each_kind_is_given_to_who_runs_it() {
    for architecture in ["llama", "qwen2", "qwen3"] {
        assert_eq!(facts_of(&Gguf::model(architecture).bytes()).runs, Runs::TektraCpu, "{architecture}");
    }
    for architecture in ["phi2", "starcoder2", "mistral3"] {
        assert_eq!(facts_of(&Gguf::model(architecture).bytes()).runs, Runs::MistralRs, "{architecture}");
    }
    let other = |key: &str, value: Value| facts_of(&Gguf::model("llama").with(key, value).bytes()).runs;
    assert_eq!(other("llama.expert_count", Value::Number(8)), Runs::MistralRs);
    assert_eq!(other("llama.rope.scaling.type", Value::Text("yarn".into())), Runs::MistralRs);
    assert_eq!(other("llama.rope.scaling.type", Value::Text("linear".into())), Runs::TektraCpu);
    assert_eq!(other("llama.attention.value_length", Value::Number(32)), Runs::MistralRs);
    assert_eq!(other("llama.attention.key_length", Value::Number(40)), Runs::MistralRs);
    assert_eq!(other("tokenizer.ggml.model", Value::Text("replit".into())), Runs::MistralRs);
    let mut phi = Gguf::model("phi3");
    check_refusal(&phi, "its output is its table of embeddings");
    phi.tensor("output.weight", &[256, 96], 14);
    assert_eq!(facts_of(&phi.bytes()).runs, Runs::MistralRs);
}

#[test]
fn what_does_not_converse_is_refused_with_a_sentence() {
    check_refusal(&Gguf::model("mamba"), "its architecture \"mamba\" is not one that the engine runs (llama, ");
    check_refusal(&Gguf::model("qwen3moe"), "architecture \"qwen3moe\"");
    check_refusal(&Gguf::model("clip"), "reads pictures (mmproj)");
    check_refusal(&Gguf::model("nomic-bert"), "turns texts into vectors");
    check_refusal(&Gguf::model("llama").with("general.type", Value::Text("mmproj".into())), "reads pictures (mmproj)");
    check_refusal(&Gguf::model("llama").with("general.type", Value::Text("adapter".into())), "an adapter (LoRA)");
    check_refusal(&Gguf::model("llama").without("general.architecture"), "names no architecture");
    check_refusal(&Gguf::model("llama").without("attention.head_count"), "lacks \"llama.attention.head_count\"");
    check_refusal(&Gguf::model("llama").without("context_length"), "lacks \"llama.context_length\"");
    check_refusal(&Gguf::model("llama").without("tokenizer.ggml.model"), "no tokenizer");
    check_refusal(&Gguf::model("llama").without("eos_token_id"), "no end token");
    check_refusal(&Gguf::model("llama").without("chat_template"), "no chat template");
    check_refusal(&Gguf::model("llama").with("tokenizer.ggml.model", Value::Text("t5".into())), "its tokenizer \"t5\"");
    check_refusal(&Gguf::model("llama").with("split.count", Value::Number(3)), "one part of a split model");
    let mut odd = Gguf::model("llama");
    odd.tensors[3].2 = 23;
    check_refusal(&odd, "a type that the engine does not read (IQ4_XS)");
    odd.tensors[3].2 = 77;
    check_refusal(&odd, "(type 77)");
}

#[test]
fn what_is_broken_is_refused_with_a_sentence() {
    let whole = Gguf::model("llama").bytes();
    let check = |bytes: &[u8], words: &str| {
        let (reason, hint) = refusal(bytes);
        assert!(reason.contains(words) && !hint.is_empty(), "{reason}");
    };
    check(b"", "the file is empty");
    check(b"Dear diary, today I renamed a file.", "is not a GGUF file");
    check(&whole[..100], "ends in the middle of its header");
    check(&whole[..whole.len() - 1], "the file is cut short: ");
    check(&[b"GGUF".as_slice(), &1_u32.to_le_bytes(), &[0; 16]].concat(), "version 1");
    check(&[0; 4096], "is not a GGUF file");
    let folder = folder();
    let error = inspect(&folder.path().join("gone.gguf")).unwrap_err();
    assert!(matches!(error, InspectError::NotFound(_)) && error.to_string().contains("gone.gguf"));
    let error = inspect(folder.path()).unwrap_err();
    assert!(error.to_string().contains("a folder without a model"), "{error}");
}

#[test]
fn a_header_that_is_longer_than_what_is_read_first_is_read_whole() {
    let mut gguf = Gguf::model("llama");
    gguf.set("tokenizer.ggml.tokens", Value::Texts((0..200_000).map(|number| format!("token {number}")).collect()));
    let facts = facts_of(&gguf.bytes());
    assert_eq!((facts.runs, facts.shape.vocabulary), (Runs::TektraCpu, 96), "the table says what is computed");
    let cut = gguf.bytes()[..2 << 20].to_vec();
    assert!(refusal(&cut).0.contains("ends in the middle of its header"));
}

#[test]
fn a_model_in_parts_is_one_model_whichever_part_is_given() {
    let folder = folder();
    let gguf = Gguf::model("qwen3");
    let parts = gguf.write_parts(folder.path(), "big", 3);
    let size = |path: &Path| path.metadata().unwrap().len();
    for part in &parts {
        let facts = inspect(part).unwrap();
        assert_eq!((facts.name.as_str(), facts.runs.clone()), ("big", Runs::TektraCpu));
        assert_eq!(facts.files, parts);
        assert_eq!(facts.size_bytes, parts.iter().map(|part| size(part)).sum::<u64>());
        let alone = facts_of(&gguf.bytes());
        assert_eq!((facts.parameters, &facts.groups, &facts.shape), (alone.parameters, &alone.groups, &alone.shape));
    }
    fs::remove_file(&parts[1]).unwrap();
    let problem = inspect(&parts[2]).unwrap_err().problem();
    assert_eq!(problem.reason, "of its 3 parts these are missing: big-00002-of-00003.gguf.");
    fs::write(&parts[1], Gguf::model("qwen3").bytes()).unwrap();
    let problem = inspect(&parts[0]).unwrap_err().problem();
    assert!(problem.reason.contains("big-00002-of-00003.gguf does not belong"), "{}", problem.reason);
    let starcoder = Gguf::model("starcoder2").write_parts(folder.path(), "other", 2);
    assert!(inspect(&starcoder[0]).unwrap().problem().unwrap().reason.contains("split into 2 files"));
}

#[test]
fn a_safetensors_folder_is_described_and_can_be_converted() {
    let folder = folder();
    let model = folder.path().join("Qwen2-Tiny");
    write_safetensors(&model);
    let facts = inspect(&model).unwrap();
    assert_eq!((facts.name.as_str(), facts.format), ("Qwen2-Tiny", Format::Safetensors));
    assert_eq!((facts.architecture.as_str(), facts.quantization.as_str()), ("qwen2", "BF16"));
    assert_eq!(facts.parameters, 2 * 96 * 64 + 64 * 64 + 128 * 64 + 2 * 64);
    assert_eq!(facts.part_bytes(Part::Attention), 64 * 64 * 2);
    assert_eq!(facts.part_bytes(Part::Norms), 2 * 64 * 2);
    assert_eq!((facts.context_length, facts.shape.kv_heads, facts.shape.merges), (32768, 2, 96));
    assert_eq!((facts.licence.as_deref(), facts.runs.clone()), (Some("apache-2.0"), Runs::Convert));
    assert_eq!(inspect(&model.join("config.json")).unwrap(), facts);
    assert_eq!(inspect(&model.join("model.safetensors")).unwrap(), facts);
}

#[test]
fn what_cannot_be_converted_says_why() {
    let reason = |change: &dyn Fn(&Path)| {
        let folder = folder();
        let model = folder.path().join("model");
        write_safetensors(&model);
        change(&model);
        match inspect(&model) {
            Ok(facts) => facts.problem().cloned().expect("a refusal").reason,
            Err(error) => error.problem().reason,
        }
    };
    let says = |change: &dyn Fn(&Path), words: &str| assert!(reason(change).contains(words), "{}", reason(change));
    says(&|model| write_config(model, "bert"), "its architecture \"bert\"");
    says(&|model| write_config(model, "qwen2_5_vl"), "its architecture \"qwen2_5_vl\"");
    says(&|model| fs::remove_file(model.join("tokenizer.json")).unwrap(), "no tokenizer.json");
    says(&|model| fs::remove_file(model.join("tokenizer_config.json")).unwrap(), "no chat template");
    says(&|model| fs::write(model.join("config.json"), "{").unwrap(), "its config.json cannot be read");
    says(&|model| fs::write(model.join("config.json"), "{}").unwrap(), "names no architecture");
    let quantized = r#"{"model_type":"llama","quantization_config":{"quant_method":"gptq"}}"#;
    says(&|model| fs::write(model.join("config.json"), quantized).unwrap(), "quantized already, by gptq");
    let weights = |bytes: &'static [u8]| move |model: &Path| fs::write(model.join("model.safetensors"), bytes).unwrap();
    says(&weights(b""), "model.safetensors is cut short");
    says(&weights(&[255; 40]), "is not a safetensors file");
    says(&weights(&[9, 0, 0, 0, 0, 0, 0, 0, b'{']), "is cut short");
    says(&weights(&[2, 0, 0, 0, 0, 0, 0, 0, b'{', b'{']), "has a damaged header");
    let short = safetensors(&[("a.weight", &[4, 4])]);
    says(&|model| fs::write(model.join("model.safetensors"), &short[..short.len() - 1]).unwrap(), "is cut short");
    says(&|model| fs::remove_file(model.join("model.safetensors")).unwrap(), "a folder without a model");
}

#[test]
fn missing_parts_of_safetensors_are_named() {
    let folder = folder();
    let model = folder.path().join("model");
    write_config(&model, "qwen2");
    write(&model.join("model-00002-of-00002.safetensors"), &safetensors(&[("lm_head.weight", &[96, 64])]));
    let problem = inspect(&model).unwrap_err().problem();
    assert_eq!(problem.reason, "these of its files are missing: model-00001-of-00002.safetensors.");
    let embeddings = safetensors(&[("model.embed_tokens.weight", &[96, 64])]);
    write(&model.join("model-00001-of-00002.safetensors"), &embeddings);
    assert_eq!(inspect(&model).unwrap().files.len(), 2);
    let index =
        r#"{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"extra.safetensors","c":"../x.safetensors"}}"#;
    write(&model.join("model.safetensors.index.json"), index.as_bytes());
    let problem = inspect(&model).unwrap_err().problem();
    assert_eq!(problem.reason, "these of its files are missing: extra.safetensors.");
}

#[test]
fn the_starter_model_is_read_as_it_is() {
    let Some(home) = std::env::home_dir() else { return };
    let folder = std::env::var_os("TEKTRA_STARTER_FOLDER")
        .map_or_else(|| home.join(".local/share/tektra/models"), std::path::PathBuf::from);
    let path = folder.join("SmolLM2-135M-Instruct.Q4_1.gguf");
    if !path.is_file() {
        return;
    }
    let facts = inspect(&path).unwrap();
    assert_eq!((facts.architecture.as_str(), facts.quantization.as_str()), ("llama", "Q4_1"));
    assert_eq!((facts.size_bytes, facts.context_length, facts.parameters), (98_362_432, 8192, 134_515_008));
    assert_eq!((facts.licence.as_deref(), facts.runs.clone()), (Some("apache-2.0"), Runs::TektraCpu));
    assert_eq!((facts.shape.vocabulary, facts.shape.merges), (49_152, 48_900));
    let bytes: u64 = facts.groups.iter().map(|group| facts.part_bytes(group.part)).sum();
    assert!(facts.size_bytes - bytes < 2_000_000, "all but the header is in a part");
}

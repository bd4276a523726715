//! Whatever is wrong, there is an error that says so, no panic, and no file.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use common::{Gguf, edit, names, run, tiny_model, to_folder};
use serde_json::{Value, json};
use tektra_quantize::{Architecture, Base, Error, convert, options, to_safetensors};

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Copies the model, breaks the copy, and gives the error of converting it.
fn error_of(source: &Path, breakage: impl FnOnce(&Path)) -> String {
    let place = common::folder();
    let model = place.path().join("model");
    fs::create_dir(&model).unwrap();
    for name in names(source) {
        fs::copy(source.join(&name), model.join(&name)).unwrap();
    }
    breakage(&model);
    let error = run(&model, Base::Int4, &place.path().join("out.gguf")).expect_err("a broken model");
    assert_eq!(names(place.path()), ["model"], "{error}");
    error.to_string()
}

/// Changes the header of the safetensors; its length follows.
fn edit_header(model: &Path, change: impl FnOnce(&mut Value)) {
    let path = model.join(WEIGHTS);
    let bytes = fs::read(&path).unwrap();
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header = serde_json::from_slice(&bytes[8..8 + len]).unwrap();
    change(&mut header);
    let header = header.to_string();
    let parts = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &bytes[8 + len..]];
    fs::write(path, parts.concat()).unwrap();
}

#[test]
fn broken_folders_are_explained() {
    let place = tiny_model(Architecture::Llama);
    let model = place.path().join("model");
    let error = |breakage: &dyn Fn(&Path)| error_of(&model, breakage);
    let config = |name: &'static str, value: Value| {
        error_of(&model, move |model| edit(&model.join("config.json"), |config| config[name] = value))
    };
    let remove = |name: &str| error(&|model| fs::remove_file(model.join(name)).unwrap());
    let has = |error: String, part: &str| assert!(error.contains(part), "{error}");

    has(remove("config.json"), "has no config.json; it is no model folder");
    has(remove("tokenizer.json"), "has no tokenizer.json");
    has(remove(WEIGHTS), "has no safetensors");
    has(
        error(&|model| fs::write(model.join("config.json"), "{").unwrap()),
        "config.json is damaged or incomplete: EOF",
    );
    has(error(&|model| fs::write(model.join("config.json"), [0xff]).unwrap()), "it is not text");
    has(error(&|model| fs::write(model.join("tokenizer.json"), "[]").unwrap()), "its tokenizer is \"none\"");
    has(config("architectures", json!(["MixtralForCausalLM"])), "its architecture is \"MixtralForCausalLM\"");
    has(config("quantization_config", json!({ "quant_method": "gptq" })), "quantized already, by gptq");
    has(config("hidden_size", json!(0)), "it has no usable `hidden_size`");
    has(config("hidden_size", json!(u64::MAX)), "it has no usable `hidden_size`");
    has(config("hidden_size", json!(1 << 24)), "but config.json says [1024, 16777216]");
    has(config("num_attention_heads", json!(1000)), "but config.json says [64000, 256]");
    has(config("num_key_value_heads", json!(3)), "4 heads of 64 over 3 cannot be");
    has(config("head_dim", json!(7)), "4 heads of 7 over 2 cannot be");
    has(config("num_hidden_layers", json!(16_000_000)), "`model.layers.2.input_layernorm.weight` is missing");
    has(config("num_hidden_layers", json!(1)), "which GGUF's llama has no place for");
    has(config("tie_word_embeddings", json!(false)), "`lm_head.weight` is missing");
    has(config("partial_rotary_factor", json!(0.5)), "only part of each head is rotated");

    let rename = |from: &'static str, to: &'static str| {
        error(&|model| {
            edit_header(model, |header| {
                let tensor = header.as_object_mut().unwrap().remove(from).unwrap();
                header[to] = tensor;
            });
        })
    };
    has(rename("model.norm.weight", "model.morn.weight"), "`model.norm.weight` is missing");
    has(rename("model.embed_tokens.weight", "x"), "`model.embed_tokens.weight` is missing");
}

#[test]
fn broken_safetensors_are_explained() {
    let place = tiny_model(Architecture::Llama);
    let model = place.path().join("model");
    let error = |breakage: &dyn Fn(&Path)| error_of(&model, breakage);
    let bytes = |change: &dyn Fn(&mut Vec<u8>)| {
        error(&|model| {
            let path = model.join(WEIGHTS);
            let mut bytes = fs::read(&path).unwrap();
            change(&mut bytes);
            fs::write(path, bytes).unwrap();
        })
    };
    let header = |change: &dyn Fn(&mut Value)| error(&|model| edit_header(model, change));
    let has = |error: String, part: &str| assert!(error.contains(part), "{error}");
    const EMBEDDING: &str = "model.embed_tokens.weight";

    has(bytes(&|bytes| bytes.truncate(bytes.len() / 2)), "damaged or incomplete: incomplete metadata");
    has(bytes(&|bytes| bytes.truncate(3)), "header too small");
    has(bytes(&|bytes| bytes.clear()), "header too small");
    has(bytes(&|bytes| bytes.push(0)), "incomplete metadata");
    has(bytes(&|bytes| bytes[..8].fill(0xff)), "header too large");
    has(bytes(&|bytes| bytes[..8].copy_from_slice(&50_000_000_u64.to_le_bytes())), "invalid header length");
    has(bytes(&|bytes| bytes[..8].copy_from_slice(&1_u64.to_le_bytes())), "invalid JSON in header");
    has(header(&|header| header[EMBEDDING]["dtype"] = json!("I16")), "is of type I16; F32, F16 and BF16 are read");
    has(header(&|header| header[EMBEDDING]["dtype"] = json!("F99")), "unknown variant `F99`");
    has(header(&|header| header[EMBEDDING]["shape"] = json!([u64::MAX, u64::MAX])), "overflow computing buffer size");
    has(header(&|header| header[EMBEDDING]["shape"] = json!([256, 1024])), "but config.json says [256, 256]");
    has(header(&|header| header[EMBEDDING]["shape"] = json!([262_144])), "which no vocabulary has");
    has(header(&|header| header[EMBEDDING]["data_offsets"] = json!([9, 5])), "invalid offset for tensor");
    has(header(&|header| header[EMBEDDING]["data_offsets"][1] = json!(u64::MAX)), "invalid");
    // The last tensor of halves is the value projection of the last layer: its last number becomes one that is none.
    let not_a_number = bytes(&|bytes| {
        let last = bytes.len() - 2;
        bytes[last..].copy_from_slice(&0x7e00_u16.to_le_bytes());
    });
    has(not_a_number, "the tensor `blk.1.attn_v.weight` holds NaN, which is no weight");
    let infinite = bytes(&|bytes| {
        let last = bytes.len() - 2;
        bytes[last..].copy_from_slice(&0xfc00_u16.to_le_bytes());
    });
    has(infinite, "the tensor `blk.1.attn_v.weight` holds -inf");
}

#[test]
fn no_header_makes_it_panic() {
    let place = tiny_model(Architecture::Llama);
    let model = place.path().join("model");
    let path = model.join(WEIGHTS);
    let whole = fs::read(&path).unwrap();
    let len = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..100 {
        let mut bytes = whole.clone();
        for _ in 0..random.usize(1..4) {
            bytes[random.usize(..8 + len)] = random.u8(..);
        }
        if random.u8(..) < 32 {
            bytes.truncate(random.usize(..8 + len));
        }
        fs::write(&path, bytes).unwrap();
        let _ = options(&model);
    }
    fs::write(&path, whole).unwrap();
    options(&model).unwrap();
}

#[test]
fn shards_are_put_together_and_missed() {
    let place = tiny_model(Architecture::Llama);
    let model = place.path().join("model");
    run(&model, Base::Int4, &place.path().join("whole.gguf")).unwrap();
    let bytes = fs::read(model.join(WEIGHTS)).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut index = json!({ "weight_map": {} });
    let mut shards = [Vec::new(), Vec::new()];
    for (number, (name, tensor)) in tensors.iter().enumerate() {
        index["weight_map"][name] = json!(format!("part-{}.safetensors", number % 2));
        shards[number % 2].push((name.to_owned(), tensor));
    }
    for (number, shard) in shards.into_iter().enumerate() {
        safetensors::serialize_to_file(shard, None, &model.join(format!("part-{number}.safetensors"))).unwrap();
    }
    fs::write(model.join(INDEX), index.to_string()).unwrap();
    fs::remove_file(model.join(WEIGHTS)).unwrap();
    run(&model, Base::Int4, &place.path().join("shards.gguf")).unwrap();
    let read = |name: &str| fs::read(place.path().join(name)).unwrap();
    assert!(read("whole.gguf") == read("shards.gguf"));

    let has = |error: String, part: &str| assert!(error.contains(part), "{error}");
    let norm = "model.norm.weight";
    let edit_index = |change: &dyn Fn(&mut Value)| error_of(&model, |model| edit(&model.join(INDEX), change));
    has(
        error_of(&model, |model| fs::remove_file(model.join("part-1.safetensors")).unwrap()),
        "part-1.safetensors is missing",
    );
    has(error_of(&model, |model| fs::remove_file(model.join(INDEX)).unwrap()), "says what is in which file");
    has(edit_index(&|index| index["weight_map"]["more"] = json!("part-0.safetensors")), "`more` is not where it says");
    has(edit_index(&|index| index["weight_map"][norm] = json!("../x.safetensors")), "is in no file of this folder");
    has(edit_index(&|index| index["weight_map"][norm] = json!(7)), "is in no file of this folder");
    has(edit_index(&|index| *index = json!([])), "it has no `weight_map`");
}

#[test]
fn cancelling_leaves_nothing_and_an_older_file_as_it_was() {
    let place = tiny_model(Architecture::Llama);
    let [model, out] = ["model", "out.gguf"].map(|name| place.path().join(name));
    fs::write(&out, "older").unwrap();
    let cancel = AtomicBool::new(false);
    let mut heard = Vec::new();
    let mut progress = |progress: tektra_quantize::Progress| {
        heard.push(progress);
        assert_eq!(names(place.path()), ["model", "out.gguf", "out.gguf.part"]);
        if heard.len() == 6 {
            cancel.store(true, Ordering::Relaxed);
        }
    };
    let error = convert(&model, &Base::Int4.into(), &out, &mut progress, &cancel).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert_eq!(heard.len(), 6);
    assert_eq!(
        (names(place.path()), fs::read(&out).unwrap()),
        (vec!["model".into(), "out.gguf".into()], b"older".into())
    );

    heard.clear();
    let report =
        convert(&model, &Base::Int4.into(), &out, &mut |progress| heard.push(progress), &AtomicBool::new(false));
    let size = report.unwrap().size_bytes;
    assert!(heard.is_sorted_by_key(|progress| progress.done_bytes));
    assert!(heard.iter().all(|progress| progress.total_bytes == size));
    assert_eq!(heard.last().unwrap().done_bytes, size);
    assert_eq!(fs::metadata(&out).unwrap().len(), size);
}

#[test]
fn a_cancelled_folder_leaves_nothing() {
    let place = tiny_model(Architecture::Llama);
    let [model, file, out] = ["model", "out.gguf", "out"].map(|name| place.path().join(name));
    run(&model, Base::Int8, &file).unwrap();
    let cancel = AtomicBool::new(false);
    let mut heard = Vec::new();
    let mut progress = |progress: tektra_quantize::Progress| {
        heard.push(progress);
        assert_eq!(names(place.path()), ["model", "out.gguf", "out.part"]);
        assert!(names(&place.path().join("out.part")).contains(&"model.safetensors.part".into()));
        if heard.len() == 6 {
            cancel.store(true, Ordering::Relaxed);
        }
    };
    let error = to_safetensors(&file, &out, &mut progress, &cancel).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert_eq!((heard.len(), names(place.path())), (6, vec!["model".into(), "out.gguf".into()]));
    assert!(heard[5].done_bytes < heard[5].total_bytes);

    heard.clear();
    to_safetensors(&file, &out, &mut |progress| heard.push(progress), &AtomicBool::new(false)).unwrap();
    let size = fs::metadata(out.join(WEIGHTS)).unwrap().len();
    assert!(heard.is_sorted_by_key(|progress| progress.done_bytes));
    assert!(heard.iter().all(|progress| progress.total_bytes == size));
    assert_eq!(heard.last().unwrap().done_bytes, size);
    assert_eq!(names(place.path()), ["model", "out", "out.gguf"]);
    assert!(!names(&out).iter().any(|name| name.ends_with(".part")));
}

#[test]
fn a_weight_beyond_halves_leaves_no_folder() {
    let place = tiny_model(Architecture::Llama);
    let [file, out] = ["out.gguf", "out"].map(|name| place.path().join(name));
    run(&place.path().join("model"), Base::F32, &file).unwrap();
    let Gguf { mut bytes, header } = Gguf::read(&file);
    let tensor = header.tensors.iter().find(|tensor| tensor.name == "blk.1.ffn_up.weight").unwrap();
    let start = (header.data_start + tensor.offset) as usize;
    bytes[start..start + 4].copy_from_slice(&1e6_f32.to_le_bytes());
    fs::write(&file, bytes).unwrap();
    let error = to_folder(&file, &out).unwrap_err().to_string();
    assert!(error.starts_with("the tensor `blk.1.ffn_up.weight` holds 1000000"), "{error}");
    assert_eq!(names(place.path()), ["model", "out.gguf"]);
}

#[test]
fn places_that_cannot_be_written_are_errors() {
    let place = tiny_model(Architecture::Llama);
    let model = place.path().join("model");
    let error = run(&model, Base::Int4, &place.path().join("none/out.gguf")).unwrap_err();
    assert!(matches!(error, Error::Unwritable { .. }), "{error}");
    let error = run(&model, Base::Int4, &model).unwrap_err();
    assert!(matches!(error, Error::Unwritable { .. }), "{error}");
    let out = place.path().join("out.gguf");
    run(&model, Base::Int4, &out).unwrap();
    let error = to_folder(&out, &model).unwrap_err().to_string();
    assert!(error.ends_with("model exists already; choose another folder"), "{error}");
    let error = to_folder(&model.join("config.json"), &place.path().join("x")).unwrap_err().to_string();
    assert!(error.ends_with("is damaged or incomplete: it is not a GGUF file"), "{error}");
    let bytes = fs::read(&out).unwrap();
    for length in [bytes.len() - 1, bytes.len() / 2, 100] {
        let cut = place.path().join("cut.gguf");
        fs::write(&cut, &bytes[..length]).unwrap();
        assert!(to_folder(&cut, &place.path().join("x")).unwrap_err().to_string().contains("damaged"), "{length}");
    }
    assert_eq!(names(place.path()), ["cut.gguf", "model", "out.gguf"]);
}

//! What a reader of the folder finds in it.

use std::{fs, path::PathBuf};

use serde_json::Value;

use super::{folder::TokenizerFiles, *};

/// Strings and arrays as GGUF writes them.
fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn array(kind: u32, items: &[Vec<u8>]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &(items.len() as u64).to_le_bytes(), &items.concat()].concat()
}

/// A GGUF file that holds nothing but a tokenizer for the letters of "ab" and two special tokens.
fn gguf(pre: &str, template: &str) -> Vec<u8> {
    let names = ["a", "b", "ab", "<|begin|>", "<|im_end|>"];
    let kinds = [1_i32, 1, 1, 3, 3];
    let values: Vec<(&str, u32, Vec<u8>)> = vec![
        ("model", 8, text("gpt2")),
        ("pre", 8, text(pre)),
        ("tokens", 9, array(8, &names.map(text))),
        ("token_type", 9, array(5, &kinds.map(|kind| kind.to_le_bytes().to_vec()))),
        ("merges", 9, array(8, &[text("a b")])),
        ("bos_token_id", 4, 3_u32.to_le_bytes().to_vec()),
        ("eos_token_id", 4, 4_u32.to_le_bytes().to_vec()),
        ("add_bos_token", 7, vec![1]),
    ];
    let mut out = [&b"GGUF"[..], &3_u32.to_le_bytes(), &0_u64.to_le_bytes()].concat();
    out.extend((values.len() as u64 + 1).to_le_bytes());
    out.extend([text("tokenizer.chat_template"), 8_u32.to_le_bytes().to_vec(), text(template)].concat());
    for (name, kind, value) in values {
        out.extend([text(&format!("tokenizer.ggml.{name}")), kind.to_le_bytes().to_vec(), value].concat());
    }
    out.resize(out.len().next_multiple_of(32), 0);
    out
}

/// A folder of this test's own.
fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("tektra-tokenizer-{name}-{}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    path
}

fn json(path: PathBuf) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn ids(tokenizer: &tokenizers::Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text, true).unwrap().get_ids().to_vec()
}

#[test]
fn a_file_becomes_a_folder() {
    let scratch = scratch("folder");
    let (model, folder) = (scratch.join("model.gguf"), scratch.join("new").join("folder"));
    let template = "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}";
    fs::write(&model, gguf("llama-bpe", template)).unwrap();
    assert_eq!(write_tokenizer_folder(&model, &folder).unwrap(), []);

    let config = json(folder.join("tokenizer_config.json"));
    assert_eq!((config["bos_token"].as_str(), config["eos_token"].as_str()), (Some("<|begin|>"), Some("<|im_end|>")));
    assert_eq!(config["chat_template"], template);
    assert_eq!(config.get("unk_token"), None);
    assert_eq!(json(folder.join("generation_config.json")), serde_json::json!({ "eos_token_id": [4] }));
    let tokenizer = tokenizers::Tokenizer::from_file(folder.join("tokenizer.json")).unwrap();
    assert_eq!(ids(&tokenizer, "abb<|im_end|>a"), [3, 2, 1, 4, 0]);
    assert_eq!(tokenizer.decode(&[3, 2, 1, 4], true).unwrap(), "abb");

    // A template that writes the token itself, and a folder that is there already.
    fs::write(&model, gguf("llama-bpe", "{{ bos_token }}{{ messages[0].content }}")).unwrap();
    write_tokenizer_folder(&model, &folder).unwrap();
    let tokenizer = tokenizers::Tokenizer::from_file(folder.join("tokenizer.json")).unwrap();
    assert_eq!(ids(&tokenizer, "<|begin|>ab"), [3, 2]);

    fs::write(&model, gguf("brand-new", template)).unwrap();
    let warnings = write_tokenizer_folder(&model, &folder).unwrap();
    assert_eq!(warnings, [Warning::UnknownPre("brand-new".into())]);
    assert!(warnings[0].to_string().contains("(\"brand-new\")"));
    fs::remove_dir_all(scratch).unwrap();
}

#[test]
fn what_cannot_be_written_says_why() {
    let scratch = scratch("errors");
    let (model, blocked) = (scratch.join("model.gguf"), scratch.join("blocked"));
    assert!(matches!(write_tokenizer_folder(&model, &scratch), Err(FolderError::Model(_))));
    fs::write(&model, gguf("llama-bpe", "")).unwrap();
    fs::write(&blocked, "a file").unwrap();
    let error = write_tokenizer_folder(&model, &blocked).unwrap_err().to_string();
    assert!(error.starts_with(&format!("the tokenizer could not be stored in `{}`: ", blocked.display())), "{error}");
    fs::remove_dir_all(scratch).unwrap();

    let wordpiece = Vocabulary { model: "bert".into(), tokens: vec!["a".into()], ..Vocabulary::default() };
    assert!(matches!(TokenizerFiles::new(&wordpiece, None), Err(TokenizerError::UnknownModel(_))));
}

fn reread(vocabulary: &Vocabulary) -> (tokenizers::Tokenizer, Value) {
    let files = TokenizerFiles::new(vocabulary, None).unwrap();
    (tokenizers::Tokenizer::from_bytes(serde_json::to_vec(&files.tokenizer).unwrap()).unwrap(), files.generation)
}

#[test]
fn sentence_piece_falls_back_to_bytes_and_gets_its_spaces_back() {
    let names = ["<unk>", "<s>", "</s>", "▁", "a", "b", "▁a", "<0xC3>", "<0xA9>", "<|user|>", "<|placeholder1|>"];
    let mut vocabulary = Vocabulary {
        model: "llama".into(),
        tokens: names.map(String::from).to_vec(),
        kinds: vec![2, 3, 3, 1, 1, 1, 1, 6, 6, 3, 3],
        scores: vec![0.0, 0.0, 0.0, -3.0, -2.0, -2.0, -1.0, 0.0, 0.0, 0.0, 0.0],
        ..Vocabulary::default()
    };
    let (tokenizer, generation) = reread(&vocabulary);
    assert_eq!(ids(&tokenizer, "ab aé"), [1, 6, 5, 6, 7, 8]);
    assert_eq!(tokenizer.decode(&[1, 6, 5, 6, 7, 8], true).unwrap(), "ab aé");
    // Phi-3 was trained with the white space after its special tokens swallowed.
    assert_eq!(ids(&tokenizer, "<|user|>\n a"), [1, 9, 6]);
    assert_eq!(ids(&tokenizer, "世"), [1, 3, 0]);
    assert_eq!(generation["eos_token_id"], serde_json::json!([2]));

    vocabulary.add_bos = Some(false);
    vocabulary.add_space_prefix = Some(false);
    let (tokenizer, _) = reread(&vocabulary);
    assert_eq!(ids(&tokenizer, "b a"), [5, 6]);
    assert_eq!(tokenizer.decode(&[6, 5], true).unwrap(), " ab");
}

#[test]
fn every_number_keeps_a_name() {
    let vocabulary = Vocabulary {
        model: "gpt2".into(),
        tokens: ["a", "b", "a", "<x>", "<x>", ""].map(String::from).to_vec(),
        kinds: vec![1, 1, 1, 3, 4, 3],
        bos: Some(9),
        eos: Some(3),
        add_bos: Some(true),
        ..Vocabulary::default()
    };
    let (tokenizer, generation) = reread(&vocabulary);
    assert_eq!(tokenizer.get_vocab_size(true), 6);
    let names = (0..6).map(|id| tokenizer.id_to_token(id).unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["a", "b", "<|double 2|>", "<x>", "<|double 4|>", ""]);
    assert_eq!(ids(&tokenizer, "ab<x>a"), [0, 1, 3, 0]);
    assert_eq!(generation["eos_token_id"], serde_json::json!([3]));
}

#[test]
fn end_tokens_that_decode_to_something_else_are_left_out() {
    let mut vocabulary = Vocabulary {
        model: "gpt2".into(),
        tokens: ["a", "<é>", "<|endoftext|>", "<｜end▁of▁sentence｜>"].map(String::from).to_vec(),
        kinds: vec![1, 3, 3, 3],
        eos: Some(1),
        ..Vocabulary::default()
    };
    for (model, expected) in [("gpt2", vec![2, 3]), ("llama", vec![2])] {
        vocabulary.model = model.into();
        let (tokenizer, generation) = reread(&vocabulary);
        assert_eq!(generation["eos_token_id"], serde_json::json!(expected), "{model}");
        for id in expected {
            assert_eq!(Some(tokenizer.decode(&[id], false).unwrap()), tokenizer.id_to_token(id));
        }
    }
}

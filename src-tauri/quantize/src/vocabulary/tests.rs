use std::{fs, path::Path, sync::atomic::AtomicBool};

use serde_json::{Value, json};
use tektra_cpu::{KvType, Subject};

use super::{Model, Vocabulary, kind};
use crate::{Architecture, Base, Error, convert, layout::Layout, metadata::Metadata, tiny};

/// A byte-level tokenizer of few tokens, as files have it.
fn byte_level() -> Value {
    json!({
        "added_tokens": [
            { "id": 4, "content": "<s>", "special": true },
            { "id": 5, "content": "<tool>", "special": false },
            { "id": 6, "content": "<|end|>", "special": false },
        ],
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "use_regex": true },
        "post_processor": { "type": "Sequence", "processors": [
            { "type": "ByteLevel" },
            { "type": "TemplateProcessing", "single": [
                { "SpecialToken": { "id": "<s>", "type_id": 0 } },
                { "Sequence": { "id": "A", "type_id": 0 } },
            ] },
        ] },
        "model": { "type": "BPE", "vocab": { "a": 0, "b": 1, "ab": 2, "Ġ": 3 }, "merges": ["a b"] },
    })
}

fn read(files: &[(&str, Value)], config: &Value, rows: usize) -> (Result<Vocabulary, Error>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let text = content.as_str().map_or_else(|| content.to_string(), str::to_owned);
        fs::write(folder.path().join(name), text).unwrap();
    }
    let mut warnings = Vec::new();
    (Vocabulary::read(folder.path(), config, rows, &mut warnings), warnings)
}

#[test]
fn a_folder_says_what_its_tokens_are() {
    let settings = json!({
        "bos_token": { "content": "<s>" },
        "eos_token": "<|end|>",
        "pad_token": "none of the vocabulary",
        "chat_template": [{ "name": "rag", "template": "R" }, { "name": "default", "template": "D" }],
    });
    let generation = json!({ "eos_token_id": [6, 99, 5] });
    let files =
        [("tokenizer.json", byte_level()), ("tokenizer_config.json", settings), ("generation_config.json", generation)];
    let (read, warnings) = read(&files, &json!({ "pad_token_id": 3, "bos_token_id": 1 }), 9);
    let read = read.unwrap();
    assert_eq!((read.model, &*read.pre, read.add_bos), (Model::ByteLevel, "gpt-2", true));
    assert_eq!(read.tokens, ["a", "b", "ab", "Ġ", "<s>", "<tool>", "<|end|>", "[PAD7]", "[PAD8]"]);
    assert_eq!(read.kinds, [1, 1, 1, 1, 3, 4, 3, 5, 5]);
    assert_eq!(read.merges, ["a b"]);
    assert_eq!((read.bos, read.eos, read.eot, read.padding), (Some(4), Some(6), Some(5), Some(3)));
    assert_eq!(read.template.as_deref(), Some("D"));
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn a_template_of_its_own_file_counts_and_settings_overrule_the_tokenizer() {
    let settings = json!({ "bos_token": "<s>", "add_bos_token": false, "chat_template": "old" });
    let mut files = vec![("tokenizer.json", byte_level()), ("tokenizer_config.json", settings)];
    let template = |files: &[(&str, Value)]| read(files, &Value::Null, 7).0.unwrap();
    assert_eq!((template(&files).template.as_deref(), template(&files).add_bos), (Some("old"), false));
    files.push(("chat_template.jinja", json!("new")));
    assert_eq!(template(&files).template.as_deref(), Some("new"));
    files.truncate(1);
    files.push(("chat_template.json", json!({ "chat_template": "third" })));
    assert_eq!((template(&files).template.as_deref(), template(&files).bos), (Some("third"), None));
}

#[test]
fn what_cannot_be_kept_is_said() {
    let (cut, warnings) = read(&[("tokenizer.json", byte_level())], &Value::Null, 6);
    assert_eq!(cut.unwrap().tokens.len(), 6);
    assert_eq!(warnings, ["1 tokens have no embedding and were left out"]);
    let mut unknown = byte_level();
    unknown["pre_tokenizer"]["use_regex"] = json!(false);
    let (read_, warnings) = read(&[("tokenizer.json", unknown)], &Value::Null, 7);
    assert_eq!(read_.unwrap().pre, "default");
    assert!(warnings[0].starts_with("its way of splitting text into words has no name in GGUF"));
}

#[test]
fn tokenizers_of_other_kinds_and_rubbish_are_errors() {
    let changed = |path: &str, value: Value| {
        let mut json = byte_level();
        *json.pointer_mut(path).unwrap() = value;
        read(&[("tokenizer.json", json)], &Value::Null, 7).0.unwrap_err().to_string()
    };
    let has = |error: String, part: &str| assert!(error.contains(part), "{error}");
    has(changed("/pre_tokenizer", Value::Null), "its BPE works neither on bytes nor as SentencePiece does");
    has(changed("/model", json!({ "type": "Unigram" })), "its tokenizer is \"Unigram\"; only BPE is converted");
    has(changed("/model/vocab", json!({})), "it has no vocabulary");
    for merges in [json!(null), json!([7]), json!([["a"]]), json!(["ab"]), json!([[1, 2]])] {
        has(changed("/model/merges", merges), "its merges are not pairs");
    }
}

/// SentencePiece's tokens, the best first; every character has one.
fn sentence_piece() -> Vocabulary {
    let mut tokens =
        vec![("<unk>".to_owned(), kind::UNKNOWN), ("<s>".into(), kind::CONTROL), ("</s>".into(), kind::CONTROL)];
    tokens.extend((0..=255).map(|byte| (format!("<0x{byte:02X}>"), kind::BYTE)));
    let pieces = "▁t he ▁a in ▁the er re on an ▁s at en ou ▁w it or es ing ▁an ther ▁in ▁there ▁theatre ▁another tre";
    tokens.extend(pieces.split(' ').map(|piece| (piece.to_owned(), kind::NORMAL)));
    tokens.extend("▁etaoinshrdlucmfwypvbgkjqxz".chars().map(|letter| (letter.to_string(), kind::NORMAL)));
    let scores = (0..tokens.len()).map(|id| if id < 259 { 0.0 } else { 259.0 - id as f32 }).collect();
    let (tokens, kinds) = tokens.into_iter().unzip();
    Vocabulary {
        model: Model::SentencePiece,
        pre: "default".into(),
        tokens,
        kinds,
        scores,
        merges: Vec::new(),
        bos: Some(1),
        eos: Some(2),
        eot: None,
        unknown: Some(0),
        padding: None,
        add_bos: true,
        add_space_prefix: Some(true),
        template: Some("{{ messages[0].content }}".into()),
    }
}

/// A GGUF file of a vocabulary and nothing else.
fn write_vocabulary(vocabulary: &Vocabulary, path: &Path) {
    let mut metadata = Metadata::default();
    vocabulary.write(&mut metadata);
    let layout = Layout::new(&metadata, Vec::new(), Vec::new(), Vec::new());
    layout.write(path, &mut |_| {}, &AtomicBool::new(false)).unwrap();
}

#[test]
fn sentence_piece_goes_there_and_back_with_the_same_tokens() {
    let place = tempfile::tempdir().unwrap();
    let [only, model, out] = ["vocabulary.gguf", "model", "out.gguf"].map(|name| place.path().join(name));
    let vocabulary = sentence_piece();
    write_vocabulary(&vocabulary, &only);
    tiny::write_model(Architecture::Llama, &only, &model, 1).unwrap();
    convert(&model, &Base::Int8.into(), &out, &mut |_| {}, &AtomicBool::new(false)).unwrap();
    let file = crate::gguf::GgufFile::open(&out).unwrap();
    let back = Vocabulary::from_gguf(&file).unwrap();
    assert_eq!((&back.tokens, &back.kinds), (&vocabulary.tokens, &vocabulary.kinds));
    assert_eq!((back.bos, back.eos, back.unknown, back.add_bos), (Some(1), Some(2), Some(0), true));
    assert_eq!((back.add_space_prefix, &back.template), (Some(true), &vocabulary.template));

    let ours = Subject::load(&out, 1, KvType::default(), &[]).unwrap();
    let theirs = tokenizers::Tokenizer::from_file(model.join("tokenizer.json")).unwrap();
    for text in ["the theatre", " there in another  theatre", "", "thethere\nand 7 é 👍 naïve", "retreating hereon"]
    {
        let expected = theirs.encode(text, false).unwrap();
        assert_eq!(ours.tokens(text).unwrap(), expected.get_ids(), "{text}");
        assert_eq!(theirs.decode(expected.get_ids(), false).unwrap(), text);
    }
    let with_first = theirs.encode("the theatre", true).unwrap();
    assert_eq!(with_first.get_tokens(), ["<s>", "▁the", "▁the", "at", "re"]);
}

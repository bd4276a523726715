//! Files that call themselves models: each is judged by its header, with a sentence, before the engine sees it.

use std::fs;

use tektra_core::{ErrorCode, Library, Model};
use tektra_tests::{Folder, gguf, starter_model};

#[test]
fn the_starter_model_is_read_as_it_is() {
    let model = Model::open(&starter_model()).unwrap();
    assert_eq!((model.architecture.as_str(), model.quantization.as_str()), ("llama", "Q4_1"));
    assert_eq!((model.size_bytes, model.context_length), (98_362_432, 8192));
}

#[test]
fn every_unusable_file_has_its_reason() {
    let folder = Folder::new();
    let whole = gguf("llama", &[]);
    let check = |name: &str, bytes: &[u8], words: &str| {
        let error = Model::open(&folder.add_model(name, bytes)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::ModelUnusable);
        assert!(error.to_string().contains(words), "{name}: {error}");
        assert!(!error.hint().is_empty());
    };
    check("empty", b"", "the file is empty");
    check("text", b"Dear diary, today I renamed a file.", "is not a GGUF file");
    check("header-cut", &whole[..100], "ends in the middle of its header");
    check("data-cut", &whole[..whole.len() - 1], "the file is cut short");
    check("version", &[b"GGUF".as_slice(), &1_u32.to_le_bytes(), &[0; 16]].concat(), "version 1");
    check("mamba", &gguf("mamba", &[]), "architecture \"mamba\"");
    check("moe", &gguf("qwen3moe", &[]), "architecture \"qwen3moe\"");
    check("no-heads", &gguf("llama", &["attention.head_count"]), "lacks \"llama.attention.head_count\"");
    check("no-tokenizer", &gguf("llama", &["tokenizer.ggml.model"]), "no tokenizer");
    check("no-template", &gguf("llama", &["chat_template"]), "no chat template");
    check("zeros", &[0; 4096], "is not a GGUF file");
    assert!(Model::open(&folder.add_model("fine", &whole)).is_ok());
    assert_eq!(Library::own(&folder.home()).list().iter().filter(|model| model.problem.is_none()).count(), 1);
}

#[test]
fn models_are_found_by_name_or_path() {
    let folder = Folder::with_model("Alpha");
    let home = folder.home();
    let inner = home.models().join("vendor");
    fs::create_dir_all(&inner).unwrap();
    fs::write(inner.join("beta.gguf"), gguf("qwen2", &[])).unwrap();
    assert_eq!(Library::own(&home).find(None).unwrap().name, "Alpha");
    assert_eq!(Library::own(&home).find(Some("BETA")).unwrap().architecture, "qwen2");
    assert_eq!(Library::own(&home).find(inner.join("beta.gguf").to_str()).unwrap().name, "beta");
    let error = Library::own(&home).find(Some("gamma")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ModelNotFound);
    assert!(error.hint().contains("Alpha") && error.hint().contains("beta"));
    assert_eq!(Library::own(&Folder::new().home()).find(None).unwrap_err().code(), ErrorCode::NoModel);
    assert_eq!(
        Library::own(&home).find(home.models().to_str()).unwrap_err().code(),
        ErrorCode::ModelUnusable,
        "a folder"
    );
}

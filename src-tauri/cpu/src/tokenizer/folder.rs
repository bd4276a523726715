//! A GGUF file's tokenizer as a Hugging Face folder, for engines that read one. mistral.rs builds its own tokenizer from
//! a GGUF file with one pre-tokenizer for all of them; given this folder it takes the right one.
//!
//! Formats: <https://huggingface.co/docs/tokenizers/api/tokenizer> and
//! <https://huggingface.co/docs/transformers/main_classes/tokenizer>.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{TokenizerError, Vocabulary, bpe, pre::Rules, spm, vocabulary::Facts, vocabulary::Family};
use crate::{file::ModelFile, template::ChatTemplate, weights::LoadError};

/// Something that the folder could not be made right without.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// The file names a pre-tokenizer that isn't known: the usual one stands in for it.
    #[error(
        "this model cuts text into words in a way that Tektra does not know (\"{0}\"). The usual way is used instead, \
         which can make its answers worse, above all with numbers and code."
    )]
    UnknownPre(String),
}

/// Why the folder could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The model file cannot be read.
    #[error(transparent)]
    Model(#[from] LoadError),
    /// Its tokenizer is of no known kind.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The folder cannot be written.
    #[error("the tokenizer could not be stored in `{}`: {error}", path.display())]
    Write {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// Writes the tokenizer of the GGUF file `model` into `folder`, which is made if it is missing: `tokenizer.json`,
/// `tokenizer_config.json` with the chat template, and `generation_config.json` with the tokens that end an answer.
/// Of a model in several files, `model` is the first.
///
/// # Errors
/// When the file cannot be read, its tokenizer is of no known kind, or the folder cannot be written.
pub fn write_tokenizer_folder(model: &Path, folder: &Path) -> Result<Vec<Warning>, FolderError> {
    let file = ModelFile::open(model)?;
    let vocabulary = Vocabulary::read(&file.header, file.bytes());
    let files = TokenizerFiles::new(&vocabulary, file.header.text("tokenizer.chat_template"))?;
    let failed = |path: &Path, error| FolderError::Write { path: path.to_owned(), error };
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    write(&folder.join("tokenizer.json"), &files.tokenizer)?;
    write(&folder.join("tokenizer_config.json"), &files.config)?;
    write(&folder.join("generation_config.json"), &files.generation)?;
    Ok(files.warnings)
}

fn write(path: &Path, content: &impl Serialize) -> Result<(), FolderError> {
    let store = || {
        let mut file = BufWriter::new(File::create(path)?);
        serde_json::to_writer(&mut file, content)?;
        file.flush()
    };
    store().map_err(|error| FolderError::Write { path: path.to_owned(), error })
}

/// The files of the folder.
pub(super) struct TokenizerFiles<'v> {
    pub(super) tokenizer: TokenizerFile<'v>,
    pub(super) config: Value,
    pub(super) generation: Value,
    pub(super) warnings: Vec<Warning>,
}

/// `tokenizer.json`.
#[derive(Serialize)]
pub(super) struct TokenizerFile<'v> {
    version: &'static str,
    truncation: (),
    padding: (),
    added_tokens: Vec<AddedToken<'v>>,
    normalizer: Value,
    pre_tokenizer: Value,
    post_processor: Value,
    decoder: Value,
    model: BpeModel<'v>,
}

#[derive(Serialize)]
struct AddedToken<'v> {
    id: u32,
    content: Cow<'v, str>,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
    special: bool,
}

/// Both families are this model here. SentencePiece's scores become an order of merges: mistral.rs reads no other
/// vocabulary than a table of names.
#[derive(Serialize)]
struct BpeModel<'v> {
    r#type: &'static str,
    dropout: (),
    unk_token: Option<String>,
    continuing_subword_prefix: (),
    end_of_word_suffix: (),
    fuse_unk: bool,
    byte_fallback: bool,
    ignore_merges: bool,
    vocab: BTreeMap<Cow<'v, str>, u32>,
    merges: Vec<(&'v str, &'v str)>,
}

impl<'v> TokenizerFiles<'v> {
    pub(super) fn new(vocabulary: &'v Vocabulary, template: Option<&str>) -> Result<Self, TokenizerError> {
        let facts = Facts::new(vocabulary)?;
        let tokens = &vocabulary.tokens;
        let (names, doubles) = unique(tokens);
        let name = |id: Option<u32>| id.and_then(|id| names.get(id as usize)).map(|name| &**name);
        let (bos, eos) = (name(facts.bos), name(facts.eos));
        let mut added: Vec<_> = (facts.specials.iter())
            .map(|special| added_token(special.id, names[special.id as usize].clone(), special.strips, !special.always))
            .collect();
        added.extend(doubles.into_iter().map(|id| added_token(id, names[id as usize].clone(), false, true)));
        added.sort_by_key(|token| token.id);
        added.dedup_by_key(|token| token.id);
        let vocab: BTreeMap<_, _> = names.iter().cloned().zip(0u32..).collect();

        let begins = bos.filter(|bos| facts.adds_bos && !writes(template, bos, eos.unwrap_or_default()));
        let has = |token: &str| vocab.contains_key(token);
        let pipeline = match &facts.family {
            Family::Bpe(rules) => byte_level(rules),
            Family::Spm => sentence_piece(facts.space_prefix),
        };
        let (spm, ignore_merges, merges) = match &facts.family {
            Family::Bpe(rules) => (false, rules.ignore_merges, bpe::usable(&vocabulary.merges, has)),
            Family::Spm => (true, false, spm::merges(tokens, &facts.kinds, &vocabulary.scores)),
        };
        let config = [
            ("bos_token", bos),
            ("eos_token", eos),
            ("unk_token", name(facts.unknown)),
            ("chat_template", template),
            ("tokenizer_class", Some("PreTrainedTokenizerFast")),
        ];
        let config = config.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.into())));
        Ok(Self {
            tokenizer: TokenizerFile {
                version: "1.0",
                truncation: (),
                padding: (),
                added_tokens: added,
                normalizer: pipeline.normalizer,
                pre_tokenizer: pipeline.pre_tokenizer,
                post_processor: begins.zip(facts.bos).map_or(Value::Null, |(name, id)| begin_with(name, id)),
                decoder: pipeline.decoder,
                model: BpeModel {
                    r#type: "BPE",
                    dropout: (),
                    unk_token: name(facts.unknown).filter(|_| spm).map(Into::into),
                    continuing_subword_prefix: (),
                    end_of_word_suffix: (),
                    fuse_unk: spm,
                    byte_fallback: spm,
                    ignore_merges,
                    vocab,
                    merges,
                },
            },
            config: Value::Object(config.collect()),
            generation: json!({ "eos_token_id": stops(&facts, &names) }),
            warnings: facts.unknown_pre.map(Warning::UnknownPre).into_iter().collect(),
        })
    }
}

/// The tokens' names, and which of them are made up: readers expect as many names as there are numbers, so the second
/// token of a name gets another one.
fn unique(tokens: &[String]) -> (Vec<Cow<'_, str>>, Vec<u32>) {
    let (mut seen, mut doubles) = (HashSet::new(), Vec::new());
    let name = |(id, token)| {
        if seen.insert(token) {
            return Cow::Borrowed(token);
        }
        doubles.push(id);
        format!("<|double {id}|>").into()
    };
    let names = (0u32..).zip(tokens.iter().map(String::as_str)).map(name).collect();
    (names, doubles)
}

fn added_token(id: u32, content: Cow<'_, str>, rstrip: bool, special: bool) -> AddedToken<'_> {
    AddedToken { id, content, single_word: false, lstrip: false, rstrip, normalized: false, special }
}

/// Whether the chat template itself begins the text with the BOS token, which must not stand there twice.
fn writes(template: Option<&str>, bos: &str, eos: &str) -> bool {
    template
        .and_then(|source| ChatTemplate::new(source, bos, eos).ok()?.render(&[("user", "Hello")], true).ok())
        .is_some_and(|prompt| prompt.starts_with(bos))
}

/// The tokens that end an answer. mistral.rs decodes each and panics where that is not its name: a decoder reads some
/// letters of a name as bytes or spaces, so a token with such a one is left out.
fn stops(facts: &Facts, names: &[Cow<'_, str>]) -> Vec<u32> {
    let plain = |letter: char| letter.is_ascii() || !(('\u{A1}'..='\u{143}').contains(&letter) || letter == '▁');
    let safe = |letter: char| match facts.family {
        Family::Bpe(_) => plain(letter) || letter == '▁',
        Family::Spm => plain(letter),
    };
    let mut stops: Vec<_> = facts.ends.iter().copied().collect();
    stops.sort_unstable();
    stops.retain(|&id| {
        let name = &names[id as usize];
        !name.is_empty() && !name.starts_with(' ') && name.chars().all(safe)
    });
    stops
}

/// What happens to a text around the model.
struct Pipeline {
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
}

fn byte_level(rules: &Rules) -> Pipeline {
    let mut steps: Vec<_> = rules
        .patterns
        .iter()
        .map(|pattern| json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false }))
        .collect();
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
    steps.push(bytes.clone());
    Pipeline {
        normalizer: if rules.composes { json!({ "type": "NFC" }) } else { Value::Null },
        pre_tokenizer: json!({ "type": "Sequence", "pretokenizers": steps }),
        decoder: bytes,
    }
}

fn sentence_piece(space_prefix: bool) -> Pipeline {
    let mut normalizers = Vec::new();
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": "▁" }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if space_prefix {
        normalizers.push(json!({ "type": "Prepend", "prepend": "▁" }));
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    normalizers.push(json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" }));
    Pipeline {
        normalizer: json!({ "type": "Sequence", "normalizers": normalizers }),
        pre_tokenizer: Value::Null,
        decoder: json!({ "type": "Sequence", "decoders": decoders }),
    }
}

fn begin_with(name: &str, id: u32) -> Value {
    let bos = |text: u8| json!({ "SpecialToken": { "id": name, "type_id": text } });
    let text = |name: &str, text: u8| json!({ "Sequence": { "id": name, "type_id": text } });
    json!({
        "type": "TemplateProcessing",
        "single": [bos(0), text("A", 0)],
        "pair": [bos(0), text("A", 0), bos(1), text("B", 1)],
        "special_tokens": { name: { "id": name, "ids": [id], "tokens": [name] } },
    })
}

//! The tokenizer's part of a GGUF file's metadata, and what it leaves to be understood.
//!
//! Names: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. Gaps are filled as llama.cpp fills them.

use std::collections::{HashMap, HashSet};

use tektra_gguf::Header;

use super::{TokenizerError, pre::Rules};

/// The tokenizer's part of a GGUF file's metadata.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vocabulary {
    /// `tokenizer.ggml.model`: "gpt2" for byte-level BPE, "llama" for SentencePiece BPE.
    pub(crate) model: String,
    /// `tokenizer.ggml.pre`: how byte-level BPE splits a text into words.
    pub(crate) pre: Option<String>,
    /// `tokenizer.ggml.tokens`: the name of each token.
    pub(crate) tokens: Vec<String>,
    /// `tokenizer.ggml.scores`: which merge SentencePiece prefers; may be empty.
    pub(crate) scores: Vec<f32>,
    /// `tokenizer.ggml.token_type`; may be empty.
    pub(crate) kinds: Vec<i32>,
    /// `tokenizer.ggml.merges`: the merges of byte-level BPE, the first one first.
    pub(crate) merges: Vec<String>,
    /// `tokenizer.ggml.bos_token_id`.
    pub(crate) bos: Option<u32>,
    /// `tokenizer.ggml.eos_token_id`.
    pub(crate) eos: Option<u32>,
    /// `tokenizer.ggml.eot_token_id`.
    pub(crate) eot: Option<u32>,
    /// `tokenizer.ggml.unknown_token_id`.
    pub(crate) unknown: Option<u32>,
    /// `tokenizer.ggml.add_bos_token`.
    pub(crate) add_bos: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`.
    pub(crate) add_space_prefix: Option<bool>,
}

impl Vocabulary {
    /// The vocabulary in the file whose `bytes` the header was read from.
    pub(crate) fn read(header: &Header, bytes: &[u8]) -> Self {
        let id = |name: &str| header.number(&format!("tokenizer.ggml.{name}_token_id")).map(|id| id as u32);
        let texts = |name: &str| header.texts(bytes, name).unwrap_or_default();
        let numbers = |name: &str| header.numbers(bytes, name).unwrap_or_default();
        Self {
            model: header.text("tokenizer.ggml.model").unwrap_or_default().into(),
            pre: header.text("tokenizer.ggml.pre").map(Into::into),
            tokens: texts("tokenizer.ggml.tokens"),
            scores: numbers("tokenizer.ggml.scores").into_iter().map(|score| score as f32).collect(),
            kinds: numbers("tokenizer.ggml.token_type").into_iter().map(|kind| kind as i32).collect(),
            merges: texts("tokenizer.ggml.merges"),
            bos: id("bos"),
            eos: id("eos"),
            eot: id("eot"),
            unknown: id("unknown"),
            add_bos: header.flag("tokenizer.ggml.add_bos_token"),
            add_space_prefix: header.flag("tokenizer.ggml.add_space_prefix"),
        }
    }
}

/// What a token is, as `tokenizer.ggml.token_type` numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

impl Kind {
    /// Whether ordinary text can become the token. SentencePiece and Hugging Face keep the others out of it; where
    /// "</" and "s>" are tokens, their merge would otherwise end the answer.
    pub(super) fn is_text(self) -> bool {
        !matches!(self, Self::Control | Self::Unknown)
    }

    /// Whether the token is looked for in the text before anything else happens.
    fn is_special(self) -> bool {
        matches!(self, Self::Unknown | Self::Control | Self::UserDefined)
    }
}

/// How text becomes tokens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Family {
    /// Byte-level BPE.
    Bpe(Rules),
    /// SentencePiece BPE.
    Spm,
}

/// A token that is found in the text before anything else happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Special {
    pub(super) id: u32,
    /// Found in any text, not only where control tokens are asked for.
    pub(super) always: bool,
    /// Swallows the whitespace after it.
    pub(super) strips: bool,
}

/// What a vocabulary means. Tables that are too short and numbers out of range are made up for.
pub(super) struct Facts {
    pub(super) family: Family,
    /// The kind of each token.
    pub(super) kinds: Vec<Kind>,
    /// The longest name first.
    pub(super) specials: Vec<Special>,
    /// Tokens that end the generation.
    pub(super) ends: HashSet<u32>,
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
    pub(super) unknown: Option<u32>,
    /// Whether the model wants the BOS token before a text.
    pub(super) adds_bos: bool,
    /// Whether SentencePiece puts a space before a text.
    pub(super) space_prefix: bool,
    /// The file's pre-tokenizer, if it isn't a known one and the default splits the words instead.
    pub(super) unknown_pre: Option<String>,
}

impl Facts {
    pub(super) fn new(vocabulary: &Vocabulary) -> Result<Self, TokenizerError> {
        let tokens = &vocabulary.tokens;
        let count = u32::try_from(tokens.len()).map_err(|_| TokenizerError::TooLarge)?;
        if count == 0 {
            return Err(TokenizerError::Empty);
        }
        let mut unknown_pre = None;
        let family = match vocabulary.model.as_str() {
            "llama" => Family::Spm,
            "gpt2" => {
                let name = vocabulary.pre.as_deref().filter(|name| !name.is_empty()).unwrap_or("default");
                Family::Bpe(Rules::named(name).unwrap_or_else(|| {
                    unknown_pre = Some(name.to_owned());
                    Rules::DEFAULT
                }))
            }
            other => return Err(TokenizerError::UnknownModel(other.to_owned())),
        };
        let spm = matches!(family, Family::Spm);
        let valid = |id: Option<u32>, usual: u32| id.or(spm.then_some(usual)).filter(|&id| id < count);
        let (bos, eos) = (valid(vocabulary.bos, 1), valid(vocabulary.eos, 2));
        let mut kinds = kinds(tokens, &vocabulary.kinds, spm);
        let mut ends: HashSet<_> = eos.into_iter().chain(vocabulary.eot.filter(|&id| id < count)).collect();
        mark(tokens, &mut kinds, &mut ends);
        let adds_bos = match &family {
            Family::Bpe(rules) => rules.add_bos,
            Family::Spm => true,
        };
        Ok(Self {
            specials: specials(tokens, &kinds),
            family,
            kinds,
            ends,
            bos,
            eos,
            unknown: valid(vocabulary.unknown, 0),
            adds_bos: vocabulary.add_bos.unwrap_or(adds_bos) && bos.is_some(),
            space_prefix: spm && vocabulary.add_space_prefix.unwrap_or(true),
            unknown_pre,
        })
    }
}

/// Tokens that end the generation wherever they occur. The last two rows, from fill-in-the-middle, are what stands
/// between files: past it comes another file.
const ENDS: &str = "<|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> </s> \
    <|eom_id|> <|endoftext|> <EOT> _<EOT> [EOT] [EOS] <|end_of_text|> <end_of_utterance> <eos> <turn|> \
    <｜end▁of▁sentence｜> [e~[ \
    <|fim_pad|> <fim-pad> <fim_pad> <PAD> [PAD] \
    <|fim_repo|> <|repo_name|> <fim-repo> <REPO> <reponame> <|file_sep|>";

/// The other tokens of fill-in-the-middle; control tokens even where a file calls them text.
const FILL_IN: &str = "<|fim_prefix|> <fim-prefix> <fim_prefix> <｜fim▁begin｜> <PRE> ▁<PRE> <|code_prefix|> \
    <|fim_suffix|> <fim-suffix> <fim_suffix> <｜fim▁hole｜> <SUF> ▁<SUF> <|code_suffix|> \
    <|fim_middle|> <fim-middle> <fim_middle> <｜fim▁end｜> <MID> ▁<MID> <|code_middle|>";

/// The channel marks of gpt-oss, which belong to its visible output.
const CHANNELS: &str = "<|channel|> <|message|> <|start|> <|constrain|>";

fn kinds(tokens: &[String], numbers: &[i32], spm: bool) -> Vec<Kind> {
    let kind = |(index, token): (usize, &String)| match numbers.get(index) {
        // Without kinds, the names are all there is to tell a byte by.
        None if spm && byte_of(token).is_some() => Kind::Byte,
        None | Some(1) => Kind::Normal,
        Some(2) => Kind::Unknown,
        Some(3) => Kind::Control,
        Some(4) => Kind::UserDefined,
        Some(6) => Kind::Byte,
        Some(_) => Kind::Unused,
    };
    tokens.iter().enumerate().map(kind).collect()
}

/// Finds the tokens that llama.cpp knows by their names: files often don't say, or say wrongly, what they are.
fn mark(tokens: &[String], kinds: &mut [Kind], ends: &mut HashSet<u32>) {
    let named = [(ENDS, Kind::Control), (FILL_IN, Kind::Control), (CHANNELS, Kind::UserDefined)];
    let named: HashMap<_, _> =
        named.into_iter().flat_map(|(names, kind)| names.split(' ').map(move |name| (name, (names, kind)))).collect();
    let mut found = Vec::new();
    for (id, token) in (0u32..).zip(tokens) {
        let Some(&(names, kind)) = named.get(token.as_str()) else { continue };
        // In Qwen's and Gemma's vocabularies it is HTML.
        if token == "</s>" && kinds[id as usize] != Kind::Control {
            continue;
        }
        kinds[id as usize] = kind;
        if names == ENDS {
            ends.insert(id);
        }
        found.push((id, token));
    }
    // In gpt-oss and Solar Open, `<|end|>` ends one message of several.
    let has = |name| found.iter().any(|(_, token)| *token == name);
    if (has("<|call|>") || has("<|calls|>")) && (has("<|return|>") || has("<|flush|>")) {
        for &(id, _) in found.iter().filter(|(_, token)| *token == "<|end|>") {
            ends.remove(&id);
            kinds[id as usize] = Kind::UserDefined;
        }
    }
}

fn specials(tokens: &[String], kinds: &[Kind]) -> Vec<Special> {
    // Phi-3 was trained with the line breaks of its template swallowed. No file says so; this name is its own.
    let phi3 = tokens.iter().any(|token| token == "<|placeholder1|>");
    let mut specials: Vec<_> = (0u32..)
        .zip(tokens.iter().zip(kinds))
        .filter(|(_, (token, kind))| !token.is_empty() && kind.is_special())
        .map(|(id, (token, &kind))| Special {
            id,
            always: kind == Kind::UserDefined,
            strips: phi3 && !matches!(token.as_str(), "<unk>" | "<s>" | "<|endoftext|>"),
        })
        .collect();
    specials.sort_by_key(|special| std::cmp::Reverse(tokens[special.id as usize].len()));
    specials
}

/// The byte that a token like `<0x0A>` stands for.
pub(super) fn byte_of(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2)
}

//! The tokenizer that a GGUF file describes: byte-level BPE or SentencePiece BPE. It gives the tokens that the model
//! was trained with: those of its published tokenizer and, nearly always, of llama.cpp, whose conventions the files
//! follow. [`folder`] writes the same tokenizer for other engines.

mod bpe;
mod folder;
mod pre;
mod spm;
mod stream;
mod vocabulary;

#[cfg(test)]
mod folder_tests;
#[cfg(test)]
mod reference_tests;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use bpe::Bpe;
pub use folder::{FolderError, Warning, write_tokenizer_folder};
use spm::Spm;
pub(crate) use stream::TextStream;
pub(crate) use vocabulary::Vocabulary;
use vocabulary::{Facts, Family, Kind, Special, byte_of};

/// Why a vocabulary or a text can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file's kind of tokenizer isn't supported.
    #[error("the tokenizer \"{0}\" is not supported")]
    UnknownModel(String),
    /// The file has no tokens.
    #[error("the vocabulary is empty")]
    Empty,
    /// The file has more tokens than a token number can name.
    #[error("the vocabulary is too large")]
    TooLarge,
    /// A pre-tokenizer's pattern does not compile.
    #[error("a pre-tokenizer is faulty: {0}")]
    Pattern(String),
    /// Byte-level BPE failed.
    #[error("byte-level BPE failed: {0}")]
    Bpe(String),
}

/// A stretch of text, or a special token found in it.
enum Fragment<'t> {
    Text(&'t str),
    Token(u32),
}

enum Model {
    Bpe(Box<Bpe>),
    Spm(Box<Spm>),
}

/// Turns text into tokens and tokens into bytes.
pub(crate) struct Tokenizer {
    model: Model,
    tokens: Vec<String>,
    /// What all tokens stand for, one after another; token `i` from `offsets[i]` to `offsets[i + 1]`.
    bytes: Vec<u8>,
    offsets: Vec<usize>,
    specials: Vec<Special>,
    ends: HashSet<u32>,
    bos: Option<u32>,
    adds_bos: bool,
    space_prefix: bool,
    unknown_pre: Option<String>,
}

impl Tokenizer {
    /// The tokenizer of a file. Tables that are too short or numbers out of range are made up for as llama.cpp does.
    pub(crate) fn new(vocabulary: Vocabulary) -> Result<Self, TokenizerError> {
        let facts = Facts::new(&vocabulary)?;
        let Vocabulary { tokens, merges, scores, .. } = vocabulary;
        let spm = matches!(facts.family, Family::Spm);
        let model = match &facts.family {
            Family::Spm => Model::Spm(Box::new(Spm::new(&tokens, &facts.kinds, scores, facts.unknown))),
            Family::Bpe(rules) => Model::Bpe(Box::new(Bpe::new(&tokens, &facts.kinds, &merges, rules)?)),
        };
        let (mut bytes, mut offsets) = (Vec::new(), vec![0]);
        for (token, kind) in tokens.iter().zip(&facts.kinds) {
            match kind {
                Kind::Normal if spm => bytes.extend_from_slice(token.replace('▁', " ").as_bytes()),
                Kind::Normal => bpe::bytes_of(token, &mut bytes),
                Kind::UserDefined => bytes.extend_from_slice(token.as_bytes()),
                Kind::Byte => bytes.extend(byte_of(token)),
                Kind::Unknown | Kind::Control | Kind::Unused => {}
            }
            offsets.push(bytes.len());
        }
        Ok(Self {
            model,
            specials: facts.specials,
            tokens,
            bytes,
            offsets,
            ends: facts.ends,
            bos: facts.bos,
            adds_bos: facts.adds_bos,
            space_prefix: facts.space_prefix,
            unknown_pre: facts.unknown_pre,
        })
    }

    /// The tokens of a text, without BOS. With `specials`, the text of a control token becomes that token, which is
    /// what a rendered chat template needs and what text from anywhere else must not get.
    pub(crate) fn encode(&self, text: &str, specials: bool) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = Vec::new();
        let mut after_special = true;
        for fragment in self.fragments(text, specials) {
            match (fragment, &self.model) {
                (Fragment::Token(id), _) => {
                    ids.push(id);
                    after_special = true;
                }
                (Fragment::Text(text), Model::Bpe(model)) => model.encode(text, &mut ids)?,
                (Fragment::Text(text), Model::Spm(model)) => {
                    let prefix = if self.space_prefix && after_special { "▁" } else { "" };
                    model.encode(&[prefix, &text.replace(' ', "▁")].concat(), &mut ids);
                    after_special = false;
                }
            }
        }
        Ok(ids)
    }

    /// What the token stands for in the output. Empty for control, unknown and unused tokens, and for no token at all.
    pub(crate) fn bytes(&self, token: u32) -> &[u8] {
        match self.offsets.get(token as usize..).unwrap_or_default() {
            &[start, end, ..] => &self.bytes[start..end],
            _ => &[],
        }
    }

    /// Whether the token ends the generation.
    pub(crate) fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// The token's name in the vocabulary.
    pub(crate) fn text_of(&self, token: u32) -> Option<&str> {
        self.tokens.get(token as usize).map(String::as_str)
    }

    /// The token that begins a text.
    pub(crate) fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Whether the model wants the BOS token before a text.
    pub(crate) fn adds_bos(&self) -> bool {
        self.adds_bos
    }

    /// The number of tokens.
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The file's pre-tokenizer, if it isn't a known one and the default splits the words instead.
    pub(crate) fn unknown_pre(&self) -> Option<&str> {
        self.unknown_pre.as_deref()
    }

    /// Cuts the special tokens out of the text, longer names first.
    fn fragments<'t>(&self, text: &'t str, specials: bool) -> Vec<Fragment<'t>> {
        let mut fragments = vec![Fragment::Text(text)];
        // Some vocabularies have thousands of special tokens. Where in the text their first bytes are tells quickly
        // which of them can be in it.
        let mut places = vec![Vec::new(); 256];
        for (place, byte) in text.bytes().enumerate() {
            places[usize::from(byte)].push(place);
        }
        for special in self.specials.iter().filter(|special| specials || special.always) {
            let name = &self.tokens[special.id as usize];
            let first = usize::from(name.as_bytes()[0]);
            if places[first].iter().any(|&place| text.as_bytes()[place..].starts_with(name.as_bytes())) {
                fragments = fragments.into_iter().flat_map(|fragment| special.cut(name, fragment)).collect();
            }
        }
        fragments.retain(|fragment| !matches!(fragment, Fragment::Text("")));
        fragments
    }
}

impl Special {
    fn cut<'t>(&self, name: &str, fragment: Fragment<'t>) -> Vec<Fragment<'t>> {
        let Fragment::Text(text) = fragment else { return vec![fragment] };
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(name) {
            parts.extend([Fragment::Text(before), Fragment::Token(self.id)]);
            rest = if self.strips { after.trim_start() } else { after };
        }
        parts.push(Fragment::Text(rest));
        parts.retain(|part| !matches!(part, Fragment::Text("")));
        parts
    }
}

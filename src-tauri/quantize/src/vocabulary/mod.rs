//! A model's tokens and chat template: in a folder (`tokenizer.json`, `tokenizer_config.json`, …) and in GGUF.

mod export;
mod import;
#[cfg(test)]
mod tests;

use tektra_gguf::Header;

use crate::{Error, gguf::GgufFile, metadata::Metadata};

/// What a token is, as `tokenizer.ggml.token_type` numbers it
/// (`llama_token_type` in <https://github.com/ggml-org/llama.cpp/blob/master/include/llama.h>).
pub(crate) mod kind {
    pub(crate) const NORMAL: i32 = 1;
    pub(crate) const UNKNOWN: i32 = 2;
    pub(crate) const CONTROL: i32 = 3;
    pub(crate) const USER_DEFINED: i32 = 4;
    pub(crate) const UNUSED: i32 = 5;
    pub(crate) const BYTE: i32 = 6;
}

/// How text becomes tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    /// BPE over bytes: GGUF's "gpt2".
    ByteLevel,
    /// SentencePiece's BPE over characters: GGUF's "llama".
    SentencePiece,
}

/// A tokenizer and the template of conversations.
#[derive(Clone, Debug)]
pub(crate) struct Vocabulary {
    pub(crate) model: Model,
    /// `tokenizer.ggml.pre`.
    pub(crate) pre: String,
    pub(crate) tokens: Vec<String>,
    /// As many as tokens.
    pub(crate) kinds: Vec<i32>,
    /// As many as tokens for [`Model::SentencePiece`], otherwise none.
    pub(crate) scores: Vec<f32>,
    /// For [`Model::ByteLevel`]; the two parts and a space between.
    pub(crate) merges: Vec<String>,
    pub(crate) bos: Option<u32>,
    pub(crate) eos: Option<u32>,
    pub(crate) eot: Option<u32>,
    pub(crate) unknown: Option<u32>,
    pub(crate) padding: Option<u32>,
    pub(crate) add_bos: bool,
    pub(crate) add_space_prefix: Option<bool>,
    pub(crate) template: Option<String>,
}

impl Vocabulary {
    /// Reads it from a GGUF file.
    pub(crate) fn from_gguf(file: &GgufFile<'_>) -> Result<Self, Error> {
        let header = &file.header;
        let model = match header.text("tokenizer.ggml.model") {
            Some("gpt2") => Model::ByteLevel,
            Some("llama") => Model::SentencePiece,
            other => {
                let what = format!("its tokenizer is \"{}\"", other.unwrap_or("none"));
                return Err(Error::Unsupported(what));
            }
        };
        let texts = |name: &str| header.texts(&file.bytes, name);
        let numbers = |name: &str| header.numbers(&file.bytes, name);
        let tokens = texts("tokenizer.ggml.tokens").filter(|tokens| !tokens.is_empty());
        let tokens = tokens.ok_or_else(|| file.damaged("it has no tokens"))?;
        let kinds = numbers("tokenizer.ggml.token_type").map(|kinds| kinds.iter().map(|&kind| kind as i32).collect());
        let scores = numbers("tokenizer.ggml.scores").map(|scores| scores.iter().map(|&score| score as f32).collect());
        let id = |name: &str| id(header, name, tokens.len());
        let mut this = Self {
            model,
            pre: header.text("tokenizer.ggml.pre").unwrap_or("default").to_owned(),
            kinds: kinds.unwrap_or_default(),
            scores: scores.unwrap_or_default(),
            merges: texts("tokenizer.ggml.merges").unwrap_or_default(),
            bos: id("bos"),
            eos: id("eos"),
            eot: id("eot"),
            unknown: id("unknown"),
            padding: id("padding"),
            add_bos: header.flag("tokenizer.ggml.add_bos_token").unwrap_or(model == Model::SentencePiece),
            add_space_prefix: header.flag("tokenizer.ggml.add_space_prefix"),
            template: header.text("tokenizer.chat_template").map(str::to_owned),
            tokens,
        };
        this.kinds.resize(this.tokens.len(), kind::NORMAL);
        if model == Model::SentencePiece {
            this.scores.resize(this.tokens.len(), 0.0);
        }
        Ok(this)
    }

    /// The tokenizer's part of a GGUF file's metadata.
    pub(crate) fn write(&self, metadata: &mut Metadata) {
        let model = match self.model {
            Model::ByteLevel => "gpt2",
            Model::SentencePiece => "llama",
        };
        metadata.text("tokenizer.ggml.model", model);
        metadata.text("tokenizer.ggml.pre", &self.pre);
        metadata.texts("tokenizer.ggml.tokens", &self.tokens);
        match self.model {
            Model::ByteLevel => metadata.texts("tokenizer.ggml.merges", &self.merges),
            Model::SentencePiece => metadata.floats("tokenizer.ggml.scores", &self.scores),
        }
        metadata.integers("tokenizer.ggml.token_type", &self.kinds);
        for (name, id) in [
            ("bos", self.bos),
            ("eos", self.eos),
            ("eot", self.eot),
            ("unknown", self.unknown),
            ("padding", self.padding),
        ] {
            if let Some(id) = id {
                metadata.number(&format!("tokenizer.ggml.{name}_token_id"), id);
            }
        }
        metadata.flag("tokenizer.ggml.add_bos_token", self.add_bos);
        if let Some(add) = self.add_space_prefix {
            metadata.flag("tokenizer.ggml.add_space_prefix", add);
        }
        if let Some(template) = &self.template {
            metadata.text("tokenizer.chat_template", template);
        }
    }

    /// The text of a token.
    pub(crate) fn text(&self, id: Option<u32>) -> Option<&str> {
        self.tokens.get(id? as usize).map(String::as_str)
    }
}

fn id(header: &Header, name: &str, count: usize) -> Option<u32> {
    let id = header.number(&format!("tokenizer.ggml.{name}_token_id"))?;
    (id >= 0.0 && id < count as f64).then_some(id as u32)
}

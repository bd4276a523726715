//! Writing a tokenizer as a model folder has it.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{Model, Vocabulary, kind};
use crate::{Error, pre::PreTokenizer};

impl Vocabulary {
    /// `tokenizer.json`.
    pub(crate) fn tokenizer_json(&self) -> Result<Value, Error> {
        let mut vocabulary = Map::new();
        let mut added = Vec::new();
        for ((id, text), kind) in self.tokens.iter().enumerate().zip(&self.kinds) {
            if *kind == kind::UNUSED {
                continue;
            }
            if matches!(*kind, kind::CONTROL | kind::USER_DEFINED | kind::UNKNOWN) {
                added.push(json!({
                    "id": id,
                    "content": text,
                    "single_word": false,
                    "lstrip": false,
                    "rstrip": false,
                    "normalized": false,
                    "special": *kind != kind::USER_DEFINED,
                }));
            }
            vocabulary.entry(text.as_str()).or_insert(json!(id));
        }
        let (normalizer, pre_tokenizer, decoder, ignore_merges, merges) = match self.model {
            Model::ByteLevel => {
                let pre = PreTokenizer::named(&self.pre).ok_or_else(|| {
                    Error::Unsupported(format!("its way of splitting text into words is \"{}\"", self.pre))
                })?;
                let normalizer = if pre.composes { json!({ "type": "NFC" }) } else { Value::Null };
                let decoder =
                    json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true });
                // A merge of something that is no token can't be read back.
                let merges = self.merges.iter().filter_map(|merge| {
                    let space = 1 + merge.bytes().skip(1).position(|byte| byte == b' ')?;
                    let (left, right) = (&merge[..space], &merge[space + 1..]);
                    let known =
                        [left, right, &[left, right].concat()].iter().all(|part| vocabulary.contains_key(*part));
                    known.then(|| json!([left, right]))
                });
                (normalizer, pre.json(), decoder, pre.ignore_merges, merges.collect())
            }
            Model::SentencePiece => {
                let (normalizer, decoder) = spaces(self.add_space_prefix.unwrap_or(true));
                (normalizer, Value::Null, decoder, false, self.merges_by_score())
            }
        };
        let spm = self.model == Model::SentencePiece;
        Ok(json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer,
            "post_processor": self.post_processor(),
            "decoder": decoder,
            "model": {
                "type": "BPE",
                "dropout": null,
                // Byte-level BPE knows every text; a byte without a token is left out.
                "unk_token": self.text(self.unknown).filter(|_| spm),
                "continuing_subword_prefix": null,
                "end_of_word_suffix": null,
                "fuse_unk": spm,
                "byte_fallback": spm,
                "ignore_merges": ignore_merges,
                "vocab": vocabulary,
                "merges": Value::Array(merges),
            },
        }))
    }

    /// `tokenizer_config.json`.
    pub(crate) fn settings_json(&self) -> Value {
        let mut settings = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": false,
            "add_bos_token": self.add_bos,
        });
        for (name, value) in [
            ("bos_token", self.text(self.bos)),
            ("eos_token", self.text(self.eos)),
            ("unk_token", self.text(self.unknown)),
            ("pad_token", self.text(self.padding)),
            ("chat_template", self.template.as_deref()),
        ] {
            if let Some(value) = value {
                settings[name] = json!(value);
            }
        }
        if let Some(add) = self.add_space_prefix {
            settings["add_prefix_space"] = json!(add);
        }
        settings
    }

    /// `generation_config.json`.
    pub(crate) fn generation_json(&self) -> Value {
        let mut ends: Vec<u32> = self.eos.into_iter().chain(self.eot).collect();
        ends.dedup();
        json!({ "bos_token_id": self.bos, "eos_token_id": ends, "pad_token_id": self.padding })
    }

    /// Puts the first token before a text, where the model wants it.
    fn post_processor(&self) -> Value {
        let (Some(id), Some(text), true) = (self.bos, self.text(self.bos), self.add_bos) else { return Value::Null };
        let special = json!({ "SpecialToken": { "id": text, "type_id": 0 } });
        let sequence = |id: &str, kind: u32| json!({ "Sequence": { "id": id, "type_id": kind } });
        json!({
            "type": "TemplateProcessing",
            "single": [special, sequence("A", 0)],
            "pair": [special, sequence("A", 0), sequence("B", 1)],
            "special_tokens": { text: { "id": text, "ids": [id], "tokens": [text] } },
        })
    }

    /// SentencePiece has no merges, but scores: every pair that makes a token, the best token first.
    fn merges_by_score(&self) -> Vec<Value> {
        let normal = || (0_usize..).zip(&self.tokens).filter(|(id, _)| self.kinds[*id] == kind::NORMAL);
        let ids: HashMap<&str, usize> = normal().map(|(id, token)| (token.as_str(), id)).collect();
        let mut merges: Vec<(f32, &str, &str)> = Vec::new();
        for (id, token) in normal() {
            for (at, _) in token.char_indices().skip(1) {
                let (left, right) = token.split_at(at);
                if ids.contains_key(left) && ids.contains_key(right) {
                    merges.push((self.scores[id], left, right));
                }
            }
        }
        merges.sort_by(|a, b| b.0.total_cmp(&a.0));
        merges.into_iter().map(|(_, left, right)| json!([left, right])).collect()
    }
}

/// What writes spaces as `▁` and reads them back, with one before the text where the model wants it.
fn spaces(prefix: bool) -> (Value, Value) {
    let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" });
    let back = json!({ "type": "Replace", "pattern": { "String": "▁" }, "content": " " });
    let (mut normalizers, mut decoders) =
        (vec![replace], vec![back, json!({ "type": "ByteFallback" }), json!({ "type": "Fuse" })]);
    if prefix {
        normalizers.insert(0, json!({ "type": "Prepend", "prepend": "▁" }));
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    (json!({ "type": "Sequence", "normalizers": normalizers }), json!({ "type": "Sequence", "decoders": decoders }))
}

//! Reading the tokenizer of a model folder.
//!
//! Source of the formats: <https://huggingface.co/docs/tokenizers>, and what `gguf-py/gguf/vocab.py` in
//! <https://github.com/ggml-org/llama.cpp> makes of them.

use std::{collections::HashMap, path::Path};

use serde_json::{Value, json};

use super::{Model, Vocabulary, kind};
use crate::{
    Error,
    files::{read_json, read_text},
    pre::{PreTokenizer, is_byte_level},
};

impl Vocabulary {
    /// Reads the tokenizer of `folder`, whose model has `rows` embeddings and `config` as its `config.json`. What may
    /// not be right is added to `warnings`.
    pub(crate) fn read(folder: &Path, config: &Value, rows: usize, warnings: &mut Vec<String>) -> Result<Self, Error> {
        let path = folder.join("tokenizer.json");
        let json = read_json(&path)?
            .ok_or_else(|| Error::Unsupported(format!("{} has no tokenizer.json", folder.display())))?;
        let settings = read_json(&folder.join("tokenizer_config.json"))?.unwrap_or_default();
        let generation = read_json(&folder.join("generation_config.json"))?.unwrap_or_default();
        let kind = json["model"]["type"].as_str().unwrap_or("none");
        // Old files have no type; of what they can be, only BPE has merges.
        if kind != "BPE" && json["model"]["merges"].is_null() {
            return Err(Error::Unsupported(format!("its tokenizer is \"{kind}\"; only BPE is converted")));
        }
        let model = if is_byte_level(&json["pre_tokenizer"]) {
            Model::ByteLevel
        } else if json["model"]["byte_fallback"] == true {
            Model::SentencePiece
        } else {
            return Err(Error::Unsupported("its BPE works neither on bytes nor as SentencePiece does".into()));
        };
        let Tokens { tokens, kinds, left_out } =
            tokens(&json, model, rows).ok_or_else(|| Error::damaged(&path, "it has no vocabulary"))?;
        if left_out > 0 {
            warnings.push(format!("{left_out} tokens have no embedding and were left out"));
        }
        let merges = merges(&json).ok_or_else(|| Error::damaged(&path, "its merges are not pairs"))?;
        let pre = match (model, PreTokenizer::recognise(&json["pre_tokenizer"])) {
            (Model::ByteLevel, Some(known)) => known.name(),
            (Model::ByteLevel, None) => {
                warnings.push(
                    "its way of splitting text into words has no name in GGUF; another one takes its place, and answers \
                     may be worse"
                        .into(),
                );
                "default"
            }
            (Model::SentencePiece, _) => "default",
        };
        // Of tokens with one name the first counts.
        let ids: HashMap<&str, u32> =
            tokens.iter().enumerate().rev().map(|(id, token)| (token.as_str(), id as u32)).collect();
        let special = |name: &str| {
            let text = text_of(&settings[format!("{name}_token")]).and_then(|text| ids.get(text).copied());
            let key = format!("{name}_token_id");
            let listed = [config, &generation].into_iter().find_map(|json| first_id(&json[&key]));
            text.or(listed).filter(|&id| (id as usize) < tokens.len())
        };
        let (bos, eos) = (special("bos"), special("eos"));
        let mut ends = generation["eos_token_id"].as_array().into_iter().flatten().filter_map(first_id);
        let eot = ends.find(|&id| Some(id) != eos && (id as usize) < tokens.len());
        let unknown = json["model"]["unk_token"].as_str().and_then(|text| ids.get(text).copied());
        let (scores, add_space_prefix) = match model {
            Model::ByteLevel => (Vec::new(), settings["add_prefix_space"].as_bool()),
            Model::SentencePiece => (scores(&tokens, &kinds, &merges), Some(adds_space(&json))),
        };
        Ok(Self {
            model,
            pre: pre.to_owned(),
            bos,
            eos,
            eot,
            unknown: unknown.or_else(|| special("unk")),
            padding: special("pad"),
            add_bos: bos.is_some() && adds_bos(&settings, &json["post_processor"], bos.map(|id| &*tokens[id as usize])),
            add_space_prefix,
            template: template(folder, &settings)?,
            merges: if model == Model::ByteLevel {
                merges.iter().map(|(left, right)| format!("{} {}", escaped(left), escaped(right))).collect()
            } else {
                Vec::new()
            },
            tokens,
            kinds,
            scores,
        })
    }
}

struct Tokens {
    tokens: Vec<String>,
    kinds: Vec<i32>,
    /// Tokens beyond the embeddings.
    left_out: usize,
}

/// One token for each embedding; those without a name are unused.
fn tokens(json: &Value, model: Model, rows: usize) -> Option<Tokens> {
    let mut out = Tokens {
        tokens: (0..rows).map(|id| format!("[PAD{id}]")).collect(),
        kinds: vec![kind::UNUSED; rows],
        left_out: 0,
    };
    let mut put = |id: &Value, text: &str, kind: i32| match id
        .as_u64()
        .and_then(|id| usize::try_from(id).ok())
        .filter(|&id| id < rows)
    {
        Some(id) => (out.tokens[id], out.kinds[id]) = (text.to_owned(), kind),
        None => out.left_out += 1,
    };
    let vocabulary = json["model"]["vocab"].as_object().filter(|vocabulary| !vocabulary.is_empty())?;
    let unknown = json["model"]["unk_token"].as_str();
    for (text, id) in vocabulary {
        let kind = match model {
            Model::SentencePiece if is_byte(text) => kind::BYTE,
            Model::SentencePiece if Some(text.as_str()) == unknown => kind::UNKNOWN,
            _ => kind::NORMAL,
        };
        put(id, text, kind);
    }
    for added in json["added_tokens"].as_array().into_iter().flatten() {
        let Some(text) = added["content"].as_str() else { continue };
        let known = vocabulary.contains_key(text);
        let kind = match model {
            Model::SentencePiece if Some(text) == unknown => kind::UNKNOWN,
            _ if added["special"] == true || looks_special(text) => kind::CONTROL,
            _ => kind::USER_DEFINED,
        };
        // A token of the vocabulary that is listed again, beyond the embeddings, was counted already.
        if known && added["id"].as_u64().is_none_or(|id| id >= rows as u64) {
            continue;
        }
        put(&added["id"], text, kind);
    }
    Some(out)
}

/// Tokens that files forget to call special.
fn looks_special(text: &str) -> bool {
    matches!(text, "<pad>" | "<mask>")
        || text.starts_with("<|") && text.ends_with("|>")
        || text.starts_with("<｜") && text.ends_with("｜>")
}

fn is_byte(text: &str) -> bool {
    let digits = text.strip_prefix("<0x").and_then(|text| text.strip_suffix('>'));
    digits.is_some_and(|digits| digits.len() == 2 && u8::from_str_radix(digits, 16).is_ok())
}

/// The pairs, written as `"a b"` or, since tokens may have spaces, as `["a", "b"]`.
fn merges(json: &Value) -> Option<Vec<(&str, &str)>> {
    let merges = json["model"]["merges"].as_array()?;
    merges
        .iter()
        .map(|merge| match merge {
            Value::String(merge) => merge.split_once(' '),
            pair => Some((pair[0].as_str()?, pair[1].as_str()?)),
        })
        .collect()
}

/// GGUF divides the parts of a merge by a space; one inside of them is written as byte-level BPE writes it.
fn escaped(part: &str) -> String {
    part.replace(' ', "Ġ")
}

/// Scores that make SentencePiece merge in the order of `merges`.
fn scores(tokens: &[String], kinds: &[i32], merges: &[(&str, &str)]) -> Vec<f32> {
    let mut ranks = HashMap::with_capacity(merges.len());
    for (rank, (left, right)) in merges.iter().enumerate() {
        ranks.entry([*left, *right].concat()).or_insert(rank);
    }
    let score = |(token, kind): (&String, &i32)| match ranks.get(token) {
        _ if *kind != kind::NORMAL => 0.0,
        Some(&rank) => -(rank as f32),
        // Single characters, which nothing has to be merged for.
        None => -(merges.len() as f32),
    };
    tokens.iter().zip(kinds).map(score).collect()
}

/// Whether SentencePiece puts a space before the text.
fn adds_space(json: &Value) -> bool {
    let normalizers = json["normalizer"]["normalizers"].as_array().into_iter().flatten();
    let prepends = [&json["normalizer"]].into_iter().chain(normalizers).any(|step| step["type"] == "Prepend");
    let steps = json["pre_tokenizer"]["pretokenizers"].as_array().into_iter().flatten();
    let metaspace = [&json["pre_tokenizer"]].into_iter().chain(steps).find(|step| step["type"] == "Metaspace");
    prepends
        || metaspace.is_some_and(|step| match step["prepend_scheme"].as_str() {
            Some(scheme) => scheme != "never",
            None => step["add_prefix_space"] != json!(false),
        })
}

/// Whether the model wants its first token before every text: by its settings, or by what `tokenizer.json` does.
fn adds_bos(settings: &Value, post_processor: &Value, bos: Option<&str>) -> bool {
    let processors = post_processor["processors"].as_array().into_iter().flatten();
    let template = [post_processor].into_iter().chain(processors).find(|step| step["type"] == "TemplateProcessing");
    let first = template.and_then(|template| template["single"][0]["SpecialToken"]["id"].as_str());
    match settings["add_bos_token"].as_bool() {
        Some(adds) => adds,
        None => first.is_some() && first == bos,
    }
}

/// `"text"` or `{"content": "text", …}`.
fn text_of(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token["content"].as_str())
}

/// A number, or the first of several.
fn first_id(id: &Value) -> Option<u32> {
    id.as_u64().or_else(|| id[0].as_u64()).and_then(|id| u32::try_from(id).ok())
}

fn template(folder: &Path, settings: &Value) -> Result<Option<String>, Error> {
    if let Some(template) = read_text(&folder.join("chat_template.jinja"))? {
        return Ok(Some(template));
    }
    let named = |list: &Value| {
        let list = list.as_array()?;
        let default = list.iter().find(|entry| entry["name"] == "default").or(list.first())?;
        default["template"].as_str().map(str::to_owned)
    };
    let own = &settings["chat_template"];
    if let Some(template) = own.as_str().map(str::to_owned).or_else(|| named(own)) {
        return Ok(Some(template));
    }
    let file = read_json(&folder.join("chat_template.json"))?.unwrap_or_default();
    Ok(file["chat_template"].as_str().map(str::to_owned))
}

//! GGUF: one file, or several parts.

use std::path::{Path, PathBuf};

use tektra_gguf::{Header, HeaderError, PartName, Tensor, Value};

use super::{
    InspectError, absolute, beginning, judge,
    parts::{few, siblings},
    stem, unreadable, unusable,
};
use crate::{
    facts::{Facts, Format, Groups, Part, Shape},
    ggml,
};

/// No model's header is longer; the largest vocabularies take about 16 MiB.
const MOST_HEADER_BYTES: u64 = 64 << 20;

/// What is read first. Most headers are longer, but many files are found that are no models.
const FIRST_BYTES: u64 = 1 << 20;

const AGAIN: &str = "Download it again.";

/// Whether a file is called like a GGUF file.
pub(crate) fn is_gguf_name(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"))
}

pub(super) fn inspect(path: &Path) -> Result<Facts, InspectError> {
    let part = PartName::of(path).filter(|part| part.count > 1);
    let (name, files) = match &part {
        None => (PartName::of(path).map_or_else(|| stem(path), |part| part.base), vec![path.to_path_buf()]),
        Some(part) => {
            let missing = |missing: Vec<String>| {
                let reason = format!("of its {} parts these are missing: {}.", part.count, few(&missing));
                unusable(part.base.as_str(), reason, "Download them into the same folder.")
            };
            (part.base.clone(), siblings(path, part).map_err(missing)?)
        }
    };
    let mut headers = Vec::new();
    let mut size_bytes = 0_u64;
    for file in &files {
        let (header, bytes) = read(file, &name)?;
        let parts = header.number("split.count").unwrap_or_default();
        if part.as_ref().is_some_and(|part| parts as u32 != part.count) {
            let file = file.file_name().unwrap_or_default().to_string_lossy();
            return Err(unusable(name, format!("{file} does not belong to the other parts."), AGAIN));
        }
        size_bytes = size_bytes.saturating_add(bytes);
        headers.push(header);
    }
    let tensors = || headers.iter().flat_map(|header| &header.tensors);
    let first = &headers[0];
    let architecture = first.text("general.architecture").unwrap_or_default().to_ascii_lowercase();
    let (groups, parameters) = groups(tensors());
    let shape = shape(first, &architecture, tensors());
    Ok(Facts {
        name,
        format: Format::Gguf,
        parameters,
        quantization: quantization(tensors()),
        groups,
        context_length: number(first, &architecture, "context_length"),
        chat_template: first.text("tokenizer.chat_template").is_some(),
        licence: licence(first),
        size_bytes,
        runs: judge::gguf(first, &architecture, &shape, &headers),
        files: files.iter().map(|file| absolute(file)).collect::<Vec<PathBuf>>(),
        shape,
        architecture,
    })
}

/// The header of a file, checked against the file's length, and that length.
fn read(path: &Path, name: &str) -> Result<(Header, u64), InspectError> {
    let io = |error: std::io::Error| match unreadable(path, &error) {
        InspectError::Unusable { problem, .. } => InspectError::Unusable { name: name.into(), problem },
        missing => missing,
    };
    let attributes = path.metadata().map_err(io)?;
    if !attributes.is_file() {
        return Err(unusable(name, "it is not a file.", "Give the path of a GGUF file."));
    }
    let size_bytes = attributes.len();
    if size_bytes == 0 {
        return Err(unusable(name, "the file is empty.", AGAIN));
    }
    // Read, not mapped: a file that another program shortens meanwhile must not end this process.
    let mut most = FIRST_BYTES;
    let header = loop {
        let bytes = beginning(path, most).map_err(io)?;
        match Header::read(&bytes) {
            Err(HeaderError::Short) if most < size_bytes && most < MOST_HEADER_BYTES => most *= 4,
            Err(HeaderError::Short) if most < size_bytes => {
                return Err(unusable(name, "its header is longer than any model's.", AGAIN));
            }
            result => break result,
        }
    };
    let header = header.map_err(|error| {
        let hint = match error {
            HeaderError::Magic => "Choose a file that was published as GGUF.",
            _ => AGAIN,
        };
        unusable(name, format!("the file {error}."), hint)
    })?;
    if header.expected_bytes > size_bytes {
        let reason = format!("the file is cut short: {size_bytes} of {} bytes are there.", header.expected_bytes);
        return Err(unusable(name, reason, AGAIN));
    }
    Ok((header, size_bytes))
}

fn groups<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> (Vec<crate::Group>, u64) {
    let mut groups = Groups::default();
    for tensor in tensors {
        let bytes = ggml::bytes_of(tensor.kind, tensor.elements);
        groups.add(part(tensor), &ggml::name_of(tensor.kind), tensor.elements, bytes);
    }
    groups.finish()
}

/// By llama.cpp's names: `LLM_TENSOR_NAMES` in <https://github.com/ggml-org/llama.cpp/blob/master/src/llama-arch.cpp>.
fn part(tensor: &Tensor) -> Part {
    let name = tensor.name.as_str();
    if tensor.dimensions.len() < 2 || name.contains("norm") {
        Part::Norms
    } else if name.starts_with("token_embd") || name.starts_with("position_embd") || name.starts_with("token_types") {
        Part::Embeddings
    } else if name.starts_with("output.") {
        Part::Output
    } else if name.contains("attn") {
        Part::Attention
    } else if name.contains("ffn") {
        Part::FeedForward
    } else {
        Part::Other
    }
}

/// The type with the most elements.
fn quantization<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> String {
    let mut kinds: Vec<(u32, u64)> = Vec::new();
    for tensor in tensors {
        match kinds.iter_mut().find(|(kind, _)| *kind == tensor.kind) {
            Some((_, elements)) => *elements = elements.saturating_add(tensor.elements),
            None => kinds.push((tensor.kind, tensor.elements)),
        }
    }
    let most = kinds.into_iter().max_by_key(|&(kind, elements)| (elements, kind));
    most.map_or_else(|| "unknown".into(), |(kind, _)| ggml::name_of(kind))
}

fn number(header: &Header, architecture: &str, key: &str) -> u32 {
    header.number(&format!("{architecture}.{key}")).unwrap_or_default() as u32
}

fn shape<'a>(header: &Header, architecture: &str, mut tensors: impl Iterator<Item = &'a Tensor>) -> Shape {
    let number = |key: &str| number(header, architecture, key);
    let count = |key: &str| match header.metadata.get(key) {
        Some(Value::Array(array)) => u32::try_from(array.count).unwrap_or(u32::MAX),
        _ => 0,
    };
    let or = |value: u32, other: u32| if value > 0 { value } else { other };
    let (embedding_length, heads) = (number("embedding_length"), number("attention.head_count"));
    let head_length = embedding_length.checked_div(heads).unwrap_or_default();
    let rows = tensors.find(|tensor| tensor.name == "token_embd.weight");
    let rows = rows.and_then(|tensor| tensor.dimensions.get(1)).map_or(0, |&rows| rows.min(u64::from(u32::MAX)) as u32);
    Shape {
        layers: number("block_count"),
        embedding_length,
        feed_forward_length: number("feed_forward_length"),
        heads,
        kv_heads: or(number("attention.head_count_kv"), heads),
        key_length: or(number("attention.key_length"), head_length),
        value_length: or(number("attention.value_length"), or(number("attention.key_length"), head_length)),
        vocabulary: or(rows, count("tokenizer.ggml.tokens")),
        merges: count("tokenizer.ggml.merges"),
    }
}

fn licence(header: &Header) -> Option<String> {
    let text = |key: &str| header.text(key).map(str::trim).filter(|text| !text.is_empty());
    // "other" says that the name stands elsewhere.
    let licence = text("general.license").filter(|licence| *licence != "other");
    licence.or_else(|| text("general.license.name")).or_else(|| text("general.license")).map(Into::into)
}

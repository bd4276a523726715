//! Safetensors: a folder with `config.json`, one or more `.safetensors` files and `tokenizer.json`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use tektra_gguf::PartName;

use super::{
    InspectError, absolute, beginning, judge,
    parts::{few, siblings},
    unreadable, unusable,
};
use crate::facts::{Facts, Format, Groups, Part, Runs, Shape};

/// `model_type`s of dense decoders of the Llama family, which a GGUF file is made of.
const CONVERTIBLE: [&str; 4] = ["llama", "mistral", "qwen2", "qwen3"];

/// The format's own limit: <https://github.com/huggingface/safetensors#format>.
const MOST_HEADER_BYTES: u64 = 100_000_000;

/// `config.json`, `tokenizer_config.json` and the index of parts are smaller by far.
const MOST_JSON_BYTES: u64 = 16 << 20;

const AGAIN: &str = "Download it again.";

/// Whether a file is called like a safetensors file.
pub(crate) fn is_safetensors_name(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors"))
}

/// What is read of `config.json`. Everything may be absent: it is a file of others.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    model_type: String,
    hidden_size: Option<u32>,
    intermediate_size: Option<u32>,
    num_hidden_layers: Option<u32>,
    num_attention_heads: Option<u32>,
    num_key_value_heads: Option<u32>,
    head_dim: Option<u32>,
    vocab_size: Option<u32>,
    max_position_embeddings: Option<u32>,
    quantization_config: Option<Quantization>,
    num_local_experts: Option<u32>,
    num_experts: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Quantization {
    quant_method: Option<String>,
}

/// A tensor of a safetensors header.
#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

pub(super) fn inspect(folder: &Path) -> Result<Facts, InspectError> {
    let name = absolute(folder).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let no_model = || {
        unusable(
            name.as_str(),
            "it is a folder without a model (config.json and safetensors).",
            "Give the path of a GGUF file, or of a folder with config.json and safetensors.",
        )
    };
    if !folder.join("config.json").is_file() {
        return Err(no_model());
    }
    let text = beginning(&folder.join("config.json"), MOST_JSON_BYTES).map_err(|error| unreadable(folder, &error))?;
    let config: Config = serde_json::from_slice(&text)
        .map_err(|error| unusable(name.as_str(), format!("its config.json cannot be read ({error})."), AGAIN))?;
    let files = weight_files(folder, &name)?;
    if files.is_empty() {
        return Err(no_model());
    }
    let mut groups = Groups::default();
    let mut elements: BTreeMap<String, u64> = BTreeMap::new();
    let mut size_bytes = 0_u64;
    for file in &files {
        let file_name = file.file_name().unwrap_or_default().to_string_lossy();
        let broken = |what: &str| unusable(name.as_str(), format!("{file_name} {what}."), AGAIN);
        let (tensors, bytes) = read(file).map_err(broken)?;
        size_bytes = size_bytes.saturating_add(bytes);
        for (tensor_name, tensor) in &tensors {
            let count = tensor.shape.iter().fold(1_u64, |product, size| product.saturating_mul(*size));
            let bytes = tensor.data_offsets[1] - tensor.data_offsets[0];
            groups.add(part(tensor_name, tensor), &tensor.dtype, count, bytes);
            let of_type = elements.entry(tensor.dtype.clone()).or_default();
            *of_type = of_type.saturating_add(count);
        }
    }
    let (groups, parameters) = groups.finish();
    let shape = shape(&config);
    let chat_template = has_chat_template(folder);
    Ok(Facts {
        format: Format::Safetensors,
        parameters,
        quantization: elements.iter().max_by_key(|(_, count)| **count).map_or_else(String::new, |most| most.0.clone()),
        groups,
        context_length: config.max_position_embeddings.unwrap_or_default(),
        chat_template,
        licence: licence(folder),
        size_bytes,
        runs: judge(&config, &shape, &elements, folder.join("tokenizer.json").is_file(), chat_template),
        files: files.iter().map(|file| absolute(file)).collect(),
        architecture: config.model_type.to_ascii_lowercase(),
        shape,
        name,
    })
}

/// The weights' files: those that the index names, otherwise those that are there, none of their parts missing.
fn weight_files(folder: &Path, name: &str) -> Result<Vec<PathBuf>, InspectError> {
    let missing = |missing: &[String]| {
        unusable(name, format!("these of its files are missing: {}.", few(missing)), "Download them into its folder.")
    };
    let index = beginning(&folder.join("model.safetensors.index.json"), MOST_JSON_BYTES).ok();
    let index = index.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    if let Some(map) = index.as_ref().and_then(|index| index.get("weight_map")?.as_object()) {
        let names: BTreeSet<&str> = map.values().filter_map(Value::as_str).collect();
        // A name with a folder in it is not one that the libraries write.
        let names = names.into_iter().filter(|name| Path::new(name).components().count() == 1);
        let files: Vec<PathBuf> = names.map(|name| folder.join(name)).collect();
        let lost: Vec<String> = files
            .iter()
            .filter(|file| !file.is_file())
            .filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned()))
            .collect();
        return if lost.is_empty() { Ok(files) } else { Err(missing(&lost)) };
    }
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let there = entries.flatten().map(|entry| entry.path()).filter(|path| is_safetensors_name(path) && path.is_file());
    let mut files: BTreeSet<PathBuf> = there.collect();
    if let Some((file, part)) = files.iter().find_map(|file| Some((file, PartName::of(file)?))) {
        files = siblings(file, &part).map_err(|lost| missing(&lost))?.into_iter().collect();
    }
    Ok(files.into_iter().collect())
}

/// The tensors of a file, checked against the file's length, and that length.
fn read(path: &Path) -> Result<(BTreeMap<String, Tensor>, u64), &'static str> {
    let unreadable = |_| "cannot be read";
    let mut file = File::open(path).map_err(unreadable)?;
    let size_bytes = file.metadata().map_err(unreadable)?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| "is cut short")?;
    let length = u64::from_le_bytes(length);
    if length > MOST_HEADER_BYTES {
        return Err("is not a safetensors file");
    }
    if length > size_bytes - 8 {
        return Err("is cut short");
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(unreadable)?;
    let mut header: BTreeMap<String, Value> = serde_json::from_slice(&header).map_err(|_| "has a damaged header")?;
    header.remove("__metadata__");
    let data_bytes = size_bytes - 8 - length;
    let mut tensors = BTreeMap::new();
    for (name, value) in header {
        let tensor: Tensor = serde_json::from_value(value).map_err(|_| "has a damaged header")?;
        let [begin, end] = tensor.data_offsets;
        if begin > end {
            return Err("has a damaged header");
        }
        if end > data_bytes {
            return Err("is cut short");
        }
        tensors.insert(name, tensor);
    }
    Ok((tensors, size_bytes))
}

fn part(name: &str, tensor: &Tensor) -> Part {
    if tensor.shape.len() < 2 || name.contains("norm") {
        Part::Norms
    } else if name.contains("embed_tokens") || name.contains("wte.") {
        Part::Embeddings
    } else if name.contains("lm_head") {
        Part::Output
    } else if name.contains("attn") {
        Part::Attention
    } else if name.contains("mlp") || name.contains("feed_forward") || name.contains("experts") {
        Part::FeedForward
    } else {
        Part::Other
    }
}

fn shape(config: &Config) -> Shape {
    let (embedding_length, heads) =
        (config.hidden_size.unwrap_or_default(), config.num_attention_heads.unwrap_or_default());
    let head_length = config.head_dim.unwrap_or_else(|| embedding_length.checked_div(heads).unwrap_or_default());
    Shape {
        layers: config.num_hidden_layers.unwrap_or_default(),
        embedding_length,
        feed_forward_length: config.intermediate_size.unwrap_or_default(),
        heads,
        kv_heads: config.num_key_value_heads.unwrap_or(heads),
        key_length: head_length,
        value_length: head_length,
        vocabulary: config.vocab_size.unwrap_or_default(),
        // About as many as tokens; the file that has them takes long to read.
        merges: config.vocab_size.unwrap_or_default(),
    }
}

/// In `tokenizer_config.json`, or in a file of its own as newer libraries write it.
fn has_chat_template(folder: &Path) -> bool {
    if folder.join("chat_template.jinja").is_file() || folder.join("chat_template.json").is_file() {
        return true;
    }
    let text = beginning(&folder.join("tokenizer_config.json"), MOST_JSON_BYTES).unwrap_or_default();
    let json: Value = serde_json::from_slice(&text).unwrap_or_default();
    json.get("chat_template").is_some_and(|template| !template.is_null())
}

/// From the model card's front matter.
fn licence(folder: &Path) -> Option<String> {
    let card = beginning(&folder.join("README.md"), 64 << 10).ok()?;
    let card = String::from_utf8_lossy(&card);
    let mut lines = card.lines();
    lines.next().filter(|line| line.trim() == "---")?;
    let front: Vec<&str> = lines.take_while(|line| line.trim() != "---").collect();
    let value = |key: &str| {
        let value = front.iter().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix(':'))?;
        let value = value.trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    };
    // "other" says that the name stands elsewhere.
    value("license").filter(|licence| licence != "other").or_else(|| value("license_name")).or_else(|| value("license"))
}

fn judge(
    config: &Config,
    shape: &Shape,
    elements: &BTreeMap<String, u64>,
    tokenizer: bool,
    chat_template: bool,
) -> Runs {
    const OTHER: &str = "Choose a GGUF file of it, or another model.";
    let architecture = config.model_type.to_ascii_lowercase();
    if architecture.is_empty() {
        return Runs::no("its config.json names no architecture (model_type).", OTHER);
    }
    let experts = config.num_local_experts.or(config.num_experts).is_some_and(|experts| experts > 0);
    if experts || !CONVERTIBLE.contains(&architecture.as_str()) {
        let known = CONVERTIBLE.join(", ");
        return Runs::no(
            format!("its architecture \"{architecture}\" is not one that Tektra makes a GGUF file of ({known})."),
            OTHER,
        );
    }
    if let Some(quantization) = &config.quantization_config {
        let method = quantization.quant_method.as_deref().unwrap_or("an unnamed method");
        return Runs::no(
            format!("its weights are quantized already, by {method}."),
            "Choose the original weights, or a GGUF file of it.",
        );
    }
    if let Some(kind) = elements.keys().find(|kind| !matches!(kind.as_str(), "F32" | "F16" | "BF16")) {
        return Runs::no(format!("its weights are of a type that Tektra does not convert ({kind})."), OTHER);
    }
    if !tokenizer {
        return Runs::no("it has no tokenizer.json.", "Download that file into its folder.");
    }
    if !judge::heads_fit(shape) {
        return Runs::no("its heads are of a shape that the engine does not compute.", OTHER);
    }
    if chat_template { Runs::Convert } else { judge::no_template() }
}

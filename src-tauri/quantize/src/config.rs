//! A model's shape, from `config.json` and back.

use std::path::Path;

use serde_json::{Value, json};
use tektra_gguf::Header;

use crate::{Error, files::read_json, metadata::Metadata};

/// Architectures that are converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama and Mistral.
    Llama,
    /// Qwen 2 and 2.5.
    Qwen2,
    /// Qwen 3.
    Qwen3,
}

impl Architecture {
    /// GGUF's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }

    /// The name of its class in Hugging Face's transformers.
    fn class(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::Qwen3 => "Qwen3ForCausalLM",
        }
    }
}

/// How positions beyond those of the first training are brought into its range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum RopeScaling {
    None,
    Linear {
        factor: f64,
    },
    /// Llama 3.1's: slow rotations slower still, fast ones as they were.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original: f64,
    },
    Yarn {
        factor: f64,
        original: f64,
    },
}

/// A decoder of the Llama family.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) architecture: Architecture,
    pub(crate) name: Option<String>,
    pub(crate) dim: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) feed_forward: usize,
    pub(crate) context: usize,
    pub(crate) epsilon: f32,
    pub(crate) rope_base: f64,
    pub(crate) rope_scaling: RopeScaling,
    /// Whether the embeddings are also the output; `None` when nothing says so.
    pub(crate) tied: Option<bool>,
    /// Positions that attention looks back, where that is not all of them.
    pub(crate) window: Option<usize>,
}

/// More than any model has; damaged files say anything.
const MOST: u64 = 1 << 24;

impl Config {
    /// Reads `config.json`; gives it as it is, too.
    pub(crate) fn read(folder: &Path) -> Result<(Self, Value), Error> {
        let path = folder.join("config.json");
        let json = read_json(&path)?.ok_or_else(|| {
            Error::Unsupported(format!("{} has no config.json; it is no model folder", folder.display()))
        })?;
        let text = |name: &str| json[name].as_str();
        let class = json["architectures"][0].as_str().unwrap_or_default();
        let architecture = match class {
            "LlamaForCausalLM" | "MistralForCausalLM" => Architecture::Llama,
            "Qwen2ForCausalLM" => Architecture::Qwen2,
            "Qwen3ForCausalLM" => Architecture::Qwen3,
            _ => {
                return Err(Error::Unsupported(format!(
                    "its architecture is \"{class}\"; Llama, Mistral, Qwen2 and Qwen3 are converted"
                )));
            }
        };
        if let Some(quantization) = json.get("quantization_config").filter(|value| !value.is_null()) {
            let method = quantization["quant_method"].as_str().unwrap_or("some method");
            return Err(Error::Unsupported(format!("its weights are quantized already, by {method}")));
        }
        let size = |name: &str| match json[name].as_u64() {
            Some(size) if (1..=MOST).contains(&size) => Ok(size as usize),
            _ => Err(Error::damaged(&path, format!("it has no usable `{name}`"))),
        };
        let (dim, heads) = (size("hidden_size")?, size("num_attention_heads")?);
        let kv_heads = if json["num_key_value_heads"].is_null() { heads } else { size("num_key_value_heads")? };
        let head_dim = if json["head_dim"].is_null() { dim / heads } else { size("head_dim")? };
        if head_dim == 0 || !head_dim.is_multiple_of(2) || !heads.is_multiple_of(kv_heads) {
            return Err(Error::damaged(&path, format!("{heads} heads of {head_dim} over {kv_heads} cannot be")));
        }
        if json["partial_rotary_factor"].as_f64().is_some_and(|factor| factor != 1.0) {
            return Err(Error::Unsupported("only part of each head is rotated by its position".into()));
        }
        // The fifth version of transformers has all of it in `rope_parameters`.
        let rope =
            ["rope_parameters", "rope_scaling"].into_iter().map(|name| &json[name]).find(|rope| rope.is_object());
        let rope = rope.unwrap_or(&Value::Null);
        let theta = json["rope_theta"].as_f64().or(rope["rope_theta"].as_f64()).unwrap_or(10_000.0);
        let window = json["sliding_window"].as_u64().filter(|_| json["use_sliding_window"] != json!(false));
        let config = Self {
            architecture,
            name: text("_name_or_path").and_then(|name| name.rsplit(['/', '\\']).next()).map(str::to_owned),
            dim,
            layers: size("num_hidden_layers")?,
            heads,
            kv_heads,
            head_dim,
            feed_forward: size("intermediate_size")?,
            context: size("max_position_embeddings")?,
            epsilon: json["rms_norm_eps"].as_f64().unwrap_or(1e-6) as f32,
            rope_base: theta,
            rope_scaling: RopeScaling::read(rope, &json)?,
            tied: json["tie_word_embeddings"].as_bool(),
            window: window.and_then(|window| usize::try_from(window).ok()),
        };
        Ok((config, json))
    }

    /// The model's part of a GGUF file's metadata.
    pub(crate) fn write(&self, metadata: &mut Metadata) {
        let architecture = self.architecture.name();
        let key = |name: &str| format!("{architecture}.{name}");
        for (name, size) in [
            ("block_count", self.layers),
            ("context_length", self.context),
            ("embedding_length", self.dim),
            ("feed_forward_length", self.feed_forward),
            ("attention.head_count", self.heads),
            ("attention.head_count_kv", self.kv_heads),
            ("attention.key_length", self.head_dim),
            ("attention.value_length", self.head_dim),
            ("rope.dimension_count", self.head_dim),
        ] {
            metadata.number(&key(name), size as u32);
        }
        metadata.float(&key("attention.layer_norm_rms_epsilon"), self.epsilon);
        metadata.float(&key("rope.freq_base"), self.rope_base as f32);
        match self.rope_scaling {
            RopeScaling::None | RopeScaling::Llama3 { .. } => {}
            RopeScaling::Linear { factor } => {
                metadata.text(&key("rope.scaling.type"), "linear");
                metadata.float(&key("rope.scaling.factor"), factor as f32);
            }
            RopeScaling::Yarn { factor, original } => {
                metadata.text(&key("rope.scaling.type"), "yarn");
                metadata.float(&key("rope.scaling.factor"), factor as f32);
                metadata.number(&key("rope.scaling.original_context_length"), original as u32);
            }
        }
    }

    /// What each pair's rotation is divided by, as llama.cpp reads it from `rope_freqs.weight`; `None` where nothing is.
    pub(crate) fn rope_factors(&self) -> Option<Vec<f32>> {
        let RopeScaling::Llama3 { factor, low, high, original } = self.rope_scaling else { return None };
        let pairs = self.head_dim / 2;
        let factors = (0..pairs).map(|pair| {
            let turn = self.rope_base.powf(pair as f64 / pairs as f64) * std::f64::consts::TAU;
            let turns = original / turn;
            if turns > high {
                1.0
            } else if turns < low {
                factor as f32
            } else {
                let smooth = (turns - low) / (high - low);
                (1.0 / ((1.0 - smooth) / factor + smooth)) as f32
            }
        });
        Some(factors.collect())
    }

    /// Reads the metadata of a GGUF file; `factors` is its `rope_freqs.weight`.
    pub(crate) fn from_header(header: &Header, factors: Option<&[f32]>) -> Result<Self, Error> {
        let name = header.text("general.architecture").unwrap_or_default();
        let architecture = match name {
            "llama" => Architecture::Llama,
            "qwen2" => Architecture::Qwen2,
            "qwen3" => Architecture::Qwen3,
            _ => return Err(Error::Unsupported(format!("its architecture is \"{name}\""))),
        };
        let number = |key: &str| header.number(&format!("{name}.{key}"));
        let size = |key: &str| match number(key) {
            Some(size) if size >= 1.0 && size <= MOST as f64 => Ok(size as usize),
            _ => Err(Error::Unsupported(format!("it has no usable `{name}.{key}`"))),
        };
        if number("expert_count").is_some_and(|experts| experts > 0.0) {
            return Err(Error::Unsupported("it is a mixture of experts".into()));
        }
        let (dim, heads) = (size("embedding_length")?, size("attention.head_count")?);
        let head_dim = size("attention.key_length").unwrap_or(dim / heads);
        let kv_heads = size("attention.head_count_kv").unwrap_or(heads);
        let rotated = size("rope.dimension_count").unwrap_or(head_dim);
        if rotated != head_dim || !heads.is_multiple_of(kv_heads) || head_dim == 0 || !head_dim.is_multiple_of(2) {
            return Err(Error::Unsupported(format!("it has {heads} heads of {head_dim} over {kv_heads}")));
        }
        let factor = number("rope.scaling.factor").unwrap_or(1.0);
        let rope_scaling = match header.text(&format!("{name}.rope.scaling.type")) {
            None | Some("none") => RopeScaling::None,
            Some("linear") => RopeScaling::Linear { factor },
            Some("yarn") => {
                RopeScaling::Yarn { factor, original: size("rope.scaling.original_context_length")? as f64 }
            }
            Some(other) => return Err(Error::Unsupported(format!("its positions are scaled by \"{other}\""))),
        };
        let mut config = Self {
            architecture,
            name: header.text("general.name").map(str::to_owned),
            dim,
            layers: size("block_count")?,
            heads,
            kv_heads,
            head_dim,
            feed_forward: size("feed_forward_length")?,
            context: size("context_length")?,
            epsilon: number("attention.layer_norm_rms_epsilon").unwrap_or(1e-5) as f32,
            rope_base: number("rope.freq_base").unwrap_or(10_000.0),
            rope_scaling,
            tied: Some(!header.tensors.iter().any(|tensor| tensor.name == "output.weight")),
            window: None,
        };
        if let Some(factors) = factors {
            config.rope_scaling = config.scaling_of(factors)?;
        }
        Ok(config)
    }

    /// The scaling that gives these factors. Every model that has any uses Llama 3's parameters, but for the factor.
    fn scaling_of(&self, factors: &[f32]) -> Result<RopeScaling, Error> {
        let factor = factors.iter().copied().fold(1.0, f32::max).into();
        let scaling = RopeScaling::Llama3 { factor, low: 1.0, high: 4.0, original: 8192.0 };
        let expected = Self { rope_scaling: scaling, ..self.clone() }.rope_factors().unwrap_or_default();
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-3 * b;
        if expected.len() == factors.len() && expected.iter().zip(factors).all(near) {
            Ok(scaling)
        } else {
            Err(Error::Unsupported("its rope factors are not of Llama 3's kind".into()))
        }
    }

    /// `config.json`.
    pub(crate) fn json(&self, vocabulary: usize) -> Value {
        let scaling = match self.rope_scaling {
            RopeScaling::None => Value::Null,
            RopeScaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
            RopeScaling::Llama3 { factor, low, high, original } => json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": original as u64,
            }),
            RopeScaling::Yarn { factor, original } => json!({
                "rope_type": "yarn",
                "factor": factor,
                "original_max_position_embeddings": original as u64,
            }),
        };
        json!({
            "_name_or_path": self.name,
            "architectures": [self.architecture.class()],
            "attention_bias": false,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "hidden_size": self.dim,
            "intermediate_size": self.feed_forward,
            "max_position_embeddings": self.context,
            "model_type": self.architecture.name(),
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.kv_heads,
            "rms_norm_eps": short(self.epsilon),
            "rope_scaling": scaling,
            "rope_theta": self.rope_base,
            "sliding_window": null,
            "tie_word_embeddings": self.tied.unwrap_or(false),
            "torch_dtype": "float16",
            "use_sliding_window": false,
            "vocab_size": vocabulary,
        })
    }
}

impl RopeScaling {
    fn read(rope: &Value, config: &Value) -> Result<Self, Error> {
        let kind = rope["rope_type"].as_str().or(rope["type"].as_str()).unwrap_or("default");
        let number = |name: &str, default: f64| rope[name].as_f64().unwrap_or(default);
        let context = config["max_position_embeddings"].as_f64().unwrap_or(8192.0);
        let original = |default| number("original_max_position_embeddings", default);
        Ok(match kind {
            "default" => Self::None,
            "linear" => Self::Linear { factor: number("factor", 1.0) },
            "llama3" => Self::Llama3 {
                factor: number("factor", 8.0),
                low: number("low_freq_factor", 1.0),
                high: number("high_freq_factor", 4.0),
                original: original(8192.0),
            },
            "yarn" => Self::Yarn { factor: number("factor", 1.0), original: original(context) },
            other => return Err(Error::Unsupported(format!("its positions are scaled by \"{other}\""))),
        })
    }
}

/// The shortest number that means the same single: 1e-5, not 9.99999974738e-6.
fn short(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(value.into())
}

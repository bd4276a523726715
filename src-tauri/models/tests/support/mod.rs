//! What the tests share: tiny GGUF and safetensors models, and people's folders.
#![allow(dead_code, unreachable_pub, reason = "each test file uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use tektra_models::{Surroundings, System};

/// A metadata value.
#[derive(Clone)]
pub enum Value {
    /// `u32`.
    Number(u32),
    /// A string.
    Text(String),
    /// An array of strings.
    Texts(Vec<String>),
}

/// A GGUF file to write.
#[derive(Clone)]
pub struct Gguf {
    /// By name, in order.
    pub metadata: Vec<(String, Value)>,
    /// Name, sizes from the innermost, ggml's type.
    pub tensors: Vec<(String, Vec<u64>, u32)>,
}

/// Bytes of a block and elements in it, of the types that the tests use.
fn block(kind: u32) -> (u64, u64) {
    match kind {
        0 => (4, 1),
        1 => (2, 1),
        2 => (18, 32),
        8 => (34, 32),
        12 => (144, 256),
        14 => (210, 256),
        23 => (136, 256),
        _ => (0, 1),
    }
}

impl Gguf {
    /// A whole tiny chat model of an architecture, Q4_K with a Q6_K table that is the output too.
    pub fn model(architecture: &str) -> Self {
        let mut gguf = Self { metadata: Vec::new(), tensors: Vec::new() };
        gguf.set("general.architecture", Value::Text(architecture.into()));
        gguf.set("general.license", Value::Text("apache-2.0".into()));
        for (key, value) in [
            ("block_count", 2),
            ("context_length", 2048),
            ("embedding_length", 256),
            ("feed_forward_length", 512),
            ("attention.head_count", 4),
            ("attention.head_count_kv", 2),
        ] {
            gguf.set(&format!("{architecture}.{key}"), Value::Number(value));
        }
        gguf.set("tokenizer.ggml.model", Value::Text("gpt2".into()));
        gguf.set("tokenizer.ggml.tokens", Value::Texts((0..96).map(|number| format!("t{number}")).collect()));
        gguf.set("tokenizer.ggml.merges", Value::Texts(vec!["t 1".into(), "t 2".into()]));
        gguf.set("tokenizer.ggml.eos_token_id", Value::Number(2));
        gguf.set("tokenizer.chat_template", Value::Text("{{ messages }}".into()));
        gguf.tensor("token_embd.weight", &[256, 96], 14);
        gguf.tensor("output_norm.weight", &[256], 0);
        for layer in 0..2 {
            gguf.layer(layer);
        }
        gguf
    }

    fn layer(&mut self, layer: u32) {
        for (name, sizes) in [
            ("attn_q", [256, 256]),
            ("attn_k", [256, 128]),
            ("attn_v", [256, 128]),
            ("attn_output", [256, 256]),
            ("ffn_gate", [256, 512]),
            ("ffn_up", [256, 512]),
            ("ffn_down", [512, 256]),
        ] {
            self.tensor(&format!("blk.{layer}.{name}.weight"), &sizes, 12);
        }
        self.tensor(&format!("blk.{layer}.attn_norm.weight"), &[256], 0);
        self.tensor(&format!("blk.{layer}.ffn_norm.weight"), &[256], 0);
    }

    /// Sets a value.
    pub fn set(&mut self, key: &str, value: Value) -> &mut Self {
        self.metadata.retain(|(name, _)| name != key);
        self.metadata.push((key.into(), value));
        self
    }

    /// Removes every value whose name ends so.
    pub fn without(mut self, ending: &str) -> Self {
        self.metadata.retain(|(name, _)| !name.ends_with(ending));
        self
    }

    /// Sets a value.
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.set(key, value);
        self
    }

    /// Adds a tensor.
    pub fn tensor(&mut self, name: &str, sizes: &[u64], kind: u32) -> &mut Self {
        self.tensors.push((name.into(), sizes.to_vec(), kind));
        self
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let text = |out: &mut Vec<u8>, text: &str| {
            out.extend((text.len() as u64).to_le_bytes());
            out.extend(text.as_bytes());
        };
        let mut out = b"GGUF".to_vec();
        out.extend(3_u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            text(&mut out, key);
            match value {
                Value::Number(number) => {
                    out.extend(4_u32.to_le_bytes());
                    out.extend(number.to_le_bytes());
                }
                Value::Text(value) => {
                    out.extend(8_u32.to_le_bytes());
                    text(&mut out, value);
                }
                Value::Texts(values) => {
                    out.extend(9_u32.to_le_bytes());
                    out.extend(8_u32.to_le_bytes());
                    out.extend((values.len() as u64).to_le_bytes());
                    values.iter().for_each(|value| text(&mut out, value));
                }
            }
        }
        let mut offset = 0_u64;
        for (name, sizes, kind) in &self.tensors {
            text(&mut out, name);
            out.extend((sizes.len() as u32).to_le_bytes());
            sizes.iter().for_each(|size| out.extend(size.to_le_bytes()));
            out.extend(kind.to_le_bytes());
            out.extend(offset.to_le_bytes());
            let (bytes, elements) = block(*kind);
            let length = sizes.iter().product::<u64>().div_ceil(elements) * bytes;
            offset = (offset + length).next_multiple_of(32);
        }
        out.resize(out.len().next_multiple_of(32) + offset as usize, 0);
        out
    }

    /// The file cut into parts as llama.cpp cuts it: the metadata in the first, the tensors spread.
    pub fn parts(&self, count: usize) -> Vec<Vec<u8>> {
        let each = self.tensors.len().div_ceil(count);
        let parts = self.tensors.chunks(each).enumerate().map(|(number, tensors)| {
            let metadata = if number == 0 { self.metadata.clone() } else { Vec::new() };
            let part = Self { metadata, tensors: tensors.to_vec() };
            let part = part.with("split.no", Value::Number(number as u32));
            part.with("split.count", Value::Number(count as u32)).bytes()
        });
        parts.collect()
    }

    /// Writes the parts as `NAME-0000N-of-0000M.gguf`.
    pub fn write_parts(&self, folder: &Path, name: &str, count: usize) -> Vec<PathBuf> {
        let parts = self.parts(count).into_iter().enumerate();
        parts
            .map(|(index, bytes)| write(&folder.join(format!("{name}-{:05}-of-{count:05}.gguf", index + 1)), &bytes))
            .collect()
    }
}

/// Writes a file and the folders that it lies in.
pub fn write(path: &Path, bytes: &[u8]) -> PathBuf {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    path.into()
}

/// A file of safetensors with tensors of BF16.
pub fn safetensors(tensors: &[(&str, &[u64])]) -> Vec<u8> {
    let mut offset = 0;
    let entries = tensors.iter().map(|(name, sizes)| {
        let bytes = sizes.iter().product::<u64>() * 2;
        offset += bytes;
        let (begin, end) = (offset - bytes, offset);
        format!(r#""{name}":{{"dtype":"BF16","shape":{sizes:?},"data_offsets":[{begin},{end}]}}"#)
    });
    let header = format!(r#"{{"__metadata__":{{"format":"pt"}},{}}}"#, entries.collect::<Vec<_>>().join(","));
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.resize(out.len() + offset as usize, 0);
    out
}

/// Everything of a tiny Qwen2 chat model but its weights.
pub fn write_config(folder: &Path, model_type: &str) {
    let config = format!(
        r#"{{"model_type":"{model_type}","hidden_size":64,"intermediate_size":128,"num_hidden_layers":1,
            "num_attention_heads":4,"num_key_value_heads":2,"vocab_size":96,"max_position_embeddings":32768}}"#
    );
    write(&folder.join("config.json"), config.as_bytes());
    write(&folder.join("tokenizer.json"), br#"{"model":{"type":"BPE","vocab":{},"merges":["a b","b c"]}}"#);
    write(&folder.join("tokenizer_config.json"), br#"{"chat_template":"{{ messages }}"}"#);
    write(&folder.join("README.md"), b"---\nlicense: apache-2.0\nlanguage:\n- en\n---\n# A model\nlicense: not this\n");
}

/// A whole tiny Qwen2 chat model in one file.
pub fn write_safetensors(folder: &Path) {
    write_config(folder, "qwen2");
    let weights = safetensors(&[
        ("model.embed_tokens.weight", &[96, 64]),
        ("model.layers.0.self_attn.q_proj.weight", &[64, 64]),
        ("model.layers.0.self_attn.q_proj.bias", &[64]),
        ("model.layers.0.mlp.gate_proj.weight", &[128, 64]),
        ("model.layers.0.input_layernorm.weight", &[64]),
        ("lm_head.weight", &[96, 64]),
    ]);
    write(&folder.join("model.safetensors"), &weights);
}

/// A person's folder on Linux without any variables.
pub fn person(home: &Path) -> Surroundings {
    Surroundings { home: Some(home.into()), variables: HashMap::new(), system: System::Linux }
}

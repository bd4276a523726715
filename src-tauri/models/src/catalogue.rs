//! Models worth downloading.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::{
    facts::{Executor, Facts, Format, Groups, Part, Runs, Shape},
    fit::bytes_in,
};

/// The curated models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Catalogue {
    /// The models, the smallest first.
    pub entries: Vec<Entry>,
    /// Well-known models that are not among them.
    pub absent: Vec<Absent>,
}

/// A model that can be downloaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Like no other's.
    pub id: String,
    /// What it is called.
    pub title: String,
    /// `owner/name` on the Hugging Face hub.
    pub repository: String,
    /// The file there.
    pub file: String,
    /// Size of the file.
    pub size_bytes: u64,
    /// Whether the size was computed, not published.
    #[serde(default)]
    pub size_is_estimate: bool,
    /// SHA-256 of the file in small hexadecimal digits, where its publisher names it.
    pub sha256: Option<String>,
    /// Its numbers as its makers count them: a table that serves twice counts once.
    pub parameters: u64,
    /// `llama`.
    pub architecture: String,
    /// `Q4_K_M`.
    pub quantization: String,
    /// Its sizes.
    pub shape: EntryShape,
    /// The longest context in tokens that it was trained for.
    pub context_length: u32,
    /// As its repository names it: `apache-2.0`.
    pub licence: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Who computes it on a CPU.
    pub executor: Executor,
    /// What it is good at, in a sentence or two.
    pub good_at: String,
}

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Conversation of any kind.
    Chat,
    /// Programs.
    Code,
}

/// The sizes of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryShape {
    /// Layers.
    pub layers: u32,
    /// Length of a token's vector.
    pub embedding_length: u32,
    /// Length of the feed-forward layers.
    pub feed_forward_length: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads.
    pub kv_heads: u32,
    /// Elements of a head.
    pub head_length: u32,
    /// Tokens known.
    pub vocabulary: u32,
    /// Whether one table in the file serves as embeddings and as output.
    pub tied_embeddings: bool,
}

/// A model that is not in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    /// What it is called.
    pub title: String,
    /// Why it is not.
    pub reason: String,
    /// The id of what takes its place.
    pub instead: Option<String>,
}

/// Why a catalogue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// It is not JSON of this form.
    #[error("The catalogue of models cannot be read: {0}.")]
    Form(#[from] serde_json::Error),
    /// Something in it cannot be true.
    #[error("The catalogue of models is wrong about \"{id}\": {what}.")]
    Entry {
        /// Which entry.
        id: String,
        /// A clause.
        what: &'static str,
    },
}

/// The catalogue that comes with Tektra.
///
/// # Errors
/// Never, while its test passes.
pub fn catalogue() -> Result<Catalogue, CatalogueError> {
    Catalogue::read(include_str!("../catalogue.json"))
}

impl Catalogue {
    /// Reads and checks a catalogue.
    ///
    /// # Errors
    /// When it is of another form, or when something in it cannot be true.
    pub fn read(json: &str) -> Result<Self, CatalogueError> {
        let catalogue: Self = serde_json::from_str(json)?;
        let mut ids = HashSet::new();
        for entry in &catalogue.entries {
            let wrong = |what| Err(CatalogueError::Entry { id: entry.id.clone(), what });
            if !ids.insert(entry.id.as_str()) {
                return wrong("another entry has the same id");
            }
            if let Some(what) = entry.fault() {
                return wrong(what);
            }
        }
        for absent in &catalogue.absent {
            if absent.instead.as_deref().is_some_and(|id| !ids.contains(id)) {
                return Err(CatalogueError::Entry { id: absent.title.clone(), what: "nothing takes its place" });
            }
        }
        Ok(catalogue)
    }

    /// The entry called `id`.
    pub fn find(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == id)
    }
}

impl Entry {
    /// Where it is downloaded from: `hf://owner/name/file`.
    pub fn source(&self) -> String {
        format!("hf://{}/{}", self.repository, self.file)
    }

    /// What can be known of it before it is downloaded, for [`crate::fit`] and [`crate::max_context`]: how its bytes are
    /// spread over its parts is an estimate.
    pub fn facts(&self) -> Facts {
        /// What tokenizers take in the header, a token.
        const HEADER_BYTES: u64 = 50;
        let shape = &self.shape;
        let table = u64::from(shape.vocabulary) * u64::from(shape.embedding_length);
        let main = self.quantization.trim_end_matches("_M").trim_end_matches("_S");
        // As llama.cpp quantizes: the output better than the rest.
        let output = if main.ends_with("_K") { "Q6_K" } else { main };
        let (of_embeddings, of_output) = if shape.tied_embeddings { (output, 0) } else { (main, table) };
        let (embeddings, output_bytes) = (bytes_in(of_embeddings, table), bytes_in(output, of_output));
        let header = u64::from(shape.vocabulary) * HEADER_BYTES;
        let rest = self.size_bytes.saturating_sub(header).saturating_sub(embeddings).saturating_sub(output_bytes);
        let mut groups = Groups::default();
        groups.add(Part::FeedForward, main, self.parameters.saturating_sub(table), rest);
        groups.add(Part::Embeddings, of_embeddings, table, embeddings);
        if of_output > 0 {
            groups.add(Part::Output, output, of_output, output_bytes);
        }
        Facts {
            name: self.file.trim_end_matches(".gguf").into(),
            format: Format::Gguf,
            architecture: self.architecture.clone(),
            parameters: self.parameters,
            quantization: main.into(),
            groups: groups.finish().0,
            context_length: self.context_length,
            shape: Shape {
                layers: shape.layers,
                embedding_length: shape.embedding_length,
                feed_forward_length: shape.feed_forward_length,
                heads: shape.heads,
                kv_heads: shape.kv_heads,
                key_length: shape.head_length,
                value_length: shape.head_length,
                vocabulary: shape.vocabulary,
                merges: shape.vocabulary,
            },
            chat_template: true,
            licence: Some(self.licence.clone()),
            size_bytes: self.size_bytes,
            files: Vec::new(),
            runs: if self.executor == Executor::TektraCpu { Runs::TektraCpu } else { Runs::MistralRs },
        }
    }

    /// What cannot be true of it.
    fn fault(&self) -> Option<&'static str> {
        let name = |text: &str| {
            let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !text.is_empty() && !text.starts_with('.') && text.bytes().all(sound)
        };
        let repository: Vec<&str> = self.repository.split('/').collect();
        let words = [&self.id, &self.title, &self.architecture, &self.quantization, &self.licence, &self.good_at];
        if words.iter().any(|text| text.trim().is_empty()) {
            Some("something is not said")
        } else if repository.len() != 2 || !repository.iter().all(|part| name(part)) {
            Some("its repository is not OWNER/NAME")
        } else if !name(&self.file) || !self.file.ends_with(".gguf") {
            Some("its file is not a GGUF file")
        } else if self.size_bytes == 0 || self.parameters == 0 || self.context_length == 0 {
            Some("a size is zero")
        } else if self.sha256.as_ref().is_some_and(|hash| {
            hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        }) {
            Some("its checksum is not one of SHA-256")
        } else if !self.shape_explains_parameters() {
            Some("its shape does not have as many parameters")
        } else {
            None
        }
    }

    /// Whether the shape has about as many numbers as the makers count.
    fn shape_explains_parameters(&self) -> bool {
        let shape = &self.shape;
        let (length, head) = (f64::from(shape.embedding_length), f64::from(shape.head_length));
        let (queries, keys) = (f64::from(shape.heads) * head, f64::from(shape.kv_heads) * head);
        let layer = length * (2.0 * queries + 2.0 * keys + 3.0 * f64::from(shape.feed_forward_length));
        let table = f64::from(shape.vocabulary) * length;
        let layers = f64::from(shape.layers) * layer;
        // Some files hold a table twice that the makers count once.
        [layers + table, layers + 2.0 * table].iter().any(|all| (self.parameters as f64 / all - 1.0).abs() < 0.01)
    }
}

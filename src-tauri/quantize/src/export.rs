//! A GGUF file into a folder of safetensors.

use std::{borrow::Cow, fs, path::Path, sync::OnceLock};

use rayon::prelude::*;
use safetensors::{Dtype, View};
use serde_json::Value;
use tektra_kernels::{Format, dequantize};

use crate::{
    EncodeError, Error,
    config::Config,
    encode,
    files::{PartFolder, check_space, unwritable},
    gguf::{GgufFile, Stored},
    tensors::{self, Part},
    vocabulary::Vocabulary,
};

/// What each pair's rotation is divided by; in a folder, `config.json` says it.
const FACTORS: &str = "rope_freqs.weight";

/// Writes the GGUF file at `input` (Llama, Qwen2, Qwen3) as a model folder at `out`, which must not exist: matrices as
/// F16, vectors as F32, and everything that Hugging Face's transformers read.
///
/// Until the folder is complete it is called `….part`; whatever ends the work removes that.
///
/// # Errors
/// When the file is damaged or of an unknown kind, when a weight is beyond F16, when the disk is full.
pub fn to_safetensors(input: &Path, out: &Path) -> Result<(), Error> {
    let file = GgufFile::open(input)?;
    let find = |name: &str| file.header.tensors.iter().find(|tensor| tensor.name == name);
    let factors = find(FACTORS).map(|tensor| file.matrix(tensor)).transpose()?.map(|stored| {
        let mut factors = vec![0.0; stored.columns];
        dequantize(stored.format, stored.row(0), &mut factors);
        factors
    });
    let config = Config::from_header(&file.header, factors.as_deref())?;
    let vocabulary = Vocabulary::from_gguf(&file)?;
    let rows = find("token_embd.weight").and_then(|tensor| tensor.dimensions.get(1)).copied().unwrap_or(0);
    if rows != vocabulary.tokens.len() as u64 {
        return Err(file.damaged("it has another number of embeddings than of tokens"));
    }
    let failed = OnceLock::new();
    let mut written = Vec::new();
    for part in tensors::all(&config, vocabulary.tokens.len(), config.tied == Some(true)) {
        let Some(tensor) = find(&part.ours) else {
            if part.optional {
                continue;
            }
            return Err(file.damaged(format!("`{}` is missing", part.ours)));
        };
        // Biases, which transformers' Llama and Qwen3 have everywhere or nowhere.
        if part.optional {
            return Err(Error::Unsupported(format!("it has `{}`, which transformers has no place for", part.ours)));
        }
        let stored = file.matrix(tensor)?;
        if !tensor.dimensions.iter().rev().copied().eq(part.shape.iter().map(|&size| size as u64)) {
            return Err(file.damaged(format!("`{}` has the shape {:?}", part.ours, tensor.dimensions)));
        }
        written.push(Written { part, stored, failed: &failed });
    }
    let used = |name: &str| name == FACTORS || written.iter().any(|tensor| tensor.part.ours == name);
    if let Some(tensor) = file.header.tensors.iter().find(|tensor| !used(&tensor.name)) {
        return Err(Error::Unsupported(format!("it has `{}`, which transformers has no place for", tensor.name)));
    }
    check_space(out, written.iter().map(|tensor| (&tensor).data_len() as u64).sum())?;
    let names: Vec<String> = written.iter().map(|tensor| tensor.part.theirs.clone()).collect();
    let tensors = names.into_iter().zip(&written);
    let folder = write_folder(out, &config, &vocabulary, file.header.text("general.license"), tensors)?;
    if let Some((tensor, source)) = failed.into_inner() {
        return Err(Error::Tensor { tensor, source });
    }
    folder.keep()
}

/// Writes a model folder, which is still to be kept.
pub(crate) fn write_folder<V: View>(
    out: &Path,
    config: &Config,
    vocabulary: &Vocabulary,
    licence: Option<&str>,
    tensors: impl Iterator<Item = (String, V)>,
) -> Result<PartFolder, Error> {
    let folder = PartFolder::create(out)?;
    let text = |json: Value| format!("{json:#}\n");
    folder.write("config.json", &text(config.json(vocabulary.tokens.len())))?;
    folder.write("tokenizer.json", &text(vocabulary.tokenizer_json()?))?;
    folder.write("tokenizer_config.json", &text(vocabulary.settings_json()))?;
    folder.write("generation_config.json", &text(vocabulary.generation_json()))?;
    if let Some(licence) = licence {
        folder.write("README.md", &format!("---\nlicense: {licence}\n---\n"))?;
    }
    let path = folder.join("model.safetensors");
    // Some readers ask which library's tensors they are.
    let library = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::serialize_to_file(tensors, Some(library), &path)
        .map_err(|error| Error::Unwritable { path: path.clone(), source: std::io::Error::other(error.to_string()) })?;
    // It was made for nobody else to read, as temporary files are.
    let like_others = fs::metadata(folder.join("config.json"))
        .and_then(|metadata| fs::set_permissions(&path, metadata.permissions()));
    like_others.map_err(unwritable(&path))?;
    Ok(folder)
}

/// A tensor on its way.
struct Written<'a> {
    part: Part,
    stored: Stored<'a>,
    /// The first tensor that can't be written, and why.
    failed: &'a OnceLock<(String, EncodeError)>,
}

impl Written<'_> {
    /// Encodes a row, in safetensors' order.
    fn row(&self, row: usize, values: &mut [f32], out: &mut [u8]) -> Result<(), EncodeError> {
        let ours = match self.part.reordered_heads {
            Some(heads) => tensors::our_row(row, self.stored.rows, heads),
            None => row,
        };
        dequantize(self.stored.format, self.stored.row(ours), values);
        encode(format(&self.part), values, None, out)
    }
}

/// What a part is written in.
pub(crate) fn format(part: &Part) -> Format {
    if part.shape.len() == 1 { Format::F32 } else { Format::F16 }
}

/// safetensors' name of it.
pub(crate) fn dtype(part: &Part) -> Dtype {
    if part.shape.len() == 1 { Dtype::F32 } else { Dtype::F16 }
}

/// One tensor is in memory at a time: this is called as each is written.
impl View for &Written<'_> {
    fn dtype(&self) -> Dtype {
        dtype(&self.part)
    }

    fn shape(&self) -> &[usize] {
        &self.part.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let columns = self.stored.columns;
        let mut out = vec![0; self.data_len()];
        let rows = out.par_chunks_exact_mut(columns * format(&self.part).block_bytes());
        rows.enumerate().for_each_init(
            || vec![0.0; columns],
            |values, (row, out)| {
                if let Err(error) = self.row(row, values, out) {
                    let _ = self.failed.set((self.part.ours.clone(), error));
                }
            },
        );
        out.into()
    }

    fn data_len(&self) -> usize {
        self.part.shape.iter().product::<usize>() * format(&self.part).block_bytes()
    }
}

//! A GGUF file into a folder of safetensors.

use std::{collections::HashSet, io, path::Path, sync::atomic::AtomicBool};

use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};
use serde_json::Value;
use tektra_kernels::{Format, dequantize};

use crate::{
    Error, Progress,
    config::Config,
    files::{PartFolder, unwritable},
    gguf::{GgufFile, Stored},
    layout::{Source, Tensor},
    tensors::{self, Part},
    vocabulary::Vocabulary,
    write::write,
};

/// What each pair's rotation is divided by; in a folder, `config.json` says it.
const FACTORS: &str = "rope_freqs.weight";

/// Writes the GGUF file at `input` (Llama, Qwen2, Qwen3) as a model folder at `out`, which must not exist: matrices as
/// F16, vectors as F32, and everything that Hugging Face's transformers read.
///
/// Progress and cancellation as in [`crate::convert`]. Until the folder is complete it is called `….part`; whatever ends
/// the work removes that.
///
/// # Errors
/// When the file is damaged or of an unknown kind, when a weight is beyond F16, when the disk is full, when cancelled.
pub fn to_safetensors(
    input: &Path,
    out: &Path,
    progress: &mut dyn FnMut(Progress),
    cancel: &AtomicBool,
) -> Result<(), Error> {
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
    let mut parts = Vec::new();
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
        let source = source(stored, &part);
        parts.push((part, source));
    }
    let used: HashSet<&str> = parts.iter().map(|(part, _)| part.ours.as_str()).chain([FACTORS]).collect();
    if let Some(tensor) = file.header.tensors.iter().find(|tensor| !used.contains(tensor.name.as_str())) {
        return Err(Error::Unsupported(format!("it has `{}`, which transformers has no place for", tensor.name)));
    }
    write_folder(out, &config, &vocabulary, file.header.text("general.license"), parts, progress, cancel)
}

/// Writes a model folder.
pub(crate) fn write_folder(
    out: &Path,
    config: &Config,
    vocabulary: &Vocabulary,
    licence: Option<&str>,
    parts: Vec<(Part, Source<'_>)>,
    progress: &mut dyn FnMut(Progress),
    cancel: &AtomicBool,
) -> Result<(), Error> {
    let folder = PartFolder::create(out)?;
    let text = |json: Value| format!("{json:#}\n");
    folder.write("config.json", &text(config.json(vocabulary.tokens.len())))?;
    folder.write("tokenizer.json", &text(vocabulary.tokenizer_json()?))?;
    folder.write("tokenizer_config.json", &text(vocabulary.settings_json()))?;
    folder.write("generation_config.json", &text(vocabulary.generation_json()))?;
    if let Some(licence) = licence {
        folder.write("README.md", &format!("---\nlicense: {licence}\n---\n"))?;
    }
    write_safetensors(&folder.join("model.safetensors"), parts, progress, cancel)?;
    folder.keep()
}

/// Writes the parts as safetensors' own writer does, but some rows at a time.
///
/// Format: <https://huggingface.co/docs/safetensors>.
fn write_safetensors(
    path: &Path,
    mut parts: Vec<(Part, Source<'_>)>,
    progress: &mut dyn FnMut(Progress),
    cancel: &AtomicBool,
) -> Result<(), Error> {
    // Wide types first: so every tensor is aligned.
    parts.sort_by(|(a, _), (b, _)| dtype(b).cmp(&dtype(a)).then_with(|| a.theirs.cmp(&b.theirs)));
    let (mut infos, mut tensors, mut end) = (Vec::new(), Vec::new(), 0);
    for (part, source) in parts {
        let dimensions = part.shape.iter().rev().map(|&size| size as u64).collect();
        let (dtype, format) = (dtype(&part), format(&part));
        let tensor = Tensor { name: part.ours, dimensions, format, source };
        let start = end;
        end += tensor.len_bytes();
        infos.push((part.theirs, TensorInfo { dtype, shape: part.shape, data_offsets: (start, end) }));
        tensors.push(tensor);
    }
    // Some readers ask which library's tensors they are.
    let library = [("format".to_owned(), "pt".to_owned())].into();
    let json = Metadata::new(Some(library), infos).and_then(|metadata| Ok(serde_json::to_vec(&metadata)?));
    let mut json = json.map_err(|error| unwritable(path)(io::Error::other(error.to_string())))?;
    json.resize(json.len().next_multiple_of(8), b' ');
    let header = [&(json.len() as u64).to_le_bytes(), &*json].concat();
    write(path, &header, &tensors, 1, progress, cancel)
}

/// What a part is written in.
fn format(part: &Part) -> Format {
    if part.shape.len() == 1 { Format::F32 } else { Format::F16 }
}

/// safetensors' name of it.
fn dtype(part: &Part) -> Dtype {
    if part.shape.len() == 1 { Dtype::F32 } else { Dtype::F16 }
}

/// Where a part's rows come from, in safetensors' order.
fn source<'a>(stored: Stored<'a>, part: &Part) -> Source<'a> {
    let heads = part.reordered_heads;
    Source::Rows(Box::new(move |row, out| {
        let ours = heads.map_or(row, |heads| tensors::our_row(row, stored.rows, heads));
        dequantize(stored.format, stored.row(ours), out);
    }))
}

//! The safetensors of a model folder, mapped.
//!
//! Format: <https://huggingface.co/docs/safetensors>; its own crate reads and checks the headers.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use tektra_kernels::Format;

use crate::{
    Error,
    files::{map, read_json},
    gguf::Stored,
};

const INDEX: &str = "model.safetensors.index.json";

/// All tensors of a folder.
pub(crate) struct Folder {
    shards: Vec<(PathBuf, Mmap)>,
    tensors: BTreeMap<String, Place>,
}

/// Where a tensor is and what it is.
struct Place {
    shard: usize,
    start: usize,
    end: usize,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl Folder {
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let mut this = Self { shards: Vec::new(), tensors: BTreeMap::new() };
        let Some(index) = read_json(&folder.join(INDEX))? else {
            this.add(folder.join(only_file(folder)?))?;
            return Ok(this);
        };
        let wrong = |what: String| Error::damaged(folder.join(INDEX), what);
        let names = index["weight_map"].as_object().ok_or_else(|| wrong("it has no `weight_map`".into()))?;
        let mut files = BTreeMap::new();
        for (tensor, file) in names {
            let file = file.as_str().filter(|file| !file.contains(['/', '\\', ':']) && !file.starts_with('.'));
            let file = file.ok_or_else(|| wrong(format!("`{tensor}` is in no file of this folder")))?;
            files.entry(file).or_insert(tensor);
        }
        for (file, tensor) in files {
            let path = folder.join(file);
            if !path.exists() {
                return Err(Error::damaged(folder, format!("{file} is missing; it holds `{tensor}` and others")));
            }
            this.add(path)?;
        }
        match names.keys().find(|name| !this.tensors.contains_key(*name)) {
            Some(name) => Err(wrong(format!("`{name}` is not where it says"))),
            None => Ok(this),
        }
    }

    fn add(&mut self, path: PathBuf) -> Result<(), Error> {
        let bytes = map(&path)?;
        let wrong = |what: String| Error::damaged(&path, what);
        let (header, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| wrong(error.to_string()))?;
        let data = header + 8;
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            let elements = info.shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
            let expected = elements.and_then(|elements| elements.checked_mul(info.dtype.bitsize()));
            if expected.is_none_or(|bits| bits / 8 != end - start) || data + end > bytes.len() {
                return Err(wrong(format!("`{name}` has another shape than its bytes")));
            }
            let place = Place {
                shard: self.shards.len(),
                start: data + start,
                end: data + end,
                dtype: info.dtype,
                shape: info.shape.clone(),
            };
            self.tensors.insert(name, place);
        }
        self.shards.push((path, bytes));
        Ok(())
    }

    /// The tensors' names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The shape of a tensor, the innermost size last.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|place| place.shape.as_slice())
    }

    /// A tensor of the given shape; `None` when there is none of that name.
    pub(crate) fn find(&self, name: &str, shape: &[usize]) -> Result<Option<Stored<'_>>, Error> {
        let Some(place) = self.tensors.get(name) else { return Ok(None) };
        let (path, bytes) = &self.shards[place.shard];
        if place.shape != shape || shape.contains(&0) {
            let what = format!("`{name}` has the shape {:?}, but config.json says {shape:?}", place.shape);
            return Err(Error::damaged(path, what));
        }
        let format = match place.dtype {
            Dtype::F32 => Format::F32,
            Dtype::F16 => Format::F16,
            Dtype::BF16 => Format::BF16,
            other => {
                return Err(Error::Unsupported(format!("`{name}` is of type {other}; F32, F16 and BF16 are read")));
            }
        };
        let columns = shape.last().copied().unwrap_or(1);
        let rows = shape.iter().rev().skip(1).product();
        Ok(Some(Stored { format, rows, columns, bytes: &bytes[place.start..place.end] }))
    }
}

/// The file of a folder without an index.
fn only_file(folder: &Path) -> Result<String, Error> {
    let files = std::fs::read_dir(folder).map_err(crate::files::unreadable(folder))?;
    let mut files: Vec<String> = files
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".safetensors"))
        .collect();
    files.sort_unstable();
    match &files[..] {
        [] => Err(Error::Unsupported(format!("{} has no safetensors", folder.display()))),
        [only] => Ok(only.clone()),
        files if files.iter().any(|name| name == "model.safetensors") => Ok("model.safetensors".into()),
        _ => Err(Error::damaged(folder, format!("{INDEX} is missing, which says what is in which file"))),
    }
}

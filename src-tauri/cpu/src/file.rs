//! A model's GGUF file, mapped: where each matrix lies, rows and vectors as they are in it.

use std::{collections::HashMap, fs::File, io, path::Path};

use memmap2::Mmap;
use tektra_gguf::{Header, Tensor};
use tektra_kernels::{Format, Matrix, dequantize};

use crate::weights::{LoadError, Shape};

/// A model's GGUF file, or its files where it comes in parts, mapped.
pub(crate) struct ModelFile {
    /// Of the first part, which has all metadata.
    pub(crate) header: Header,
    parts: Vec<Part>,
}

struct Part {
    file: File,
    bytes: Mmap,
    tensors: HashMap<String, Tensor>,
    data_start: u64,
}

impl ModelFile {
    pub(crate) fn open(path: &Path) -> Result<Self, LoadError> {
        let mut header = None;
        let mut parts = Vec::new();
        for path in tektra_gguf::parts(path) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let file = File::open(&path).map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
            // SAFETY: the map is only read. Whoever shortens the file meanwhile ends this process, which is the engine's
            // own and is started again; nothing of a conversation lives in it.
            #[allow(unsafe_code)]
            let bytes = unsafe { Mmap::map(&file) }?;
            let mut own = Header::read(&bytes)?;
            if own.expected_bytes > bytes.len() as u64 {
                return Err(LoadError::Damaged(format!("{name} is cut short")));
            }
            let tensors = std::mem::take(&mut own.tensors).into_iter().map(|tensor| (tensor.name.clone(), tensor));
            parts.push(Part { file, bytes, tensors: tensors.collect(), data_start: own.data_start });
            header.get_or_insert(own);
        }
        let header = header.ok_or_else(|| LoadError::Damaged("it has no parts".into()))?;
        Ok(Self { header, parts })
    }

    /// The bytes that the header's arrays are in.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.parts[0].bytes
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<(usize, &Tensor)> {
        self.parts.iter().enumerate().find_map(|(index, part)| Some((index, part.tensors.get(name)?)))
    }

    fn find(&self, name: &str, rows: usize, columns: usize) -> Result<Option<Weight>, LoadError> {
        let Some((part, tensor)) = self.tensor(name) else { return Ok(None) };
        let damaged = || LoadError::Damaged(format!("`{name}` has another shape than the header says"));
        let format = Format::from_ggml(tensor.kind)
            .ok_or_else(|| LoadError::Unsupported(format!("`{name}` is of ggml type {}", tensor.kind)))?;
        let size = |index: usize| tensor.dimensions.get(index).map_or(1, |&size| size as usize);
        if size(0) != columns || size(1) != rows || tensor.elements != (rows * columns) as u64 {
            return Err(damaged());
        }
        let start = usize::try_from(self.parts[part].data_start + tensor.offset).map_err(|_| damaged())?;
        let len = format.row_bytes(columns).and_then(|bytes| bytes.checked_mul(rows)).ok_or_else(damaged)?;
        if start.checked_add(len).is_none_or(|end| end > self.parts[part].bytes.len()) {
            return Err(damaged());
        }
        Ok(Some(Weight { format, rows, columns, part, start, len }))
    }

    pub(crate) fn weight(&self, name: &str, rows: usize, columns: usize) -> Result<Weight, LoadError> {
        self.find(name, rows, columns)?.ok_or_else(|| LoadError::Damaged(format!("`{name}` is missing")))
    }

    /// A vector as `f32`: norms, biases.
    pub(crate) fn vector(&self, name: &str, len: usize) -> Result<Option<Vec<f32>>, LoadError> {
        let Some(weight) = self.find(name, 1, len)? else { return Ok(None) };
        let mut values = vec![0.0; len];
        dequantize(weight.format, self.matrix(&weight).row(0), &mut values);
        Ok(Some(values))
    }

    pub(crate) fn norm(&self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        self.vector(name, len)?.ok_or_else(|| LoadError::Damaged(format!("`{name}` is missing")))
    }

    /// Where layer `index` is.
    pub(crate) fn layer(&self, shape: &Shape, index: usize) -> Result<LayerTensors, LoadError> {
        let Shape { dim, heads, kv_heads, head_dim, feed_forward, .. } = *shape;
        let (query_len, kv_len) = (heads * head_dim, kv_heads * head_dim);
        let name = |part: &str| format!("blk.{index}.{part}");
        let weight = |part: &str, rows, columns| self.weight(&name(part), rows, columns);
        Ok(LayerTensors {
            attention_norm: self.norm(&name("attn_norm.weight"), dim)?,
            products: [
                weight("attn_q.weight", query_len, dim)?,
                weight("attn_k.weight", kv_len, dim)?,
                weight("attn_v.weight", kv_len, dim)?,
            ],
            biases: [
                self.vector(&name("attn_q.bias"), query_len)?,
                self.vector(&name("attn_k.bias"), kv_len)?,
                self.vector(&name("attn_v.bias"), kv_len)?,
            ],
            query_norm: self.vector(&name("attn_q_norm.weight"), head_dim)?,
            key_norm: self.vector(&name("attn_k_norm.weight"), head_dim)?,
            output: weight("attn_output.weight", dim, query_len)?,
            feed_forward_norm: self.norm(&name("ffn_norm.weight"), dim)?,
            gate_up: [weight("ffn_gate.weight", feed_forward, dim)?, weight("ffn_up.weight", feed_forward, dim)?],
            down: weight("ffn_down.weight", dim, feed_forward)?,
        })
    }

    /// How much of the files is read when `layers` layers are.
    pub(crate) fn bytes_until_layer(&self, shape: &Shape, layers: usize) -> u64 {
        self.size_bytes() * layers as u64 / shape.layers.max(1) as u64
    }

    /// What turns vectors into tokens: where the file has nothing of its own for it, the embeddings.
    pub(crate) fn output(&self, shape: &Shape) -> Result<Weight, LoadError> {
        let own = self.find("output.weight", shape.vocabulary, shape.dim)?;
        own.map_or_else(|| self.weight("token_embd.weight", shape.vocabulary, shape.dim), Ok)
    }

    fn size_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes.len() as u64).sum()
    }

    /// Gives back the memory that reading took; what is needed again is mapped again.
    pub(crate) fn release(&self) {
        #[cfg(unix)]
        for part in &self.parts {
            // SAFETY: the map is read-only and of a file, so its pages come back as they were.
            #[allow(unsafe_code)]
            let _ = unsafe { part.bytes.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }

    /// Row `row` of a matrix as it is in the file. Read and not mapped: some systems bring in a megabyte around each row
    /// that is touched.
    ///
    /// # Errors
    /// When the file cannot be read any more.
    pub(crate) fn row(&self, weight: &Weight, row: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; weight.len / weight.rows];
        let at = (weight.start + row * bytes.len()) as u64;
        read_exact_at(&self.parts[weight.part].file, &mut bytes, at)?;
        Ok(bytes)
    }

    pub(crate) fn matrix(&self, weight: &Weight) -> Matrix<'_> {
        let bytes = &self.parts[weight.part].bytes[weight.start..][..weight.len];
        Matrix::new(weight.format, weight.rows, weight.columns, bytes).expect("its shape was checked when it was found")
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_read(file, bytes, at)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut std::mem::take(&mut bytes)[count..];
        at += count as u64;
    }
    Ok(())
}

/// Where a matrix is in the file.
#[derive(Clone)]
pub(crate) struct Weight {
    pub(crate) format: Format,
    pub(crate) rows: usize,
    columns: usize,
    part: usize,
    start: usize,
    len: usize,
}

/// Where a layer's weights are in the file, and what of it is read at once.
pub(crate) struct LayerTensors {
    pub(crate) attention_norm: Vec<f32>,
    /// Of query, key and value.
    pub(crate) products: [Weight; 3],
    pub(crate) biases: [Option<Vec<f32>>; 3],
    pub(crate) query_norm: Option<Vec<f32>>,
    pub(crate) key_norm: Option<Vec<f32>>,
    pub(crate) output: Weight,
    pub(crate) feed_forward_norm: Vec<f32>,
    pub(crate) gate_up: [Weight; 2],
    pub(crate) down: Weight,
}

impl LayerTensors {
    pub(crate) fn matrices(&self) -> impl Iterator<Item = &Weight> {
        self.products.iter().chain([&self.output]).chain(&self.gate_up).chain([&self.down])
    }
}

//! A model's numbers: its shape from the header, its weights where they lie in the mapped file.

use std::{collections::HashMap, fs::File, io, path::Path};

use memmap2::Mmap;
use tektra_cuda::GpuError;
use tektra_gguf::{Header, HeaderError, Tensor};
use tektra_kernels::{Format, Matrix, Packed, Pool, Room, dequantize, ops::RopePairs};

/// Why a file cannot be run here.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be opened or mapped.
    #[error("the file cannot be read ({0})")]
    Unreadable(#[from] std::io::Error),
    /// A GPU cannot be used so.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The header is broken.
    #[error("the file {0}")]
    Header(#[from] HeaderError),
    /// A model of a kind that this executor does not know; another one may.
    #[error("{0}")]
    Unsupported(String),
    /// The file says that it holds something, and does not.
    #[error("the file is damaged: {0}")]
    Damaged(String),
}

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

    fn tensor(&self, name: &str) -> Option<(usize, &Tensor)> {
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

    fn weight(&self, name: &str, rows: usize, columns: usize) -> Result<Weight, LoadError> {
        self.find(name, rows, columns)?.ok_or_else(|| LoadError::Damaged(format!("`{name}` is missing")))
    }

    /// A vector as `f32`: norms, biases.
    fn vector(&self, name: &str, len: usize) -> Result<Option<Vec<f32>>, LoadError> {
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

/// The sizes that a model has.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) dim: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) feed_forward: usize,
    pub(crate) vocabulary: usize,
    pub(crate) epsilon: f32,
    pub(crate) pairs: RopePairs,
    /// Radians that each pair of elements turns by from one position to the next.
    pub(crate) frequencies: Vec<f32>,
}

pub(crate) struct Layer {
    pub(crate) attention_norm: Vec<f32>,
    pub(crate) query: Packed,
    pub(crate) key: Packed,
    pub(crate) value: Packed,
    /// Of query, key and value.
    pub(crate) biases: [Option<Vec<f32>>; 3],
    pub(crate) query_norm: Option<Vec<f32>>,
    pub(crate) key_norm: Option<Vec<f32>>,
    pub(crate) output: Packed,
    pub(crate) feed_forward_norm: Vec<f32>,
    pub(crate) gate: Packed,
    pub(crate) up: Packed,
    pub(crate) down: Packed,
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
    fn matrices(&self) -> impl Iterator<Item = &Weight> {
        self.products.iter().chain([&self.output]).chain(&self.gate_up).chain([&self.down])
    }
}

impl Layer {
    fn pack(tensors: LayerTensors, file: &ModelFile, pool: &mut Pool, room: &mut Room) -> io::Result<Self> {
        let mut pack = |weight: &Weight| Packed::new(pool, &file.matrix(weight), room);
        let [query, key, value] = &tensors.products;
        let [gate, up] = &tensors.gate_up;
        Ok(Self {
            query: pack(query)?,
            key: pack(key)?,
            value: pack(value)?,
            output: pack(&tensors.output)?,
            gate: pack(gate)?,
            up: pack(up)?,
            down: pack(&tensors.down)?,
            attention_norm: tensors.attention_norm,
            biases: tensors.biases,
            query_norm: tensors.query_norm,
            key_norm: tensors.key_norm,
            feed_forward_norm: tensors.feed_forward_norm,
        })
    }
}

/// A decoder of the Llama family: RMS norms, rotary positions, grouped attention, gated feed-forward.
pub(crate) struct Weights {
    pub(crate) file: ModelFile,
    pub(crate) shape: Shape,
    pub(crate) embedding: Weight,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Vec<f32>,
    /// None where a GPU holds it.
    pub(crate) output: Option<Packed>,
}

impl Weights {
    /// Every matrix that is multiplied with, those of the layers first.
    pub(crate) fn matrices(&self) -> Vec<&Packed> {
        let layers = self.layers.iter().flat_map(|layer| {
            let Layer { query, key, value, output, gate, up, down, .. } = layer;
            [query, key, value, output, gate, up, down]
        });
        layers.chain(&self.output).collect()
    }

    /// Reads and packs the weights of the layers from `first_layer` on, on the threads of `pool`, and the output unless a
    /// GPU holds that; `progress` hears the bytes of the files that are done.
    pub(crate) fn read(
        file: ModelFile,
        shape: Shape,
        first_layer: usize,
        pool: &mut Pool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, LoadError> {
        let embedding = file.weight("token_embd.weight", shape.vocabulary, shape.dim)?;
        let layers =
            (first_layer..shape.layers).map(|index| file.layer(&shape, index)).collect::<Result<Vec<_>, _>>()?;
        let output = (first_layer == 0).then(|| file.output(&shape)).transpose()?;
        let sizes: Vec<usize> = layers
            .iter()
            .flat_map(LayerTensors::matrices)
            .chain(&output)
            .map(|weight| Packed::bytes_of(&file.matrix(weight)))
            .collect();
        let mut room = Room::new(sizes.iter().sum(), sizes.len())?;
        let output = output.map(|output| Packed::new(pool, &file.matrix(&output), &mut room)).transpose()?;
        let layers = (first_layer..)
            .zip(layers)
            .map(|(index, tensors)| {
                let layer = Layer::pack(tensors, &file, pool, &mut room)?;
                // So that the file never lies in memory as a whole beside its copy.
                file.release();
                progress(file.bytes_until_layer(&shape, index + 1));
                Ok(layer)
            })
            .collect::<Result<_, LoadError>>()?;
        let norm = file.norm("output_norm.weight", shape.dim)?;
        file.release();
        Ok(Self { file, shape, embedding, layers, norm, output })
    }

    /// Bytes of the packed weights; what else there is are a few vectors, and the file's map.
    pub(crate) fn len_bytes(&self) -> u64 {
        let of = |layer: &Layer| {
            let parts = [&layer.query, &layer.key, &layer.value, &layer.output, &layer.gate, &layer.up, &layer.down];
            parts.iter().map(|part| part.len_bytes() as u64).sum::<u64>()
        };
        let output = self.output.as_ref().map_or(0, Packed::len_bytes) as u64;
        self.layers.iter().map(of).sum::<u64>() + output
    }
}

/// More than any model has; damaged headers say anything.
const MOST: usize = 1 << 24;

impl Shape {
    pub(crate) fn read(file: &ModelFile) -> Result<Self, LoadError> {
        let header = &file.header;
        let architecture = header.text("general.architecture").unwrap_or_default();
        let pairs = match architecture {
            "llama" => RopePairs::Neighbours,
            "qwen2" | "qwen3" => RopePairs::Halves,
            other => return Err(LoadError::Unsupported(format!("architecture \"{other}\""))),
        };
        let number = |key: &str| header.number(&format!("{architecture}.{key}"));
        let size = |key: &str| match number(key) {
            Some(size) if size >= 1.0 && size <= MOST as f64 => Ok(size as usize),
            _ => Err(LoadError::Damaged(format!("no usable `{architecture}.{key}`"))),
        };
        if number("expert_count").is_some_and(|experts| experts > 0.0) {
            return Err(LoadError::Unsupported("a mixture of experts".into()));
        }
        let (dim, heads) = (size("embedding_length")?, size("attention.head_count")?);
        let kv_heads = size("attention.head_count_kv").unwrap_or(heads);
        let head_dim = size("attention.key_length").unwrap_or(dim / heads);
        if size("attention.value_length").is_ok_and(|value| value != head_dim) {
            return Err(LoadError::Unsupported("keys and values of different lengths".into()));
        }
        if !heads.is_multiple_of(kv_heads) || head_dim == 0 || !head_dim.is_multiple_of(16) {
            return Err(LoadError::Unsupported(format!("{heads} heads of {head_dim} over {kv_heads}")));
        }
        let vocabulary = file.tensor("token_embd.weight");
        let vocabulary = vocabulary.and_then(|(_, tensor)| tensor.dimensions.get(1)).map_or(0, |&size| size as usize);
        if vocabulary == 0 || vocabulary > MOST {
            return Err(LoadError::Damaged("no usable vocabulary".into()));
        }
        let rotated = size("rope.dimension_count").unwrap_or(head_dim);
        if rotated > head_dim || !rotated.is_multiple_of(2) {
            return Err(LoadError::Damaged("more rotated elements than a head has".into()));
        }
        let linear = match header.text(&format!("{architecture}.rope.scaling.type")) {
            None | Some("none") => 1.0,
            Some("linear") => number("rope.scaling.factor").unwrap_or(1.0).max(1.0),
            Some(other) => return Err(LoadError::Unsupported(format!("position scaling \"{other}\""))),
        };
        let base = number("rope.freq_base").unwrap_or(10_000.0);
        let factors = file.vector("rope_freqs.weight", rotated / 2)?.unwrap_or_else(|| vec![1.0; rotated / 2]);
        let frequency = |(pair, factor): (usize, &f32)| {
            (base.powf(-2.0 * pair as f64 / rotated as f64) / linear / f64::from(*factor)) as f32
        };
        Ok(Self {
            dim,
            layers: size("block_count")?,
            heads,
            kv_heads,
            head_dim,
            feed_forward: size("feed_forward_length")?,
            vocabulary,
            epsilon: number("attention.layer_norm_rms_epsilon").unwrap_or(1e-5) as f32,
            pairs,
            frequencies: factors.iter().enumerate().map(frequency).collect(),
        })
    }
}

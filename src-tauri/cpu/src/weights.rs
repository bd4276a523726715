//! A model's numbers: its shape from the header, its weights in the kernels' order.

use std::io;

use tektra_cuda::GpuError;
use tektra_gguf::HeaderError;
use tektra_kernels::{Arena, Packed, Pool, ops::RopePairs};

use crate::file::{LayerTensors, ModelFile, Weight};

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

impl Layer {
    fn pack(tensors: LayerTensors, file: &ModelFile, pool: &mut Pool, arena: &mut Arena) -> io::Result<Self> {
        let mut pack = |weight: &Weight| Packed::new(pool, &file.matrix(weight), arena);
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
        let mut arena = Arena::new(sizes.iter().sum(), sizes.len())?;
        let output = output.map(|output| Packed::new(pool, &file.matrix(&output), &mut arena)).transpose()?;
        let layers = (first_layer..)
            .zip(layers)
            .map(|(index, tensors)| {
                let layer = Layer::pack(tensors, &file, pool, &mut arena)?;
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

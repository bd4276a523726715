//! Layers on one GPU, and a step through them.

use std::sync::Arc;

use cudarc::driver::{CudaGraph, sys};
use tektra_kernels::{Matrix, PAGE};

use crate::{
    GpuError, LayerShape, LayerWeights, MOST_GENERATED, MOST_ROWS, Step, Then,
    attend::tile_rows,
    gpu::{Gpu, Memory, Pinned},
    matrix::GpuMatrix,
    page::{Page, Pages},
    scratch::{Input, Scratch, Tile, Token},
};

/// Rows that the kernels for few rows are made for.
pub(crate) const FEW: [usize; 5] = [1, 2, 4, 8, MOST_GENERATED];

/// Logits are computed for so many rows at a time where more are wanted than are generated.
const LOGIT_ROWS: usize = 64;

pub(crate) struct Layer {
    pub(crate) attention_norm: Memory,
    pub(crate) products: Vec<GpuMatrix>,
    pub(crate) bias: Option<Memory>,
    pub(crate) query_norm: Option<Memory>,
    pub(crate) key_norm: Option<Memory>,
    pub(crate) output: Vec<GpuMatrix>,
    pub(crate) feed_forward_norm: Memory,
    pub(crate) gate_up: Vec<GpuMatrix>,
    pub(crate) down: Vec<GpuMatrix>,
}

pub(crate) struct Output {
    pub(crate) norm: Memory,
    pub(crate) matrix: Vec<GpuMatrix>,
    pub(crate) logits: Input<f32>,
}

/// The launches of a step, recorded.
struct Graph(CudaGraph);

// SAFETY: handles of the driver, which may be used from any thread that has bound the context.
unsafe impl Send for Graph {}

/// Consecutive layers of a model in one GPU's memory, and the model's output where it lies there.
pub struct Layers {
    // Before what it refers to, so that it is dropped first.
    graphs: [Option<Graph>; FEW.len()],
    pub(crate) gpu: Arc<Gpu>,
    pub(crate) shape: LayerShape,
    pages: Arc<Pages>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) output: Option<Output>,
    pub(crate) scratch: Option<Scratch>,
    has_floats: bool,
}

impl Layers {
    /// Nothing yet, on GPU number `ordinal` of those that this process sees, for `layers` layers.
    ///
    /// # Errors
    /// When there is no such GPU, when it is too old, and when the kernels do not know the shape.
    pub fn new(ordinal: usize, shape: LayerShape, layers: usize) -> Result<Self, GpuError> {
        let LayerShape { dim, heads, head_dim, feed_forward, .. } = shape;
        let widths = [dim, heads * head_dim, feed_forward];
        if head_dim > 256 || !head_dim.is_multiple_of(16) || widths.iter().any(|width| !width.is_multiple_of(32)) {
            let words = format!("heads of {head_dim} in vectors of {dim} and {feed_forward} elements");
            return Err(GpuError::Unsupported(words));
        }
        let gpu = Gpu::open(ordinal)?;
        let pages = Pages::new(&gpu, layers * 2 * half_bytes(&shape));
        Ok(Self {
            graphs: Default::default(),
            gpu,
            shape,
            pages,
            layers: Vec::with_capacity(layers),
            output: None,
            scratch: None,
            has_floats: false,
        })
    }

    /// Copies the next layer's weights to the GPU.
    ///
    /// # Errors
    /// When its memory is full.
    pub fn push(&mut self, weights: &LayerWeights<'_>) -> Result<(), GpuError> {
        let gpu = &self.gpu;
        let vector = |values: &[f32]| Memory::of(gpu, values);
        let bias = weights.biases.iter().any(Option::is_some).then(|| {
            let parts = weights.biases.iter().zip(&weights.products);
            let all: Vec<f32> = parts
                .flat_map(|(bias, product)| bias.map_or_else(|| vec![0.0; product.rows], <[f32]>::to_vec))
                .collect();
            vector(&all)
        });
        let layer = Layer {
            attention_norm: vector(weights.attention_norm)?,
            products: GpuMatrix::stack(gpu, &weights.products)?,
            bias: bias.transpose()?,
            query_norm: weights.query_norm.map(vector).transpose()?,
            key_norm: weights.key_norm.map(vector).transpose()?,
            output: GpuMatrix::stack(gpu, &[weights.output])?,
            feed_forward_norm: vector(weights.feed_forward_norm)?,
            gate_up: GpuMatrix::stack(gpu, &weights.gate_up)?,
            down: GpuMatrix::stack(gpu, &[weights.down])?,
        };
        self.has_floats |= layer.matrices().any(|matrix| matrix.format.is_float());
        self.layers.push(layer);
        Ok(())
    }

    /// Copies what makes logits of rows to the GPU.
    ///
    /// # Errors
    /// When its memory is full.
    pub fn set_output(&mut self, norm: &[f32], matrix: &Matrix<'_>) -> Result<(), GpuError> {
        let norm = Memory::of(&self.gpu, norm)?;
        let logits = Input::new(&self.gpu, LOGIT_ROWS * matrix.rows)?;
        let matrix = GpuMatrix::stack(&self.gpu, &[*matrix])?;
        self.has_floats |= matrix.iter().any(|matrix| matrix.format.is_float());
        self.output = Some(Output { norm, matrix, logits });
        Ok(())
    }

    /// Layers that are there.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Bytes of the weights in the GPU's memory.
    pub fn weights_bytes(&self) -> u64 {
        let output = self.output.iter().flat_map(|output| &output.matrix);
        self.layers.iter().flat_map(Layer::matrices).chain(output).map(|matrix| matrix.bytes() as u64).sum()
    }

    /// Bytes of a page in the GPU's memory.
    pub fn page_bytes(&self) -> usize {
        self.pages.page_bytes()
    }

    /// An empty page.
    ///
    /// # Errors
    /// When the GPU's memory is full.
    pub fn page(&self) -> Result<Page, GpuError> {
        self.pages.page()
    }

    /// Where the rows of a step lie before it is computed, and afterwards where they come back: `count` x elements of a
    /// token's vector. The GPU copies from there, so whoever makes rows writes them here.
    ///
    /// # Errors
    /// When there are too many, and when memory for them is missing.
    pub fn rows(&mut self, count: usize) -> Result<&mut [f32], GpuError> {
        if count > MOST_ROWS {
            return Err(GpuError::Unsupported(format!(
                "{count} tokens at once are more than the {MOST_ROWS} it computes"
            )));
        }
        self.make_room()?;
        let len = count * self.shape.dim;
        let scratch = self.scratch.as_mut().ok_or_else(no_scratch)?;
        Ok(&mut scratch.stream.host.values()[..len])
    }

    /// Takes the [`Layers::rows`], one for each token of the step, through the layers, and keeps the tokens' keys and
    /// values in their pages. Afterwards the rows are what the layers made of them, or the logits are returned.
    ///
    /// # Errors
    /// When memory for the step is missing, and when the GPU fails; pages may then hold anything for the new tokens.
    pub fn compute(&mut self, step: &Step<'_>, then: Then<'_>) -> Result<&mut [f32], GpuError> {
        self.gpu.bind()?;
        let dim = self.shape.dim;
        let rows: usize = step.runs.iter().map(|run| run.tokens).sum();
        if rows > MOST_ROWS || step.generated > MOST_GENERATED {
            let words =
                format!("{rows} tokens at once, {} of them generated, are more than it computes", step.generated);
            return Err(GpuError::Unsupported(format!("{words}: at most {MOST_ROWS} and {MOST_GENERATED}")));
        }
        self.prepare(step)?;
        self.scratch.as_mut().ok_or_else(no_scratch)?.stream.send(rows * dim)?;

        // Only tokens that are generated, and the logits of each: the same launches every time.
        if rows == step.generated && matches!(then, Then::Logits(wanted) if wanted.len() == rows) {
            let graph = FEW.iter().position(|&few| few >= rows).unwrap_or(FEW.len() - 1);
            if self.graphs[graph].is_none() {
                self.graphs[graph] = self.record(FEW[graph], rows * dim)?;
            }
            if let Some(Graph(graph)) = &self.graphs[graph] {
                graph.launch()?;
            }
            return self.read_logits(rows);
        }
        self.enqueue(rows, step.generated, false)?;
        match then {
            Then::Rows => {
                let scratch = self.scratch.as_mut().ok_or_else(no_scratch)?;
                scratch.stream.device.read(&mut scratch.stream.host.values()[..rows * dim])?;
                self.gpu.wait()?;
                Ok(&mut [])
            }
            Then::Logits(wanted) => self.logits_of(Some(wanted), wanted.len()),
        }
    }

    /// The logits of rows that the layers have made, which may lie elsewhere.
    ///
    /// # Errors
    /// When memory is missing, and when the GPU fails.
    pub fn logits(&mut self, rows: &[f32]) -> Result<&mut [f32], GpuError> {
        self.gpu.bind()?;
        self.make_room()?;
        let scratch = self.scratch.as_mut().ok_or_else(no_scratch)?;
        scratch.stream.copy(rows)?;
        let count = rows.len() / self.shape.dim;
        self.logits_of(None, count)
    }

    /// The launches of a step of `rows` tokens that are generated.
    fn record(&mut self, rows: usize, stream_len: usize) -> Result<Option<Graph>, GpuError> {
        // What a kernel needs when it is first used cannot be done while launches are recorded.
        self.enqueue(rows, rows, true)?;
        self.gpu.wait()?;
        self.scratch.as_mut().ok_or_else(no_scratch)?.stream.send(stream_len)?;
        self.gpu.stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)?;
        let enqueued = self.enqueue(rows, rows, true);
        let flags = sys::CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
        let graph = self.gpu.stream.end_capture(flags)?;
        enqueued.map(|()| graph.map(Graph))
    }

    fn logits_of(&mut self, wanted: Option<&[u32]>, count: usize) -> Result<&mut [f32], GpuError> {
        if count <= LOGIT_ROWS {
            self.enqueue_logits(wanted, 0, count)?;
            return self.read_logits(count);
        }
        // Only measurements want as many.
        let vocabulary = self.output.as_ref().map_or(0, Output::vocabulary);
        let mut all = Pinned::new(&self.gpu, count * vocabulary)?;
        for first in (0..count).step_by(LOGIT_ROWS) {
            let rows = LOGIT_ROWS.min(count - first);
            self.enqueue_logits(wanted, first, rows)?;
            all.values()[first * vocabulary..][..rows * vocabulary].copy_from_slice(self.read_logits(rows)?);
        }
        let output = self.output.as_mut().ok_or_else(no_output)?;
        output.logits.host = all;
        Ok(&mut output.logits.host.values()[..count * vocabulary])
    }

    fn read_logits(&mut self, rows: usize) -> Result<&mut [f32], GpuError> {
        let output = self.output.as_mut().ok_or_else(no_output)?;
        let values = rows * output.vocabulary();
        output.logits.device.read(&mut output.logits.host.values()[..values])?;
        self.gpu.wait()?;
        Ok(&mut output.logits.host.values()[..values])
    }

    /// Takes the memory that steps need, so that a load fails where a step would.
    ///
    /// # Errors
    /// When the GPU's memory is full.
    pub fn make_room(&mut self) -> Result<(), GpuError> {
        if self.scratch.is_none() {
            self.scratch = Some(Scratch::new(&self.gpu, &self.shape, self.has_floats)?);
        }
        Ok(())
    }

    /// Copies to the GPU where the step's tokens are.
    fn prepare(&mut self, step: &Step<'_>) -> Result<(), GpuError> {
        self.make_room()?;
        let scratch = self.scratch.as_mut().ok_or_else(no_scratch)?;
        let pages = step.runs.iter().map(|run| run.pages.len());
        let positions = step.runs.iter().map(|run| run.first_position + run.tokens).max().unwrap_or(0);
        if scratch.grow(&self.gpu, &self.shape, positions, pages.sum())? {
            // They have the old addresses.
            self.graphs = Default::default();
        }
        let addresses = step.runs.iter().flat_map(|run| run.pages.iter().map(|page| page.address));
        scratch.pages.set(addresses)?;
        let mut tokens = Vec::with_capacity(MOST_ROWS);
        let mut tiles = Vec::with_capacity(MOST_ROWS);
        let mut first_page = 0;
        let most = tile_rows(&self.shape).min(scratch.kept.rows);
        for (index, run) in step.runs.iter().enumerate() {
            let first_row = tokens.len();
            let positions = run.first_position..run.first_position + run.tokens;
            tokens.extend(positions.map(|position| Token { position: position as i32, first_page }));
            first_page += run.pages.len() as i32;
            if index >= step.generated {
                tiles.extend(
                    (first_row..tokens.len())
                        .step_by(most)
                        .map(|row| Tile { first_row: row as i32, rows: most.min(tokens.len() - row) as i32 }),
                );
            }
        }
        // A graph computes as many rows as its kernels are made for.
        let nobody = Token { position: -1, first_page: 0 };
        tokens.extend(std::iter::repeat_n(nobody, MOST_GENERATED.saturating_sub(tokens.len())));
        scratch.tokens.set(tokens)?;
        scratch.tiles.set(tiles.iter().copied())?;
        scratch.prompt_tiles = tiles;
        scratch.positions = positions;
        scratch.angles.copy(step.angles)?;
        Ok(())
    }
}

impl Layer {
    fn matrices(&self) -> impl Iterator<Item = &GpuMatrix> {
        [&self.products, &self.output, &self.gate_up, &self.down].into_iter().flatten()
    }
}

impl Output {
    pub(crate) fn vocabulary(&self) -> usize {
        self.matrix.iter().map(|matrix| matrix.rows).sum()
    }
}

/// Bytes of a layer's keys, or values, in a page.
pub(crate) fn half_bytes(shape: &LayerShape) -> usize {
    shape.kv_heads * shape.kv.bytes_per_head(shape.head_dim) * PAGE
}

pub(crate) fn no_scratch() -> GpuError {
    GpuError::Driver("a step without memory for it".into())
}

pub(crate) fn no_output() -> GpuError {
    GpuError::Driver("logits were wanted of a GPU that does not hold the model's output".into())
}

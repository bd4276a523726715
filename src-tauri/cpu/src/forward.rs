//! One step of a model: new tokens of any number of sequences through all layers.

use std::{io, ops::Range};

use tektra_cuda::{GpuError, Layers, Then};
use tektra_kernels::{
    ActivationRow, Activations, AttentionRun, AttentionShape, KvPages, KvType, Next, PAGE, Pool, Product, ask_for,
    attend, dequantize, multiply, multiply_gated, ops, store_key, store_value,
};

use crate::{
    LoadError,
    file::ModelFile,
    gpus::{self, NewTokens},
    kv::{Cache, PageLayout},
    tokenizer::Tokenizer,
    weights::{Layer, Shape, Weights},
};

/// Answers computed side by side on a CPU; more wait.
pub const MOST_TOGETHER: usize = 8;

/// So few elements are written before another thread has heard of them, and fetched what it needs.
const FEW_ELEMENTS: usize = 1024;

/// New tokens of one sequence.
pub(crate) struct Run<'a> {
    /// Its cache, which gains the tokens.
    pub(crate) cache: &'a mut Cache,
    /// The tokens, at least one.
    pub(crate) tokens: &'a [u32],
    /// How many of the last tokens want logits.
    pub(crate) logits: usize,
    /// Whether the tokens are one that was generated. Those come first: GPUs compute them in another way than prompts,
    /// and always in the same.
    pub(crate) generated: bool,
}

/// Why a step was not taken. The caches stay as they were.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// The model's file, which the embeddings are read from, cannot be read any more.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    /// A GPU has no memory left, or fails.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

/// A model with the memory that its steps need, which is used again from step to step.
pub(crate) struct Forward {
    pub(crate) weights: Weights,
    pub(crate) layout: PageLayout,
    pages: KvPages,
    /// GPUs that have the first layers, and then the model's output.
    gpus: Vec<Layers>,
    pub(crate) pool: Pool,
    /// The residual stream: tokens x dim.
    stream: Vec<f32>,
    normed: Activations,
    attended: Activations,
    gated: Activations,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    projected: Vec<f32>,
    logits: Vec<f32>,
}

impl Forward {
    /// Loads `file` to compute on `threads` threads what `tokenizer` makes of a text, with caches of the type `kv`, and
    /// on GPUs, each with as many layers as `gpu_layers` says.
    pub(crate) fn load(
        file: ModelFile,
        threads: usize,
        kv: KvType,
        gpu_layers: &[usize],
        tokenizer: &Tokenizer,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, LoadError> {
        let mut pool = Pool::new(threads)?;
        let shape = Shape::read(&file)?;
        let gpus = gpus::load(&file, &shape, kv, gpu_layers, progress)?;
        let first_layer = gpus.iter().map(Layers::len).sum();
        let weights = Weights::read(file, shape, first_layer, &mut pool, progress)?;
        tektra_kernels::tune(&mut pool, &weights.matrices());
        if tokenizer.len() > weights.shape.vocabulary {
            return Err(LoadError::Damaged("its tokenizer has more tokens than the model".into()));
        }
        let layout = PageLayout::new(&weights.shape, kv, weights.layers.len(), &gpus);
        Ok(Self {
            weights,
            layout,
            pages: layout.host_pages(),
            gpus,
            pool,
            stream: Vec::new(),
            normed: Activations::default(),
            attended: Activations::default(),
            gated: Activations::default(),
            query: Vec::new(),
            key: Vec::new(),
            value: Vec::new(),
            gate: Vec::new(),
            up: Vec::new(),
            projected: Vec::new(),
            logits: Vec::new(),
        })
    }

    /// Computes the runs' tokens, and the logits that they want: in the order of the runs, each as long as the
    /// vocabulary. A token's results depend on the tokens before it in its sequence and on nothing else.
    ///
    /// # Errors
    /// See [`StepError`].
    pub(crate) fn step(&mut self, runs: &mut [Run<'_>]) -> Result<&mut [f32], StepError> {
        let shape = &self.weights.shape;
        let (dim, head_dim) = (shape.dim, shape.head_dim);
        let tokens: usize = runs.iter().map(|run| run.tokens.len()).sum();
        let (query_len, kv_len) = (shape.heads * head_dim, shape.kv_heads * head_dim);
        let stream = match self.gpus.first_mut() {
            Some(gpu) => gpu.rows(tokens)?,
            None => {
                self.stream.resize(tokens * dim, 0.0);
                &mut self.stream[..]
            }
        };
        let (file, embedding) = (&self.weights.file, &self.weights.embedding);
        let all_tokens = runs.iter().flat_map(|run| run.tokens);
        let mut rows: Vec<_> = all_tokens.zip(stream.chunks_exact_mut(dim)).map(|row| (row, Ok(()))).collect();
        self.pool.for_each(&mut rows, |((token, row), read)| {
            // The tokenizer names no token that the model lacks; a damaged file may.
            let token = (**token as usize).min(embedding.rows - 1);
            *read = file.row(embedding, token).map(|bytes| dequantize(embedding.format, &bytes, row));
        });
        rows.into_iter().try_for_each(|(_, read)| read)?;
        let mut positions = Vec::with_capacity(tokens);
        for run in runs.iter_mut() {
            let first = run.cache.tokens.len();
            run.cache.reserve(&self.pages, &self.gpus, run.tokens.len())?;
            positions.extend(first..first + run.tokens.len());
        }
        let mut angles = vec![Vec::new(); tokens];
        let mut places: Vec<_> = angles.iter_mut().zip(&positions).collect();
        self.pool.for_each(&mut places, |(angles, position)| {
            angles.extend(shape.frequencies.iter().map(|frequency| {
                let (sine, cosine) = (f64::from(*frequency) * **position as f64).sin_cos();
                [cosine as f32, sine as f32]
            }));
        });

        // Only the rows that want logits go on after the layers.
        let mut wanted = Vec::new();
        let mut end = 0;
        for run in runs.iter() {
            end += run.tokens.len() as u32;
            wanted.extend(end - run.logits.min(run.tokens.len()) as u32..end);
        }
        if !self.gpus.is_empty() {
            let new = NewTokens::new(runs, &angles);
            if self.gpus.len() == 1 && self.weights.layers.is_empty() {
                let logits = new.compute(&mut self.gpus[0], 0, Then::Logits(&wanted))?;
                runs.iter_mut().for_each(Run::computed);
                return Ok(logits);
            }
            for number in 0..self.gpus.len() {
                new.compute(&mut self.gpus[number], number, Then::Rows)?;
                let (these, others) = self.gpus.split_at_mut(number + 1);
                let rows = these[number].rows(tokens)?;
                if let Some(next) = others.first_mut() {
                    next.rows(tokens)?.copy_from_slice(rows);
                } else {
                    self.stream.clear();
                    self.stream.extend_from_slice(rows);
                }
            }
        }

        self.query.resize(tokens * query_len, 0.0);
        self.key.resize(tokens * kv_len, 0.0);
        self.value.resize(tokens * kv_len, 0.0);
        self.gate.resize(tokens * shape.feed_forward, 0.0);
        self.up.resize(tokens * shape.feed_forward, 0.0);
        self.projected.resize(tokens * dim, 0.0);
        for (index, layer) in self.weights.layers.iter().enumerate() {
            norm_rows(&mut self.pool, &self.stream, &layer.attention_norm, shape.epsilon, &mut self.normed);
            multiply(
                &mut self.pool,
                &self.normed,
                &mut [
                    Product { weights: &layer.query, out: &mut self.query },
                    Product { weights: &layer.key, out: &mut self.key },
                    Product { weights: &layer.value, out: &mut self.value },
                ],
                Some(Next::Product(&layer.output)),
            );
            if tokens * kv_len <= FEW_ELEMENTS {
                for run in runs.iter() {
                    let page = &run.cache.pages[run.cache.tokens.len() / PAGE];
                    // One element of each line of the keys is written, which comes while the token is placed.
                    ask_for(&page.host.bytes()[self.layout.keys(index)..self.layout.values(index)]);
                }
            }
            let mut rows: Vec<_> = self
                .query
                .chunks_exact_mut(query_len)
                .zip(self.key.chunks_exact_mut(kv_len))
                .zip(self.value.chunks_exact_mut(kv_len))
                .zip(&angles)
                .map(|(((query, key), value), angles)| (query, key, value, angles.as_slice()))
                .collect();
            self.pool.for_each(&mut rows, |(query, key, value, angles)| {
                self.weights.place(layer, query, key, value, angles);
            });
            store(&mut self.pool, runs, [&self.key, &self.value], shape, self.layout, index);

            self.attended.resize(tokens, query_len);
            let pages: Vec<Vec<&[u8]>> =
                runs.iter().map(|run| run.cache.pages.iter().map(|page| page.host.bytes()).collect()).collect();
            let (keys, values) = (self.layout.keys(index), self.layout.values(index));
            let mut attention: Vec<AttentionRun<'_>> = Vec::with_capacity(runs.len());
            let (mut queries, mut out) = (&self.query[..], self.attended.values_mut());
            for (run, pages) in runs.iter().zip(&pages) {
                let (these, rest) = queries.split_at(run.tokens.len() * query_len);
                let (target, rest_out) = out.split_at_mut(these.len());
                (queries, out) = (rest, rest_out);
                let first_position = run.cache.tokens.len();
                attention.push(AttentionRun { first_position, queries: these, pages, keys, values, out: target });
            }
            let heads = AttentionShape { heads: shape.heads, kv_heads: shape.kv_heads, head_dim, kv: self.layout.kv };
            attend(&mut self.pool, heads, &mut attention);
            drop(attention);

            let mut rows: Vec<ActivationRow<'_>> = self.attended.rows_mut().collect();
            self.pool.for_each(&mut rows, ActivationRow::quantize);
            let output = Product { weights: &layer.output, out: &mut self.projected };
            multiply(&mut self.pool, &self.attended, &mut [output], Some(Next::Gated([&layer.gate, &layer.up])));
            add_rows(&mut self.pool, &mut self.stream, &self.projected, dim);

            norm_rows(&mut self.pool, &self.stream, &layer.feed_forward_norm, shape.epsilon, &mut self.normed);
            let gate = Product { weights: &layer.gate, out: &mut self.gate };
            let up = Product { weights: &layer.up, out: &mut self.up };
            let next = Some(Next::Product(&layer.down));
            multiply_gated(&mut self.pool, &self.normed, [gate, up], &mut self.gated, next);
            let down = Product { weights: &layer.down, out: &mut self.projected };
            let next = self.weights.layers.get(index + 1).map(|layer| &layer.query).or(self.weights.output.as_ref());
            multiply(&mut self.pool, &self.gated, &mut [down], next.map(Next::Product));
            add_rows(&mut self.pool, &mut self.stream, &self.projected, dim);
        }

        runs.iter_mut().for_each(Run::computed);
        let rows = wanted.iter().flat_map(|&row| &self.stream[row as usize * dim..][..dim]);
        let wanted: Vec<f32> = rows.copied().collect();
        let Some(output) = &self.weights.output else {
            return Ok(self.gpus[0].logits(&wanted)?);
        };
        self.logits.resize(wanted.len() / dim * shape.vocabulary, 0.0);
        norm_rows(&mut self.pool, &wanted, &self.weights.norm, shape.epsilon, &mut self.normed);
        let output = Product { weights: output, out: &mut self.logits };
        let next = self.weights.layers.first().map(|layer| &layer.query);
        multiply(&mut self.pool, &self.normed, &mut [output], next.map(Next::Product));
        Ok(&mut self.logits)
    }

    /// Bytes of the weights, wherever they lie.
    pub(crate) fn weights_bytes(&self) -> u64 {
        self.weights.len_bytes() + self.gpus.iter().map(Layers::weights_bytes).sum::<u64>()
    }

    /// Prompt tokens of one step: many, so that weights are read once for all of them; few enough that a cancel is heard
    /// soon. And as many while other answers are being written, so that those do not stall.
    pub(crate) fn prefill_tokens(&self, beside_others: bool) -> usize {
        match (self.gpus.is_empty(), beside_others) {
            (true, false) => 128,
            (true, true) => 32,
            (false, false) => 512,
            (false, true) => 256,
        }
    }

    /// Answers computed side by side at most: beyond that each would be too slow to read.
    pub(crate) fn most_together(&self) -> usize {
        if self.gpus.is_empty() { MOST_TOGETHER } else { tektra_cuda::MOST_GENERATED }
    }
}

impl Run<'_> {
    /// Its tokens are in the cache now.
    fn computed(&mut self) {
        self.cache.tokens.extend_from_slice(self.tokens);
    }
}

impl Weights {
    /// What happens to a token's query, key and value between their products and the cache.
    fn place(&self, layer: &Layer, query: &mut [f32], key: &mut [f32], value: &mut [f32], angles: &[[f32; 2]]) {
        let shape = &self.shape;
        let [query_bias, key_bias, value_bias] = &layer.biases;
        for (row, bias) in [(&mut *query, query_bias), (&mut *key, key_bias), (value, value_bias)] {
            if let Some(bias) = bias {
                ops::add(row, bias);
            }
        }
        for (row, norm) in [(&mut *query, &layer.query_norm), (&mut *key, &layer.key_norm)] {
            if let Some(norm) = norm {
                for head in row.chunks_exact_mut(shape.head_dim) {
                    let unnormed = head.to_vec();
                    ops::rms_norm(&unnormed, norm, shape.epsilon, head);
                }
            }
            ops::rope(row, shape.head_dim, angles, shape.pairs);
        }
        let scale = 1.0 / (shape.head_dim as f32).sqrt();
        query.iter_mut().for_each(|element| *element *= scale);
    }
}

/// Writes the new tokens' keys and values into their pages: a page's heads side by side.
fn store(
    pool: &mut Pool,
    runs: &mut [Run<'_>],
    [key, value]: [&[f32]; 2],
    shape: &Shape,
    layout: PageLayout,
    layer: usize,
) {
    /// What goes into one head of a page.
    struct Piece<'a> {
        keys: &'a mut [u8],
        values: &'a mut [u8],
        head: usize,
        positions: Range<usize>,
        first_row: usize,
    }

    let (mut pieces, mut row) = (Vec::new(), 0);
    for run in runs {
        let first = run.cache.tokens.len();
        let end = first + run.tokens.len();
        for (number, page) in run.cache.pages.iter_mut().enumerate().skip(first / PAGE) {
            let positions = first.max(number * PAGE)..end.min((number + 1) * PAGE);
            let Some(page) = std::sync::Arc::get_mut(page) else {
                unreachable!("`reserve` has made it this sequence's alone")
            };
            let heads = layout.heads_mut(page.host.bytes_mut(), layer).enumerate();
            let positions = &positions;
            pieces.extend(heads.map(|(head, (keys, values))| Piece {
                keys,
                values,
                head,
                positions: positions.clone(),
                first_row: row,
            }));
            row += positions.len();
        }
    }
    let write = |piece: &mut Piece<'_>| {
        for (position, row) in piece.positions.clone().zip(piece.first_row..) {
            let at = (row * shape.kv_heads + piece.head) * shape.head_dim;
            store_key(layout.kv, piece.keys, position % PAGE, &key[at..][..shape.head_dim]);
            store_value(layout.kv, piece.values, position % PAGE, &value[at..][..shape.head_dim]);
        }
    };
    if key.len() > FEW_ELEMENTS { pool.for_each(&mut pieces, write) } else { pieces.iter_mut().for_each(write) }
}

fn norm_rows(pool: &mut Pool, stream: &[f32], norm: &[f32], epsilon: f32, out: &mut Activations) {
    out.resize(stream.len() / norm.len(), norm.len());
    let mut rows: Vec<_> = out.rows_mut().zip(stream.chunks_exact(norm.len())).collect();
    pool.for_each(&mut rows, |(row, from)| {
        ops::rms_norm(from, norm, epsilon, row.values);
        row.quantize();
    });
}

fn add_rows(pool: &mut Pool, stream: &mut [f32], more: &[f32], dim: usize) {
    let mut rows: Vec<_> = stream.chunks_exact_mut(dim).zip(more.chunks_exact(dim)).collect();
    pool.for_each(&mut rows, |(row, more)| ops::add(row, more));
}

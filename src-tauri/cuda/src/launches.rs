//! What is started on the GPU for a step: all kernels, in their order.

use std::{ffi::c_void, ops::Range};

use tektra_kernels::{Format, ops::RopePairs};

use crate::{
    GpuError, LayerShape, MOST_GENERATED,
    attend::kv_name,
    gpu::{Grid, Memory},
    layers::{FEW, Layers, half_bytes, no_output, no_scratch},
    matrix::{GpuMatrix, name},
    scratch::{Rows, RowsArgument},
};

/// Rows of a matrix that a block of the kernels for many rows has, and rows of activations.
const TILE: [usize; 2] = [128, 64];
/// The same of floats.
const FLOAT_TILE: [usize; 2] = [64, 64];
/// Groups of 32 that it has at a time: `STEP` of many.cu, a digit.
const STEP: usize = (env!("TEKTRA_STEP_GROUPS").as_bytes()[0] - b'0') as usize;
/// Shared memory of such a block; `Shared` in `kernels/many.cu`.
const TILE_SHARED_BYTES: usize =
    2 * (TILE[0] + TILE[1]) * (STEP * 32 + 16) + 2 * STEP * (TILE[0] * 12 + TILE[1] * 16) + 4;

/// `Shape` of the kernels.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ShapeArgument {
    heads: i32,
    kv_heads: i32,
    head_dim: i32,
    rotated: i32,
    halves: i32,
    epsilon: f32,
}

/// `Layout` of the kernels.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct LayoutArgument {
    head: i32,
    keys: i64,
    values: i64,
}

/// `Products` of the kernels.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ProductsArgument {
    values: u64,
    angles: u64,
    bias: u64,
    query_norm: u64,
    key_norm: u64,
}

/// Calls a kernel with copies of the values given.
macro_rules! launch {
    ($gpu:expr, $name:expr, $grid:expr, $($argument:expr),* $(,)?) => {{
        // SAFETY: the arguments are those of the kernel of this name, in order; memory is as large as the shapes say.
        unsafe { launch!(@ $gpu, $name, $grid, [] $($argument,)*) }
    }};
    (@ $gpu:expr, $name:expr, $grid:expr, [$($address:expr),*] $argument:expr, $($rest:expr,)*) => {{
        let mut value = $argument;
        launch!(@ $gpu, $name, $grid, [$($address,)* (&raw mut value).cast::<c_void>()] $($rest,)*)
    }};
    (@ $gpu:expr, $name:expr, $grid:expr, [$($address:expr),*]) => {
        $gpu.launch($name, $grid, &mut [$($address),*])
    };
}
pub(crate) use launch;

impl Layers {
    /// Starts all kernels of a step, of which the first `generated` of `rows` rows are tokens that are generated.
    pub(crate) fn enqueue(&self, rows: usize, generated: usize, with_logits: bool) -> Result<(), GpuError> {
        let scratch = self.scratch.as_ref().ok_or_else(no_scratch)?;
        let LayerShape { dim, heads, kv_heads, head_dim, feed_forward, rotated, pairs, epsilon, kv } = self.shape;
        let gpu = &*self.gpu;
        let shape = ShapeArgument {
            heads: heads as i32,
            kv_heads: kv_heads as i32,
            head_dim: head_dim as i32,
            rotated: rotated as i32,
            halves: i32::from(pairs == RopePairs::Halves),
            epsilon,
        };
        let few = few(generated);
        let half = half_bytes(&self.shape) as i64;
        let kv_name = kv_name(kv);
        let stream = scratch.stream.device.address;
        let all_len = (heads + 2 * kv_heads) * head_dim;
        let mut more = 0_u64;
        for (index, layer) in self.layers.iter().enumerate() {
            self.norm(stream, more, 0, &layer.attention_norm, rows, scratch.normed.from(0))?;
            self.multiply(&layer.products, &scratch.normed, few, generated..rows, &scratch.products, all_len, None)?;
            let keys = 2 * half * index as i64;
            let layout = LayoutArgument { head: (half / kv_heads as i64) as i32, keys, values: keys + half };
            let address = |memory: &Option<Memory>| memory.as_ref().map_or(0, |memory| memory.address);
            let products = ProductsArgument {
                values: scratch.products.address,
                angles: scratch.angles.device.address,
                bias: address(&layer.bias),
                query_norm: address(&layer.query_norm),
                key_norm: address(&layer.key_norm),
            };
            launch!(
                gpu,
                &format!("place_{kv_name}"),
                Grid::new([(heads + 2 * kv_heads).div_ceil(4), rows - generated, 1], 128),
                products,
                scratch.tokens.device.address,
                scratch.pages.device.address,
                shape,
                layout,
                generated as i32,
                scratch.query.address,
            )?;
            self.attend(products, shape, layout, generated, rows)?;
            self.multiply(&layer.output, &scratch.attended, few, generated..rows, &scratch.projected, dim, None)?;
            let projected = scratch.projected.address;
            self.norm(stream, projected, 0, &layer.feed_forward_norm, rows, scratch.normed.from(0))?;
            // One token's gate is applied by who multiplies.
            let with_gate = few == 1 && matches!(&layer.gate_up[..], [both] if has_gated(both.format));
            let gated = with_gate.then(|| scratch.gated.from(0));
            let width = 2 * feed_forward;
            self.multiply(&layer.gate_up, &scratch.normed, few, generated..rows, &scratch.gate_up, width, gated)?;
            let first = usize::from(with_gate);
            launch!(
                gpu,
                "gate_rows",
                Grid::new([feed_forward.div_ceil(4 * 128), rows - first, 1], 128),
                scratch.gate_up.address + (4 * first * width) as u64,
                feed_forward as i32,
                scratch.gated.from(first),
            )?;
            self.multiply(&layer.down, &scratch.gated, few, generated..rows, &scratch.projected, dim, None)?;
            more = projected;
        }
        if let Some(output) = self.output.as_ref().filter(|_| with_logits) {
            self.norm(stream, more, 0, &output.norm, rows, scratch.normed.from(0))?;
            let vocabulary = output.vocabulary();
            self.multiply(&output.matrix, &scratch.normed, few, rows..rows, &output.logits.device, vocabulary, None)
        } else if more != 0 {
            let count = (rows * dim) as i64;
            let grid = Grid::new([(rows * dim).div_ceil(256), 1, 1], 256);
            launch!(gpu, "add_rows", grid, stream, more, count)
        } else {
            Ok(())
        }
    }

    /// Logits of `count` rows of the stream: those of `wanted` from `first` on, or from row `first` on.
    pub(crate) fn enqueue_logits(
        &mut self,
        wanted: Option<&[u32]>,
        first: usize,
        count: usize,
    ) -> Result<(), GpuError> {
        let scratch = self.scratch.as_mut().ok_or_else(no_scratch)?;
        let rows = (first..first + count).map(|row| wanted.map_or(row as i32, |wanted| wanted[row] as i32));
        scratch.wanted.set(rows)?;
        let scratch = self.scratch.as_ref().ok_or_else(no_scratch)?;
        let output = self.output.as_ref().ok_or_else(no_output)?;
        let wanted = scratch.wanted.device.address;
        self.norm(scratch.stream.device.address, 0, wanted, &output.norm, count, scratch.normed.from(0))?;
        // As many as can be generated are computed as if they were: an answer's first token does not depend on how many
        // others begin.
        let generated = if count > MOST_GENERATED { 0 } else { count };
        let few = few(generated);
        self.multiply(
            &output.matrix,
            &scratch.normed,
            few,
            generated..count,
            &output.logits.device,
            output.vocabulary(),
            None,
        )
    }

    fn norm(
        &self,
        stream: u64,
        more: u64,
        wanted: u64,
        norm: &Memory,
        rows: usize,
        out: RowsArgument,
    ) -> Result<(), GpuError> {
        let LayerShape { dim, epsilon, .. } = self.shape;
        let threads = (dim / 4).next_multiple_of(32).min(1024);
        let grid = Grid { blocks: [rows, 1, 1], threads, shared_bytes: dim * 4 };
        launch!(self.gpu, "norm_rows", grid, stream, more, wanted, norm.address, epsilon, dim as i32, out)
    }

    /// Rows of activations times matrices: the first `few`, one of [`FEW`] or none, and then those of `many`, which have
    /// the last word. Results have `stride` elements a row. Where `gated` is, what the gate makes of the few goes there.
    #[allow(clippy::too_many_arguments, reason = "the sizes of one product, each of them a number")]
    fn multiply(
        &self,
        matrices: &[GpuMatrix],
        rows: &Rows,
        few: usize,
        many: Range<usize>,
        out: &Memory,
        stride: usize,
        gated: Option<RowsArgument>,
    ) -> Result<(), GpuError> {
        let mut column = 0;
        for matrix in matrices {
            let name = name(matrix.format);
            let out = out.address + 4 * column as u64;
            if few > 0 {
                self.multiply_few(matrix, rows, few, out, stride, gated)?;
            }
            if !many.is_empty() {
                let count = many.len();
                let (tile, shared_bytes) =
                    if matrix.format.is_float() { (FLOAT_TILE, 0) } else { (TILE, TILE_SHARED_BYTES) };
                let kernel = format!("many_{name}");
                let blocks = [matrix.rows.div_ceil(tile[0]), count.div_ceil(tile[1]), 1];
                let grid = Grid { blocks, threads: 256, shared_bytes };
                let out = out + 4 * (many.start * stride) as u64;
                let from = rows.from(many.start);
                launch!(self.gpu, &kernel, grid, matrix.argument, from, count as i32, out, stride as i32)?;
            }
            column += matrix.rows;
        }
        Ok(())
    }

    /// The first `few` rows of activations times a matrix.
    fn multiply_few(
        &self,
        matrix: &GpuMatrix,
        rows: &Rows,
        few: usize,
        out: u64,
        stride: usize,
        gated: Option<RowsArgument>,
    ) -> Result<(), GpuError> {
        let fits = |&&few: &&usize| few_shared_bytes(matrix, few) <= self.gpu.most_shared_bytes;
        let at_once = FEW.iter().filter(|&&at_once| at_once <= few).rfind(fits).copied();
        let at_once = at_once.ok_or_else(|| {
            GpuError::Unsupported(format!(
                "rows of {} weights do not fit a multiprocessor of this GPU",
                matrix.columns()
            ))
        })?;
        let is_float = matrix.format.is_float();
        // As in floats.cu: four warps, each with two rows or one.
        let rows_of_block = if !is_float { 32 } else { 4 * if at_once <= 4 { 2 } else { 1 } };
        let blocks = matrix.rows.div_ceil(rows_of_block);
        // A multiprocessor that has one block anyway: with twice the warps, twice the weights are on their way.
        let wide = at_once == 1
            && !is_float
            && blocks <= self.gpu.multiprocessors
            && matrix.columns() >= WIDE_COLUMNS
            && shared_bytes(matrix, 1, 2 * MULTIPLIERS) <= self.gpu.most_shared_bytes;
        let (kind, blocks, multipliers) = match (gated, wide) {
            (Some(_), _) => ("_gated", blocks / 2, MULTIPLIERS),
            (None, true) => ("_wide", blocks, 2 * MULTIPLIERS),
            (None, false) => ("", blocks, MULTIPLIERS),
        };
        let adders = if gated.is_some() { 2 } else { adders(at_once) };
        let (threads, shared_bytes) =
            if is_float { (128, 0) } else { (32 * (multipliers + adders), shared_bytes(matrix, at_once, multipliers)) };
        let grid = Grid { blocks: [blocks, 1, 1], threads, shared_bytes };
        let kernel = format!("few_{}_{at_once}{kind}", name(matrix.format));
        let gated = gated.unwrap_or(RowsArgument::NOWHERE);
        for row in (0..few).step_by(at_once) {
            let out = out + 4 * (row * stride) as u64;
            let (from, count, stride) = (rows.from(row), at_once as i32, stride as i32);
            launch!(self.gpu, &kernel, grid, matrix.argument, from, count, out, stride, gated)?;
        }
        Ok(())
    }
}

/// The kernel for few rows that has room for `generated`; 0 for none.
fn few(generated: usize) -> usize {
    FEW.into_iter().find(|&few| few >= generated && generated > 0).unwrap_or(0)
}

/// Whether there is a kernel for a gate of this format with what it lets through: `GATED` in few.cu.
const fn has_gated(format: Format) -> bool {
    !format.is_float() && !matches!(format, Format::Q6K | Format::Q8_0)
}

/// `ADDERS` of few.cu.
const fn adders(few: usize) -> usize {
    match few {
        0..=2 => 1,
        3..=4 => 2,
        _ => 4,
    }
}

/// Warps of a block of the kernels for few rows that multiply.
const MULTIPLIERS: usize = 8;
/// Columns from which twice as many have something to do.
const WIDE_COLUMNS: usize = 64 * 32;
/// Rows from which tensor cores multiply, and bytes from one row of codes to the next there; as in few.cu.
const TILED: usize = 8;
const TILE_PITCH: usize = 32 + 16;

fn few_shared_bytes(matrix: &GpuMatrix, few: usize) -> usize {
    if matrix.format.is_float() { 0 } else { shared_bytes(matrix, few, MULTIPLIERS) }
}

/// Shared memory of a block with so many warps that multiply: two turns, and what belongs to the rows' groups; `few` in
/// few.cu.
fn shared_bytes(matrix: &GpuMatrix, few: usize, multipliers: usize) -> usize {
    let affine = matches!(matrix.format, Format::Q4_1 | Format::Q5_1 | Format::Q4K | Format::Q5K);
    let turn = multipliers
        * match few {
            1 => 8,
            2 | 8 => 4,
            _ => 2,
        };
    let products = if few < TILED { turn * few } else { turn * few * (32 + 4) / 32 };
    let numbers = match (few, matrix.format) {
        (1, Format::Q2K) => turn,
        (1, _) => turn * if affine { 4 } else { 2 },
        (_, Format::Q2K) => products + 2,
        _ => products + if affine { 2 * turn } else { turn + 1 },
    };
    let groups = few * matrix.columns() / 32;
    // Few rows' codes; of many, a tile for each warp that multiplies.
    let staged = match few {
        ..=2 => 32 * groups,
        3..TILED => 0,
        _ => multipliers * 32 * TILE_PITCH,
    };
    let of_group = if few == 1 { 16 } else { 8 };
    2 * 32 * 4 * numbers + of_group * groups.next_multiple_of(2) + staged
}

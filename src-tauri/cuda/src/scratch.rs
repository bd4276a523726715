//! The memory that steps need, which is used again from step to step.

use std::sync::Arc;

use tektra_kernels::PAGE;

use crate::{
    GpuError, LayerShape, MOST_GENERATED, MOST_ROWS,
    gpu::{Gpu, Memory, Pinned},
};

/// Positions whose softmax is taken together, and of a prompt's sequence those that are looked back at together: `PART` and
/// `SPAN` of the kernels.
pub(crate) const PART: usize = 256;
pub(crate) const SPAN: usize = 1024;

/// What scores of prompts may take: as many rows go through attention at once.
const SCORES_BYTES: usize = 96 << 20;

/// `Kept` of the kernels.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct KeptArgument {
    scores: u64,
    largest: u64,
    parts: u64,
    of_parts: u64,
    sums: u64,
    softmaxes: u64,
    arrived: u64,
    first_row: i32,
    part_count: i32,
}

/// What attention keeps between its kernels.
pub(crate) struct Kept {
    scores: Memory,
    largest: Memory,
    parts: Memory,
    of_parts: Memory,
    sums: Memory,
    softmaxes: Memory,
    arrived: Memory,
    /// Of the longest sequence that a token can be generated for.
    pub(crate) positions: usize,
    /// Rows of prompts that it has room for.
    pub(crate) rows: usize,
}

impl Kept {
    /// For sequences of up to `positions`.
    fn new(gpu: &Arc<Gpu>, shape: &LayerShape, positions: usize) -> Result<Self, GpuError> {
        let LayerShape { heads, head_dim, .. } = *shape;
        let rows = (SCORES_BYTES / (heads * SPAN * 4)).clamp(MOST_GENERATED, MOST_ROWS);
        let positions = positions.next_multiple_of(rows * SPAN / MOST_GENERATED);
        let parts = heads * MOST_GENERATED * positions.div_ceil(PART);
        Ok(Self {
            scores: Memory::new(gpu, rows * heads * SPAN * 4)?,
            largest: Memory::new(gpu, rows * heads * SPAN / PAGE * 4)?,
            parts: Memory::new(gpu, parts * head_dim * 4)?,
            of_parts: Memory::new(gpu, parts * 8)?,
            sums: Memory::new(gpu, rows * heads * head_dim * 4)?,
            softmaxes: Memory::new(gpu, rows * heads * head_dim / 4 * 8)?,
            arrived: Memory::of(gpu, &vec![0_u32; MOST_GENERATED * heads])?,
            positions,
            rows,
        })
    }

    /// For tokens that are generated.
    pub(crate) fn of_generated(&self) -> KeptArgument {
        self.argument(0, self.positions.div_ceil(PART))
    }

    /// For rows of prompts from `first_row` on.
    pub(crate) fn of_prompts(&self, first_row: usize) -> KeptArgument {
        self.argument(first_row, SPAN / PART)
    }

    fn argument(&self, first_row: usize, part_count: usize) -> KeptArgument {
        KeptArgument {
            scores: self.scores.address,
            largest: self.largest.address,
            parts: self.parts.address,
            of_parts: self.of_parts.address,
            sums: self.sums.address,
            softmaxes: self.softmaxes.address,
            arrived: self.arrived.address,
            first_row: first_row as i32,
            part_count: part_count as i32,
        }
    }
}

/// `Rows` of the kernels: activations as they are, as codes, and what belongs to 32 codes.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct RowsArgument {
    pub(crate) values: u64,
    pub(crate) codes: u64,
    pub(crate) groups: u64,
}

impl RowsArgument {
    /// For kernels that write none.
    pub(crate) const NOWHERE: Self = Self { values: 0, codes: 0, groups: 0 };
}

/// Rows of activations in the GPU's memory.
pub(crate) struct Rows {
    values: Option<Memory>,
    codes: Memory,
    groups: Memory,
    columns: usize,
}

impl Rows {
    fn new(gpu: &Arc<Gpu>, columns: usize, with_values: bool) -> Result<Self, GpuError> {
        let values = with_values.then(|| Memory::new(gpu, MOST_ROWS * columns * 4)).transpose()?;
        let codes = Memory::new(gpu, MOST_ROWS * columns)?;
        let groups = Memory::new(gpu, MOST_ROWS * columns / 32 * 16)?;
        Ok(Self { values, codes, groups, columns })
    }

    /// The rows from `row` on.
    pub(crate) fn from(&self, row: usize) -> RowsArgument {
        let at = (row * self.columns) as u64;
        RowsArgument {
            values: self.values.as_ref().map_or(0, |values| values.address + 4 * at),
            codes: self.codes.address + at,
            groups: self.groups.address + at / 32 * 16,
        }
    }
}

/// What a step is given: written into pinned memory, then copied.
pub(crate) struct Input<T> {
    pub(crate) host: Pinned<T>,
    pub(crate) device: Memory,
}

impl<T: Copy + Default> Input<T> {
    pub(crate) fn new(gpu: &Arc<Gpu>, len: usize) -> Result<Self, GpuError> {
        Ok(Self { host: Pinned::new(gpu, len)?, device: Memory::new(gpu, len * size_of::<T>())? })
    }

    /// Copies the first `len` values.
    pub(crate) fn send(&mut self, len: usize) -> Result<(), GpuError> {
        self.device.write(0, &self.host.values()[..len])
    }

    pub(crate) fn copy(&mut self, values: &[T]) -> Result<(), GpuError> {
        self.host.values()[..values.len()].copy_from_slice(values);
        self.send(values.len())
    }

    pub(crate) fn set(&mut self, values: impl IntoIterator<Item = T>) -> Result<usize, GpuError> {
        let mut len = 0;
        for (to, value) in self.host.values().iter_mut().zip(values) {
            *to = value;
            len += 1;
        }
        self.send(len)?;
        Ok(len)
    }
}

/// A `Token` of the kernels.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Token {
    pub(crate) position: i32,
    pub(crate) first_page: i32,
}

/// A tile of the kernels: rows whose queries are computed together.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Tile {
    pub(crate) first_row: i32,
    pub(crate) rows: i32,
}

pub(crate) struct Scratch {
    /// The residual stream.
    pub(crate) stream: Input<f32>,
    pub(crate) angles: Input<f32>,
    pub(crate) tokens: Input<Token>,
    /// Of the prompts' rows.
    pub(crate) tiles: Input<Tile>,
    pub(crate) prompt_tiles: Vec<Tile>,
    /// Of the step's longest sequence.
    pub(crate) positions: usize,
    pub(crate) wanted: Input<i32>,
    pub(crate) pages: Input<u64>,
    pub(crate) normed: Rows,
    pub(crate) attended: Rows,
    pub(crate) gated: Rows,
    /// Queries, keys and values of each row.
    pub(crate) products: Memory,
    pub(crate) query: Memory,
    pub(crate) gate_up: Memory,
    pub(crate) projected: Memory,
    pub(crate) kept: Kept,
}

impl Scratch {
    pub(crate) fn new(gpu: &Arc<Gpu>, shape: &LayerShape, with_values: bool) -> Result<Self, GpuError> {
        let LayerShape { dim, heads, kv_heads, head_dim, feed_forward, rotated, .. } = *shape;
        let floats = |columns: usize| Memory::new(gpu, MOST_ROWS * columns * 4);
        Ok(Self {
            stream: Input::new(gpu, MOST_ROWS * dim)?,
            angles: Input::new(gpu, MOST_ROWS * rotated)?,
            tokens: Input::new(gpu, MOST_ROWS)?,
            tiles: Input::new(gpu, MOST_ROWS)?,
            prompt_tiles: Vec::new(),
            positions: 0,
            wanted: Input::new(gpu, MOST_ROWS)?,
            pages: Input::new(gpu, 1024)?,
            normed: Rows::new(gpu, dim, with_values)?,
            attended: Rows::new(gpu, heads * head_dim, with_values)?,
            gated: Rows::new(gpu, feed_forward, with_values)?,
            products: floats((heads + 2 * kv_heads) * head_dim)?,
            query: floats(heads * head_dim)?,
            gate_up: floats(2 * feed_forward)?,
            projected: floats(dim)?,
            kept: Kept::new(gpu, shape, 1)?,
        })
    }

    /// Makes room for sequences of up to `positions`, and says whether something lies elsewhere now.
    pub(crate) fn grow(
        &mut self,
        gpu: &Arc<Gpu>,
        shape: &LayerShape,
        positions: usize,
        pages: usize,
    ) -> Result<bool, GpuError> {
        let (short, few) = (positions > self.kept.positions, pages > self.pages.host.values().len());
        if short {
            self.kept = Kept::new(gpu, shape, positions)?;
        }
        if few {
            self.pages = Input::new(gpu, pages.next_power_of_two())?;
        }
        Ok(short || few)
    }
}

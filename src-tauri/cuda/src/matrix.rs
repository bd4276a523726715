//! Weights in a GPU's memory, in the order in which its kernels read them: `kernels/weights.cuh`.

use std::{ffi::c_void, sync::Arc};

use tektra_kernels::{Format, Matrix};

use crate::{
    GpuError,
    gpu::{Gpu, Grid, Memory},
};

/// What is copied to the GPU at once.
const PIECE_BYTES: usize = 64 << 20;

/// A `Matrix` of the kernels.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct MatrixArgument {
    planes: [u64; 4],
    rows: i32,
    columns: i32,
}

/// Rows of one or several matrices of one format.
pub(crate) struct GpuMatrix {
    pub(crate) format: Format,
    pub(crate) rows: usize,
    pub(crate) argument: MatrixArgument,
    memory: Memory,
}

impl GpuMatrix {
    /// Matrices that meet the same activations, one below the other; neighbours of one format become one.
    pub(crate) fn stack(gpu: &Arc<Gpu>, matrices: &[Matrix<'_>]) -> Result<Vec<Self>, GpuError> {
        let groups = matrices.chunk_by(|one, next| one.format == next.format);
        groups.map(|group| Self::new(gpu, group)).collect()
    }

    fn new(gpu: &Arc<Gpu>, parts: &[Matrix<'_>]) -> Result<Self, GpuError> {
        let Matrix { format, columns, .. } = parts[0];
        if !columns.is_multiple_of(32) {
            return Err(GpuError::Unsupported(format!("rows of {columns} weights are no whole groups of 32")));
        }
        let rows = parts.iter().map(|part| part.rows).sum::<usize>();
        let sizes = plane_bytes(format, columns).map(|bytes| (bytes * rows.next_multiple_of(32)).next_multiple_of(256));
        let memory = Memory::new(gpu, sizes.iter().sum())?;
        let mut at = memory.address;
        let planes = sizes.map(|size| {
            let plane = at;
            at += size as u64;
            plane
        });
        let argument = MatrixArgument { planes, rows: rows as i32, columns: columns as i32 };
        let matrix = Self { format, rows, argument, memory };
        let mut first_row = 0;
        for part in parts {
            matrix.fill(gpu, part, first_row)?;
            first_row += part.rows;
        }
        Ok(matrix)
    }

    pub(crate) fn columns(&self) -> usize {
        self.argument.columns as usize
    }

    pub(crate) fn bytes(&self) -> usize {
        self.memory.bytes
    }

    fn fill(&self, gpu: &Arc<Gpu>, part: &Matrix<'_>, first_row: usize) -> Result<(), GpuError> {
        let row_bytes = part.row_bytes();
        let piece_rows = (PIECE_BYTES / row_bytes.max(1)).clamp(1, part.rows.max(1));
        if self.format.is_float() {
            for row in (0..part.rows).step_by(piece_rows) {
                let rows = part.rows_bytes(row, piece_rows.min(part.rows - row));
                self.memory.write((first_row + row) * row_bytes, rows)?;
            }
            return gpu.wait();
        }
        let piece = Memory::new(gpu, piece_rows * row_bytes)?;
        let groups = self.columns() / 32;
        for row in (0..part.rows).step_by(piece_rows) {
            let count = piece_rows.min(part.rows - row);
            piece.write(0, part.rows_bytes(row, count))?;
            let (mut from, mut to) = (piece.address, self.argument.planes);
            let (mut first, mut groups, mut all) = ((first_row + row) as i32, groups as i32, (count * groups) as i64);
            let mut block_bytes = self.format.block_bytes() as i32;
            let mut arguments: [*mut c_void; 6] = [
                (&raw mut from).cast(),
                (&raw mut to).cast(),
                (&raw mut first).cast(),
                (&raw mut groups).cast(),
                (&raw mut all).cast(),
                (&raw mut block_bytes).cast(),
            ];
            let grid = Grid::new([(all as usize).div_ceil(256), 1, 1], 256);
            // SAFETY: `pack_*` of pack.cu reads `all` groups from the piece and writes as many into the planes.
            unsafe { gpu.launch(&format!("pack_{}", name(self.format)), grid, &mut arguments) }?;
        }
        gpu.wait()
    }
}

/// Bytes of a row in each plane.
fn plane_bytes(format: Format, columns: usize) -> [usize; 4] {
    let (groups, blocks) = (columns / 32, columns.div_ceil(256));
    let small = |codes, extra, scale| [groups * codes, groups * extra, groups * scale, 0];
    let large = |codes, extra, unit| [groups * codes, groups * extra, groups * 2, blocks * unit];
    match format {
        Format::F32 | Format::F16 | Format::BF16 => [columns * format.block_bytes(), 0, 0, 0],
        Format::Q4_0 => small(16, 0, 2),
        Format::Q4_1 => small(16, 0, 4),
        Format::Q5_0 => small(16, 4, 2),
        Format::Q5_1 => small(16, 4, 4),
        Format::Q8_0 => small(32, 0, 2),
        // 16 bytes for eight groups.
        Format::Q4K => small(16, 0, 2),
        Format::Q5K => small(16, 4, 2),
        Format::Q2K => large(8, 0, 4),
        Format::Q3K => large(8, 4, 2),
        Format::Q6K => large(16, 8, 2),
    }
}

/// A format's name among the kernels.
pub(crate) const fn name(format: Format) -> &'static str {
    match format {
        Format::F32 => "f32",
        Format::F16 => "f16",
        Format::BF16 => "bf16",
        Format::Q4_0 => "q4_0",
        Format::Q4_1 => "q4_1",
        Format::Q5_0 => "q5_0",
        Format::Q5_1 => "q5_1",
        Format::Q8_0 => "q8_0",
        Format::Q2K => "q2_k",
        Format::Q3K => "q3_k",
        Format::Q4K => "q4_k",
        Format::Q5K => "q5_k",
        Format::Q6K => "q6_k",
    }
}

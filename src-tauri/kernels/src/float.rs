//! Products with weights that are plain floats.

use crate::{
    Activations, Format, Packed, packed,
    simd::{LANES, Simd, at_every_level},
};

at_every_level! {
    /// Rows `first..end` of a product with a float matrix. `out` as in `quantized::product`, but as an address.
    pub(crate) fn product(matrix: &Packed, first: usize, end: usize, activations: &Activations, out: Out)
        = rows
}

/// Where results go; each caller writes rows of its own.
#[derive(Clone, Copy)]
pub(crate) struct Out(pub(crate) *mut f32);

/// Activations that are met by all rows of weights before the next ones are: they stay in the second-level cache.
const BLOCK_BYTES: usize = 192 << 10;

#[inline(always)]
unsafe fn rows<S: Simd>(matrix: &Packed, first: usize, end: usize, activations: &Activations, out: Out) {
    unsafe {
        let block = (BLOCK_BYTES / (4 * matrix.columns.max(1))).max(TOGETHER) / TOGETHER * TOGETHER;
        for at in (0..activations.rows).step_by(block) {
            let rows = block.min(activations.rows - at);
            match (S::FLOAT_ROWS, rows < TOGETHER) {
                (8, _) => tiles::<S, 8>(matrix, first, end, activations, at, rows, out),
                (4, true) => tiles::<S, 4>(matrix, first, end, activations, at, rows, out),
                // More sums than that would not stay in registers.
                _ => tiles::<S, 2>(matrix, first, end, activations, at, rows, out),
            }
        }
    }
}

/// Rows of activations that share what is in registers.
const TOGETHER: usize = 3;

/// `R` rows of weights at a time, and three of activations, of the `rows` from `at` on.
#[inline(always)]
unsafe fn tiles<S: Simd, const R: usize>(
    matrix: &Packed,
    first: usize,
    end: usize,
    activations: &Activations,
    at: usize,
    rows: usize,
    out: Out,
) {
    unsafe {
        for row in (first..end).step_by(R) {
            let (mut at, end_of_block) = (at, at + rows);
            while at + TOGETHER <= end_of_block {
                tile::<S, R, TOGETHER>(matrix, row, end, activations, at, out);
                at += TOGETHER;
            }
            while at < end_of_block {
                tile::<S, R, 1>(matrix, row, end, activations, at, out);
                at += 1;
            }
        }
    }
}

#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const A: usize>(
    matrix: &Packed,
    first: usize,
    end: usize,
    activations: &Activations,
    at: usize,
    out: Out,
) {
    unsafe {
        let (columns, bytes) = (matrix.columns, matrix.format.block_bytes());
        let whole = columns / LANES * LANES;
        let eight = matrix.eight_rows(first / packed::LANES * packed::LANES).as_ptr();
        let lane = first % packed::LANES;
        let values: [*const f32; A] = std::array::from_fn(|a| activations.values.as_ptr().add((at + a) * columns));
        let rows = eight.add(lane * LANES * bytes);
        let sums = match matrix.format {
            Format::F16 => products::<S, R, A>(rows, values, whole, 2, |at| S::load_f16(at.cast())),
            Format::BF16 => products::<S, R, A>(rows, values, whole, 2, |at| S::load_bf16(at.cast())),
            _ => products::<S, R, A>(rows, values, whole, 4, |at| S::load(at.cast())),
        };
        let rest = eight.add(packed::LANES * whole * bytes + lane * (columns - whole) * bytes);
        for row in 0..R.min(end - first) {
            for a in 0..A {
                let mut sum = S::sum(sums[row][a]);
                for column in whole..columns {
                    sum += element(matrix.format, rest.add(row * (columns - whole) * bytes), column - whole)
                        * *values[a].add(column);
                }
                *out.0.add((at + a) * matrix.rows + first + row) = sum;
            }
        }
    }
}

/// The vectors of sums of each row of weights and each row of activations.
#[inline(always)]
unsafe fn products<S: Simd, const R: usize, const A: usize>(
    mut rows: *const u8,
    values: [*const f32; A],
    columns: usize,
    bytes: usize,
    load: impl Fn(*const u8) -> S::F,
) -> [[S::F; A]; R] {
    unsafe {
        let mut sums = [[S::splat(0.0); A]; R];
        let mut column = 0;
        while column < columns {
            let mut value = [S::splat(0.0); A];
            for a in 0..A {
                value[a] = S::load(values[a].add(column));
            }
            for r in 0..R {
                let weights = load(rows.add(r * LANES * bytes));
                for a in 0..A {
                    sums[r][a] = S::fma(weights, value[a], sums[r][a]);
                }
            }
            column += LANES;
            rows = rows.add(packed::LANES * LANES * bytes);
        }
        sums
    }
}

unsafe fn element(format: Format, row: *const u8, column: usize) -> f32 {
    let mut value = [0.0];
    // SAFETY: the caller's column is one of the row's.
    let bytes = unsafe { std::slice::from_raw_parts(row.add(column * format.block_bytes()), format.block_bytes()) };
    crate::dequantize(format, bytes, &mut value);
    value[0]
}

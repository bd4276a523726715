//! Products with weights that are plain floats.

use crate::{
    Activations, Format, Matrix,
    simd::{LANES, Simd, at_every_level},
};

at_every_level! {
    /// Rows `first..end` of a product with a float matrix. `out` as in `quantized::product`, but as an address.
    pub(crate) fn product(matrix: &Matrix<'_>, first: usize, end: usize, activations: &Activations, out: Out)
        = rows
}

/// Where results go; each caller writes rows of its own.
#[derive(Clone, Copy)]
pub(crate) struct Out(pub(crate) *mut f32);

/// Weight rows computed together.
const ROWS: usize = 4;

#[inline(always)]
unsafe fn rows<S: Simd>(matrix: &Matrix<'_>, first: usize, end: usize, activations: &Activations, out: Out) {
    unsafe {
        for row in (first..end).step_by(ROWS) {
            let mut at = 0;
            while at + 3 <= activations.rows {
                tile::<S, 3>(matrix, row, end, activations, at, out);
                at += 3;
            }
            while at < activations.rows {
                tile::<S, 1>(matrix, row, end, activations, at, out);
                at += 1;
            }
        }
    }
}

#[inline(always)]
unsafe fn tile<S: Simd, const A: usize>(
    matrix: &Matrix<'_>,
    first: usize,
    end: usize,
    activations: &Activations,
    at: usize,
    out: Out,
) {
    unsafe {
        let columns = matrix.columns;
        let rows: [*const u8; ROWS] = std::array::from_fn(|i| matrix.row((first + i).min(matrix.rows - 1)).as_ptr());
        let values: [*const f32; A] = std::array::from_fn(|a| activations.values.as_ptr().add((at + a) * columns));
        let mut sums = [[S::splat(0.0); A]; ROWS];
        let whole = columns / LANES * LANES;
        let load = |row: usize, column: usize| match matrix.format {
            Format::F16 => S::load_f16(rows[row].cast::<u16>().add(column)),
            Format::BF16 => S::load_bf16(rows[row].cast::<u16>().add(column)),
            _ => S::load(rows[row].cast::<f32>().add(column)),
        };
        // The format is decided outside of the loop: the compiler makes one loop of each.
        macro_rules! run {
            ($($format:pat),*) => {
                match matrix.format {
                    $($format => for column in (0..whole).step_by(LANES) {
                        let values: [S::F; A] = std::array::from_fn(|a| S::load(values[a].add(column)));
                        for (row, sums) in sums.iter_mut().enumerate() {
                            let weights = load(row, column);
                            for (sum, value) in sums.iter_mut().zip(values) {
                                *sum = S::fma(weights, value, *sum);
                            }
                        }
                    })*
                }
            };
        }
        run!(Format::F16, Format::BF16, _);
        for row in 0..ROWS.min(end - first) {
            for a in 0..A {
                let mut sum = S::sum(sums[row][a]);
                for column in whole..columns {
                    sum += element(matrix.format, rows[row], column) * *values[a].add(column);
                }
                *out.0.add((at + a) * matrix.rows + first + row) = sum;
            }
        }
    }
}

unsafe fn element(format: Format, row: *const u8, column: usize) -> f32 {
    let mut value = [0.0];
    // SAFETY: the caller's column is one of the row's.
    let bytes = unsafe { std::slice::from_raw_parts(row.add(column * format.block_bytes()), format.block_bytes()) };
    crate::dequantize(format, bytes, &mut value);
    value[0]
}

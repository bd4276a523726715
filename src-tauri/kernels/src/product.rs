//! Matrix products, shared among threads.

use crate::{Activations, Level, Packed, Pool, float, level, quantized};

/// Rows that a kernel takes at a time: chunks are multiples of it.
const STEP: usize = 16;

/// Chunks a thread: enough that one that was held up does not hold up the others.
const CHUNKS_PER_THREAD: usize = 4;

/// One matrix that the activations meet, and where its results go: row by row of the activations, one number for each
/// row of the matrix.
pub struct Product<'a> {
    /// The weights.
    pub weights: &'a Packed,
    /// `activations.rows() * matrix.rows` results.
    pub out: &'a mut [f32],
}

/// Multiplies the activations with each matrix.
///
/// A row's results depend on that row and the matrix alone, to the last bit: not on the rows beside it and not on the
/// number of threads.
///
/// # Panics
/// When shapes do not fit.
pub fn multiply(pool: &mut Pool, activations: &Activations, products: &mut [Product<'_>]) {
    multiply_at(level(), pool, activations, products);
}

pub(crate) fn multiply_at(level: Level, pool: &mut Pool, activations: &Activations, products: &mut [Product<'_>]) {
    struct Job<'a>(&'a Packed, *mut f32);
    // SAFETY: the chunks write disjoint elements.
    unsafe impl Sync for Job<'_> {}

    let mut rows = 0;
    let jobs: Vec<Job<'_>> = products
        .iter_mut()
        .map(|product| {
            let Packed { rows: matrix_rows, columns, .. } = *product.weights;
            assert_eq!(columns, activations.columns, "as many columns as activations");
            assert_eq!(product.out.len(), activations.rows * matrix_rows, "room for the results");
            rows += matrix_rows;
            Job(product.weights, product.out.as_mut_ptr())
        })
        .collect();
    if activations.rows == 0 {
        return;
    }
    let chunk_rows = rows.div_ceil(pool.threads() * CHUNKS_PER_THREAD).next_multiple_of(STEP);
    let chunks: Vec<(usize, usize)> = jobs
        .iter()
        .enumerate()
        .flat_map(|(index, job)| (0..job.0.rows).step_by(chunk_rows).map(move |first| (index, first)))
        .collect();
    pool.run(chunks.len(), &|chunk| {
        let (index, first) = chunks[chunk];
        let Job(weights, out) = &jobs[index];
        let end = (first + chunk_rows).min(weights.rows);
        if weights.format.is_float() {
            float::product(weights, first, end, activations, float::Out(*out));
        } else {
            // SAFETY: checked above; every chunk has rows of its own; the level is the processor's.
            unsafe { quantized::product(level, weights, first, end, activations, *out) };
        }
    });
}

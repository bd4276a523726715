//! Matrix products, shared among threads.

use crate::{Activations, Level, Matrix, Pool, float, level, quantized};

/// Rows that a kernel takes at a time: chunks are multiples of it.
const STEP: usize = 16;

/// Chunks a thread: enough that one that was held up does not hold up the others.
const CHUNKS_PER_THREAD: usize = 4;

/// One matrix that the activations meet, and where its results go: row by row of the activations, one number for each
/// row of the matrix.
pub struct Product<'a> {
    /// The weights.
    pub matrix: Matrix<'a>,
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
    struct Job<'a>(Matrix<'a>, *mut f32);
    // SAFETY: the chunks write disjoint elements.
    unsafe impl Sync for Job<'_> {}

    let mut rows = 0;
    let jobs: Vec<Job<'_>> = products
        .iter_mut()
        .map(|product| {
            let matrix = product.matrix;
            assert_eq!(matrix.columns, activations.columns, "as many columns as activations");
            assert_eq!(product.out.len(), activations.rows * matrix.rows, "room for the results");
            assert!(matrix.format.is_float() || matrix.columns.is_multiple_of(32), "whole groups");
            rows += matrix.rows;
            Job(matrix, product.out.as_mut_ptr())
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
        let Job(matrix, out) = &jobs[index];
        let end = (first + chunk_rows).min(matrix.rows);
        if matrix.format.is_float() {
            float::product(matrix, first, end, activations, float::Out(*out));
        } else {
            // SAFETY: checked above; every chunk has rows of its own; the level is the processor's.
            unsafe { quantized::product(level, matrix, first, end, activations, *out) }
        }
    });
}

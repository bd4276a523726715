//! Matrix products, shared among threads.

use crate::{Activations, Level, Matrix, Packed, Pool, float, level, quantized};

/// Rows that a kernel takes at a time: chunks are multiples of it.
const STEP: usize = 16;

/// Chunks a thread: enough that one that was held up does not hold up the others.
const CHUNKS_PER_THREAD: usize = 4;

/// A matrix in the form that products take.
#[derive(Clone, Copy)]
pub enum Weights<'a> {
    /// Plain floats, as they are.
    Floats(Matrix<'a>),
    /// Quantized weights.
    Packed(&'a Packed),
}

impl Weights<'_> {
    fn shape(&self) -> (usize, usize) {
        match self {
            Self::Floats(matrix) => (matrix.rows, matrix.columns),
            Self::Packed(packed) => (packed.rows, packed.columns),
        }
    }
}

/// One matrix that the activations meet, and where its results go: row by row of the activations, one number for each
/// row of the matrix.
pub struct Product<'a> {
    /// The weights.
    pub weights: Weights<'a>,
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
    struct Job<'a>(Weights<'a>, usize, *mut f32);
    // SAFETY: the chunks write disjoint elements.
    unsafe impl Sync for Job<'_> {}

    let mut rows = 0;
    let jobs: Vec<Job<'_>> = products
        .iter_mut()
        .map(|product| {
            let (matrix_rows, columns) = product.weights.shape();
            assert_eq!(columns, activations.columns, "as many columns as activations");
            assert_eq!(product.out.len(), activations.rows * matrix_rows, "room for the results");
            if let Weights::Floats(matrix) = product.weights {
                assert!(matrix.format.is_float(), "quantized weights are packed");
            }
            rows += matrix_rows;
            Job(product.weights, matrix_rows, product.out.as_mut_ptr())
        })
        .collect();
    if activations.rows == 0 {
        return;
    }
    let chunk_rows = rows.div_ceil(pool.threads() * CHUNKS_PER_THREAD).next_multiple_of(STEP);
    let chunks: Vec<(usize, usize)> = jobs
        .iter()
        .enumerate()
        .flat_map(|(index, job)| (0..job.1).step_by(chunk_rows).map(move |first| (index, first)))
        .collect();
    pool.run(chunks.len(), &|chunk| {
        let (index, first) = chunks[chunk];
        let Job(weights, rows, out) = &jobs[index];
        let end = (first + chunk_rows).min(*rows);
        match weights {
            Weights::Floats(matrix) => float::product(matrix, first, end, activations, float::Out(*out)),
            // SAFETY: checked above; every chunk has rows of its own; the level is the processor's.
            Weights::Packed(packed) => unsafe { quantized::product(level, packed, first, end, activations, *out) },
        }
    });
}

//! Matrix products, shared among threads.

use crate::{Activations, Level, Packed, Pool, float, level, packed, quantized};

/// Rows that a kernel takes at a time: chunks are multiples of it.
const STEP: usize = 16;

/// Of the rows that are left, the share of each thread that is one chunk.
const CHUNKS_PER_THREAD: usize = 3;

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

    let jobs: Vec<Job<'_>> = products
        .iter_mut()
        .map(|product| {
            let Packed { rows: matrix_rows, columns, format, lanes, .. } = *product.weights;
            assert_eq!(columns, activations.columns, "as many columns as activations");
            assert_eq!(lanes, packed::lanes(level, format), "packed for the level");
            assert_eq!(product.out.len(), activations.rows * matrix_rows, "room for the results");
            Job(product.weights, product.out.as_mut_ptr())
        })
        .collect();
    if activations.rows == 0 {
        return;
    }
    let chunks = chunks(jobs.iter().map(|job| job.0.rows), pool.threads());
    pool.run(chunks.len(), &|chunk| {
        let (index, first, end) = chunks[chunk];
        let Job(weights, out) = &jobs[index];
        if weights.format.is_float() {
            float::product(weights, first, end, activations, float::Out(*out));
        } else {
            // SAFETY: checked above; every chunk has rows of its own; the level is the processor's.
            unsafe { quantized::product(level, weights, first, end, activations, *out) };
        }
    });
}

/// Matrices of so many rows each, in chunks of (matrix, first row, end): large ones first, since each begins with a wait
/// for memory, and ever smaller ones, so that the threads end together, whatever held one of them up.
fn chunks(matrices: impl Iterator<Item = usize> + Clone, threads: usize) -> Vec<(usize, usize, usize)> {
    let mut left: usize = matrices.clone().sum();
    let mut chunks = Vec::new();
    for (matrix, rows) in matrices.enumerate() {
        let mut first = 0;
        while first < rows {
            let share =
                if threads > 1 { left.div_ceil(threads * CHUNKS_PER_THREAD) } else { left }.next_multiple_of(STEP);
            let end = (first + share).min(rows);
            chunks.push((matrix, first, end));
            left -= end - first;
            first = end;
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::chunks;

    #[test]
    fn chunks_cover_every_row_once_and_become_smaller() {
        for (matrices, threads) in [(vec![1], 1), (vec![2048, 512, 512], 2), (vec![0, 7, 49_152], 3), (vec![], 2)] {
            let chunks = chunks(matrices.iter().copied(), threads);
            for (matrix, rows) in matrices.iter().enumerate() {
                let mut next = 0;
                for (_, first, end) in chunks.iter().filter(|chunk| chunk.0 == matrix) {
                    assert!(*first == next && end > first, "{matrices:?}: {chunks:?}");
                    next = *end;
                }
                assert_eq!(next, *rows, "{matrices:?}: {chunks:?}");
            }
        }
        let sizes: Vec<_> = chunks([16_384].into_iter(), 2).iter().map(|(_, first, end)| end - first).collect();
        assert!(sizes.is_sorted_by(|one, next| one >= next) && sizes.len() < 40, "{sizes:?}");
        assert!(sizes[0] > 2_000 && *sizes.last().unwrap_or(&0) <= 16, "{sizes:?}");
    }
}

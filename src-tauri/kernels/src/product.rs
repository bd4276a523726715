//! Matrix products, shared among threads.

use std::{ops::Range, sync::atomic::Ordering::Relaxed};

use crate::{Activations, Level, Packed, Pool, float, level, packed, pool::Counter, quantized};

/// Rows that a kernel takes at a time.
const STEP: usize = 16;

/// What is left of a share is taken in so many pieces, or in more as it becomes less.
const PIECES: usize = 3;

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
    // SAFETY: threads write disjoint elements.
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
    let shares = Shares::new(jobs.iter().map(|job| job.0.rows), pool.threads());
    pool.on_each(&|own, taken| {
        while let Some((index, streams)) = shares.take(own, taken) {
            let Job(weights, out) = &jobs[index];
            if weights.format.is_float() {
                float::product(weights, &streams, activations, float::Out(*out));
            } else {
                // SAFETY: checked above; nobody else takes these rows; the level is the processor's.
                unsafe { quantized::product(level, weights, &streams, activations, *out) };
            }
        }
    });
}

/// Rows of a matrix in two streams through memory, which gives more to two than to one: the second has as many rows as the
/// first or fewer, or none. What has rows begins at a multiple of [`STEP`].
pub(crate) type Streams = [Range<usize>; 2];

/// Which rows of which matrix each thread computes. Its streams go on from piece to piece, so that what is asked for ahead
/// is what it needs next; who is done helps the others, so that all end together, whatever held one of them up.
struct Shares {
    matrices: usize,
    /// Of each matrix, thread by thread.
    streams: Vec<Streams>,
}

/// Steps of streams side by side.
fn steps(streams: &Streams) -> usize {
    streams[0].len().div_ceil(STEP)
}

impl Shares {
    fn new(rows: impl ExactSizeIterator<Item = usize> + Clone, threads: usize) -> Self {
        let share = |thread: usize| {
            rows.clone().map(move |rows| {
                let of_steps = |step: usize| (step * STEP).min(rows);
                let [first, end] = [thread, thread + 1].map(|thread| rows.div_ceil(STEP) * thread / threads);
                let middle = first + (end - first).div_ceil(2);
                [of_steps(first)..of_steps(middle), of_steps(middle)..of_steps(end)]
            })
        };
        Self { matrices: rows.len(), streams: (0..threads).flat_map(share).collect() }
    }

    /// The next piece for thread `own`, with the number of its matrix: of its own share as long as there is any. `taken`
    /// counts the steps of each thread's share that somebody has taken, matrix by matrix.
    fn take(&self, own: usize, taken: &[Counter]) -> Option<(usize, Streams)> {
        (own..taken.len()).chain(0..own).find_map(|thread| self.take_of(thread, &taken[thread]))
    }

    fn take_of(&self, thread: usize, counter: &Counter) -> Option<(usize, Streams)> {
        let share = &self.streams[thread * self.matrices..][..self.matrices];
        let all: usize = share.iter().map(steps).sum();
        let mut taken = counter.load(Relaxed);
        loop {
            let mut first = taken;
            let index = share.iter().position(|streams| {
                let here = first < steps(streams);
                first -= if here { 0 } else { steps(streams) };
                here
            })?;
            let streams = &share[index];
            // Ever smaller ones.
            let len = (all - taken).div_ceil(PIECES).min(steps(streams) - first);
            match counter.compare_exchange_weak(taken, taken + len, Relaxed, Relaxed) {
                Ok(_) => {
                    let piece = |stream: &Range<usize>| {
                        let at = |step: usize| (stream.start + step * STEP).min(stream.end);
                        at(first)..at(first + len)
                    };
                    return Some((index, [piece(&streams[0]), piece(&streams[1])]));
                }
                Err(now) => taken = now,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_taken_once_whoever_takes() {
        for (matrices, threads) in [(vec![1], 1), (vec![2048, 512, 512], 2), (vec![0, 7, 49_152], 3), (vec![], 2)] {
            let shares = Shares::new(matrices.iter().copied(), threads);
            let taken: Vec<_> = (0..threads).map(|_| Counter::default()).collect();
            let mut times: Vec<Vec<u8>> = matrices.iter().map(|&rows| vec![0; rows]).collect();
            let mut turn = 0;
            while let Some((index, [one, two])) = shares.take(turn % threads, &taken) {
                assert!(!one.is_empty() && one.len() >= two.len(), "{one:?}, {two:?}");
                for stream in [&one, &two] {
                    assert!(stream.is_empty() || stream.start.is_multiple_of(STEP), "{stream:?}");
                }
                one.chain(two).for_each(|row| times[index][row] += 1);
                turn += 1;
            }
            assert!(times.iter().flatten().all(|&times| times == 1), "{matrices:?}, {threads} threads");
        }
    }

    #[test]
    fn streams_go_on_and_pieces_become_smaller() {
        let (shares, taken) = (Shares::new([16_384].into_iter(), 2), Counter::default());
        let pieces: Vec<_> = std::iter::from_fn(|| shares.take_of(1, &taken)).map(|(_, streams)| streams).collect();
        assert!(pieces[0].clone().map(|stream| stream.start) == [8192, 12_288], "{pieces:?}");
        for (one, next) in pieces.iter().zip(&pieces[1..]) {
            for stream in 0..2 {
                assert!(one[stream].end == next[stream].start && one[stream].len() >= next[stream].len(), "{pieces:?}");
            }
        }
        assert!(
            pieces.len() < 30 && pieces[0][0].len() > 1_000 && pieces[pieces.len() - 1][1].end == 16_384,
            "{pieces:?}"
        );
    }
}

//! Matrix products, shared among threads.

use std::ops::Range;

use crate::{Activations, Level, Packed, Pool, ahead::Coming, float, level, packed, pool::Taken, quantized};

/// Rows that a kernel takes at a time.
const STEP: usize = 16;

/// What is left of a share is taken in so many pieces, or in more as it becomes less.
const PIECES: usize = 2;

/// How many others a thread helps when its share is done and shares are small: looking at what is left of one takes time from
/// the thread that has it. The caller's thread looks at all, so that everything is done whoever came.
const HELPED: usize = 2;

/// Steps of two streams, times rows of activations, from which on shares are not small: where some processors are slower
/// than others, all end together.
const LARGE: usize = 8;

/// One matrix that the activations meet, and where its results go: row by row of the activations, one number for each
/// row of the matrix.
pub struct Product<'a> {
    /// The weights.
    pub weights: &'a Packed,
    /// `activations.rows() * matrix.rows` results.
    pub out: &'a mut [f32],
}

/// Multiplies the activations with each matrix. Threads that wait for their next product ask for the weights `next` meanwhile,
/// as far as they are theirs.
///
/// A row's results depend on that row and the matrix alone, to the last bit: not on the rows beside it and not on the
/// number of threads.
///
/// # Panics
/// When shapes do not fit.
pub fn multiply(pool: &mut Pool, activations: &Activations, products: &mut [Product<'_>], next: Option<&Packed>) {
    multiply_at(level(), pool, activations, products, next);
}

pub(crate) fn multiply_at(
    level: Level,
    pool: &mut Pool,
    activations: &Activations,
    products: &mut [Product<'_>],
    next: Option<&Packed>,
) {
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
    pool.on_each(&|own, taken| {
        let mut coming = None;
        for_each_piece(jobs.iter().map(|job| job.0.rows), activations.rows, own, taken, |index, streams| {
            // Here, where the processor waits for weights anyway.
            coming =
                coming.or_else(|| next.map(|next| Coming::of(next, &self::streams(next.rows, own, taken.threads()))));
            let Job(weights, out) = &jobs[index];
            if weights.format.is_float() {
                float::product(weights, &streams, activations, float::Out(*out));
            } else {
                // SAFETY: checked above; nobody else takes these rows; the level is the processor's.
                unsafe { quantized::product(level, weights, &streams, activations, *out) };
            }
        });
        coming
    });
}

/// Rows of a matrix in two streams through memory, which gives more to two than to one: the second has as many rows as the
/// first or fewer, or none. What has rows begins at a multiple of [`STEP`].
pub(crate) type Streams = [Range<usize>; 2];

/// Steps of streams side by side.
fn steps(streams: &Streams) -> usize {
    streams[0].len().div_ceil(STEP)
}

/// Calls `work` with pieces of matrices that have so many `rows`, and the numbers of the matrices: first with those of thread
/// `own`'s share, whose streams go on from piece to piece, so that what is asked for ahead is what is needed next; who is
/// done helps the others, so that all end together, whatever held one of them up. `times` is what each row meets.
fn for_each_piece(
    rows: impl Iterator<Item = usize> + Clone,
    times: usize,
    own: usize,
    taken: &Taken<'_>,
    mut work: impl FnMut(usize, Streams),
) {
    for (helped, thread) in (own..taken.threads()).chain(0..own).enumerate() {
        let mut share = Share::new(rows.clone(), thread, taken.threads());
        if own > 0 && helped > HELPED && share.steps * times < LARGE {
            break;
        }
        while let Some((index, streams)) = share.take(taken) {
            work(index, streams);
        }
    }
}

/// Which rows of each matrix a thread computes.
struct Share<Rows> {
    thread: usize,
    threads: usize,
    /// Of all its matrices.
    steps: usize,
    /// Of the matrices that are not begun.
    rows: Rows,
    begun: usize,
    /// Of the last matrix that is begun; none before the first.
    streams: Streams,
    /// Steps of the matrices before it.
    before: usize,
}

impl<Rows: Iterator<Item = usize> + Clone> Share<Rows> {
    fn new(rows: Rows, thread: usize, threads: usize) -> Self {
        let steps = rows.clone().map(|rows| steps(&streams(rows, thread, threads))).sum();
        Self { thread, threads, steps, rows, begun: 0, streams: [0..0, 0..0], before: 0 }
    }

    /// The next piece, with the number of its matrix.
    fn take(&mut self, taken: &Taken<'_>) -> Option<(usize, Streams)> {
        let piece = taken.take(self.thread, |taken| {
            while taken - self.before >= steps(&self.streams) {
                self.before += steps(&self.streams);
                self.streams = streams(self.rows.next()?, self.thread, self.threads);
                self.begun += 1;
            }
            // Ever smaller ones.
            let len = (self.steps - taken).div_ceil(PIECES);
            Some((taken + len).min(self.before + steps(&self.streams)))
        })?;
        let of_stream = |stream: &Range<usize>| {
            let at = |step: usize| (stream.start + (step - self.before) * STEP).min(stream.end);
            at(piece.start)..at(piece.end)
        };
        Some((self.begun - 1, [of_stream(&self.streams[0]), of_stream(&self.streams[1])]))
    }
}

/// The part of a matrix with so many rows that is a thread's.
fn streams(rows: usize, thread: usize, threads: usize) -> Streams {
    let of_steps = |step: usize| (step * STEP).min(rows);
    let [first, end] = [thread, thread + 1].map(|thread| rows.div_ceil(STEP) * thread / threads);
    let middle = first + (end - first).div_ceil(2);
    [of_steps(first)..of_steps(middle), of_steps(middle)..of_steps(end)]
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::pool::Seat;

    #[test]
    fn every_row_is_taken_once_whoever_takes() {
        for (matrices, threads) in [(vec![1], 1), (vec![2048, 512, 512], 2), (vec![0, 7, 49_152], 3), (vec![], 2)] {
            let times: Mutex<Vec<Vec<u8>>> = Mutex::new(matrices.iter().map(|&rows| vec![0; rows]).collect());
            let take = |own: usize, taken: &Taken<'_>| {
                for_each_piece(matrices.iter().copied(), 1, own, taken, |index, [one, two]| {
                    assert!(!one.is_empty() && one.len() >= two.len(), "{one:?}, {two:?}");
                    for stream in [&one, &two] {
                        assert!(stream.is_empty() || stream.start.is_multiple_of(STEP), "{stream:?}");
                    }
                    let mut times = times.lock().expect("no panic");
                    one.chain(two).for_each(|row| times[index][row] += 1);
                });
            };
            let done = |count: u8| {
                let times = times.lock().expect("no panic");
                assert!(times.iter().flatten().all(|&times| times == count), "{matrices:?}, {threads} threads");
            };
            let mut pool = Pool::new(threads).expect("threads");
            for count in 1..4 {
                pool.on_each(&|own, taken| {
                    take(own, taken);
                    None
                });
                done(count);
            }
            // One after the other.
            let seats: Vec<_> = (0..threads).map(|_| Seat::default()).collect();
            (0..threads).rev().for_each(|own| take(own, &Taken::new(&seats, 1)));
            done(4);
            // Nobody but the owner, in the next epoch.
            take(0, &Taken::new(&seats, 3));
            done(5);
        }
    }

    #[test]
    fn streams_go_on_and_pieces_become_smaller() {
        let seats = [Seat::default(), Seat::default()];
        let mut share = Share::new([16_384].into_iter(), 1, 2);
        let pieces: Vec<_> =
            std::iter::from_fn(|| share.take(&Taken::new(&seats, 1))).map(|(_, streams)| streams).collect();
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

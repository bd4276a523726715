//! Matrix products, shared among threads.

use std::ops::Range;

use crate::{
    Activations, Level, Packed, Pool, activations::GROUP, ahead::Coming, float, level, packed, pool::Taken, quantized,
};

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

impl<'a> Product<'a> {
    /// As threads share it, after its shape is checked.
    fn shared(&mut self, level: Level, activations: &Activations) -> Shared<'a> {
        let Packed { rows, columns, format, lanes, .. } = *self.weights;
        assert_eq!(columns, activations.columns, "as many columns as activations");
        assert_eq!(lanes, packed::lanes(level, format), "packed for the level");
        assert_eq!(self.out.len(), activations.rows * rows, "room for the results");
        Shared { weights: self.weights, out: self.out.as_mut_ptr() }
    }
}

/// A product whose rows threads divide among them.
#[derive(Clone, Copy)]
struct Shared<'a> {
    weights: &'a Packed,
    out: *mut f32,
}

// SAFETY: threads write disjoint elements.
unsafe impl Sync for Shared<'_> {}

/// Consecutive rows of a product, which begin at a multiple of [`STEP`].
#[derive(Clone)]
pub(crate) struct Stream<'a> {
    pub(crate) weights: &'a Packed,
    pub(crate) rows: Range<usize>,
    /// Good for as many rows of results as there are of activations, each with one for every row of the weights.
    pub(crate) out: *mut f32,
}

/// Two streams through memory, which gives more to two than to one, of weights in one format. The second has as many rows as
/// the first or fewer, or none.
pub(crate) type Streams<'a> = [Stream<'a>; 2];

impl<'a> Shared<'a> {
    fn stream(self, rows: Range<usize>) -> Stream<'a> {
        Stream { weights: self.weights, rows, out: self.out }
    }
}

/// What threads ask memory for while they wait for their next product.
pub enum Next<'a> {
    /// The weights of a [`multiply`].
    Product(&'a Packed),
    /// Those of a [`multiply_gated`].
    Gated([&'a Packed; 2]),
}

impl Next<'_> {
    /// What thread `own` will read of it.
    #[inline(always)]
    fn coming(&self, own: usize, threads: usize) -> Coming {
        match self {
            Self::Product(weights) => {
                let [one, two] = ROWS.share(weights.rows, own, threads);
                Coming::of([(weights, one), (weights, two)])
            }
            Self::Gated([gate, up]) => {
                let [rows, _] = GATED.share(gate.rows, own, threads);
                Coming::of([(gate, rows.clone()), (up, rows)])
            }
        }
    }
}

/// Multiplies the activations with each matrix.
///
/// A row's results depend on that row and the matrix alone, to the last bit: not on the rows beside it and not on the
/// number of threads.
///
/// # Panics
/// When shapes do not fit.
pub fn multiply(pool: &mut Pool, activations: &Activations, products: &mut [Product<'_>], next: Option<Next<'_>>) {
    multiply_at(level(), pool, activations, products, next);
}

pub(crate) fn multiply_at(
    level: Level,
    pool: &mut Pool,
    activations: &Activations,
    products: &mut [Product<'_>],
    next: Option<Next<'_>>,
) {
    let products: Vec<_> = products.iter_mut().map(|product| product.shared(level, activations)).collect();
    if activations.rows == 0 {
        return;
    }
    pool.on_each(&|own, taken| {
        let mut coming = None;
        let rows = products.iter().map(|product| product.weights.rows);
        for_each_piece(ROWS, rows, activations.rows, own, taken, |index, rows| {
            // Here, where the processor waits for weights anyway.
            coming = coming.or_else(|| Some(next.as_ref()?.coming(own, taken.threads())));
            let streams = rows.map(|rows| products[index].stream(rows));
            // SAFETY: checked above; nobody else takes these rows; the level is the processor's.
            unsafe { product(level, &streams, activations) };
        });
        coming
    });
}

/// Multiplies the activations with two matrices of one shape, a gate and what passes it, and makes `out` the rows
/// `silu(gate) * up`, quantized. The same numbers as by [`multiply`], [`crate::ops::silu_times`] and
/// [`crate::ActivationRow::quantize`]; but whoever has computed some of the rows goes on with them.
///
/// # Panics
/// When shapes do not fit.
pub fn multiply_gated(
    pool: &mut Pool,
    activations: &Activations,
    [mut gate, mut up]: [Product<'_>; 2],
    out: &mut Activations,
    next: Option<Next<'_>>,
) {
    let level = level();
    let width = gate.weights.rows;
    assert_eq!(width, up.weights.rows, "two matrices of one shape");
    let both = [gate.shared(level, activations), up.shared(level, activations)];
    out.resize(activations.rows, width);
    if activations.rows == 0 {
        return;
    }
    let (both, out) = (&both, &out.shared());
    pool.on_each(&|own, taken| {
        let mut coming = None;
        for_each_piece(GATED, [width].into_iter(), activations.rows, own, taken, |_, [rows, _]| {
            coming = coming.or_else(|| Some(next.as_ref()?.coming(own, taken.threads())));
            let [gate, up] = both.map(|product| product.stream(rows.clone()));
            // SAFETY: as in `multiply_at`; these rows of `out` are nobody else's either, and their groups whole.
            unsafe {
                if gate.weights.format == up.weights.format {
                    product(level, &[gate.clone(), up.clone()], activations);
                } else {
                    for stream in [&gate, &up] {
                        product(level, &[stream.clone(), Stream { rows: 0..0, ..stream.clone() }], activations);
                    }
                }
                for token in 0..activations.rows {
                    let from = |stream: &Stream<'_>| {
                        std::slice::from_raw_parts(stream.out.add(token * width + rows.start), rows.len())
                    };
                    let mut part = out.part(token, rows.clone());
                    crate::ops::silu_times(from(&gate), from(&up), part.values);
                    part.quantize();
                }
            }
        });
        coming
    });
}

/// # Safety
/// As for `quantized::product`.
unsafe fn product(level: Level, streams: &Streams<'_>, activations: &Activations) {
    // SAFETY: the caller's promises.
    unsafe {
        if streams[0].weights.format.is_float() {
            float::product(streams, activations);
        } else {
            quantized::product(level, streams, activations);
        }
    }
}

/// How a matrix is divided: in steps of so many rows, in one stream or two for each thread.
#[derive(Clone, Copy)]
struct Cut {
    step: usize,
    two: bool,
}

const ROWS: Cut = Cut { step: STEP, two: true };
/// Both matrices are streams. Results are quantized by groups.
const GATED: Cut = Cut { step: GROUP, two: false };

impl Cut {
    /// The part of a matrix with so many rows that is a thread's.
    fn share(self, rows: usize, thread: usize, threads: usize) -> [Range<usize>; 2] {
        let of_steps = |step: usize| (step * self.step).min(rows);
        let [first, end] = [thread, thread + 1].map(|thread| rows.div_ceil(self.step) * thread / threads);
        let middle = if self.two { first + (end - first).div_ceil(2) } else { end };
        [of_steps(first)..of_steps(middle), of_steps(middle)..of_steps(end)]
    }

    /// Steps of streams side by side.
    fn steps(self, streams: &[Range<usize>; 2]) -> usize {
        streams[0].len().div_ceil(self.step)
    }
}

/// Calls `work` with pieces of matrices that have so many `rows`, and the numbers of the matrices: first with those of thread
/// `own`'s share, whose streams go on from piece to piece, so that what is asked for ahead is what is needed next; who is
/// done helps the others, so that all end together, whatever held one of them up. `times` is what each row meets.
fn for_each_piece(
    cut: Cut,
    rows: impl Iterator<Item = usize> + Clone,
    times: usize,
    own: usize,
    taken: &Taken<'_>,
    mut work: impl FnMut(usize, [Range<usize>; 2]),
) {
    for (helped, thread) in (own..taken.threads()).chain(0..own).enumerate() {
        let mut share = Share::new(cut, rows.clone(), thread, taken.threads());
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
    cut: Cut,
    thread: usize,
    threads: usize,
    /// Of all its matrices.
    steps: usize,
    /// Of the matrices that are not begun.
    rows: Rows,
    begun: usize,
    /// Of the last matrix that is begun; none before the first.
    streams: [Range<usize>; 2],
    /// Steps of the matrices before it.
    before: usize,
}

impl<Rows: Iterator<Item = usize> + Clone> Share<Rows> {
    fn new(cut: Cut, rows: Rows, thread: usize, threads: usize) -> Self {
        let steps = rows.clone().map(|rows| cut.steps(&cut.share(rows, thread, threads))).sum();
        Self { cut, thread, threads, steps, rows, begun: 0, streams: [0..0, 0..0], before: 0 }
    }

    /// The next piece, with the number of its matrix.
    fn take(&mut self, taken: &Taken<'_>) -> Option<(usize, [Range<usize>; 2])> {
        let cut = self.cut;
        let piece = taken.take(self.thread, |taken| {
            while taken - self.before >= cut.steps(&self.streams) {
                self.before += cut.steps(&self.streams);
                self.streams = cut.share(self.rows.next()?, self.thread, self.threads);
                self.begun += 1;
            }
            // Ever smaller ones, unless nobody helps.
            let len = (self.steps - taken).div_ceil(PIECES.min(self.threads));
            Some((taken + len).min(self.before + cut.steps(&self.streams)))
        })?;
        let of_stream = |stream: &Range<usize>| {
            let at = |step: usize| (stream.start + (step - self.before) * cut.step).min(stream.end);
            at(piece.start)..at(piece.end)
        };
        Some((self.begun - 1, self.streams.each_ref().map(of_stream)))
    }
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
                for_each_piece(ROWS, matrices.iter().copied(), 1, own, taken, |index, [one, two]| {
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
        let mut share = Share::new(ROWS, [16_384].into_iter(), 1, 2);
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

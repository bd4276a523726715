//! Matrix products, shared among threads.

use std::ops::Range;

use crate::{
    Activations, Level, Packed, Pool,
    activations::GROUP,
    ahead::{self, Coming},
    float, level, packed,
    pool::Taken,
    quantized,
};

/// Rows that a kernel takes at a time.
const STEP: usize = 16;

/// What is left of a share is taken in so many pieces, or in more as it becomes less.
const PIECES: usize = 2;

/// How many others a thread helps when its share is done and shares are small: looking at what is left of one takes time from
/// the thread that has it. The caller's thread looks at all, so that everything is done whoever came.
const HELPED: usize = 2;

/// Rows of weights, times rows of activations, from which on shares are not small: where some processors are slower than
/// others, all end together.
const LARGE: usize = 256;

/// The most streams through memory that a thread reads side by side: memory gives more to several than to one.
pub(crate) const STREAMS: usize = 4;

/// The fewest.
pub(crate) const LEAST_STREAMS: usize = 2;

/// Bytes of weights from which on a stream is worth its beginning: where they would be shorter, there are the fewest.
const LEAST_STREAM_BYTES: usize = 128 << 10;

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
        Shared { weights: self.weights, size: Size::of(self.weights), out: self.out.as_mut_ptr() }
    }
}

/// A product whose rows threads divide among them.
#[derive(Clone, Copy)]
struct Shared<'a> {
    weights: &'a Packed,
    /// The same for all threads, whatever a load chooses meanwhile.
    size: Size,
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

/// Of weights in one format. Some may have no rows, but not the first.
pub(crate) type Streams<'a> = [Stream<'a>; STREAMS];

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
        let of = |cut: Cut, weights: &Packed| {
            let share = cut.share(Size::of(weights), own, threads);
            let len = share.len();
            cut.parts(Size::of(weights), share, 0..len)
        };
        match self {
            Self::Product(weights) => Coming::of(of(ROWS, weights).map(|rows| (*weights, rows))),
            Self::Gated([gate, up]) => {
                let [one, two, ..] = of(GATED, gate);
                Coming::of([(gate, one.clone()), (up, one), (gate, two.clone()), (up, two)])
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
        let matrices = products.iter().map(|product| product.size);
        for_each_piece(ROWS, matrices, activations.rows, own, taken, |index, rows| {
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
        for_each_piece(GATED, [both[0].size].into_iter(), activations.rows, own, taken, |_, [one, two, ..]| {
            coming = coming.or_else(|| Some(next.as_ref()?.coming(own, taken.threads())));
            let [[gate, gate_2], [up, up_2]] =
                both.map(|product| [one.clone(), two.clone()].map(|rows| product.stream(rows)));
            // SAFETY: as in `multiply_at`; these rows of `out` are nobody else's either, and their groups whole.
            unsafe {
                if gate.weights.format == up.weights.format {
                    product(level, &[gate, up, gate_2, up_2], activations);
                } else {
                    for [one, two] in [[gate, gate_2], [up, up_2]] {
                        let [three, four] = both.map(|product| product.stream(0..0));
                        product(level, &[one, two, three, four], activations);
                    }
                }
                for (token, rows) in (0..activations.rows).flat_map(|token| [(token, &one), (token, &two)]) {
                    let from = |product: Shared<'_>| {
                        std::slice::from_raw_parts(product.out.add(token * width + rows.start), rows.len())
                    };
                    let mut part = out.part(token, rows.clone());
                    crate::ops::silu_times(from(both[0]), from(both[1]), part.values);
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

/// How much there is of a matrix.
#[derive(Clone, Copy, Default)]
struct Size {
    rows: usize,
    row_bytes: usize,
    /// In which a thread reads it, where they are long enough.
    streams: usize,
}

impl Size {
    fn of(weights: &Packed) -> Self {
        Self { rows: weights.rows, row_bytes: weights.row_bytes, streams: ahead::streams(weights.format) }
    }
}

/// How matrices are divided: in steps of so many rows, of which a thread's share is in parts that are read side by side, as
/// are those of so many matrices.
#[derive(Clone, Copy)]
struct Cut {
    step: usize,
    beside: usize,
}

const ROWS: Cut = Cut { step: STEP, beside: 1 };
/// Results are quantized by groups.
const GATED: Cut = Cut { step: GROUP, beside: 2 };

impl Cut {
    /// The steps of a matrix that are a thread's share.
    fn share(self, matrix: Size, thread: usize, threads: usize) -> Range<usize> {
        let steps = matrix.rows.div_ceil(self.step);
        steps * thread / threads..steps * (thread + 1) / threads
    }

    /// The rows of each part that are taken when `taken` of a share's steps are.
    #[inline(always)]
    fn parts(self, matrix: Size, share: Range<usize>, taken: Range<usize>) -> [Range<usize>; STREAMS] {
        let few = share.len() * self.step * self.beside * matrix.row_bytes < STREAMS * LEAST_STREAM_BYTES;
        let streams = if few { LEAST_STREAMS } else { matrix.streams };
        // Constants: the processor would take longer to divide than some pieces take.
        match streams / self.beside {
            4 => self.split::<4>(matrix.rows, share, taken),
            2 => self.split::<2>(matrix.rows, share, taken),
            _ => self.split::<1>(matrix.rows, share, taken),
        }
    }

    /// The same of so many parts: steps belong to each in turn.
    #[inline(always)]
    fn split<const PARTS: usize>(
        self,
        rows: usize,
        share: Range<usize>,
        taken: Range<usize>,
    ) -> [Range<usize>; STREAMS] {
        let mut parts = [const { 0..0 }; STREAMS];
        for (number, of_part) in parts.iter_mut().take(PARTS).enumerate() {
            // The one whose turn it is first.
            let part = (taken.start + number) % PARTS;
            let first = share.start + part * (share.len() / PARTS) + part.min(share.len() % PARTS);
            let row = |taken: usize| ((first + (taken + PARTS - 1 - part) / PARTS) * self.step).min(rows);
            *of_part = row(taken.start)..row(taken.end);
        }
        parts
    }
}

/// Calls `work` with pieces of `matrices`, and the numbers of the matrices: first with those of thread
/// `own`'s share, whose streams go on from piece to piece, so that what is asked for ahead is what is needed next; who is
/// done helps the others, so that all end together, whatever held one of them up. `times` is what each row meets.
fn for_each_piece(
    cut: Cut,
    matrices: impl Iterator<Item = Size> + Clone,
    times: usize,
    own: usize,
    taken: &Taken<'_>,
    mut work: impl FnMut(usize, [Range<usize>; STREAMS]),
) {
    for (helped, thread) in (own..taken.threads()).chain(0..own).enumerate() {
        let mut share = Share::new(cut, matrices.clone(), thread, taken.threads());
        if own > 0 && helped > HELPED && share.steps * cut.step * times < LARGE {
            break;
        }
        while let Some((index, streams)) = share.take(taken) {
            work(index, streams);
        }
    }
}

/// Which rows of each matrix a thread computes.
struct Share<Matrices> {
    cut: Cut,
    thread: usize,
    threads: usize,
    /// Of all its matrices.
    steps: usize,
    /// Those that are not begun.
    matrices: Matrices,
    begun: usize,
    /// The last matrix that is begun, and its steps; none before the first.
    matrix: (Size, Range<usize>),
    /// Steps of the matrices before it.
    before: usize,
}

impl<Matrices: Iterator<Item = Size> + Clone> Share<Matrices> {
    fn new(cut: Cut, matrices: Matrices, thread: usize, threads: usize) -> Self {
        let steps = matrices.clone().map(|matrix| cut.share(matrix, thread, threads).len()).sum();
        Self { cut, thread, threads, steps, matrices, begun: 0, matrix: (Size::default(), 0..0), before: 0 }
    }

    /// The next piece, with the number of its matrix.
    fn take(&mut self, taken: &Taken<'_>) -> Option<(usize, [Range<usize>; STREAMS])> {
        let cut = self.cut;
        let piece = taken.take(self.thread, |taken| {
            while taken - self.before >= self.matrix.1.len() {
                self.before += self.matrix.1.len();
                let matrix = self.matrices.next()?;
                self.matrix = (matrix, cut.share(matrix, self.thread, self.threads));
                self.begun += 1;
            }
            // Ever smaller ones, unless nobody helps, but some streams wide.
            let len = (self.steps - taken).div_ceil(PIECES.min(self.threads)).max(LEAST_STREAMS / cut.beside);
            Some((taken + len).min(self.before + self.matrix.1.len()))
        })?;
        let (matrix, share) = self.matrix.clone();
        Some((self.begun - 1, cut.parts(matrix, share, piece.start - self.before..piece.end - self.before)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::pool::Seat;

    #[test]
    fn every_row_is_taken_once_whoever_takes() {
        for (matrices, threads, streams) in [
            (vec![1], 1, 4),
            (vec![2048, 512, 512], 2, 4),
            (vec![0, 7, 49_152], 3, 4),
            (vec![7, 49_152], 2, 2),
            (vec![], 2, 4),
        ] {
            let times: Mutex<Vec<Vec<u8>>> = Mutex::new(matrices.iter().map(|&rows| vec![0; rows]).collect());
            let take = |own: usize, taken: &Taken<'_>| {
                let sizes = matrices.iter().map(|&rows| Size { rows, row_bytes: 200, streams });
                for_each_piece(ROWS, sizes, 1, own, taken, |index, streams| {
                    assert!(!streams[0].is_empty(), "{streams:?}");
                    for stream in &streams {
                        assert!(stream.is_empty() || stream.start.is_multiple_of(STEP), "{stream:?}");
                    }
                    let mut times = times.lock().expect("no panic");
                    streams.into_iter().flatten().for_each(|row| times[index][row] += 1);
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
        let mut share = Share::new(ROWS, [Size { rows: 16_384, row_bytes: 200, streams: STREAMS }].into_iter(), 1, 2);
        let pieces: Vec<_> =
            std::iter::from_fn(|| share.take(&Taken::new(&seats, 1))).map(|(_, streams)| streams).collect();
        let mut at = [8192, 10_240, 12_288, 14_336];
        let rows = |piece: &[Range<usize>]| piece.iter().map(Range::len).sum::<usize>();
        for (index, piece) in pieces.iter().enumerate() {
            assert!(index == 0 || rows(piece) <= rows(&pieces[index - 1]), "{pieces:?}");
            for stream in piece.iter().filter(|stream| !stream.is_empty()) {
                let goes_on = at.iter_mut().find(|at| **at == stream.start).expect("a stream that goes on");
                *goes_on = stream.end;
            }
        }
        assert!(pieces.len() < 30 && pieces[0][3].len() > 500 && at == [10_240, 12_288, 14_336, 16_384], "{pieces:?}");
    }
}

//! Which rows of a product are whose, and in which pieces and streams they are taken.

use std::ops::Range;

use crate::{Packed, activations::GROUP, ahead, pool::Taken};

/// Rows that a kernel takes at a time.
const STEP: usize = 16;

/// What is left of a share is taken in so many pieces, or in more as it becomes less.
const PIECES: usize = 2;

/// Rows of weights, times rows of activations, from which on shares are not small: where some processors are slower than
/// others, all end together.
const LARGE: usize = 256;

/// The most streams through memory that a thread reads side by side: memory gives more to several than to one.
pub(crate) const STREAMS: usize = 4;

/// The fewest.
pub(crate) const LEAST_STREAMS: usize = 2;

/// Bytes of weights from which on a stream is worth its beginning: where they would be shorter, there are the fewest.
const LEAST_STREAM_BYTES: usize = if cfg!(miri) { 2 << 10 } else { 128 << 10 };

/// How much there is of a matrix.
#[derive(Clone, Copy, Default)]
pub(super) struct Size {
    rows: usize,
    row_bytes: usize,
    /// In which a thread reads it, where they are long enough.
    streams: usize,
}

impl Size {
    pub(super) fn of(weights: &Packed) -> Self {
        Self { rows: weights.rows, row_bytes: weights.row_bytes, streams: ahead::streams(weights.format) }
    }
}

/// How matrices are divided: in steps of so many rows, of which a thread's share is in parts that are read side by side, as
/// are those of so many matrices.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    step: usize,
    beside: usize,
}

pub(super) const ROWS: Cut = Cut { step: STEP, beside: 1 };
/// Results are quantized by groups.
pub(super) const GATED: Cut = Cut { step: GROUP, beside: 2 };

impl Cut {
    /// The steps of a matrix that are a thread's share.
    pub(super) fn share(self, matrix: Size, thread: usize, threads: usize) -> Range<usize> {
        let steps = matrix.rows.div_ceil(self.step);
        steps * thread / threads..steps * (thread + 1) / threads
    }

    /// The rows of each part that are taken when `taken` of a share's steps are.
    #[inline(always)]
    pub(super) fn parts(self, matrix: Size, share: Range<usize>, taken: Range<usize>) -> [Range<usize>; STREAMS] {
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
pub(super) fn for_each_piece(
    cut: Cut,
    matrices: impl Iterator<Item = Size> + Clone,
    times: usize,
    own: usize,
    taken: &Taken<'_>,
    mut work: impl FnMut(usize, [Range<usize>; STREAMS]),
) {
    let share = |thread| Share::new(cut, matrices.clone(), thread, taken.threads());
    for thread in taken.turns(own, |thread| share(thread).steps * cut.step * times < LARGE) {
        let mut share = share(thread);
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
    use crate::{Pool, pool::Seat};

    #[test]
    fn every_row_is_taken_once_whoever_takes() {
        let many = if cfg!(miri) { 1_000 } else { 49_152 };
        for (matrices, threads, streams) in [
            (vec![1], 1, 4),
            (vec![2048, 512, 512], 2, 4),
            (vec![0, 7, many], 3, 4),
            (vec![7, many], 2, 2),
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

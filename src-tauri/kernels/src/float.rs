//! Products with weights that are plain floats.
//!
//! A vector of sums for each row of weights with each row of activations, to which columns are added from the first to
//! the last: in pieces of columns that the first-level cache holds, between which the sums wait in memory.

use std::{cell::RefCell, ops::Range};

use crate::{
    Activations, Format, ahead, packed,
    product::{STREAMS, Stream, Streams},
    simd::{LANES, Register, Simd, at_every_level},
};

/// Products with some rows of float weights.
///
/// # Safety
/// As for `quantized::product`.
pub(crate) unsafe fn product(streams: &Streams<'_>, activations: &Activations) {
    SCRATCH.with_borrow_mut(|scratch| product_with(scratch, streams, activations));
}

at_every_level! {
    fn product_with(scratch: &mut Scratch, streams: &Streams<'_>, activations: &Activations) = rows
}

/// A vector where no load crosses a line of the cache.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([f32; LANES]);

/// One line of each of eight rows of weights.
type Eight = [Line; packed::LANES];

/// Its elements.
const EIGHT: usize = packed::LANES * LANES;

#[derive(Default)]
struct Scratch {
    /// Of each eight rows of weights, with each row of activations.
    sums: Vec<Eight>,
    /// A piece of eight rows of weights in single precision.
    weights: Vec<Eight>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { sums: Vec::new(), weights: Vec::new() }) };
}

/// Rows of activations that share what is in registers.
const TOGETHER: usize = 3;

/// Vectors of columns in a piece: its weights and activations stay in the first-level cache.
const PIECE: usize = 32;

/// Eights of rows of weights, and rows of activations, of which the sums stay in the second-level cache beside a piece
/// of these activations.
const BLOCK: (usize, usize) = (4, 22 * TOGETHER);

#[inline(always)]
unsafe fn rows<S: Simd>(scratch: &mut Scratch, streams: &Streams<'_>, activations: &Activations) {
    unsafe {
        macro_rules! run {
            ($bytes:literal, $load:expr) => {
                blocks::<S, $bytes>(scratch, streams, activations, $load)
            };
        }
        match streams[0].weights.format {
            Format::F16 => run!(2, |at| S::Register::load_f16(at.cast())),
            Format::BF16 => run!(2, |at| S::Register::load_bf16(at.cast())),
            _ => run!(4, |at| S::Register::load(at.cast())),
        }
    }
}

/// The product block by block, of weights of `BYTES` each, which `load` makes floats.
#[inline(always)]
unsafe fn blocks<S: Simd, const BYTES: usize>(
    scratch: &mut Scratch,
    streams: &Streams<'_>,
    activations: &Activations,
    load: impl Fn(*const u8) -> S::Register + Copy,
) {
    unsafe {
        let columns = activations.columns;
        let few = activations.rows < TOGETHER;
        let pair = few && S::Register::FLOAT_ROWS == 8;
        let ahead = if few { ahead::bytes(streams[0].weights.format) } else { 0 };
        let fetch = |at: *const u8, lines: Range<usize>| {
            for line in lines.filter(|_| ahead > 0) {
                S::Register::prefetch(at.wrapping_add(ahead + 64 * line));
            }
        };
        // Of eight rows' vectors.
        let lines = EIGHT * BYTES / 64;
        let zero = Line([0.0; LANES]);
        scratch.weights.resize(PIECE, [zero; packed::LANES]);
        let mut taken = [0; STREAMS];
        loop {
            // Eights of rows that are computed together: of all streams where memory is the limit.
            let (mut eights, mut count) = ([(0, 0); BLOCK.0], 0);
            for stream in 0..STREAMS {
                let most = if few { 1 } else { BLOCK.0 - count };
                for _ in 0..most {
                    let row = streams[stream].rows.start + taken[stream];
                    if row < streams[stream].rows.end {
                        (eights[count], count) = ((stream, row), count + 1);
                        taken[stream] += packed::LANES;
                    }
                }
            }
            let eights = &eights[..count];
            if eights.is_empty() {
                return;
            }
            let at_eight = |(stream, row): (usize, usize)| streams[stream].weights.rows_from(row).as_ptr();
            for at in (0..activations.rows).step_by(BLOCK.1) {
                let rows = BLOCK.1.min(activations.rows - at);
                scratch.sums.clear();
                scratch.sums.resize(eights.len().next_multiple_of(2) * rows, [zero; packed::LANES]);
                let vectors = columns / LANES;
                for vector in (0..vectors).step_by(PIECE) {
                    let piece = PIECE.min(vectors - vector);
                    let values = activations.values.as_ptr().add(at * columns + vector * LANES);
                    let offset = vector * packed::LANES * LANES * BYTES;
                    if pair {
                        let pairs = eights.len().div_ceil(2);
                        for (number, pair) in eights.chunks(2).enumerate() {
                            // Of all of them, whichever are computed: memory gives less when it is asked for two alone.
                            let ask = |vector: usize| {
                                let first = (number * piece + vector) * (lines / pairs);
                                for &eight in eights {
                                    fetch(at_eight(eight).wrapping_add(offset), first..first + lines / pairs);
                                }
                            };
                            // Where there is no second eight, nobody wants its results.
                            let weights = [pair[0], *pair.get(1).unwrap_or(&pair[0])];
                            let weights = weights.map(|eight| at_eight(eight).add(offset));
                            for a in 0..rows {
                                let sums = scratch.sums.as_mut_ptr().add(2 * number * rows + a);
                                let (values, sums) = (values.add(a * columns), [sums, sums.add(rows)]);
                                two_eights::<S::Register, BYTES>(weights, piece, values, sums, ask, load);
                            }
                        }
                        continue;
                    }
                    for (&eight, sums) in eights.iter().zip(scratch.sums.chunks_exact_mut(rows)) {
                        let weights = at_eight(eight).add(offset);
                        if few {
                            for (a, sums) in sums.iter_mut().enumerate() {
                                let values = values.add(a * columns);
                                let ask = |vector: usize| fetch(weights, vector * lines..(vector + 1) * lines);
                                tiles::<S::Register, 8, 1, BYTES>(weights, piece, values, 0, sums, ask, load);
                            }
                        } else {
                            let lines = scratch.weights.as_mut_ptr().cast::<f32>();
                            for at in (0..piece * packed::LANES * LANES).step_by(S::Register::LANES) {
                                load(weights.add(at * BYTES)).store(lines.add(at));
                            }
                            let lines = lines.cast_const().cast();
                            let then = weights.wrapping_add(piece * EIGHT * BYTES);
                            meet::<S::Register, BYTES>(lines, piece, values, columns, sums, then);
                        }
                    }
                }
                for (&(stream, row), sums) in eights.iter().zip(scratch.sums.chunks_exact(rows)) {
                    finish::<S>(&streams[stream], row, activations, at, sums);
                }
            }
        }
    }
}

/// Adds a piece of eight rows of weights to the sums with each row of activations; meanwhile asks for the next piece, which
/// begins at `then` with `BYTES` an element.
#[inline(always)]
unsafe fn meet<V: Register, const BYTES: usize>(
    weights: *const u8,
    piece: usize,
    values: *const f32,
    columns: usize,
    sums: &mut [Eight],
    then: *const u8,
) {
    unsafe {
        let load = |at: *const u8| V::load(at.cast());
        // With few rows this would take longer than it could spare.
        let many = sums.len() / TOGETHER;
        let then_each = if many < 4 { 0 } else { (piece * EIGHT * BYTES).div_ceil(many).next_multiple_of(64) };
        let mut at = 0;
        while at + TOGETHER <= sums.len() {
            for line in (0..then_each).step_by(64) {
                V::prefetch(then.wrapping_add(at / TOGETHER * then_each + line));
            }
            // The first rows meet the next weights.
            let next = if at + 2 * TOGETHER <= sums.len() { at + TOGETHER } else { 0 };
            let next: [*const f32; TOGETHER] = std::array::from_fn(|a| values.wrapping_add((next + a) * columns));
            let ask = |vector: usize| {
                for a in 0..TOGETHER {
                    V::prefetch(next[a].wrapping_add(vector * LANES).cast());
                }
            };
            let (values, sums) = (values.add(at * columns), sums.as_mut_ptr().add(at));
            if V::FLOAT_ROWS == 4 {
                tiles::<V, 4, TOGETHER, 4>(weights, piece, values, columns, sums, ask, load);
            } else {
                tiles::<V, 8, TOGETHER, 4>(weights, piece, values, columns, sums, ask, load);
            }
            at += TOGETHER;
        }
        while at < sums.len() {
            let (values, sums) = (values.add(at * columns), sums.as_mut_ptr().add(at));
            tiles::<V, 8, 1, 4>(weights, piece, values, columns, sums, |_| {}, load);
            at += 1;
        }
    }
}

/// Adds a piece to the sums of eight rows of weights with `A` of activations: `R` rows and a register's lanes at a time.
/// `ask` hears of each vector of columns, to ask memory for what is needed later.
#[inline(always)]
unsafe fn tiles<V: Register, const R: usize, const A: usize, const BYTES: usize>(
    weights: *const u8,
    piece: usize,
    values: *const f32,
    columns: usize,
    sums: *mut Eight,
    ask: impl Fn(usize) + Copy,
    load: impl Fn(*const u8) -> V + Copy,
) {
    unsafe {
        for row in (0..packed::LANES).step_by(R) {
            for lane in (0..LANES).step_by(V::LANES) {
                let weights = weights.add((row * LANES + lane) * BYTES);
                let values: [*const f32; A] = std::array::from_fn(|a| values.add(a * columns + lane));
                let sums = sums.cast::<f32>().add(row * LANES + lane);
                // Each line is asked for once.
                if row == 0 && lane == 0 {
                    tile::<V, R, A, BYTES>(weights, piece, values, sums, ask, load);
                } else {
                    tile::<V, R, A, BYTES>(weights, piece, values, sums, |_| {}, load);
                }
            }
        }
    }
}

/// Adds a piece to the sums of two eights of rows of weights with one of activations. `ask` hears of each vector of columns.
#[inline(always)]
unsafe fn two_eights<V: Register, const BYTES: usize>(
    weights: [*const u8; 2],
    piece: usize,
    values: *const f32,
    sums: [*mut Eight; 2],
    ask: impl Fn(usize),
    load: impl Fn(*const u8) -> V + Copy,
) {
    unsafe {
        for lane in (0..LANES).step_by(V::LANES) {
            let place = |eight: usize, row: usize| sums[eight].cast::<f32>().add(row * LANES + lane);
            let mut all: [[V; packed::LANES]; 2] =
                std::array::from_fn(|eight| std::array::from_fn(|row| V::load(place(eight, row))));
            for vector in 0..piece {
                // Each line is asked for once.
                if lane == 0 {
                    ask(vector);
                }
                let value = V::load(values.add(vector * LANES + lane));
                for eight in 0..2 {
                    let weights = weights[eight].add(vector * EIGHT * BYTES);
                    for row in 0..packed::LANES {
                        let weights = load(weights.add((row * LANES + lane) * BYTES));
                        all[eight][row] = all[eight][row].plus_product(weights, value);
                    }
                }
            }
            for eight in 0..2 {
                for row in 0..packed::LANES {
                    all[eight][row].store(place(eight, row));
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn tile<V: Register, const R: usize, const A: usize, const BYTES: usize>(
    mut weights: *const u8,
    piece: usize,
    values: [*const f32; A],
    sums: *mut f32,
    ask: impl Fn(usize),
    load: impl Fn(*const u8) -> V + Copy,
) {
    unsafe {
        let place = |r: usize, a: usize| sums.add((a * packed::LANES + r) * LANES);
        let mut all: [[V; A]; R] = std::array::from_fn(|r| std::array::from_fn(|a| V::load(place(r, a))));
        for vector in 0..piece {
            ask(vector);
            let value: [V; A] = std::array::from_fn(|a| V::load(values[a].add(vector * LANES)));
            for r in 0..R {
                let weights = load(weights.add(r * LANES * BYTES));
                for a in 0..A {
                    all[r][a] = all[r][a].plus_product(weights, value[a]);
                }
            }
            weights = weights.add(packed::LANES * LANES * BYTES);
        }
        for r in 0..R {
            for a in 0..A {
                all[r][a].store(place(r, a));
            }
        }
    }
}

/// Writes the results of eight rows of weights, to which the columns that make no vector are added here.
#[inline(always)]
unsafe fn finish<S: Simd>(stream: &Stream<'_>, first: usize, activations: &Activations, at: usize, sums: &[Eight]) {
    unsafe {
        let Stream { weights: matrix, out, .. } = stream;
        let (columns, bytes) = (matrix.columns, matrix.format.block_bytes());
        let whole = columns / LANES * LANES;
        let rest = matrix.rows_from(first).as_ptr().add(packed::LANES * whole * bytes);
        for (a, sums) in sums.iter().enumerate() {
            let values = activations.values.as_ptr().add((at + a) * columns);
            for row in 0..packed::LANES.min(matrix.rows - first) {
                let mut sum = S::sum(S::load(sums[row].0.as_ptr()));
                for column in whole..columns {
                    sum += element(matrix.format, rest.add(row * (columns - whole) * bytes), column - whole)
                        * *values.add(column);
                }
                *out.add((at + a) * matrix.rows + first + row) = sum;
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

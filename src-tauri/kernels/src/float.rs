//! Products with weights that are plain floats.
//!
//! A vector of sums for each row of weights with each row of activations, to which columns are added from the first to
//! the last: in pieces of columns that the first-level cache holds, between which the sums wait in memory.

use std::cell::RefCell;

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

const ZEROS: Eight = [Line([0.0; LANES]); packed::LANES];

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
        if activations.rows < TOGETHER {
            return few::<S, BYTES>(&mut scratch.sums, streams, activations, load);
        }
        let columns = activations.columns;
        scratch.weights.resize(PIECE, ZEROS);
        let eights =
            streams.iter().flat_map(|stream| stream.rows.clone().step_by(packed::LANES).map(move |row| (stream, row)));
        let eights: Vec<_> = eights.collect();
        for eights in eights.chunks(BLOCK.0) {
            for at in (0..activations.rows).step_by(BLOCK.1) {
                let rows = BLOCK.1.min(activations.rows - at);
                scratch.sums.clear();
                scratch.sums.resize(eights.len() * rows, ZEROS);
                let vectors = columns / LANES;
                for vector in (0..vectors).step_by(PIECE) {
                    let piece = PIECE.min(vectors - vector);
                    let values = activations.values.as_ptr().add(at * columns + vector * LANES);
                    for (&(stream, row), sums) in eights.iter().zip(scratch.sums.chunks_exact_mut(rows)) {
                        let weights = stream.weights.rows_from(row).as_ptr().add(vector * EIGHT * BYTES);
                        let lines = scratch.weights.as_mut_ptr().cast::<f32>();
                        for at in (0..piece * EIGHT).step_by(S::Register::LANES) {
                            load(weights.add(at * BYTES)).store(lines.add(at));
                        }
                        let then = weights.wrapping_add(piece * EIGHT * BYTES);
                        meet::<S::Register, BYTES>(lines.cast_const(), piece, values, columns, sums, then);
                    }
                }
                for (&(stream, row), sums) in eights.iter().zip(scratch.sums.chunks_exact(rows)) {
                    finish::<S>(stream, row, activations, at, sums);
                }
            }
        }
    }
}

/// The product with fewer than [`TOGETHER`] rows of activations, where memory is the limit: an eight of each stream side by
/// side.
#[inline(always)]
unsafe fn few<S: Simd, const BYTES: usize>(
    sums: &mut Vec<Eight>,
    streams: &Streams<'_>,
    activations: &Activations,
    load: impl Fn(*const u8) -> S::Register + Copy,
) {
    unsafe {
        let ahead = ahead::bytes(streams[0].weights.format);
        let rows = streams.iter().map(|stream| stream.rows.len()).max().unwrap_or(0);
        for step in (0..rows).step_by(packed::LANES) {
            // Those that have not come to their end.
            let (mut active, mut count) = ([&streams[0]; STREAMS], 0);
            for stream in streams.iter().filter(|stream| step < stream.rows.len()) {
                (active[count], count) = (stream, count + 1);
            }
            // Where there are no more it is the first once more, whose results nobody wants.
            let start = |number: usize| {
                let Stream { weights, rows, .. } = active[if number < count { number } else { 0 }];
                weights.rows_from(rows.start + step).as_ptr()
            };
            sums.clear();
            sums.resize(STREAMS * activations.rows, ZEROS);
            macro_rules! of {
                ($count:literal, $together:literal) => {{
                    let weights = std::array::from_fn::<_, $count, _>(start);
                    side_by_side::<S::Register, BYTES, $count, $together>(
                        weights,
                        count,
                        ahead,
                        activations,
                        sums,
                        load,
                    );
                }};
            }
            match (count > 2, S::Register::FLOAT_ROWS == 8) {
                (true, true) => of!(4, 2),
                (true, false) => of!(4, 1),
                (false, true) => of!(2, 2),
                (false, false) => of!(2, 1),
            }
            for (stream, sums) in active[..count].iter().zip(sums.chunks_exact(activations.rows)) {
                finish::<S>(stream, stream.rows.start + step, activations, 0, sums);
            }
        }
    }
}

/// Adds the products of the first `count` of `COUNT` eights, which begin at `weights`, to their sums with each row of
/// activations: `N` eights at a time.
#[inline(always)]
unsafe fn side_by_side<V: Register, const BYTES: usize, const COUNT: usize, const N: usize>(
    weights: [*const u8; COUNT],
    count: usize,
    ahead: usize,
    activations: &Activations,
    sums: &mut [Eight],
    load: impl Fn(*const u8) -> V + Copy,
) {
    unsafe {
        let Activations { rows, columns, .. } = *activations;
        // Of each eight, while `N` are computed: of all of them, since memory gives less when it is asked for these alone.
        let lines = EIGHT * BYTES / 64 * N / COUNT;
        let vectors = columns / LANES;
        let sums = sums.as_mut_ptr();
        for vector in (0..vectors).step_by(PIECE) {
            let piece = PIECE.min(vectors - vector);
            let weights = weights.map(|at| at.wrapping_add(vector * EIGHT * BYTES));
            for first in (0..count).step_by(N) {
                let asked = weights.map(|at| at.wrapping_add(ahead + first / N * piece * lines * 64));
                for a in 0..rows {
                    let ask = |vector: usize| {
                        for line in (0..lines).filter(|_| ahead > 0 && a == 0) {
                            for at in asked {
                                V::prefetch(at.wrapping_add((vector * lines + line) * 64));
                            }
                        }
                    };
                    let weights = std::array::from_fn(|number| weights[first + number]);
                    let values = activations.values.as_ptr().add(a * columns + vector * LANES);
                    let sums = std::array::from_fn(|number| sums.add((first + number) * rows + a));
                    some_eights::<V, BYTES, N>(weights, piece, values, sums, ask, load);
                }
            }
        }
    }
}

/// Adds a piece of eight rows of weights to the sums with each row of activations; meanwhile asks for the next piece, which
/// begins at `then` with `BYTES` an element.
#[inline(always)]
unsafe fn meet<V: Register, const BYTES: usize>(
    weights: *const f32,
    piece: usize,
    values: *const f32,
    columns: usize,
    sums: &mut [Eight],
    then: *const u8,
) {
    unsafe {
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
                tiles::<V, 4, TOGETHER>(weights, piece, values, columns, sums, ask);
            } else {
                tiles::<V, 8, TOGETHER>(weights, piece, values, columns, sums, ask);
            }
            at += TOGETHER;
        }
        while at < sums.len() {
            let (values, sums) = (values.add(at * columns), sums.as_mut_ptr().add(at));
            tiles::<V, 8, 1>(weights, piece, values, columns, sums, |_| {});
            at += 1;
        }
    }
}

/// Adds a piece to the sums of eight rows of weights with `A` of activations: `R` rows and a register's lanes at a time.
/// `ask` hears of each vector of columns, to ask memory for what is needed later.
#[inline(always)]
unsafe fn tiles<V: Register, const R: usize, const A: usize>(
    weights: *const f32,
    piece: usize,
    values: *const f32,
    columns: usize,
    sums: *mut Eight,
    ask: impl Fn(usize) + Copy,
) {
    unsafe {
        for row in (0..packed::LANES).step_by(R) {
            for lane in (0..LANES).step_by(V::LANES) {
                let weights = weights.add(row * LANES + lane);
                let values: [*const f32; A] = std::array::from_fn(|a| values.add(a * columns + lane));
                let sums = sums.cast::<f32>().add(row * LANES + lane);
                // Each line is asked for once.
                if row == 0 && lane == 0 {
                    tile::<V, R, A>(weights, piece, values, sums, ask);
                } else {
                    tile::<V, R, A>(weights, piece, values, sums, |_| {});
                }
            }
        }
    }
}

/// Adds a piece to the sums of `N` eights of rows of weights with one of activations. `ask` hears of each vector of columns.
#[inline(always)]
unsafe fn some_eights<V: Register, const BYTES: usize, const N: usize>(
    weights: [*const u8; N],
    piece: usize,
    values: *const f32,
    sums: [*mut Eight; N],
    ask: impl Fn(usize),
    load: impl Fn(*const u8) -> V + Copy,
) {
    unsafe {
        for lane in (0..LANES).step_by(V::LANES) {
            let place = |eight: usize, row: usize| sums[eight].cast::<f32>().add(row * LANES + lane);
            let mut all: [[V; packed::LANES]; N] =
                std::array::from_fn(|eight| std::array::from_fn(|row| V::load(place(eight, row))));
            for vector in 0..piece {
                // Each line is asked for once.
                if lane == 0 {
                    ask(vector);
                }
                let value = V::load(values.add(vector * LANES + lane));
                for eight in 0..N {
                    let weights = weights[eight].add(vector * EIGHT * BYTES);
                    for row in 0..packed::LANES {
                        let weights = load(weights.add((row * LANES + lane) * BYTES));
                        all[eight][row] = all[eight][row].plus_product(weights, value);
                    }
                }
            }
            for eight in 0..N {
                for row in 0..packed::LANES {
                    all[eight][row].store(place(eight, row));
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn tile<V: Register, const R: usize, const A: usize>(
    mut weights: *const f32,
    piece: usize,
    values: [*const f32; A],
    sums: *mut f32,
    ask: impl Fn(usize),
) {
    unsafe {
        let place = |r: usize, a: usize| sums.add((a * packed::LANES + r) * LANES);
        let mut all: [[V; A]; R] = std::array::from_fn(|r| std::array::from_fn(|a| V::load(place(r, a))));
        for vector in 0..piece {
            ask(vector);
            let value: [V; A] = std::array::from_fn(|a| V::load(values[a].add(vector * LANES)));
            for r in 0..R {
                let weights = V::load(weights.add(r * LANES));
                for a in 0..A {
                    all[r][a] = all[r][a].plus_product(weights, value[a]);
                }
            }
            weights = weights.add(EIGHT);
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

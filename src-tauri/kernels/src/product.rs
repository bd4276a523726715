//! Matrix products, shared among threads.

use std::ops::Range;

use crate::{Activations, Level, Packed, Pool, ahead::Coming, float, level, packed, quantized};

mod shares;

use shares::{Cut, GATED, ROWS, Size, for_each_piece};
pub(crate) use shares::{LEAST_STREAMS, STREAMS};

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

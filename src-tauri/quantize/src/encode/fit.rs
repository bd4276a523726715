//! The least squares behind every encoder: the scale, and the offset where the format has one, with which codes of few
//! bits come nearest to the values.

use tektra_kernels::{f16_to_f32, f32_to_f16};

use super::LARGEST_HALF;

/// Blocks below this are zeros: no half is small enough to scale them, and their squares vanish.
const TINY: f32 = 1e-9;

/// Rounds of rounding to the best scale and scaling to the rounded codes; they settle after one or two.
const ROUNDS: usize = 4;

/// Where the codes are alike but for this, the sums' own errors would decide between scale and offset.
const SINGULAR: f32 = 1e-4;

/// Sums are kept in this many parts, so that they are computed side by side.
const LANES: usize = 8;

/// The nearest whole number, ties to even, of anything under 2^22: the sum has no bits left for a fraction.
#[inline(always)]
pub(super) fn nearest(value: f32) -> f32 {
    const NO_FRACTION: f32 = 12_582_912.0;
    (value + NO_FRACTION) - NO_FRACTION
}

/// The code nearest to `value` of those from `low` to `high`; `inverse` is one over the scale.
#[inline(always)]
pub(super) fn code(value: f32, inverse: f32, low: f32, high: f32) -> f32 {
    // `clamp` checks its bounds each time, and `min` and `max` ask for NaN: neither is computed side by side.
    let code = value * inverse;
    let code = if code > low { code } else { low };
    nearest(if code < high { code } else { high })
}

/// One over the scale; of a scale of zero, whose codes don't matter, zero.
#[inline(always)]
pub(super) fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// A number as the half that is stored, and as what is read from it.
pub(super) fn half(value: f32) -> ([u8; 2], f32) {
    let bits = f32_to_f16(value.clamp(-LARGEST_HALF, LARGEST_HALF));
    (bits.to_le_bytes(), f16_to_f32(bits))
}

/// How much the error of each element counts. Larger weights count more even where nothing is known of their inputs:
/// they carry most of what passes through a matrix.
pub(super) fn weigh<const N: usize>(values: &[f32; N], importance: Option<&[f32]>, weights: &mut [f32; N]) {
    let square = values.iter().map(|value| value * value).sum::<f32>() / N as f32;
    match importance {
        None => {
            let mean = square.sqrt();
            weights.iter_mut().zip(values).for_each(|(weight, value)| *weight = mean + value.abs());
        }
        Some(importance) => {
            for ((weight, value), importance) in weights.iter_mut().zip(values).zip(importance) {
                *weight = importance * (square + value * value).sqrt();
            }
        }
    }
}

/// The scale with which `values` are nearest to `scale * code`, codes from `low` (negative) to `high`.
///
/// Its sign is that with which the value furthest from zero gets the code furthest from zero.
pub(super) fn symmetric<const N: usize>(values: &[f32; N], weights: &[f32; N], low: f32, high: f32) -> f32 {
    let extreme = values.iter().copied().fold(
        0.0,
        |extreme: f32, value| {
            if value.abs() > extreme.abs() { value } else { extreme }
        },
    );
    if extreme.abs() < TINY {
        return 0.0;
    }
    let (mut best, mut gain) = (extreme / low, 0.0);
    // What a scale gains over no scale at all is `xq² / qq`, where the scale is `xq / qq`.
    let mut attempt = |inverse: f32| {
        let (xq, qq) = symmetric_sums(values, weights, inverse, low, high);
        let better = qq > 0.0 && xq * xq > gain * qq;
        if better {
            (best, gain) = (xq / qq, xq * xq / qq);
        }
        (better, best)
    };
    for step in -5_i16..=5 {
        attempt((low + 0.2 * f32::from(step)) / extreme);
    }
    let mut scale = attempt(low / extreme).1;
    for _ in 0..ROUNDS {
        let (better, now) = attempt(inverse(scale));
        scale = now;
        if !better {
            break;
        }
    }
    scale
}

#[inline]
fn symmetric_sums<const N: usize>(
    values: &[f32; N],
    weights: &[f32; N],
    inverse: f32,
    low: f32,
    high: f32,
) -> (f32, f32) {
    let codes = each(|i| code(values[i], inverse, low, high));
    let weighted: [f32; N] = each(|i| weights[i] * codes[i]);
    (dot(&weighted, values), dot(&weighted, &codes))
}

/// The scale and offset with which `values` are nearest to `scale * code + offset`, codes from 0 to `high`. With
/// `below_zero` the offset is not above zero.
pub(super) fn affine<const N: usize>(values: &[f32; N], weights: &[f32; N], high: f32, below_zero: bool) -> (f32, f32) {
    let mut least = values.iter().copied().fold(f32::INFINITY, f32::min);
    let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if below_zero {
        least = least.min(0.0);
    }
    if most - least < TINY {
        return (0.0, least);
    }
    let constant = Constant::of(values, weights, least);
    let mut best = Affine { scale: (most - least) / high, shift: 0.0, error: f32::INFINITY };
    let mut attempt = |inverse: f32, shift: f32| {
        let fitted = constant.fit(values, weights, inverse, shift, high, below_zero);
        let better = fitted.scale > 0.0 && fitted.error < best.error;
        if better {
            best = fitted;
        }
        (better, best)
    };
    for step in 0_i16..=10 {
        attempt((high - 1.0 + 0.2 * f32::from(step)) / (most - least), 0.0);
    }
    let mut fitted = attempt(high / (most - least), 0.0).1;
    for _ in 0..ROUNDS {
        let (better, now) = attempt(inverse(fitted.scale), fitted.shift);
        fitted = now;
        if !better {
            break;
        }
    }
    (fitted.scale, least + fitted.shift)
}

#[derive(Clone, Copy)]
struct Affine {
    scale: f32,
    /// The offset, counted from the least value.
    shift: f32,
    error: f32,
}

/// The sums that don't depend on the codes; `y` is a value counted from the least one, which keeps the sums exact where
/// the values lie far from zero.
struct Constant {
    least: f32,
    w: f32,
    y: f32,
    yy: f32,
}

impl Constant {
    fn of(values: &[f32], weights: &[f32], least: f32) -> Self {
        let (mut w, mut wy, mut wyy) = (0.0, 0.0, 0.0);
        for (value, weight) in values.iter().zip(weights) {
            let y = value - least;
            w += weight;
            wy += weight * y;
            wyy += weight * y * y;
        }
        Self { least, w, y: wy, yy: wyy }
    }

    /// Rounds with the given scale and shift, and finds those that fit the codes best.
    #[inline]
    fn fit<const N: usize>(
        &self,
        values: &[f32; N],
        weights: &[f32; N],
        inverse: f32,
        shift: f32,
        high: f32,
        below_zero: bool,
    ) -> Affine {
        let y = each(|i| values[i] - self.least);
        let codes = each(|i| code(y[i] - shift, inverse, 0.0, high));
        let weighted: [f32; N] = each(|i| weights[i] * codes[i]);
        let (q, qq, yq) = (dot(weights, &codes), dot(&weighted, &codes), dot(&weighted, &y));
        let determinant = self.w * qq - q * q;
        let (mut scale, mut shift) = if determinant > SINGULAR * self.w * qq {
            ((self.w * yq - self.y * q) / determinant, (qq * self.y - q * yq) / determinant)
        } else {
            (yq / qq, 0.0)
        };
        if below_zero && self.least + shift > 0.0 {
            shift = -self.least;
            scale = (yq - shift * q) / qq;
        }
        let error = self.yy
            + scale * scale * qq
            + shift * shift * self.w
            + 2.0 * (scale * shift * q - scale * yq - shift * self.y);
        // Codes that are all zero give no number, which is not less than any error.
        Affine { scale, shift, error }
    }
}

/// The weighted error of `scale * code + offset`, codes from `low` to `high`, each the nearest.
#[inline]
pub(super) fn error<const N: usize>(
    values: &[f32; N],
    weights: &[f32; N],
    scale: f32,
    offset: f32,
    low: f32,
    high: f32,
) -> f32 {
    let inverse = inverse(scale);
    let off: [f32; N] = each(|i| scale * code(values[i] - offset, inverse, low, high) + offset - values[i]);
    let weighted = each(|i| weights[i] * off[i]);
    dot(&weighted, &off)
}

/// The same for every element.
#[inline(always)]
fn each<const N: usize>(of: impl Fn(usize) -> f32) -> [f32; N] {
    let mut all = [0.0; N];
    for (i, one) in all.iter_mut().enumerate() {
        *one = of(i);
    }
    all
}

/// The sum of products. A function of its own, so that the compiler computes its lanes side by side.
#[inline(never)]
fn dot<const N: usize>(a: &[f32; N], b: &[f32; N]) -> f32 {
    let mut lanes = [0.0; LANES];
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

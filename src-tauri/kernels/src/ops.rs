//! What happens to activations between products. Each function takes one row.

use crate::simd::{LANES, Simd, at_every_level};

at_every_level! {
    /// `out = x / rms(x) * weight`, with `epsilon` added to the mean square.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) = rms_norm_of
}

#[inline(always)]
unsafe fn rms_norm_of<S: Simd>(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    assert!(x.len() == weight.len() && x.len() == out.len(), "one length");
    let whole = x.len() / LANES * LANES;
    // SAFETY: whole vectors within the slices.
    unsafe {
        let mut sum = S::splat(0.0);
        for i in (0..whole).step_by(LANES) {
            let x = S::load(x.as_ptr().add(i));
            sum = S::fma(x, x, sum);
        }
        let sum = x[whole..].iter().fold(S::sum(sum), |sum, x| sum + x * x);
        let factor = 1.0 / (sum / x.len() as f32 + epsilon).sqrt();
        for i in (0..whole).step_by(LANES) {
            let x = S::mul(S::load(x.as_ptr().add(i)), S::splat(factor));
            S::store(out.as_mut_ptr().add(i), S::mul(x, S::load(weight.as_ptr().add(i))));
        }
        for i in whole..x.len() {
            out[i] = x[i] * factor * weight[i];
        }
    }
}

at_every_level! {
    /// `out = silu(gate) * up`, the middle of a gated feed-forward network.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn silu_times(gate: &[f32], up: &[f32], out: &mut [f32]) = silu_times_of
}

#[inline(always)]
unsafe fn silu_times_of<S: Simd>(gate: &[f32], up: &[f32], out: &mut [f32]) {
    assert!(gate.len() == up.len() && gate.len() == out.len(), "one length");
    let whole = gate.len() / LANES * LANES;
    // SAFETY: whole vectors within the slices.
    unsafe {
        for i in (0..whole).step_by(LANES) {
            let (gate, up) = (S::load(gate.as_ptr().add(i)), S::load(up.as_ptr().add(i)));
            let divisor = S::add(S::exp(S::mul(gate, S::splat(-1.0))), S::splat(1.0));
            S::store(out.as_mut_ptr().add(i), S::mul(S::div(gate, divisor), up));
        }
    }
    for i in whole..gate.len() {
        out[i] = gate[i] / (1.0 + (-gate[i]).exp()) * up[i];
    }
}

at_every_level! {
    /// `x += y`.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn add(x: &mut [f32], y: &[f32]) = add_to
}

#[inline(always)]
unsafe fn add_to<S: Simd>(x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len(), "one length");
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

/// Which elements of a head are rotated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopePairs {
    /// Elements 2i and 2i + 1: the order of Llama's GGUF files.
    Neighbours,
    /// Elements i and i + rotated / 2: the order of GPT-NeoX, Qwen and Phi.
    Halves,
}

at_every_level! {
    /// Rotates each head of a row by its position.
    ///
    /// `angles` holds cosine and sine of each pair, one after the other; what a head has beyond twice their number stays.
    pub fn rope(x: &mut [f32], head_dim: usize, angles: &[[f32; 2]], pairs: RopePairs) = rotate
}

#[inline(always)]
unsafe fn rotate<S: Simd>(x: &mut [f32], head_dim: usize, angles: &[[f32; 2]], pairs: RopePairs) {
    for head in x.chunks_exact_mut(head_dim) {
        match pairs {
            RopePairs::Neighbours => {
                for (pair, &[cosine, sine]) in head.as_chunks_mut::<2>().0.iter_mut().zip(angles) {
                    *pair = [pair[0] * cosine - pair[1] * sine, pair[0] * sine + pair[1] * cosine];
                }
            }
            RopePairs::Halves => {
                let (first, second) = head.split_at_mut(angles.len());
                for ((a, b), &[cosine, sine]) in first.iter_mut().zip(second).zip(angles) {
                    (*a, *b) = (*a * cosine - *b * sine, *a * sine + *b * cosine);
                }
            }
        }
    }
}

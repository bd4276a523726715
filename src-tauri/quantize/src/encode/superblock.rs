//! Superblocks of 256 elements, whose parts' scales are themselves quantized: Q2_K, Q3_K, Q4_K, Q5_K, Q6_K.

use tektra_kernels::Format;

use super::fit::{affine, code, error, half, inverse, nearest, symmetric, weigh};

const LEN: usize = 256;

/// Encodes one superblock.
pub(super) fn encode(format: Format, values: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    let Some(values) = values.as_array::<LEN>() else { return };
    out.fill(0);
    match format {
        Format::Q2K => q2(&offset_parts::<16>(values, importance, 3.0, 15.0), out),
        Format::Q3K => q3(&plain_parts(values, importance, 4.0, 32.0), out),
        Format::Q4K => q4(&offset_parts::<32>(values, importance, 15.0, 63.0), out),
        Format::Q5K => {
            let parts = offset_parts::<32>(values, importance, 31.0, 63.0);
            for (i, code) in parts.codes.iter().enumerate() {
                out[16 + i % 32] |= (code >> 4) << (i / 32);
            }
            scales_and_minima(&parts, out);
            nibbles(&parts.codes, &mut out[48..]);
        }
        Format::Q6K => q6(&plain_parts(values, importance, 32.0, 128.0), out),
        _ => {}
    }
}

/// A superblock whose parts have a scale and an offset below zero.
struct OffsetParts {
    /// What the parts' scales and minima are multiplied by, as halves.
    scale: [u8; 2],
    minimum: [u8; 2],
    scales: [u8; 16],
    minima: [u8; 16],
    codes: [u8; LEN],
}

/// Fits parts of `PART` elements with codes from 0 to `most`, their scales and minima from 0 to `levels`.
fn offset_parts<const PART: usize>(
    values: &[f32; LEN],
    importance: Option<&[f32]>,
    most: f32,
    levels: f32,
) -> OffsetParts {
    let weights = weights::<PART>(values, importance);
    let parts = || values.as_chunks::<PART>().0.iter().zip(weights.as_chunks::<PART>().0).enumerate();
    let (mut scales, mut minima) = ([0.0; 16], [0.0; 16]);
    for (i, (values, weights)) in parts() {
        let (scale, offset) = affine(values, weights, most, true);
        (scales[i], minima[i]) = (scale, -offset);
    }
    let largest = |all: &[f32]| all.iter().copied().fold(0.0, f32::max);
    let (scale_bytes, scale) = half(largest(&scales) / levels);
    let (minimum_bytes, minimum) = half(largest(&minima) / levels);
    let mut out =
        OffsetParts { scale: scale_bytes, minimum: minimum_bytes, scales: [0; 16], minima: [0; 16], codes: [0; LEN] };
    for (i, (values, weights)) in parts() {
        let (factor, lift) = (scales[i] * inverse(scale), minima[i] * inverse(minimum));
        let (factor, lift) = (nearest(factor.min(levels)), nearest(lift.min(levels)));
        // Both were rounded apart from each other; their neighbours may fit better together.
        let mut best = (f32::INFINITY, factor, lift);
        for factor in [factor, factor - 1.0, factor + 1.0] {
            for lift in [lift, lift - 1.0, lift + 1.0] {
                let valid = 0.0..=levels;
                if valid.contains(&factor) && valid.contains(&lift) {
                    let error = error(values, weights, scale * factor, -minimum * lift, 0.0, most);
                    if error < best.0 {
                        best = (error, factor, lift);
                    }
                }
            }
        }
        let (_, factor, lift) = best;
        (out.scales[i], out.minima[i]) = (factor as u8, lift as u8);
        let (inverse, offset) = (inverse(scale * factor), -minimum * lift);
        for (out, value) in out.codes[i * PART..].iter_mut().zip(values) {
            *out = code(value - offset, inverse, 0.0, most) as u8;
        }
    }
    out
}

/// A superblock whose parts of 16 elements have only a scale.
struct PlainParts {
    /// What the parts' scales are multiplied by, as a half.
    scale: [u8; 2],
    scales: [i8; 16],
    /// Counted from the least code.
    codes: [u8; LEN],
}

/// Fits parts with codes from `-zero` to `zero - 1`, their scales from `-levels` to `levels - 1`.
fn plain_parts(values: &[f32; LEN], importance: Option<&[f32]>, zero: f32, levels: f32) -> PlainParts {
    const PART: usize = 16;
    let weights = weights::<PART>(values, importance);
    let parts = || values.as_chunks::<PART>().0.iter().zip(weights.as_chunks::<PART>().0).enumerate();
    let mut scales = [0.0; 16];
    for (i, (values, weights)) in parts() {
        scales[i] = symmetric(values, weights, -zero, zero - 1.0);
    }
    let extreme = scales.iter().copied().fold(
        0.0,
        |extreme: f32, scale| {
            if scale.abs() > extreme.abs() { scale } else { extreme }
        },
    );
    let (bytes, scale) = half(-extreme / levels);
    let mut out = PlainParts { scale: bytes, scales: [0; 16], codes: [0; LEN] };
    for (i, (values, weights)) in parts() {
        let rounded = nearest((scales[i] * inverse(scale)).clamp(-levels, levels - 1.0));
        let mut best = (f32::INFINITY, rounded);
        for factor in [rounded, rounded - 1.0, rounded + 1.0] {
            if (-levels..=levels - 1.0).contains(&factor) {
                let error = error(values, weights, scale * factor, 0.0, -zero, zero - 1.0);
                if error < best.0 {
                    best = (error, factor);
                }
            }
        }
        out.scales[i] = best.1 as i8;
        let inverse = inverse(scale * best.1);
        for (out, value) in out.codes[i * PART..].iter_mut().zip(values) {
            *out = (code(*value, inverse, -zero, zero - 1.0) + zero) as u8;
        }
    }
    out
}

fn weights<const PART: usize>(values: &[f32; LEN], importance: Option<&[f32]>) -> [f32; LEN] {
    let mut weights = [0.0; LEN];
    let parts = values.as_chunks::<PART>().0.iter().zip(weights.as_chunks_mut::<PART>().0);
    for (i, (values, weights)) in parts.enumerate() {
        weigh(values, importance.map(|importance| &importance[i * PART..][..PART]), weights);
    }
    weights
}

/// The scales and minima of eight parts in six bits each, as Q4_K and Q5_K have them.
fn scales_and_minima(parts: &OffsetParts, out: &mut [u8]) {
    out[..2].copy_from_slice(&parts.scale);
    out[2..4].copy_from_slice(&parts.minimum);
    for i in 0..4 {
        let (scale, minimum) = (parts.scales[i + 4], parts.minima[i + 4]);
        out[4 + i] = parts.scales[i] | scale >> 4 << 6;
        out[8 + i] = parts.minima[i] | minimum >> 4 << 6;
        out[12 + i] = scale & 15 | minimum << 4;
    }
}

/// The low four bits of 64 codes in 32 bytes, the second half in the high nibbles.
fn nibbles(codes: &[u8; LEN], out: &mut [u8]) {
    for (i, code) in codes.iter().enumerate() {
        out[i / 64 * 32 + i % 32] |= (code & 15) << (i / 32 % 2 * 4);
    }
}

/// The low two bits of 128 codes in 32 bytes.
fn pairs(codes: &[u8; LEN], out: &mut [u8]) {
    for (i, code) in codes.iter().enumerate() {
        out[i / 128 * 32 + i % 32] |= (code & 3) << (i / 32 % 4 * 2);
    }
}

fn q2(parts: &OffsetParts, out: &mut [u8]) {
    for (out, (scale, minimum)) in out.iter_mut().zip(parts.scales.iter().zip(parts.minima)) {
        *out = scale | minimum << 4;
    }
    pairs(&parts.codes, &mut out[16..80]);
    out[80..82].copy_from_slice(&parts.scale);
    out[82..84].copy_from_slice(&parts.minimum);
}

fn q3(parts: &PlainParts, out: &mut [u8]) {
    for (i, code) in parts.codes.iter().enumerate() {
        out[i % 32] |= (code >> 2) << (i / 32);
    }
    pairs(&parts.codes, &mut out[32..96]);
    for (i, &scale) in parts.scales.iter().enumerate() {
        let scale = (scale + 32) as u8;
        out[96 + i % 8] |= (scale & 15) << (i / 8 * 4);
        out[104 + i % 4] |= (scale >> 4) << (i / 4 * 2);
    }
    out[108..110].copy_from_slice(&parts.scale);
}

fn q4(parts: &OffsetParts, out: &mut [u8]) {
    scales_and_minima(parts, out);
    nibbles(&parts.codes, &mut out[16..]);
}

fn q6(parts: &PlainParts, out: &mut [u8]) {
    for (i, code) in parts.codes.iter().enumerate() {
        let (part, quarter, at) = (i / 128, i / 32 % 4, i % 32);
        out[part * 64 + quarter % 2 * 32 + at] |= (code & 15) << (quarter / 2 * 4);
        out[128 + part * 32 + at] |= (code >> 4) << (quarter * 2);
    }
    for (out, scale) in out[192..208].iter_mut().zip(parts.scales) {
        *out = scale as u8;
    }
    out[208..210].copy_from_slice(&parts.scale);
}

//! Blocks of 32 elements with one scale: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.

use tektra_kernels::Format;

use super::fit::{affine, code, half, inverse, symmetric, weigh};

/// Encodes one block.
pub(super) fn encode(format: Format, values: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    let Some(values) = values.as_array::<32>() else { return };
    let mut codes = [0_u8; 32];
    if format == Format::Q8_0 {
        // Eight bits leave nothing to search for.
        let (bytes, scale) = half(values.iter().fold(0.0, |most: f32, value| most.max(value.abs())) / 127.0);
        out[..2].copy_from_slice(&bytes);
        for (out, value) in out[2..].iter_mut().zip(values) {
            *out = code(*value, inverse(scale), -127.0, 127.0) as i8 as u8;
        }
        return;
    }
    let mut weights = [0.0; 32];
    weigh(values, importance, &mut weights);
    let five = matches!(format, Format::Q5_0 | Format::Q5_1);
    let most = if five { 31.0 } else { 15.0 };
    let at = if matches!(format, Format::Q4_1 | Format::Q5_1) {
        let (scale, offset) = affine(values, &weights, most, false);
        let ((scale_bytes, scale), (offset_bytes, offset)) = (half(scale), half(offset));
        out[..2].copy_from_slice(&scale_bytes);
        out[2..4].copy_from_slice(&offset_bytes);
        for (out, value) in codes.iter_mut().zip(values) {
            *out = code(value - offset, inverse(scale), 0.0, most) as u8;
        }
        4
    } else {
        let zero = (most + 1.0) / 2.0;
        let (bytes, scale) = half(symmetric(values, &weights, -zero, zero - 1.0));
        out[..2].copy_from_slice(&bytes);
        for (out, value) in codes.iter_mut().zip(values) {
            *out = (code(*value, inverse(scale), -zero, zero - 1.0) + zero) as u8;
        }
        2
    };
    let rest = &mut out[at..];
    let nibbles = if five {
        let fifth = codes.iter().enumerate().fold(0, |bits, (i, code)| bits | u32::from(code >> 4) << i);
        let (bits, nibbles) = rest.split_at_mut(4);
        bits.copy_from_slice(&fifth.to_le_bytes());
        nibbles
    } else {
        rest
    };
    for (i, out) in nibbles.iter_mut().enumerate() {
        *out = codes[i] & 15 | codes[i + 16] << 4;
    }
}

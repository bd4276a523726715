//! Encoders: rows of `f32` into ggml's block formats. The decoder that they pair with is
//! [`tektra_kernels::dequantize`].
//!
//! A block's scale is not the one that just covers its largest value: several are tried, codes are rounded for each,
//! and the scale (and offset) that fits these codes best by weighted least squares is kept.
//!
//! Source of the formats: `block_*` in <https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h>.

mod fit;
mod simple;
mod superblock;
#[cfg(test)]
mod tests;

use tektra_kernels::{Format, f32_to_f16};

/// Why a row can't be stored in a format. Displays as a clause after the tensor's name.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum EncodeError {
    /// NaN or infinity.
    #[error("holds {0}, which is no weight; the file is damaged or its training failed")]
    NotFinite(f32),
    /// A value out of the format's range.
    #[error("holds {value}, which {} cannot hold; choose BF16 or F32 for it", crate::format_name(*.format))]
    TooLarge {
        /// The value.
        value: f32,
        /// The format.
        format: Format,
    },
    /// The slices' lengths do not belong together.
    #[error("has rows of {columns} elements, which {} cannot hold", crate::format_name(*.format))]
    Length {
        /// Elements of the row.
        columns: usize,
        /// The format.
        format: Format,
    },
}

/// The largest finite half.
const LARGEST_HALF: f32 = 65504.0;

/// Writes `values` to `out` in `format`.
///
/// `importance` says how much an error in each element matters, relative to the others: as many numbers, none negative.
///
/// # Errors
/// When a value is no number or beyond the format, or when the lengths don't fit.
pub fn encode(format: Format, values: &[f32], importance: Option<&[f32]>, out: &mut [u8]) -> Result<(), EncodeError> {
    let matching = importance.is_none_or(|importance| importance.len() == values.len());
    if format.row_bytes(values.len()) != Some(out.len()) || !matching {
        return Err(EncodeError::Length { columns: values.len(), format });
    }
    if let Some(&value) = values.iter().find(|value| !value.is_finite()) {
        return Err(EncodeError::NotFinite(value));
    }
    match format {
        Format::F32 => put(values, out, |value| Some(value.to_le_bytes())),
        Format::F16 => put(values, out, |value| {
            let half = f32_to_f16(value);
            (half & 0x7fff < 0x7c00).then_some(half.to_le_bytes())
        }),
        Format::BF16 => put(values, out, |value| {
            let half = bf16(value);
            (half & 0x7fff < 0x7f80).then_some(half.to_le_bytes())
        }),
        _ => {
            if let Some(&value) = values.iter().find(|value| value.abs() > LARGEST_HALF) {
                return Err(EncodeError::TooLarge { value, format });
            }
            let (len, bytes) = (format.block_len(), format.block_bytes());
            for (index, (values, out)) in values.chunks_exact(len).zip(out.chunks_exact_mut(bytes)).enumerate() {
                let importance = importance.map(|importance| &importance[index * len..][..len]);
                match format {
                    Format::Q2K | Format::Q3K | Format::Q4K | Format::Q5K | Format::Q6K => {
                        superblock::encode(format, values, importance, out);
                    }
                    _ => simple::encode(format, values, importance, out),
                }
            }
            Ok(())
        }
    }
    .map_err(|value| EncodeError::TooLarge { value, format })
}

fn put<const N: usize>(values: &[f32], out: &mut [u8], bytes: impl Fn(f32) -> Option<[u8; N]>) -> Result<(), f32> {
    for (&value, out) in values.iter().zip(out.as_chunks_mut::<N>().0) {
        *out = bytes(value).ok_or(value)?;
    }
    Ok(())
}

/// To the nearest, ties to even.
fn bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

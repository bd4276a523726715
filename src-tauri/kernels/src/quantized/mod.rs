//! Products with quantized weights: 8-bit activations times the weights' codes in whole numbers, scaled group by group.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod dot;
#[cfg(target_arch = "x86_64")]
mod few;
#[cfg(target_arch = "x86_64")]
mod formats;
#[cfg(target_arch = "x86_64")]
mod formats_k;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_formats;
mod portable;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod shared;
#[cfg(target_arch = "x86_64")]
pub(crate) mod tiles;
#[cfg(target_arch = "x86_64")]
mod words;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::{Activations, Level, Packed, product::Streams};

/// Some rows of a product with a quantized matrix.
///
/// # Safety
/// `out` is good for `activations.rows * matrix.rows` elements, of which nobody else touches those of these
/// rows; the shapes fit; the processor has `level`.
pub(crate) unsafe fn product(
    level: Level,
    matrix: &Packed,
    streams: &Streams,
    activations: &Activations,
    out: *mut f32,
) {
    #[cfg(target_arch = "x86_64")]
    if level != Level::Portable {
        // SAFETY: the caller's promises.
        return unsafe { x86::product(level, matrix, streams, activations, out) };
    }
    #[cfg(target_arch = "aarch64")]
    if level != Level::Portable {
        // SAFETY: the caller's promises.
        return unsafe { neon::product(level, matrix, streams, activations, out) };
    }
    let _ = level;
    // SAFETY: the caller's promises.
    unsafe { portable::product(matrix, streams, activations, out) }
}

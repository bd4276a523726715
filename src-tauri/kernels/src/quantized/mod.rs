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

use crate::{Activations, Level, product::Streams};

/// Products with some rows of quantized weights.
///
/// # Safety
/// What is said of [`Streams`] holds, and nobody else touches these results; the shapes fit; the processor has `level`.
pub(crate) unsafe fn product(level: Level, streams: &Streams<'_>, activations: &Activations) {
    #[cfg(target_arch = "x86_64")]
    if level != Level::Portable {
        // SAFETY: the caller's promises.
        return unsafe { x86::product(level, streams, activations) };
    }
    #[cfg(target_arch = "aarch64")]
    if level != Level::Portable {
        // SAFETY: the caller's promises.
        return unsafe { neon::product(level, streams, activations) };
    }
    let _ = level;
    // SAFETY: the caller's promises.
    unsafe { portable::product(streams, activations) }
}

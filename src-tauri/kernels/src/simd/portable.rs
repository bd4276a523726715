//! Vectors as arrays, for processors without a kernel of their own; compilers turn them into what there is.

use super::{LANES, Register, Simd};
use crate::decode::f16_to_f32;

#[derive(Clone, Copy)]
pub(crate) struct Portable;

type Lanes = [f32; LANES];

#[inline(always)]
fn each(a: Lanes, b: Lanes, f: impl Fn(f32, f32) -> f32) -> Lanes {
    std::array::from_fn(|i| f(a[i], b[i]))
}

// SAFETY: plain Rust; pointers are good for all lanes by the trait's contract.
unsafe impl Register for Lanes {
    const LANES: usize = LANES;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Portable::load(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { Portable::store(to, self) }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self {
        unsafe { Portable::load_f16(from) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self {
        unsafe { from.cast::<[u16; LANES]>().read_unaligned() }.map(|bits| f32::from_bits(u32::from(bits) << 16))
    }

    #[inline(always)]
    unsafe fn plus_product(self, a: Self, b: Self) -> Self {
        unsafe { Portable::fma(a, b, self) }
    }
}

// SAFETY: plain Rust; pointers are good for all lanes by the trait's contract.
unsafe impl Simd for Portable {
    type F = Lanes;
    type Register = Lanes;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Lanes {
        [value; LANES]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Lanes {
        unsafe { from.cast::<Lanes>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Lanes) {
        unsafe { to.cast::<Lanes>().write_unaligned(value) }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Lanes {
        unsafe { from.cast::<[u16; LANES]>().read_unaligned() }.map(f16_to_f32)
    }

    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Lanes {
        unsafe { from.cast::<[i8; LANES]>().read_unaligned() }.map(f32::from)
    }

    #[inline(always)]
    unsafe fn fma(a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        // Rounded once, like the instruction, though without the instruction that is slow: results are the same anywhere.
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }

    #[inline(always)]
    unsafe fn add(a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn mul(a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| a * b)
    }

    #[inline(always)]
    unsafe fn div(a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| a / b)
    }

    // The second operand for a NaN, as x86 does it.
    #[inline(always)]
    unsafe fn max(a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    unsafe fn min(a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    unsafe fn round(a: Lanes) -> Lanes {
        // Adding and taking away 1.5 * 2^23 rounds to the nearest even, as the hardware's instruction does.
        a.map(|a| if a.abs() < 4_194_304.0 { (a + 12_582_912.0) - 12_582_912.0 } else { a })
    }

    #[inline(always)]
    unsafe fn power_of_two(whole: Lanes) -> Lanes {
        whole.map(|whole| f32::from_bits(((whole as i32 + 127) as u32) << 23))
    }
}

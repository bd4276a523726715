//! NEON, which every 64-bit Arm processor has.

use std::arch::aarch64::*;

use super::{Register, Simd};

#[derive(Clone, Copy)]
pub(crate) struct Neon;

/// The quarters of sixteen lanes.
type Quarters = [float32x4_t; 4];

/// A function's results for each quarter.
macro_rules! each {
    ($function:ident($($value:expr),+)) => {
        [$function($($value[0]),+), $function($($value[1]),+), $function($($value[2]),+), $function($($value[3]),+)]
    };
}

/// From IEEE half precision.
///
/// # Safety
/// Needs NEON.
#[inline(always)]
pub(crate) unsafe fn halves_to_floats(halves: uint16x4_t) -> float32x4_t {
    unsafe { vcvt_f32_f16(vreinterpret_f16_u16(halves)) }
}

#[inline(always)]
unsafe fn load_u16(from: *const u16) -> [uint16x4_t; 4] {
    unsafe { [vld1_u16(from), vld1_u16(from.add(4)), vld1_u16(from.add(8)), vld1_u16(from.add(12))] }
}

// The second operand for a NaN, as x86 does it; the instructions for maximum and minimum give the NaN.
#[inline(always)]
unsafe fn larger(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
}

#[inline(always)]
unsafe fn smaller(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    unsafe { vbslq_f32(vcltq_f32(a, b), a, b) }
}

#[inline(always)]
unsafe fn power(whole: float32x4_t) -> float32x4_t {
    unsafe { vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(vcvtnq_s32_f32(whole), vdupq_n_s32(127)))) }
}

// SAFETY: instructions of NEON, whose presence the trait's contract asks for.
unsafe impl Register for float32x4_t {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { vst1q_f32(to, self) }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self {
        unsafe { halves_to_floats(vld1_u16(from)) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self {
        unsafe { vreinterpretq_f32_u32(vshlq_n_u32::<16>(vmovl_u16(vld1_u16(from)))) }
    }

    #[inline(always)]
    unsafe fn plus_product(self, a: Self, b: Self) -> Self {
        unsafe { vfmaq_f32(self, a, b) }
    }
}

// SAFETY: instructions of NEON, whose presence the trait's contract asks for.
unsafe impl Simd for Neon {
    type F = Quarters;
    type Register = float32x4_t;
    const SUMS: usize = 6;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Quarters {
        unsafe { [vdupq_n_f32(value); 4] }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Quarters {
        unsafe { [vld1q_f32(from), vld1q_f32(from.add(4)), vld1q_f32(from.add(8)), vld1q_f32(from.add(12))] }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Quarters) {
        unsafe {
            vst1q_f32(to, value[0]);
            vst1q_f32(to.add(4), value[1]);
            vst1q_f32(to.add(8), value[2]);
            vst1q_f32(to.add(12), value[3]);
        }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Quarters {
        unsafe {
            let halves = load_u16(from);
            each!(halves_to_floats(halves))
        }
    }

    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Quarters {
        unsafe {
            let codes = vld1q_s8(from);
            let (low, high) = (vmovl_s8(vget_low_s8(codes)), vmovl_high_s8(codes));
            [
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
                vcvtq_f32_s32(vmovl_high_s16(low)),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
                vcvtq_f32_s32(vmovl_high_s16(high)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn fma(a: Quarters, b: Quarters, c: Quarters) -> Quarters {
        unsafe { each!(vfmaq_f32(c, a, b)) }
    }

    #[inline(always)]
    unsafe fn add(a: Quarters, b: Quarters) -> Quarters {
        unsafe { each!(vaddq_f32(a, b)) }
    }

    #[inline(always)]
    unsafe fn mul(a: Quarters, b: Quarters) -> Quarters {
        unsafe { each!(vmulq_f32(a, b)) }
    }

    #[inline(always)]
    unsafe fn div(a: Quarters, b: Quarters) -> Quarters {
        unsafe { each!(vdivq_f32(a, b)) }
    }

    #[inline(always)]
    unsafe fn max(a: Quarters, b: Quarters) -> Quarters {
        unsafe { each!(larger(a, b)) }
    }

    #[inline(always)]
    unsafe fn min(a: Quarters, b: Quarters) -> Quarters {
        unsafe { each!(smaller(a, b)) }
    }

    #[inline(always)]
    unsafe fn round(a: Quarters) -> Quarters {
        unsafe { each!(vrndnq_f32(a)) }
    }

    #[inline(always)]
    unsafe fn power_of_two(whole: Quarters) -> Quarters {
        unsafe { each!(power(whole)) }
    }

    #[inline(always)]
    unsafe fn largest(value: Quarters) -> f32 {
        unsafe {
            let four = larger(larger(value[0], value[2]), larger(value[1], value[3]));
            let two = larger(four, vextq_f32::<2>(four, four));
            vgetq_lane_f32::<0>(larger(two, vextq_f32::<1>(two, two)))
        }
    }

    #[inline(always)]
    unsafe fn store_codes(to: *mut i8, value: Quarters) -> i32 {
        unsafe {
            let whole = each!(vcvtnq_s32_f32(value));
            let low = vcombine_s16(vmovn_s32(whole[0]), vmovn_s32(whole[1]));
            let high = vcombine_s16(vmovn_s32(whole[2]), vmovn_s32(whole[3]));
            let codes = vcombine_s8(vmovn_s16(low), vmovn_s16(high));
            vst1q_s8(to, codes);
            i32::from(vaddlvq_s8(codes))
        }
    }
}

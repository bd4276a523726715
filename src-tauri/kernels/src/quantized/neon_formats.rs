//! How each block format is taken apart with NEON: four rows at a time, a 32-bit word of each in one vector.

use std::arch::aarch64::*;

use crate::{
    Format,
    packed::{
        bits::{FIFTH_AND_SIXTH_OF_GROUP, FIFTH_OF_GROUP, FIFTH_OF_VECTOR, THIRD_OF_GROUP},
        place,
    },
    simd::halves_to_floats,
};

/// Four of the eight rows of a block as [`crate::Packed`] has them.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) block: *const u8,
    /// 0 for the first four rows, 1 for the others.
    pub(super) half: usize,
}

impl At {
    /// Word `index` of each row, where the words begin after `apart` bytes a row.
    #[inline(always)]
    unsafe fn bytes(self, apart: usize, index: usize) -> uint8x16_t {
        unsafe { vld1q_u8(self.block.add(8 * apart + 32 * index + 16 * self.half)) }
    }

    /// The half-precision scales of the rows, or their offsets.
    #[inline(always)]
    unsafe fn halves(self, index: usize) -> float32x4_t {
        unsafe { halves_to_floats(vld1_u16(self.block.add(16 * index + 8 * self.half).cast())) }
    }

    /// 32 codes a row from four words of nibbles: the low ones first, then the high ones.
    #[inline(always)]
    unsafe fn nibbles(self, apart: usize, first: usize) -> Codes {
        unsafe {
            let mut codes = [vdupq_n_u8(0); 8];
            for i in 0..4 {
                let bytes = self.bytes(apart, first + i);
                codes[i] = bits(bytes, 0, 15);
                codes[i + 4] = bits(bytes, 4, 15);
            }
            codes
        }
    }
}

/// The codes of a group, as signed bytes: vector `i` has elements 4i to 4i + 3 of each row.
pub(super) type Codes = [uint8x16_t; 8];

/// What turns a group's whole numbers into its share of four results.
#[derive(Clone, Copy)]
pub(super) struct Scales {
    /// What products are times, and offsets: those of the group, or of the block where scales hold for 16 elements.
    pub(super) units: [float32x4_t; 2],
    /// Where scales hold for 16 elements: the halves' scales, then their offsets, in whole numbers.
    pub(super) factors: [[int32x4_t; 2]; 2],
}

impl Scales {
    #[inline(always)]
    unsafe fn of_group(scale: float32x4_t, offset: float32x4_t) -> Self {
        Self { units: [scale, offset], factors: [[unsafe { vdupq_n_s32(0) }; 2]; 2] }
    }

    /// `factors`: of four halves each, a byte each, of which group `GROUP` has the first or the last two.
    #[inline(always)]
    unsafe fn of_halves<const GROUP: usize>(units: [float32x4_t; 2], factors: [uint8x16_t; 2], signed: bool) -> Self {
        unsafe {
            let first = 16 * (GROUP % 2);
            Self {
                units,
                factors: [
                    [byte(factors[0], first, signed), byte(factors[0], first + 8, signed)],
                    [byte(factors[1], first, signed), byte(factors[1], first + 8, signed)],
                ],
            }
        }
    }
}

/// The byte of each word that begins at bit `shift`.
#[inline(always)]
unsafe fn byte(words: uint8x16_t, shift: usize, signed: bool) -> int32x4_t {
    unsafe {
        let top = vshlq_s32(vreinterpretq_s32_u8(words), vdupq_n_s32(24 - shift as i32));
        if signed {
            vshrq_n_s32::<24>(top)
        } else {
            vreinterpretq_s32_u32(vshrq_n_u32::<24>(vreinterpretq_u32_s32(top)))
        }
    }
}

/// Bytes shifted right and masked.
#[inline(always)]
unsafe fn bits(bytes: uint8x16_t, shift: usize, mask: u8) -> uint8x16_t {
    unsafe { vandq_u8(vshlq_u8(bytes, vdupq_n_s8(-(shift as i8))), vdupq_n_u8(mask)) }
}

/// A block format as the kernels need it: element = `scale * (code - ZERO) + offset`.
///
/// # Safety
/// The functions need whole blocks.
pub(super) unsafe trait Blocks {
    /// Groups of 32 elements in a block.
    const GROUPS: usize;
    /// Bytes of a row's block.
    const BYTES: usize;
    /// Whether a scale holds for 16 elements instead of 32.
    const HALVES: bool;
    const ZERO: i32;
    /// Whether there are offsets.
    const AFFINE: bool;

    /// The scales of group `GROUP`.
    unsafe fn scales<const GROUP: usize>(at: At) -> Scales;
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes;
}

/// Nibbles, to which fifth bits and offsets may come.
pub(super) struct Nibbles<const FIFTH: bool, const OFFSET: bool>;
// SAFETY: reads the blocks' bytes.
unsafe impl<const FIFTH: bool, const OFFSET: bool> Blocks for Nibbles<FIFTH, OFFSET> {
    const GROUPS: usize = 1;
    const BYTES: usize = 18 + 2 * OFFSET as usize + 4 * FIFTH as usize;
    const HALVES: bool = false;
    const ZERO: i32 = if OFFSET { 0 } else { 8 + 8 * FIFTH as i32 };
    const AFFINE: bool = OFFSET;

    #[inline(always)]
    unsafe fn scales<const GROUP: usize>(at: At) -> Scales {
        unsafe { Scales::of_group(at.halves(0), if OFFSET { at.halves(1) } else { vdupq_n_f32(0.0) }) }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes {
        unsafe {
            let apart = 2 + 2 * OFFSET as usize;
            let mut codes = at.nibbles(apart, FIFTH as usize);
            if FIFTH {
                let fifths = at.bytes(apart, 0);
                for (i, codes) in codes.iter_mut().enumerate() {
                    *codes = vorrq_u8(*codes, vshlq_n_u8::<4>(bits(fifths, FIFTH_OF_VECTOR[i], 1)));
                }
            }
            codes
        }
    }
}

pub(super) type Q4_0 = Nibbles<false, false>;
pub(super) type Q4_1 = Nibbles<false, true>;
pub(super) type Q5_0 = Nibbles<true, false>;
pub(super) type Q5_1 = Nibbles<true, true>;

pub(super) struct Q8_0;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q8_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = 34;
    const HALVES: bool = false;
    // Elsewhere codes are unsigned and this is 128; the whole numbers that come of it are the same.
    const ZERO: i32 = 0;
    const AFFINE: bool = false;

    #[inline(always)]
    unsafe fn scales<const GROUP: usize>(at: At) -> Scales {
        unsafe { Scales::of_group(at.halves(0), vdupq_n_f32(0.0)) }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes {
        unsafe {
            let mut codes = [vdupq_n_u8(0); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                *codes = at.bytes(2, i);
            }
            codes
        }
    }
}

pub(super) struct Q2K;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q2K {
    const GROUPS: usize = 8;
    const BYTES: usize = 84;
    const HALVES: bool = true;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales<const GROUP: usize>(at: At) -> Scales {
        unsafe {
            let four = at.bytes(4, GROUP / 2);
            let factors = [bits(four, 0, 15), bits(four, 4, 15)];
            Scales::of_halves::<GROUP>([at.halves(0), vnegq_f32(at.halves(1))], factors, false)
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes {
        unsafe {
            let mut codes = [vdupq_n_u8(0); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                *codes = bits(at.bytes(4, 4 + GROUP / 4 * 8 + i), GROUP % 4 * 2, 3);
            }
            codes
        }
    }
}

pub(super) struct Q3K;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q3K {
    const GROUPS: usize = 8;
    const BYTES: usize = 110;
    const HALVES: bool = true;
    const ZERO: i32 = 4;
    const AFFINE: bool = false;

    #[inline(always)]
    unsafe fn scales<const GROUP: usize>(at: At) -> Scales {
        unsafe {
            // Four bits in one of two words, two more in the third; 32 is 0.
            let part = GROUP / 2;
            let low = bits(at.bytes(2, place(Format::Q3K, 24 + part % 2)), part / 2 * 4, 15);
            let high = vshlq_n_u8::<4>(bits(at.bytes(2, place(Format::Q3K, 26)), 2 * part, 3));
            let factors = vsubq_u8(vorrq_u8(low, high), vdupq_n_u8(32));
            Scales::of_halves::<GROUP>([at.halves(0), vdupq_n_f32(0.0)], [factors; 2], true)
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes {
        unsafe {
            let mut codes = [vdupq_n_u8(0); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                let low = bits(at.bytes(2, place(Format::Q3K, 8 + GROUP / 4 * 8 + i)), GROUP % 4 * 2, 3);
                let high = bits(at.bytes(2, place(Format::Q3K, i)), THIRD_OF_GROUP[GROUP], 1);
                *codes = vorrq_u8(low, vshlq_n_u8::<2>(high));
            }
            codes
        }
    }
}

/// Nibbles, to which fifth bits may come, with scales and minimums of 6 bits each, packed into three words
/// (`get_scale_min_k4` in <https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c>).
pub(super) struct SixBits<const FIFTH: bool>;
// SAFETY: reads the blocks' bytes.
unsafe impl<const FIFTH: bool> Blocks for SixBits<FIFTH> {
    const GROUPS: usize = 8;
    const BYTES: usize = 144 + 32 * FIFTH as usize;
    const HALVES: bool = false;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales<const GROUP: usize>(at: At) -> Scales {
        unsafe {
            let (a, b, c) = (at.bytes(4, 0), at.bytes(4, 1), at.bytes(4, 2));
            let [factors, minimums] = if GROUP < 4 {
                [bits(a, 0, 63), bits(b, 0, 63)]
            } else {
                [vorrq_u8(bits(c, 0, 15), bits(a, 2, 0x30)), vorrq_u8(bits(c, 4, 15), bits(b, 2, 0x30))]
            };
            let shift = 8 * (GROUP % 4);
            let scale = vmulq_f32(at.halves(0), vcvtq_f32_s32(byte(factors, shift, false)));
            let offset = vmulq_f32(vnegq_f32(at.halves(1)), vcvtq_f32_s32(byte(minimums, shift, false)));
            Scales::of_group(scale, offset)
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes {
        unsafe {
            let (format, first) = if FIFTH { (Format::Q5K, 11) } else { (Format::Q4K, 3) };
            let mut codes = [vdupq_n_u8(0); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                *codes = bits(at.bytes(4, place(format, first + GROUP / 2 * 8 + i)), GROUP % 2 * 4, 15);
                if FIFTH {
                    *codes = vorrq_u8(
                        *codes,
                        vshlq_n_u8::<4>(bits(at.bytes(4, place(format, 3 + i)), FIFTH_OF_GROUP[GROUP], 1)),
                    );
                }
            }
            codes
        }
    }
}

pub(super) type Q4K = SixBits<false>;
pub(super) type Q5K = SixBits<true>;

pub(super) struct Q6K;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q6K {
    const GROUPS: usize = 8;
    const BYTES: usize = 210;
    const HALVES: bool = true;
    const ZERO: i32 = 32;
    const AFFINE: bool = false;

    #[inline(always)]
    unsafe fn scales<const GROUP: usize>(at: At) -> Scales {
        unsafe {
            let units = [at.halves(0), vdupq_n_f32(0.0)];
            Scales::of_halves::<GROUP>(units, [at.bytes(2, place(Format::Q6K, 48 + GROUP / 2)); 2], true)
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes {
        unsafe {
            let (part, quarter) = (GROUP / 4, GROUP % 4);
            let mut codes = [vdupq_n_u8(0); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                let low = bits(at.bytes(2, place(Format::Q6K, part * 16 + quarter % 2 * 8 + i)), quarter / 2 * 4, 15);
                let high =
                    bits(at.bytes(2, place(Format::Q6K, 32 + part * 8 + i)), FIFTH_AND_SIXTH_OF_GROUP[quarter], 3);
                *codes = vorrq_u8(low, vshlq_n_u8::<4>(high));
            }
            codes
        }
    }
}

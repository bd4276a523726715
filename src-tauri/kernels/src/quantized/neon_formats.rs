//! How each block format is taken apart with NEON: four rows at a time, a 32-bit word of each in one vector.

use std::arch::aarch64::*;

use crate::{Format, packed::place, simd::halves_to_floats};

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

    /// 32 codes a row from the four words of nibbles: the low ones first, then the high ones.
    #[inline(always)]
    unsafe fn nibbles(self, apart: usize) -> Codes {
        unsafe {
            let mut codes = [vdupq_n_u8(0); 8];
            for i in 0..4 {
                let bytes = self.bytes(apart, i);
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

    /// `factors`: of four halves each, a byte each, of which group `GROUP` has the first or the last two. `signed`: how many
    /// bits of the byte are one that has a sign, the highest.
    #[inline(always)]
    unsafe fn of_halves<const GROUP: usize>(
        units: [float32x4_t; 2],
        factors: [uint8x16_t; 2],
        signed: Option<i32>,
    ) -> Self {
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

/// The byte of each word that begins at bit `shift`, or the number with a sign that is so many bits of it, the highest.
#[inline(always)]
unsafe fn byte(words: uint8x16_t, shift: usize, signed: Option<i32>) -> int32x4_t {
    unsafe {
        let top = vshlq_s32(vreinterpretq_s32_u8(words), vdupq_n_s32(24 - shift as i32));
        match signed {
            Some(bits) => vshlq_s32(top, vdupq_n_s32(bits - 32)),
            None => vreinterpretq_s32_u32(vshrq_n_u32::<24>(vreinterpretq_u32_s32(top))),
        }
    }
}

/// Bytes shifted right and masked.
#[inline(always)]
unsafe fn bits(bytes: uint8x16_t, shift: usize, mask: u8) -> uint8x16_t {
    unsafe { vandq_u8(vshlq_u8(bytes, vdupq_n_s8(-(shift as i8))), vdupq_n_u8(mask)) }
}

/// Bits of each byte from `first` on, so many, at `place`.
#[inline(always)]
unsafe fn moved(bytes: uint8x16_t, first: usize, count: usize, place: usize) -> uint8x16_t {
    unsafe {
        let shifted = vshlq_u8(bytes, vdupq_n_s8(place as i8 - first as i8));
        vandq_u8(shifted, vdupq_n_u8(((1 << count) - 1) << place))
    }
}

/// Code `n` of eight of five bits, of which `word` gives the words.
#[inline(always)]
unsafe fn five_bits(word: impl Fn(usize) -> uint8x16_t, n: usize) -> uint8x16_t {
    unsafe {
        if n < 5 {
            return bits(word(n), n / 4 * 3, 31);
        }
        let lower = match n {
            5 => moved(word(3), 6, 2, 0),
            6 => moved(word(4), 0, 2, 0),
            _ => vorrq_u8(moved(word(4), 2, 1, 0), moved(word(3), 5, 1, 1)),
        };
        vorrq_u8(moved(word(n - 5), 5, 3, 2), lower)
    }
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
            if !FIFTH {
                return at.nibbles(apart);
            }
            let mut codes = [vdupq_n_u8(0); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                *codes = five_bits(|n| at.bytes(apart, n), i);
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
            Scales::of_halves::<GROUP>([at.halves(0), vnegq_f32(at.halves(1))], factors, None)
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
            let scales = |index: usize| at.bytes(2, place(Format::Q3K, 24 + index));
            let factors = if GROUP < 6 {
                scales(GROUP / 2)
            } else {
                let lower = vorrq_u8(moved(scales(1), 0, 2, 4), moved(scales(2), 0, 2, 2));
                vorrq_u8(moved(scales(0), 0, 2, 6), lower)
            };
            Scales::of_halves::<GROUP>([at.halves(0), vdupq_n_f32(0.0)], [factors; 2], Some(6))
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes {
        unsafe {
            let mut codes = [vdupq_n_u8(0); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                let own = at.bytes(2, place(Format::Q3K, 8 + GROUP / 4 * 8 + i));
                let common = at.bytes(2, place(Format::Q3K, i));
                let first = GROUP / 4 * 4;
                *codes = match GROUP % 4 {
                    0 => bits(own, 0, 7),
                    1 => bits(own, 3, 7),
                    2 => bits(common, first, 7),
                    _ => vorrq_u8(moved(own, 6, 2, 1), moved(common, first + 3, 1, 0)),
                };
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
            let scale = vmulq_f32(at.halves(0), vcvtq_f32_s32(byte(factors, shift, None)));
            let offset = vmulq_f32(vnegq_f32(at.halves(1)), vcvtq_f32_s32(byte(minimums, shift, None)));
            Scales::of_group(scale, offset)
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes {
        unsafe {
            let mut codes = [vdupq_n_u8(0); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                *codes = if FIFTH {
                    five_bits(|n| at.bytes(4, 3 + 8 * n + i), GROUP)
                } else {
                    bits(at.bytes(4, 3 + GROUP / 2 * 8 + i), GROUP % 2 * 4, 15)
                };
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
            Scales::of_halves::<GROUP>(units, [at.bytes(2, place(Format::Q6K, 48 + GROUP / 2)); 2], Some(8))
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes {
        unsafe {
            let part = GROUP / 4;
            let mut codes = [vdupq_n_u8(0); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                let word = |index: usize| at.bytes(2, place(Format::Q6K, index + i));
                let [one, two, three] = [word(part * 16), word(part * 16 + 8), word(32 + part * 8)];
                *codes = match GROUP % 4 {
                    0 => bits(one, 0, 63),
                    1 => bits(two, 0, 63),
                    2 => bits(three, 2, 63),
                    _ => vorrq_u8(moved(one, 6, 2, 4), vorrq_u8(moved(two, 6, 2, 2), moved(three, 0, 2, 0))),
                };
            }
            codes
        }
    }
}

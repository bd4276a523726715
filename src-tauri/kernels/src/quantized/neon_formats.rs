//! How each block format is taken apart with NEON: four rows at a time, a 32-bit word of each in one vector.

use std::arch::aarch64::*;

use crate::simd::halves_to_floats;

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

    #[inline(always)]
    unsafe fn words(self, apart: usize, index: usize) -> uint32x4_t {
        unsafe { vreinterpretq_u32_u8(self.bytes(apart, index)) }
    }

    /// Half-precision scales that stand apart.
    #[inline(always)]
    unsafe fn scale_first(self) -> float32x4_t {
        unsafe { halves_to_floats(vld1_u16(self.block.add(8 * self.half).cast())) }
    }

    /// The lower and the upper halves of a word as half-precision numbers.
    #[inline(always)]
    unsafe fn both_halves(self, index: usize) -> [float32x4_t; 2] {
        unsafe {
            let words = self.words(0, index);
            [halves_to_floats(vmovn_u32(words)), halves_to_floats(vshrn_n_u32::<16>(words))]
        }
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

/// Scales or offsets, a vector for each 32 (or 16) elements.
pub(super) type Factors = [float32x4_t; 16];

/// Bytes shifted right and masked.
#[inline(always)]
unsafe fn bits(bytes: uint8x16_t, shift: usize, mask: u8) -> uint8x16_t {
    unsafe { vandq_u8(vshlq_u8(bytes, vdupq_n_s8(-(shift as i8))), vdupq_n_u8(mask)) }
}

/// Words shifted right and masked.
#[inline(always)]
unsafe fn word_bits(words: uint32x4_t, shift: usize, mask: u32) -> uint32x4_t {
    unsafe { vandq_u32(vshlq_u32(words, vdupq_n_s32(-(shift as i32))), vdupq_n_u32(mask)) }
}

/// `values` times byte `index` of each word.
#[inline(always)]
unsafe fn times_byte(values: float32x4_t, words: uint32x4_t, index: usize) -> float32x4_t {
    unsafe { vmulq_f32(values, vcvtq_f32_u32(word_bits(words, 8 * index, 255))) }
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

    unsafe fn scales(at: At, scales: &mut Factors, offsets: &mut Factors);
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
    unsafe fn scales(at: At, scales: &mut Factors, offsets: &mut Factors) {
        unsafe {
            if OFFSET {
                [scales[0], offsets[0]] = at.both_halves(0);
            } else {
                scales[0] = at.scale_first();
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes {
        unsafe {
            let (apart, first) = if OFFSET { (0, 1) } else { (2, 0) };
            let mut codes = at.nibbles(apart, first + FIFTH as usize);
            if FIFTH {
                let fifths = at.bytes(apart, first);
                for (i, codes) in codes.iter_mut().enumerate() {
                    // Byte i / 2 of each word to its four bytes, of which each looks at a bit of its own.
                    let row = vcombine_u8(vcreate_u8(0x0404_0404_0000_0000), vcreate_u8(0x0c0c_0c0c_0808_0808));
                    let bytes = vqtbl1q_u8(fifths, vaddq_u8(row, vdupq_n_u8(i as u8 / 2)));
                    let select = vdupq_n_u32(if i % 2 == 0 { 0x0804_0201 } else { 0x8040_2010 });
                    let is_set = vtstq_u8(bytes, vreinterpretq_u8_u32(select));
                    *codes = vorrq_u8(*codes, vandq_u8(is_set, vdupq_n_u8(16)));
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
    unsafe fn scales(at: At, scales: &mut Factors, _: &mut Factors) {
        scales[0] = unsafe { at.scale_first() };
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
    unsafe fn scales(at: At, scales: &mut Factors, offsets: &mut Factors) {
        unsafe {
            let [scale, offset] = at.both_halves(20);
            let offset = vnegq_f32(offset);
            for i in 0..16 {
                let factors = at.bytes(0, i / 4);
                scales[i] = times_byte(scale, vreinterpretq_u32_u8(bits(factors, 0, 15)), i % 4);
                offsets[i] = times_byte(offset, vreinterpretq_u32_u8(bits(factors, 4, 15)), i % 4);
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes {
        unsafe {
            let mut codes = [vdupq_n_u8(0); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                *codes = bits(at.bytes(0, 4 + GROUP / 4 * 8 + i), GROUP % 4 * 2, 3);
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
    unsafe fn scales(at: At, scales: &mut Factors, _: &mut Factors) {
        unsafe {
            let scale = at.scale_first();
            for i in 0..16 {
                let (part, index) = (i / 4, i % 4);
                // Four bits in one of the first two words, two more in the third.
                let four = word_bits(at.words(2, 24 + part % 2), part / 2 * 4 + 8 * index, 15);
                let two = word_bits(at.words(2, 26), 2 * part + 8 * index, 3);
                let factor = vreinterpretq_s32_u32(vorrq_u32(four, vshlq_n_u32::<4>(two)));
                scales[i] = vmulq_f32(scale, vcvtq_f32_s32(vsubq_s32(factor, vdupq_n_s32(32))));
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes {
        unsafe {
            let mut codes = [vdupq_n_u8(0); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                let low = bits(at.bytes(2, 8 + GROUP / 4 * 8 + i), GROUP % 4 * 2, 3);
                let high = bits(at.bytes(2, i), GROUP, 1);
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
    unsafe fn scales(at: At, scales: &mut Factors, offsets: &mut Factors) {
        unsafe {
            let [scale, offset] = at.both_halves(0);
            let offset = vnegq_f32(offset);
            let (a, b, c) = (at.bytes(0, 1), at.bytes(0, 2), at.bytes(0, 3));
            let top = [vshlq_n_u8::<4>(bits(a, 6, 3)), vshlq_n_u8::<4>(bits(b, 6, 3))];
            let factors = [bits(a, 0, 63), vorrq_u8(bits(c, 0, 15), top[0])];
            let minimums = [bits(b, 0, 63), vorrq_u8(bits(c, 4, 15), top[1])];
            for i in 0..8 {
                scales[i] = times_byte(scale, vreinterpretq_u32_u8(factors[i / 4]), i % 4);
                offsets[i] = times_byte(offset, vreinterpretq_u32_u8(minimums[i / 4]), i % 4);
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes {
        unsafe {
            let first = if FIFTH { 12 } else { 4 };
            let mut codes = [vdupq_n_u8(0); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                *codes = bits(at.bytes(0, first + GROUP / 2 * 8 + i), GROUP % 2 * 4, 15);
                if FIFTH {
                    *codes = vorrq_u8(*codes, vshlq_n_u8::<4>(bits(at.bytes(0, 4 + i), GROUP, 1)));
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
    unsafe fn scales(at: At, scales: &mut Factors, _: &mut Factors) {
        unsafe {
            let scale = at.scale_first();
            for i in 0..16 {
                let factors = vreinterpretq_s32_u32(at.words(2, 48 + i / 4));
                let top = vshlq_s32(factors, vdupq_n_s32(24 - 8 * (i as i32 % 4)));
                scales[i] = vmulq_f32(scale, vcvtq_f32_s32(vshrq_n_s32::<24>(top)));
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes {
        unsafe {
            let (part, quarter) = (GROUP / 4, GROUP % 4);
            let mut codes = [vdupq_n_u8(0); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                let low = bits(at.bytes(2, part * 16 + quarter % 2 * 8 + i), quarter / 2 * 4, 15);
                let high = bits(at.bytes(2, 32 + part * 8 + i), quarter * 2, 3);
                *codes = vorrq_u8(low, vshlq_n_u8::<4>(high));
            }
            codes
        }
    }
}

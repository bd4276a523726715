//! How each block format is taken apart on x86: a 32-bit word of each of several rows in one vector.

use std::arch::x86_64::*;

use super::words::{Words, bits as count};
use crate::packed::LANES;

/// A block format as the kernels need it: element = `scale * (code - ZERO) + offset`, codes unsigned.
///
/// Places are of the blocks of rows as [`crate::Packed`] has them.
///
/// # Safety
/// The functions need the instructions of [`Words`], and places of whole blocks.
pub(super) unsafe trait Blocks {
    /// Groups of 32 elements in a block.
    const GROUPS: usize;
    /// Bytes of a row's block.
    const BYTES: usize;
    /// Whether a scale holds for 16 elements instead of 32.
    const HALVES: bool;
    const ZERO: i32;
    /// Whether there are offsets.
    const AFFINE: bool = false;
    /// Whether codes times the scales of their halves, which are not negative then, fit bytes.
    const SCALED_FIT: bool = false;
    /// The largest code: it says how many products with activations fit 16 bits.
    const MOST: i32;
    /// Groups whose codes share words: these are taken apart together, so that every word is read once and in order.
    const TOGETHER: usize = 1;
    /// Of each of these, how many bits higher than at the lowest the codes are where they are lifted, which spares
    /// shifts. Only for formats of which the products of 16 codes fit 16 bits.
    const LIFTS: [i32; 4] = [0; 4];
    /// The largest lifted code.
    const MOST_LIFTED: i32 = Self::MOST;

    /// The scales of group `GROUP`.
    unsafe fn scales<V: Words, const GROUP: usize>(at: V::At) -> Scales<V>;
    /// Codes `4 * i..4 * i + 4` of each row, of group `GROUP` and those it is together with; what is beyond has no meaning.
    unsafe fn codes<V: Words, const GROUP: usize>(at: V::At, i: usize, lifted: bool) -> [V; 4];
}

/// What turns a group's whole numbers into its share of the rows' results.
#[derive(Clone, Copy)]
pub(super) struct Scales<V: Words> {
    /// What products are times, and offsets: those of the group, or of the block where scales hold for 16 elements.
    pub(super) units: [V::Floats; 2],
    /// Where scales hold for 16 elements: a scale and an offset for each half in whole numbers, of 16 bits side by side.
    pub(super) factors: [V; 2],
}

impl<V: Words> Scales<V> {
    #[inline(always)]
    pub(super) unsafe fn of_group(scale: V::Floats, offset: V::Floats) -> Self {
        Self { units: [scale, offset], factors: unsafe { [V::splat32(0); 2] } }
    }

    /// `factors`: of four halves each, a byte each, of which group `GROUP` has the first or the last two.
    #[inline(always)]
    pub(super) unsafe fn of_halves<const GROUP: usize>(units: [V::Floats; 2], factors: [V; 2], signed: bool) -> Self {
        unsafe {
            let bytes = if GROUP.is_multiple_of(2) { 0x0180_0080_u32 } else { 0x0380_0280 };
            let in_row =
                |row: u32| bytes.wrapping_add(0x0400_0400 * row).rotate_right(if signed { 0 } else { 8 }) as i32;
            let places = V::splat128(_mm_setr_epi32(in_row(0), in_row(1), in_row(2), in_row(3)));
            let mut wide = [V::shuffle8(factors[0], places), V::shuffle8(factors[1], places)];
            if signed {
                wide = [V::signed_right16(wide[0], count(8)), V::signed_right16(wide[1], count(8))];
            }
            Self { units, factors: wide }
        }
    }
}

/// The half-precision scales of the rows, or their offsets.
#[inline(always)]
pub(super) unsafe fn halves<V: Words>(at: V::At, index: usize) -> V::Floats {
    unsafe { V::load_halves(at, 2 * LANES * index) }
}

/// Word `index` of each row, where the words begin after `apart` bytes a row.
#[inline(always)]
pub(super) unsafe fn word<V: Words>(at: V::At, apart: usize, index: usize) -> V {
    unsafe { V::load(at, LANES * (apart + 4 * index)) }
}

/// Byte `index` of each word as a float.
#[inline(always)]
pub(super) unsafe fn byte<V: Words>(words: V, index: usize) -> V::Floats {
    unsafe { V::floats(V::and(V::right32(words, count(8 * index as i32)), V::splat32(255))) }
}

/// Bytes shifted right, or left where `shift` is negative, and masked.
#[inline(always)]
pub(super) unsafe fn bits<V: Words>(bytes: V, shift: i32, mask: u8) -> V {
    unsafe {
        let shifted = match shift {
            0 => bytes,
            1.. => V::right16(bytes, count(shift)),
            _ => V::left16(bytes, count(-shift)),
        };
        V::and(shifted, V::splat8(mask as i8))
    }
}

#[inline(always)]
pub(super) unsafe fn negative<V: Words>(values: V::Floats) -> V::Floats {
    unsafe { V::flip(values, V::splat(-0.0)) }
}

/// Vector `i` of codes of a group of which four words hold the nibbles: the low ones first, then the high ones.
#[inline(always)]
unsafe fn nibbles<V: Words>(at: V::At, apart: usize, first: usize, i: usize) -> V {
    unsafe { bits(word::<V>(at, apart, first + i % 4), i as i32 / 4 * 4, 15) }
}

/// Vector `i` of fifth bits, one word a row.
#[inline(always)]
unsafe fn fifth_bits<V: Words>(fifths: V, i: usize) -> V {
    unsafe {
        // Byte i / 2 of each word to its four bytes, of which each looks at a bit of its own.
        let spread = V::splat32(0x0101_0101 * (i as i32 / 2));
        let in_word = V::splat128(_mm_setr_epi32(0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c));
        let select = V::splat32(if i.is_multiple_of(2) { 0x0804_0201 } else { 0x8040_2010_u32 as i32 });
        V::where_set8(V::shuffle8(fifths, V::or(spread, in_word)), select, 16)
    }
}

pub(super) struct Q4_0;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q4_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = 18;
    const HALVES: bool = false;
    const MOST: i32 = 15;
    const ZERO: i32 = 8;

    #[inline(always)]
    unsafe fn scales<V: Words, const GROUP: usize>(at: V::At) -> Scales<V> {
        unsafe { Scales::of_group(halves::<V>(at, 0), V::splat(0.0)) }
    }

    #[inline(always)]
    unsafe fn codes<V: Words, const GROUP: usize>(at: V::At, i: usize, _: bool) -> [V; 4] {
        unsafe { [nibbles::<V>(at, 2, 0, i); 4] }
    }
}

pub(super) struct Q4_1;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q4_1 {
    const GROUPS: usize = 1;
    const BYTES: usize = 20;
    const HALVES: bool = false;
    const MOST: i32 = 15;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales<V: Words, const GROUP: usize>(at: V::At) -> Scales<V> {
        unsafe { Scales::of_group(halves::<V>(at, 0), halves::<V>(at, 1)) }
    }

    #[inline(always)]
    unsafe fn codes<V: Words, const GROUP: usize>(at: V::At, i: usize, _: bool) -> [V; 4] {
        unsafe { [nibbles::<V>(at, 4, 0, i); 4] }
    }
}

pub(super) struct Q5_0;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q5_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = 22;
    const HALVES: bool = false;
    const MOST: i32 = 31;
    const ZERO: i32 = 16;

    #[inline(always)]
    unsafe fn scales<V: Words, const GROUP: usize>(at: V::At) -> Scales<V> {
        unsafe { Scales::of_group(halves::<V>(at, 0), V::splat(0.0)) }
    }

    #[inline(always)]
    unsafe fn codes<V: Words, const GROUP: usize>(at: V::At, i: usize, _: bool) -> [V; 4] {
        unsafe {
            let fifths = fifth_bits(word::<V>(at, 2, 0), i);
            [V::or(nibbles::<V>(at, 2, 1, i), fifths); 4]
        }
    }
}

pub(super) struct Q5_1;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q5_1 {
    const GROUPS: usize = 1;
    const BYTES: usize = 24;
    const HALVES: bool = false;
    const MOST: i32 = 31;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales<V: Words, const GROUP: usize>(at: V::At) -> Scales<V> {
        unsafe { Scales::of_group(halves::<V>(at, 0), halves::<V>(at, 1)) }
    }

    #[inline(always)]
    unsafe fn codes<V: Words, const GROUP: usize>(at: V::At, i: usize, _: bool) -> [V; 4] {
        unsafe {
            let fifths = fifth_bits(word::<V>(at, 4, 0), i);
            [V::or(nibbles::<V>(at, 4, 1, i), fifths); 4]
        }
    }
}

pub(super) struct Q8_0;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q8_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = 34;
    const HALVES: bool = false;
    const MOST: i32 = 255;
    const ZERO: i32 = 128;

    #[inline(always)]
    unsafe fn scales<V: Words, const GROUP: usize>(at: V::At) -> Scales<V> {
        unsafe { Scales::of_group(halves::<V>(at, 0), V::splat(0.0)) }
    }

    #[inline(always)]
    unsafe fn codes<V: Words, const GROUP: usize>(at: V::At, i: usize, _: bool) -> [V; 4] {
        unsafe { [V::xor(word::<V>(at, 2, i), V::splat8(-128)); 4] }
    }
}

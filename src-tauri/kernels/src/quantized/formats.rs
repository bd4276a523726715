//! How each block format is taken apart on x86: a 32-bit word of each of several rows in one vector.

use std::arch::x86_64::*;

use super::words::{Words, bits as count};

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
    /// How far codes may be lifted where their products are added up in 32 bits.
    const LIFTS: Lifts = UNLIFTED;
    /// Where they are added up in 16 bits.
    const LIFTS_16: Lifts = UNLIFTED;
    /// The largest code lifted by the latter.
    const MOST_16: i32 = Self::MOST;

    /// The scales of group `GROUP`.
    unsafe fn scales<V: Words, const GROUP: usize>(at: *const u8) -> Scales<V>;
    /// Codes `4 * i..4 * i + 4` of each row, of group `GROUP` and those it is together with; what is beyond has no meaning.
    unsafe fn codes<V: Words, const GROUP: usize>(at: *const u8, i: usize, lifts: Lifts) -> [V; 4];
}

/// How many bits higher than at the lowest the codes of a group's halves are, which spares shifts: of a block's groups.
pub(super) type Lifts = [[i32; 2]; 8];

pub(super) const UNLIFTED: Lifts = [[0; 2]; 8];
/// Of nibbles that stay where they are: the halves of each group.
const NIBBLES_BY_HALF: Lifts = [[0, 4]; 8];

/// What turns a group's whole numbers into its share of the rows' results.
#[derive(Clone, Copy)]
pub(super) struct Scales<V: Words> {
    /// What products are times, and offsets: those of the group, or of the block where scales hold for 16 elements.
    pub(super) units: [V::Floats; 2],
    /// Where scales hold for 16 elements: a scale and an offset for each half in whole numbers, of 16 bits side by side. Where
    /// these are some bits too high, the units are as much smaller, which rounds nothing.
    pub(super) factors: [V; 2],
}

impl<V: Words> Scales<V> {
    #[inline(always)]
    pub(super) unsafe fn of_group(scale: V::Floats, offset: V::Floats) -> Self {
        Self { units: [scale, offset], factors: unsafe { [V::splat32(0); 2] } }
    }
}

/// Of words of a byte for each half of two groups, those of group `GROUP`, as the lower halves of 16 bits side by side, or the
/// upper ones.
#[inline(always)]
pub(super) unsafe fn bytes_of_halves<V: Words, const GROUP: usize>(words: V, upper: bool) -> V {
    unsafe {
        let bytes = if GROUP.is_multiple_of(2) { 0x0180_0080_u32 } else { 0x0380_0280 };
        let in_row = |row: u32| bytes.wrapping_add(0x0400_0400 * row).rotate_right(if upper { 0 } else { 8 }) as i32;
        V::shuffle8(words, V::splat128(_mm_setr_epi32(in_row(0), in_row(1), in_row(2), in_row(3))))
    }
}

/// The half-precision scales of the rows, or their offsets.
#[inline(always)]
pub(super) unsafe fn halves<V: Words>(at: *const u8, index: usize) -> V::Floats {
    unsafe { V::load_halves(at, 2 * V::ROWS * index) }
}

/// Word `index` of each row, where the words begin after `apart` bytes a row.
#[inline(always)]
pub(super) unsafe fn word<V: Words>(at: *const u8, apart: usize, index: usize) -> V {
    unsafe { V::load(at, V::ROWS * (apart + 4 * index)) }
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

/// Codes that begin at bit `first` of bytes, lifted.
#[inline(always)]
pub(super) unsafe fn lifted<V: Words>(bytes: V, first: i32, mask: u8, lift: i32) -> V {
    unsafe { bits(bytes, first - lift, mask << lift) }
}

/// Vector `i` of codes of a group of which four words hold the nibbles: the low ones first, then the high ones.
#[inline(always)]
unsafe fn nibbles<V: Words>(at: *const u8, apart: usize, first: usize, i: usize, lifts: Lifts) -> V {
    unsafe { lifted(word::<V>(at, apart, first + i % 4), i as i32 / 4 * 4, 15, lifts[0][i / 4]) }
}

/// Code `n` of eight of five bits, of which `word` gives the words.
#[inline(always)]
pub(super) unsafe fn five_bits<V: Words>(word: impl Fn(usize) -> V, n: usize, lift: i32) -> V {
    unsafe {
        if n < 4 {
            return lifted(word(n), 0, 31, lift);
        }
        if n == 4 {
            return lifted(word(4), 3, 31, lift);
        }
        let upper = lifted(word(n - 5), 3, 0x1c, lift);
        let lower = match n {
            5 => lifted(word(3), 6, 3, lift),
            6 => lifted(word(4), 0, 3, lift),
            _ => V::or(lifted(word(4), 2, 1, lift), lifted(word(3), 4, 2, lift)),
        };
        V::or(upper, lower)
    }
}
/// How far these are lifted that take no shift, or none but for their lower bits.
const FIVE_BITS_BY_HALF: Lifts = [[0, 3]; 8];

pub(super) struct Q4_0;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q4_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = 18;
    const HALVES: bool = false;
    const MOST: i32 = 15;
    const LIFTS: Lifts = NIBBLES_BY_HALF;
    const ZERO: i32 = 8;

    #[inline(always)]
    unsafe fn scales<V: Words, const GROUP: usize>(at: *const u8) -> Scales<V> {
        unsafe { Scales::of_group(halves::<V>(at, 0), V::splat(0.0)) }
    }

    #[inline(always)]
    unsafe fn codes<V: Words, const GROUP: usize>(at: *const u8, i: usize, lifts: Lifts) -> [V; 4] {
        unsafe { [nibbles::<V>(at, 2, 0, i, lifts); 4] }
    }
}

pub(super) struct Q4_1;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q4_1 {
    const GROUPS: usize = 1;
    const BYTES: usize = 20;
    const HALVES: bool = false;
    const MOST: i32 = 15;
    const LIFTS: Lifts = NIBBLES_BY_HALF;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales<V: Words, const GROUP: usize>(at: *const u8) -> Scales<V> {
        unsafe { Scales::of_group(halves::<V>(at, 0), halves::<V>(at, 1)) }
    }

    #[inline(always)]
    unsafe fn codes<V: Words, const GROUP: usize>(at: *const u8, i: usize, lifts: Lifts) -> [V; 4] {
        unsafe { [nibbles::<V>(at, 4, 0, i, lifts); 4] }
    }
}

pub(super) struct Q5_0;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q5_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = 22;
    const HALVES: bool = false;
    const MOST: i32 = 31;
    const LIFTS: Lifts = FIVE_BITS_BY_HALF;
    const ZERO: i32 = 16;

    #[inline(always)]
    unsafe fn scales<V: Words, const GROUP: usize>(at: *const u8) -> Scales<V> {
        unsafe { Scales::of_group(halves::<V>(at, 0), V::splat(0.0)) }
    }

    #[inline(always)]
    unsafe fn codes<V: Words, const GROUP: usize>(at: *const u8, i: usize, lifts: Lifts) -> [V; 4] {
        unsafe { [five_bits(|n| word::<V>(at, 2, n), i, lifts[0][i / 4]); 4] }
    }
}

pub(super) struct Q5_1;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q5_1 {
    const GROUPS: usize = 1;
    const BYTES: usize = 24;
    const HALVES: bool = false;
    const MOST: i32 = 31;
    const LIFTS: Lifts = FIVE_BITS_BY_HALF;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales<V: Words, const GROUP: usize>(at: *const u8) -> Scales<V> {
        unsafe { Scales::of_group(halves::<V>(at, 0), halves::<V>(at, 1)) }
    }

    #[inline(always)]
    unsafe fn codes<V: Words, const GROUP: usize>(at: *const u8, i: usize, lifts: Lifts) -> [V; 4] {
        unsafe { [five_bits(|n| word::<V>(at, 4, n), i, lifts[0][i / 4]); 4] }
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
    unsafe fn scales<V: Words, const GROUP: usize>(at: *const u8) -> Scales<V> {
        unsafe { Scales::of_group(halves::<V>(at, 0), V::splat(0.0)) }
    }

    #[inline(always)]
    unsafe fn codes<V: Words, const GROUP: usize>(at: *const u8, i: usize, _: Lifts) -> [V; 4] {
        unsafe { [V::xor(word::<V>(at, 2, i), V::splat8(-128)); 4] }
    }
}

//! How the formats with blocks of 256 elements are taken apart on x86.

use super::{
    formats::{Blocks, Lifts, NIBBLES_BY_GROUP, Scales, bits, byte, halves, lifted, negative, word},
    words::{Words, bits as count},
};
use crate::{
    Format,
    packed::{
        bits::{FIFTH_AND_SIXTH_OF_GROUP, FIFTH_OF_GROUP, THIRD_OF_GROUP},
        place,
    },
};

pub(super) struct Q2K;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q2K {
    const GROUPS: usize = 8;
    const TOGETHER: usize = 4;
    const LIFTS: Lifts = [[0; 2], [2; 2], [4; 2], [6; 2]];
    const LIFTS_16: Lifts = [[0; 2], [2; 2], [0; 2], [2; 2]];
    const MOST_16: i32 = 3 << 2;
    const SCALED_FIT: bool = true;
    const BYTES: usize = 84;
    const HALVES: bool = true;
    const MOST: i32 = 3;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales<V: Words, const GROUP: usize>(at: *const u8) -> Scales<V> {
        unsafe {
            let four = word::<V>(at, 4, GROUP / 2);
            let factors = [bits(four, 0, 15), bits(four, 4, 15)];
            Scales::of_halves::<GROUP>([halves::<V>(at, 0), negative::<V>(halves::<V>(at, 1))], factors, false)
        }
    }

    #[inline(always)]
    unsafe fn codes<V: Words, const GROUP: usize>(at: *const u8, i: usize, lifts: Lifts) -> [V; 4] {
        unsafe {
            let word = word::<V>(at, 4, 4 + GROUP / 4 * 8 + i);
            let mut codes = [word; 4];
            for k in 0..4 {
                codes[k] = lifted(word, 2 * k as i32, 3, lifts[k][0]);
            }
            codes
        }
    }
}

pub(super) struct Q3K;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q3K {
    const GROUPS: usize = 8;
    const TOGETHER: usize = 4;
    const LIFTS: Lifts = [[0; 2], [2; 2], [4; 2], [5; 2]];
    const LIFTS_16: Lifts = [[0; 2], [2; 2], [0; 2], [2; 2]];
    const MOST_16: i32 = 7 << 2;
    const BYTES: usize = 110;
    const HALVES: bool = true;
    const MOST: i32 = 7;
    const ZERO: i32 = 4;

    #[inline(always)]
    unsafe fn scales<V: Words, const GROUP: usize>(at: *const u8) -> Scales<V> {
        unsafe {
            // Four bits in one of two words, two more in the third; 32 is 0.
            let part = GROUP / 2;
            let low = bits(word::<V>(at, 2, place(Format::Q3K, 24 + part % 2)), part as i32 / 2 * 4, 15);
            let high = V::left16(bits(word::<V>(at, 2, place(Format::Q3K, 26)), 2 * part as i32, 3), count(4));
            let factors = V::sub8(V::or(low, high), V::splat8(32));
            Scales::of_halves::<GROUP>([halves::<V>(at, 0), V::splat(0.0)], [factors; 2], true)
        }
    }

    #[inline(always)]
    unsafe fn codes<V: Words, const GROUP: usize>(at: *const u8, i: usize, lifts: Lifts) -> [V; 4] {
        unsafe {
            let low = word::<V>(at, 2, place(Format::Q3K, 8 + GROUP / 4 * 8 + i));
            let high = word::<V>(at, 2, place(Format::Q3K, i));
            let mut codes = [low; 4];
            for k in 0..4 {
                let (third, lift) = (THIRD_OF_GROUP[GROUP / 4 * 4 + k] as i32, lifts[k][0]);
                codes[k] = V::or(lifted(low, 2 * k as i32, 3, lift), lifted(high, third - 2, 4, lift));
            }
            codes
        }
    }
}

/// Scales and minimums of Q4_K and Q5_K: 6 bits each, packed into three words
/// (`get_scale_min_k4` in <https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c>).
#[inline(always)]
unsafe fn six_bit_scales<V: Words, const GROUP: usize>(at: *const u8) -> Scales<V> {
    unsafe {
        let (a, b, c) = (word::<V>(at, 4, 0), word::<V>(at, 4, 1), word::<V>(at, 4, 2));
        let [factors, minimums] = if GROUP < 4 {
            [bits(a, 0, 63), bits(b, 0, 63)]
        } else {
            [V::or(bits(c, 0, 15), bits(a, 2, 0x30)), V::or(bits(c, 4, 15), bits(b, 2, 0x30))]
        };
        let scale = V::mul(halves::<V>(at, 0), byte(factors, GROUP % 4));
        let offset = V::mul(negative::<V>(halves::<V>(at, 1)), byte(minimums, GROUP % 4));
        Scales::of_group(scale, offset)
    }
}

pub(super) struct Q4K;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q4K {
    const GROUPS: usize = 8;
    const BYTES: usize = 144;
    const HALVES: bool = false;
    const MOST: i32 = 15;
    const LIFTS: Lifts = NIBBLES_BY_GROUP;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales<V: Words, const GROUP: usize>(at: *const u8) -> Scales<V> {
        unsafe { six_bit_scales::<V, GROUP>(at) }
    }

    #[inline(always)]
    unsafe fn codes<V: Words, const GROUP: usize>(at: *const u8, i: usize, lifts: Lifts) -> [V; 4] {
        // Pairs that share words were slower together.
        let words = 3 + GROUP / 2 * 8;
        unsafe { [lifted(word::<V>(at, 4, words + i), GROUP as i32 % 2 * 4, 15, lifts[GROUP % 4][0]); 4] }
    }
}

pub(super) struct Q5K;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q5K {
    const GROUPS: usize = 8;
    const BYTES: usize = 176;
    const HALVES: bool = false;
    const MOST: i32 = 31;
    const LIFTS: Lifts = [[0; 2], [1; 2], [0; 2], [1; 2]];
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales<V: Words, const GROUP: usize>(at: *const u8) -> Scales<V> {
        unsafe { six_bit_scales::<V, GROUP>(at) }
    }

    #[inline(always)]
    unsafe fn codes<V: Words, const GROUP: usize>(at: *const u8, i: usize, lifts: Lifts) -> [V; 4] {
        // Pairs that share words were slower together.
        unsafe {
            let low = word::<V>(at, 4, place(Format::Q5K, 11 + GROUP / 2 * 8 + i));
            let high = word::<V>(at, 4, place(Format::Q5K, 3 + i));
            let (fifth, lift) = (FIFTH_OF_GROUP[GROUP] as i32, lifts[GROUP % 4][0]);
            [V::or(lifted(low, GROUP as i32 % 2 * 4, 15, lift), lifted(high, fifth - 4, 16, lift)); 4]
        }
    }
}

pub(super) struct Q6K;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q6K {
    const GROUPS: usize = 8;
    const TOGETHER: usize = 4;
    const BYTES: usize = 210;
    const HALVES: bool = true;
    const MOST: i32 = 63;
    const LIFTS: Lifts = [[0; 2], [0; 2], [2; 2], [2; 2]];
    const ZERO: i32 = 32;

    #[inline(always)]
    unsafe fn scales<V: Words, const GROUP: usize>(at: *const u8) -> Scales<V> {
        unsafe {
            let units = [halves::<V>(at, 0), V::splat(0.0)];
            Scales::of_halves::<GROUP>(units, [word::<V>(at, 2, place(Format::Q6K, 48 + GROUP / 2)); 2], true)
        }
    }

    #[inline(always)]
    unsafe fn codes<V: Words, const GROUP: usize>(at: *const u8, i: usize, lifts: Lifts) -> [V; 4] {
        unsafe {
            let part = GROUP / 4;
            let high = word::<V>(at, 2, place(Format::Q6K, 32 + part * 8 + i));
            let one = word::<V>(at, 2, place(Format::Q6K, part * 16 + i));
            let two = word::<V>(at, 2, place(Format::Q6K, part * 16 + 8 + i));
            let mut codes = [high; 4];
            for k in 0..4 {
                let (low, first) = (if k % 2 == 0 { one } else { two }, k as i32 / 2 * 4);
                let (fifth, lift) = (FIFTH_AND_SIXTH_OF_GROUP[k] as i32, lifts[k][0]);
                codes[k] = V::or(lifted(low, first, 15, lift), lifted(high, fifth - 4, 0x30, lift));
            }
            codes
        }
    }
}

//! How the formats with blocks of 256 elements are taken apart on x86.

use super::{
    formats::{Blocks, Lifts, Scales, bits, byte, bytes_of_halves, five_bits, halves, lifted, negative, word},
    words::{Words, bits as count},
};
use crate::{Format, packed::place};

/// The same for the halves of each group.
const fn lifts(of_groups: [i32; 8]) -> Lifts {
    let mut lifts = [[0; 2]; 8];
    let mut group = 0;
    while group < 8 {
        lifts[group] = [of_groups[group]; 2];
        group += 1;
    }
    lifts
}

pub(super) struct Q2K;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q2K {
    const GROUPS: usize = 8;
    const TOGETHER: usize = 4;
    const LIFTS: Lifts = lifts([0, 2, 4, 6, 0, 2, 4, 6]);
    const LIFTS_16: Lifts = lifts([0, 2, 0, 2, 0, 2, 0, 2]);
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
            let both = bytes_of_halves::<V, GROUP>(word::<V>(at, 4, GROUP / 2), false);
            // The offsets are four bits too high.
            let offset = V::mul(halves::<V>(at, 1), V::splat(-1.0 / 16.0));
            Scales { units: [halves::<V>(at, 0), offset], factors: [bits(both, 0, 15), bits(both, 0, 0xf0)] }
        }
    }

    #[inline(always)]
    unsafe fn codes<V: Words, const GROUP: usize>(at: *const u8, i: usize, lifts: Lifts) -> [V; 4] {
        unsafe {
            let word = word::<V>(at, 4, 4 + GROUP / 4 * 8 + i);
            let mut codes = [word; 4];
            for k in 0..4 {
                codes[k] = lifted(word, 2 * k as i32, 3, lifts[GROUP / 4 * 4 + k][0]);
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
    const LIFTS: Lifts = lifts([0, 3, 0, 5, 0, 3, 4, 5]);
    const BYTES: usize = 110;
    const HALVES: bool = true;
    const MOST: i32 = 7;
    const ZERO: i32 = 4;

    #[inline(always)]
    unsafe fn scales<V: Words, const GROUP: usize>(at: *const u8) -> Scales<V> {
        unsafe {
            let scales = |index: usize| word::<V>(at, 2, place(Format::Q3K, 24 + index));
            let factors = if GROUP < 6 {
                scales(GROUP / 2)
            } else {
                let [one, two, three] = [scales(0), scales(1), scales(2)];
                V::or(V::or(bits(one, -6, 0xc0), bits(two, -4, 0x30)), bits(three, -2, 0x0c))
            };
            let bytes = bytes_of_halves::<V, GROUP>(factors, true);
            // Six bits with a sign.
            Scales { units: [halves::<V>(at, 0); 2], factors: [V::signed_right16(bytes, count(10)); 2] }
        }
    }

    #[inline(always)]
    unsafe fn codes<V: Words, const GROUP: usize>(at: *const u8, i: usize, lifts: Lifts) -> [V; 4] {
        unsafe {
            let (part, lift) = (GROUP / 4, |k: usize| lifts[GROUP / 4 * 4 + k][0]);
            let own = word::<V>(at, 2, place(Format::Q3K, 8 + part * 8 + i));
            let common = word::<V>(at, 2, place(Format::Q3K, i));
            let first = 4 * part as i32;
            [
                lifted(own, 0, 7, lift(0)),
                lifted(own, 3, 7, lift(1)),
                lifted(common, first, 7, lift(2)),
                V::or(lifted(own, 5, 6, lift(3)), lifted(common, first + 3, 1, lift(3))),
            ]
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
    const LIFTS: Lifts = lifts([0, 4, 0, 4, 0, 4, 0, 4]);
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
        unsafe { [lifted(word::<V>(at, 4, words + i), GROUP as i32 % 2 * 4, 15, lifts[GROUP][0]); 4] }
    }
}

pub(super) struct Q5K;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q5K {
    const GROUPS: usize = 8;
    const BYTES: usize = 176;
    const HALVES: bool = false;
    const MOST: i32 = 31;
    const LIFTS: Lifts = lifts([0, 0, 0, 0, 3, 3, 3, 3]);
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales<V: Words, const GROUP: usize>(at: *const u8) -> Scales<V> {
        unsafe { six_bit_scales::<V, GROUP>(at) }
    }

    #[inline(always)]
    unsafe fn codes<V: Words, const GROUP: usize>(at: *const u8, i: usize, lifts: Lifts) -> [V; 4] {
        // Groups that share words were slower together.
        unsafe { [five_bits(|n| word::<V>(at, 4, 3 + 8 * n + i), GROUP, lifts[GROUP][0]); 4] }
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
    const LIFTS: Lifts = lifts([0, 0, 2, 2, 0, 0, 2, 2]);
    const ZERO: i32 = 32;

    #[inline(always)]
    unsafe fn scales<V: Words, const GROUP: usize>(at: *const u8) -> Scales<V> {
        unsafe {
            let bytes = bytes_of_halves::<V, GROUP>(word::<V>(at, 2, place(Format::Q6K, 48 + GROUP / 2)), true);
            Scales { units: [halves::<V>(at, 0); 2], factors: [V::signed_right16(bytes, count(8)); 2] }
        }
    }

    #[inline(always)]
    unsafe fn codes<V: Words, const GROUP: usize>(at: *const u8, i: usize, lifts: Lifts) -> [V; 4] {
        unsafe {
            let (part, lift) = (GROUP / 4, |k: usize| lifts[GROUP / 4 * 4 + k][0]);
            let one = word::<V>(at, 2, place(Format::Q6K, part * 16 + i));
            let two = word::<V>(at, 2, place(Format::Q6K, part * 16 + 8 + i));
            let three = word::<V>(at, 2, place(Format::Q6K, 32 + part * 8 + i));
            let lower = V::or(lifted(two, 4, 0x0c, lift(3)), lifted(three, 0, 3, lift(3)));
            [
                lifted(one, 0, 63, lift(0)),
                lifted(two, 0, 63, lift(1)),
                lifted(three, 2, 63, lift(2)),
                V::or(lifted(one, 2, 0x30, lift(3)), lower),
            ]
        }
    }
}

//! Where the bits of codes go that the formats keep in two words: most codes become whole, so that one instruction takes
//! them out of their bytes; the others are put together from what is left beside these.

use crate::Format;

/// Some bits of each byte of a word, and their place in each byte of another.
#[derive(Clone, Copy)]
struct Field {
    /// Which word of a set, and which bit is the first.
    from: [usize; 2],
    to: [usize; 2],
    bits: u32,
}

const fn field(from: [usize; 2], to: [usize; 2], bits: u32) -> Field {
    Field { from, to, bits }
}

/// Eight codes of five bits: a word with the fifth bit of code `n` at bit `n`, and four of the others, which begin at
/// `nibbles`.
///
/// Codes 0 to 3 become the low bits of words 0 to 3, code 4 the high ones of word 4. The upper three bits of codes 5 to 7
/// are the high ones of words 0 to 2; the lower two of code 5 are bits 6 and 7 of word 3, those of code 6 bits 0 and 1 of
/// word 4, and those of code 7 bit 2 of word 4 and bit 5 of word 3.
const fn five_bits(nibbles: [[usize; 2]; 8]) -> [Field; 20] {
    const WHOLE: [[usize; 2]; 5] = [[0, 0], [1, 0], [2, 0], [3, 0], [4, 3]];
    let mut fields = [field([0, 0], [0, 0], 0); 20];
    let mut code = 0;
    while code < 8 {
        let [word, bit] = nibbles[code];
        if code < 5 {
            let [to, place] = WHOLE[code];
            fields[2 * code] = field([word, bit], [to, place], 4);
            fields[2 * code + 1] = field([0, code], [to, place + 4], 1);
        } else {
            fields[2 * code] = field([word, bit + 2], [code - 5, 5], 2);
            fields[2 * code + 1] = field([0, code], [code - 5, 7], 1);
        }
        code += 1;
    }
    let [five, six, seven] = [nibbles[5], nibbles[6], nibbles[7]];
    fields[16] = field(five, [3, 6], 2);
    fields[17] = field(six, [4, 0], 2);
    fields[18] = field(seven, [4, 2], 1);
    fields[19] = field([seven[0], seven[1] + 1], [3, 5], 1);
    fields
}

/// Of Q5_0 and Q5_1: vector `n` of codes.
const FIVE_BITS_BY_VECTOR: [Field; 20] = five_bits([[1, 0], [2, 0], [3, 0], [4, 0], [1, 4], [2, 4], [3, 4], [4, 4]]);
/// Of Q5_K: group `n`.
const FIVE_BITS_BY_GROUP: [Field; 20] = five_bits([[1, 0], [1, 4], [2, 0], [2, 4], [3, 0], [3, 4], [4, 0], [4, 4]]);

/// Of Q3_K: a word with the third bits of all eight groups, one with the lower bits of the first four, and one with those of
/// the others. Of four groups, the first and the second become the low six bits of the latter. The third is in the first
/// word, in which each four has four bits, and the highest of these is the lowest of the fourth group, of which the others
/// are the high bits beside the first two.
const THREE_BITS: [Field; 18] = [
    field([1, 0], [1, 0], 2),
    field([0, 0], [1, 2], 1),
    field([1, 2], [1, 3], 2),
    field([0, 1], [1, 5], 1),
    field([1, 4], [0, 0], 2),
    field([0, 2], [0, 2], 1),
    field([1, 6], [0, 3], 1),
    field([1, 7], [1, 6], 1),
    field([0, 3], [1, 7], 1),
    field([2, 0], [2, 0], 2),
    field([0, 4], [2, 2], 1),
    field([2, 2], [2, 3], 2),
    field([0, 5], [2, 5], 1),
    field([2, 4], [0, 4], 2),
    field([0, 6], [0, 6], 1),
    field([2, 6], [0, 7], 1),
    field([2, 7], [2, 6], 1),
    field([0, 7], [2, 7], 1),
];

/// Of Q3_K's scales: two words with the lower four bits of fours 0 and 1, and of 2 and 3; one with the others. The first
/// three fours become the high bits of their word, the last is in the low ones of all three, its highest bits first.
const SIX_BIT_SCALES: [Field; 9] = [
    field([0, 0], [0, 2], 4),
    field([2, 0], [0, 6], 2),
    field([1, 0], [1, 2], 4),
    field([2, 2], [1, 6], 2),
    field([0, 4], [2, 2], 4),
    field([2, 4], [2, 6], 2),
    field([2, 6], [0, 0], 2),
    field([1, 6], [1, 0], 2),
    field([1, 4], [2, 0], 2),
];
/// The highest bit of each of these scales, of which 32 stands for nothing, as part of a signed number.
const SIGNS: u32 = 0xaaaa_aaaa;

/// Of Q6_K: two words with the lower four bits of groups 0 and 2, and of 1 and 3, and one with the others. Groups 0 and 1
/// become the low bits of the first two, group 2 the high ones of the third; of group 3 the first has the upper two bits,
/// the second the next, the third the lower two.
const SIX_BITS: [Field; 9] = [
    field([0, 0], [0, 0], 4),
    field([2, 0], [0, 4], 2),
    field([1, 0], [1, 0], 4),
    field([2, 2], [1, 4], 2),
    field([0, 4], [2, 2], 4),
    field([2, 4], [2, 6], 2),
    field([2, 6], [0, 6], 2),
    field([1, 6], [1, 6], 2),
    field([1, 4], [2, 0], 2),
];

/// Moves bits among the words of `SETS` sets, to where kernels read them or back. Of each word of the first set `first` says
/// which it is; those of the next sets follow. Several at a time, so that the compiler makes vectors of them.
#[inline(always)]
fn move_fields<const WORDS: usize, const SETS: usize>(
    words: &mut [[u8; 4]],
    first: [usize; WORDS],
    fields: &[Field],
    back: bool,
) {
    let before = first.map(|first| std::array::from_fn::<_, SETS, _>(|set| u32::from_le_bytes(words[first + set])));
    let mut after = [[0; SETS]; WORDS];
    for &Field { from, to, bits } in fields {
        let [[from, bit], [to, place]] = if back { [to, from] } else { [from, to] };
        let mask = 0x0101_0101 * ((1 << bits) - 1);
        for (after, before) in after[to].iter_mut().zip(&before[from]) {
            *after |= (before >> bit & mask) << place;
        }
    }
    for (first, after) in first.into_iter().zip(after) {
        for (word, after) in words[first..][..SETS].iter_mut().zip(after) {
            *word = after.to_le_bytes();
        }
    }
}

/// 32 bits, four of each vector of codes, as bits `n` of the bytes for vector `n`.
fn spread(word: [u8; 4]) -> [u8; 4] {
    let word = u32::from_le_bytes(word);
    let of_vector = |n: u32| (((word >> (4 * n) & 15) * 0x0020_4081) & 0x0101_0101) << n;
    (0..8).map(of_vector).fold(0, |all, bits| all | bits).to_le_bytes()
}

/// Back.
fn gather(word: [u8; 4]) -> [u8; 4] {
    let word = u32::from_le_bytes(word);
    let of_vector = |n: u32| ((word >> n & 0x0101_0101).wrapping_mul(0x0102_0408) >> 24 & 15) << (4 * n);
    (0..8).map(of_vector).fold(0, |all, bits| all | bits).to_le_bytes()
}

/// Moves the bits of a block's words, which are in the file's order and without its half-precision numbers, to where
/// kernels read them.
pub(super) fn arrange(format: Format, words: &mut [[u8; 4]]) {
    move_all(format, words, false);
}

/// Moves them back.
pub(super) fn restore(format: Format, words: &mut [[u8; 4]]) {
    move_all(format, words, true);
}

#[inline(always)]
fn move_all(format: Format, words: &mut [[u8; 4]], back: bool) {
    let flip = |word: &mut [u8; 4]| *word = (u32::from_le_bytes(*word) ^ SIGNS).to_le_bytes();
    match format {
        Format::Q5_0 | Format::Q5_1 => {
            if !back {
                words[0] = spread(words[0]);
            }
            move_fields::<5, 1>(words, [0, 1, 2, 3, 4], &FIVE_BITS_BY_VECTOR, back);
            if back {
                words[0] = gather(words[0]);
            }
        }
        Format::Q3K => {
            move_fields::<3, 8>(words, [0, 8, 16], &THREE_BITS, back);
            if !back {
                flip(&mut words[26]);
            }
            move_fields::<3, 1>(words, [24, 25, 26], &SIX_BIT_SCALES, back);
            if back {
                flip(&mut words[26]);
            }
        }
        Format::Q5K => move_fields::<5, 8>(words, [3, 11, 19, 27, 35], &FIVE_BITS_BY_GROUP, back),
        Format::Q6K => {
            move_fields::<3, 8>(words, [0, 8, 32], &SIX_BITS, back);
            move_fields::<3, 8>(words, [16, 24, 40], &SIX_BITS, back);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "nothing in it is unsafe")]
    fn every_bit_is_moved_and_comes_back() {
        for (format, len) in
            [(Format::Q5_0, 5), (Format::Q5_1, 5), (Format::Q3K, 27), (Format::Q5K, 43), (Format::Q6K, 52)]
        {
            let mut met = vec![0; len];
            let zeros = {
                let mut words = vec![[0; 4]; len];
                arrange(format, &mut words);
                words
            };
            for bit in 0..32 * len {
                let mut words = vec![[0; 4]; len];
                words[bit / 32] = (1_u32 << (bit % 32)).to_le_bytes();
                let one = words.clone();
                arrange(format, &mut words);
                for ((met, word), zero) in met.iter_mut().zip(&words).zip(&zeros) {
                    *met |= u32::from_le_bytes(*word) ^ u32::from_le_bytes(*zero);
                }
                restore(format, &mut words);
                assert_eq!(words, one, "{format:?}, bit {bit}");
            }
            assert!(met.iter().all(|&met| met == u32::MAX), "{format:?}: {met:x?}");
        }
    }
}

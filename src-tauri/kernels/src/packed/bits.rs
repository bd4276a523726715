//! Where the highest bits of codes go that the formats keep apart from the lower ones: to where these meet them with few
//! shifts, most of which serve several groups.

use crate::Format;

/// Which bit of each byte has the fifth bits of the codes `4 * i..4 * i + 4` of Q5_0 and Q5_1.
pub(crate) const FIFTH_OF_VECTOR: [usize; 8] = [4, 5, 0, 1, 6, 7, 2, 3];
/// Which bit of each byte has the third bits of a group of Q3_K.
pub(crate) const THIRD_OF_GROUP: [usize; 8] = [2, 4, 6, 7, 1, 3, 5, 0];
/// Which bit of each byte has the fifth bits of a group of Q5_K.
pub(crate) const FIFTH_OF_GROUP: [usize; 8] = [4, 5, 6, 7, 0, 1, 2, 3];
/// At which bit of each byte the fifth and sixth bits of a group of Q6_K begin.
pub(crate) const FIFTH_AND_SIXTH_OF_GROUP: [usize; 4] = [4, 0, 6, 2];

/// How the bits of a word of 32 bits are moved, byte by byte.
pub(super) struct Moved {
    there: [[u32; 256]; 4],
    back: [[u32; 256]; 4],
}

impl Moved {
    /// `places`: where each bit goes.
    const fn new(places: [usize; 32]) -> Self {
        let mut moved = Self { there: [[0; 256]; 4], back: [[0; 256]; 4] };
        let mut value = 0;
        while value < 256 {
            let mut bit = 0;
            while bit < 32 {
                let place = places[bit];
                moved.there[bit / 8][value] |= (value as u32 >> (bit % 8) & 1) << place;
                moved.back[place / 8][value] |= (value as u32 >> (place % 8) & 1) << bit;
                bit += 1;
            }
            value += 1;
        }
        moved
    }

    /// Bits of each byte that go to `places` of it.
    const fn in_bytes(places: [usize; 8]) -> Self {
        let mut all = [0; 32];
        let mut bit = 0;
        while bit < 32 {
            all[bit] = bit / 8 * 8 + places[bit % 8];
            bit += 1;
        }
        Self::new(all)
    }

    pub(super) fn there(&self, word: [u8; 4]) -> [u8; 4] {
        apply(&self.there, word)
    }

    pub(super) fn back(&self, word: [u8; 4]) -> [u8; 4] {
        apply(&self.back, word)
    }
}

fn apply(table: &[[u32; 256]; 4], word: [u8; 4]) -> [u8; 4] {
    let bytes = table.iter().zip(word).map(|(of_byte, byte)| of_byte[usize::from(byte)]);
    bytes.fold(0, |all, bits| all | bits).to_le_bytes()
}

/// The fifth bit of each code is in the byte that has its other bits.
static FIFTHS_OF_32: Moved = {
    let mut places = [0; 32];
    let mut code = 0;
    while code < 32 {
        places[code] = code % 4 * 8 + FIFTH_OF_VECTOR[code / 4];
        code += 1;
    }
    Moved::new(places)
};
static THIRDS: Moved = Moved::in_bytes(THIRD_OF_GROUP);
static FIFTHS: Moved = Moved::in_bytes(FIFTH_OF_GROUP);
static FIFTHS_AND_SIXTHS: Moved = {
    let mut places = [0; 8];
    let mut bit = 0;
    while bit < 8 {
        places[bit] = FIFTH_AND_SIXTH_OF_GROUP[bit / 2] + bit % 2;
        bit += 1;
    }
    Moved::in_bytes(places)
};

/// What happens to the bits of word `index` of a block, its half-precision numbers not counted.
pub(super) fn moved(format: Format, index: usize) -> Option<&'static Moved> {
    match (format, index) {
        (Format::Q5_0 | Format::Q5_1, 0) => Some(&FIFTHS_OF_32),
        (Format::Q3K, 0..8) => Some(&THIRDS),
        (Format::Q5K, 3..11) => Some(&FIFTHS),
        (Format::Q6K, 32..48) => Some(&FIFTHS_AND_SIXTHS),
        _ => None,
    }
}

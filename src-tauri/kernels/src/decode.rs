//! Blocks taken apart one by one, in plain Rust: the reference for every kernel, and the way of single rows.

use crate::Format;

/// One block as codes and affine scales: element `i` is `scale[i / 16] * (codes[i] - zero) + offset[i / 16]`.
pub(crate) struct Block {
    pub(crate) codes: [u8; 256],
    pub(crate) scale: [f32; 16],
    pub(crate) offset: [f32; 16],
    pub(crate) zero: u8,
    /// The whole numbers in `scale` and `offset` where they hold for 16 elements, and what these are times.
    pub(crate) factors: [[i32; 16]; 2],
    pub(crate) units: [f32; 2],
}

impl Block {
    pub(crate) fn new() -> Self {
        Self { codes: [0; 256], scale: [0.0; 16], offset: [0.0; 16], zero: 0, factors: [[0; 16]; 2], units: [0.0; 2] }
    }

    /// Takes apart one block of a quantized format.
    ///
    /// # Panics
    /// When `bytes` is shorter than a block or the format is a float format.
    pub(crate) fn read(&mut self, format: Format, bytes: &[u8]) {
        let half = |at: usize| f16_to_f32(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        match format {
            Format::F32 | Format::F16 | Format::BF16 => unreachable!("floats have no blocks"),
            Format::Q4_0 => self.simple(half(0), 0.0, 8, None, &bytes[2..]),
            Format::Q4_1 => self.simple(half(0), half(2), 0, None, &bytes[4..]),
            Format::Q5_0 => self.simple(half(0), 0.0, 16, Some(&bytes[2..]), &bytes[6..]),
            Format::Q5_1 => self.simple(half(0), half(2), 0, Some(&bytes[4..]), &bytes[8..]),
            Format::Q8_0 => {
                self.zero = 128;
                self.scale[..2].fill(half(0));
                self.offset[..2].fill(0.0);
                for (code, &byte) in self.codes[..32].iter_mut().zip(&bytes[2..34]) {
                    *code = byte ^ 0x80;
                }
            }
            Format::Q2K => {
                self.zero = 0;
                self.sixteens([half(80), -half(82)], |i| [i32::from(bytes[i] & 15), i32::from(bytes[i] >> 4)]);
                for i in 0..256 {
                    self.codes[i] = bytes[16 + i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
                }
            }
            Format::Q3K => {
                self.zero = 4;
                self.sixteens([half(108), 0.0], |i| {
                    let (low, high) = (bytes[96 + i % 8] >> (i / 8 * 4) & 15, bytes[104 + i % 4] >> (i / 4 * 2) & 3);
                    [i32::from(high << 4 | low) - 32, 0]
                });
                for i in 0..256 {
                    let low = bytes[32 + i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
                    self.codes[i] = (bytes[i % 32] >> (i / 32) & 1) << 2 | low;
                }
            }
            Format::Q4K | Format::Q5K => {
                let (scale, offset) = (half(0), half(2));
                self.zero = 0;
                for i in 0..16 {
                    let (factor, minimum) = six_bits(&bytes[4..16], i / 2);
                    self.scale[i] = scale * f32::from(factor);
                    self.offset[i] = -offset * f32::from(minimum);
                }
                let codes = if format == Format::Q4K { 16 } else { 48 };
                for i in 0..256 {
                    self.codes[i] = bytes[codes + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15;
                    if format == Format::Q5K {
                        self.codes[i] |= (bytes[16 + i % 32] >> (i / 32) & 1) << 4;
                    }
                }
            }
            Format::Q6K => {
                self.zero = 32;
                self.sixteens([half(208), 0.0], |i| [i32::from(bytes[192 + i] as i8), 0]);
                for i in 0..256 {
                    let (part, quarter, at) = (i / 128, i / 32 % 4, i % 32);
                    let low = bytes[part * 64 + quarter % 2 * 32 + at] >> (quarter / 2 * 4) & 15;
                    self.codes[i] = (bytes[128 + part * 32 + at] >> (quarter * 2) & 3) << 4 | low;
                }
            }
        }
    }

    fn sixteens(&mut self, units: [f32; 2], factors: impl Fn(usize) -> [i32; 2]) {
        self.units = units;
        for i in 0..16 {
            let [scale, offset] = factors(i);
            (self.factors[0][i], self.factors[1][i]) = (scale, offset);
            (self.scale[i], self.offset[i]) = (units[0] * scale as f32, units[1] * offset as f32);
        }
    }

    fn simple(&mut self, scale: f32, offset: f32, zero: u8, fifth_bits: Option<&[u8]>, nibbles: &[u8]) {
        self.zero = zero;
        self.scale[..2].fill(scale);
        self.offset[..2].fill(offset);
        for i in 0..32 {
            let fifth = fifth_bits.map_or(0, |bits| bits[i / 8] >> (i % 8) & 1);
            self.codes[i] = fifth << 4 | (nibbles[i % 16] >> (i / 16 * 4) & 15);
        }
    }
}

/// The 6-bit scale and minimum number `i` of a Q4_K or Q5_K block.
fn six_bits(bytes: &[u8], i: usize) -> (u8, u8) {
    if i < 4 {
        (bytes[i] & 63, bytes[i + 4] & 63)
    } else {
        (bytes[i + 4] & 15 | bytes[i - 4] >> 6 << 4, bytes[i + 4] >> 4 | bytes[i] >> 6 << 4)
    }
}

/// Writes a row's elements as `f32`.
///
/// # Panics
/// When `bytes` does not hold `out.len()` elements of the format.
pub fn dequantize(format: Format, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(format.row_bytes(out.len()), Some(bytes.len()), "the row's bytes fit its elements");
    let pairs = || bytes.as_chunks::<2>().0.iter().map(|&pair| u16::from_le_bytes(pair));
    match format {
        Format::F32 => {
            out.iter_mut().zip(bytes.as_chunks::<4>().0).for_each(|(out, &bytes)| *out = f32::from_le_bytes(bytes));
        }
        Format::F16 => out.iter_mut().zip(pairs()).for_each(|(out, bits)| *out = f16_to_f32(bits)),
        Format::BF16 => {
            out.iter_mut().zip(pairs()).for_each(|(out, bits)| *out = f32::from_bits(u32::from(bits) << 16));
        }
        _ => {
            let mut block = Block::new();
            let blocks = bytes.chunks_exact(format.block_bytes());
            for (bytes, out) in blocks.zip(out.chunks_exact_mut(format.block_len())) {
                block.read(format, bytes);
                for (i, out) in out.iter_mut().enumerate() {
                    let code = f32::from(block.codes[i]) - f32::from(block.zero);
                    *out = block.scale[i / 16] * code + block.offset[i / 16];
                }
            }
        }
    }
}

/// IEEE half precision to single.
pub fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff);
    let value = match magnitude {
        0x7c00.. => 0x7f80_0000 | (magnitude & 0x3ff) << 13,
        0x0400.. => (magnitude << 13) + 0x3800_0000,
        // Subnormal: the fraction counts 2^-24.
        _ => (magnitude as f32 / 16_777_216.0).to_bits(),
    };
    f32::from_bits(sign | value)
}

/// Single precision to IEEE half, to the nearest, ties to even.
#[inline]
pub fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    let half = if magnitude > 0x7f80_0000 {
        0x7e00
    } else if magnitude >= 0x4780_0000 {
        0x7c00
    } else if magnitude >= 0x3880_0000 {
        // Adding just under half of the lost part rounds; the carry may reach the exponent, which is right.
        (magnitude - 0x3800_0000 + 0xfff + (magnitude >> 13 & 1)) >> 13
    } else {
        // Adding 0.5 leaves the subnormal's count of 2^-24 in the low bits, rounded by the hardware.
        (f32::from_bits(magnitude) + 0.5).to_bits() - 0x3f00_0000
    };
    sign | half as u16
}

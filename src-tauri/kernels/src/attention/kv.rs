//! How keys and values lie in memory.

use std::{fmt, str::FromStr};

use crate::simd::{LANES, Simd, at_every_level};

/// Positions of one page of the KV cache.
pub const PAGE: usize = 32;

/// What the KV cache's elements are.
///
/// In each type a page has for each key or value head [`PAGE`] x [`KvType::bytes_per_head`] bytes: the elements of
/// [`PAGE`] positions, and where there are scales, then those of all positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KvType {
    /// IEEE half precision.
    #[default]
    F16,
    /// 8-bit codes from -127 to 127 with an `f32` scale for each position: the largest magnitude / 127.
    Q8,
    /// As computed.
    F32,
}

impl KvType {
    /// Every type.
    pub const ALL: [Self; 3] = [Self::F16, Self::Q8, Self::F32];

    /// Bytes that the key, or the value, of one head takes at one position.
    pub const fn bytes_per_head(self, head_dim: usize) -> usize {
        match self {
            Self::F16 => size_of::<u16>() * head_dim,
            Self::Q8 => head_dim + size_of::<f32>(),
            Self::F32 => size_of::<f32>() * head_dim,
        }
    }

    /// Its name, as people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Q8 => "q8",
            Self::F32 => "f32",
        }
    }
}

impl fmt::Display for KvType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for KvType {
    type Err = UnknownKvType;

    fn from_str(name: &str) -> Result<Self, UnknownKvType> {
        Self::ALL.into_iter().find(|kv| kv.name() == name).ok_or_else(|| UnknownKvType(name.into()))
    }
}

/// A name that no [`KvType`] has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKvType(String);

impl fmt::Display for UnknownKvType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the KV cache has no type \"{}\": choose f16, q8 or f32", self.0)
    }
}

impl std::error::Error for UnknownKvType {}

at_every_level! {
    /// Writes a token's key of one head into the head's keys of a page, where `position` is the token's.
    ///
    /// Elements lie head_dim x [`PAGE`], so that one load has many positions.
    ///
    /// # Panics
    /// When `keys` is shorter than a head's keys.
    pub fn store_key(kv: KvType, keys: &mut [u8], position: usize, key: &[f32]) = key_at
}

#[inline(always)]
unsafe fn key_at<S: Simd>(kv: KvType, keys: &mut [u8], position: usize, key: &[f32]) {
    store(kv, keys, position, key, |element| element * PAGE + position);
}

at_every_level! {
    /// Writes a token's value of one head into the head's values of a page, where `position` is the token's.
    ///
    /// Elements lie [`PAGE`] x head_dim.
    ///
    /// # Panics
    /// When `values` is shorter than a head's values.
    pub fn store_value(kv: KvType, values: &mut [u8], position: usize, value: &[f32]) = value_at
}

#[inline(always)]
unsafe fn value_at<S: Simd>(kv: KvType, values: &mut [u8], position: usize, value: &[f32]) {
    store(kv, values, position, value, |element| position * value.len() + element);
}

/// Writes a vector's elements where `place` says, and its scale after the elements of all positions.
#[inline(always)]
fn store(kv: KvType, out: &mut [u8], position: usize, vector: &[f32], place: impl Fn(usize) -> usize) {
    match kv {
        KvType::F16 => {
            let out = out.as_chunks_mut::<2>().0;
            for (index, values) in vector.chunks(LANES).enumerate() {
                // Apart from the writing, which goes to many places: so it is done with vectors.
                let mut halves = [0; LANES];
                halves.iter_mut().zip(values).for_each(|(half, &value)| *half = crate::f32_to_f16(value));
                for (lane, half) in halves[..values.len()].iter().enumerate() {
                    out[place(index * LANES + lane)] = half.to_ne_bytes();
                }
            }
        }
        KvType::Q8 => {
            let (codes, scales) = out.split_at_mut(vector.len() * PAGE);
            let largest = vector.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
            for (element, &value) in vector.iter().enumerate() {
                // 1.5 * 2^23 leaves no bits for a fraction: the sum's lowest byte is the nearest whole number.
                codes[place(element)] = (value * inverse + 12_582_912.0).to_bits() as u8;
            }
            scales.as_chunks_mut::<4>().0[position] = (largest / 127.0).to_ne_bytes();
        }
        KvType::F32 => {
            let out = out.as_chunks_mut::<4>().0;
            for (element, &value) in vector.iter().enumerate() {
                out[place(element)] = value.to_ne_bytes();
            }
        }
    }
}

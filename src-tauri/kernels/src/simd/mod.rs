//! One source for every instruction set: kernels are written over [`Simd`] and compiled once for each [`Level`].

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

#[cfg(target_arch = "aarch64")]
pub(crate) use neon::{Neon, halves_to_floats};
pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

/// What the processor can do, as far as the kernels make a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Plain Rust.
    Portable,
    /// AVX2, FMA and F16C.
    Avx2,
    /// [`Level::Avx2`] and the 8-bit dot products of AVX-VNNI.
    AvxVnni,
    /// AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
    /// [`Level::Avx512`] and the 8-bit products of AMX's tiles.
    Amx,
    /// NEON, which every 64-bit Arm processor has.
    NeonMultiply,
    /// [`Level::NeonMultiply`] and the 8-bit dot products of `dotprod`.
    Neon,
}

impl Level {
    /// The levels that this processor has, lowest first.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut levels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            macro_rules! has { ($($name:tt),+) => { $(is_x86_feature_detected!($name))&&+ }; }
            if has!("avx2", "fma", "f16c") {
                levels.push(Self::Avx2);
                if has!("avxvnni") {
                    levels.push(Self::AvxVnni);
                }
                if has!("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni") {
                    levels.push(Self::Avx512);
                    if crate::quantized::tiles::available() {
                        levels.push(Self::Amx);
                    }
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            levels.push(Self::NeonMultiply);
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                levels.push(Self::Neon);
            }
        }
        levels
    }

    /// Its name, as `TEKTRA_SIMD` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avx-vnni",
            Self::Avx512 => "avx-512",
            Self::Amx => "amx",
            Self::NeonMultiply => "neon-multiply",
            Self::Neon => "neon",
        }
    }
}

/// The level that the kernels use: the highest available, or the one that `TEKTRA_SIMD` names, for comparisons.
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let levels = Level::available();
        let wanted = std::env::var("TEKTRA_SIMD").unwrap_or_default();
        let chosen = levels.iter().find(|level| level.name() == wanted).or(levels.last());
        chosen.copied().unwrap_or(Level::Portable)
    })
}

/// Elements of a vector at every level: sums are taken over the same lanes everywhere, and are therefore the same.
pub(crate) const LANES: usize = 16;

/// A register of the processor, which holds some lanes of a vector: more rows at a time fit the registers where a kernel
/// takes these lanes alone and then the others.
///
/// # Safety
/// As for [`Simd`]; pointers must be good for as many elements as the register has lanes.
pub(crate) unsafe trait Register: Copy {
    /// Elements: [`LANES`] or a part of that.
    const LANES: usize;
    /// Rows of weights that a product of floats takes at a time with three rows of activations, 4 or 8: as many sums as
    /// the registers are good for.
    const FLOAT_ROWS: usize = 8;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// From IEEE half precision.
    unsafe fn load_f16(from: *const u16) -> Self;
    /// From bfloat16.
    unsafe fn load_bf16(from: *const u16) -> Self;
    /// Asks for the cache line at an address, which need not be a good one; nothing where there is no such instruction.
    #[inline(always)]
    unsafe fn prefetch(_address: *const u8) {}
    /// `a * b + self`.
    unsafe fn plus_product(self, a: Self, b: Self) -> Self;
}

/// A vector of `f32` and what the kernels do with it.
///
/// # Safety
/// The functions may only be called where the processor has the level's instructions, and pointers must be good for
/// [`LANES`] elements.
pub(crate) unsafe trait Simd: Copy + 'static {
    type F: Copy;
    /// The registers that make a vector.
    type Register: Register;
    /// Vectors of sums that stay in registers beside what is added to them, at least 4.
    const SUMS: usize = 8;
    unsafe fn splat(value: f32) -> Self::F;
    unsafe fn load(from: *const f32) -> Self::F;
    unsafe fn store(to: *mut f32, value: Self::F);
    /// From IEEE half precision.
    unsafe fn load_f16(from: *const u16) -> Self::F;
    /// From whole numbers of 8 bits.
    unsafe fn load_i8(from: *const i8) -> Self::F;
    /// `a * b + c`.
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn round(a: Self::F) -> Self::F;
    /// 2 to the power of a whole number between -126 and 127.
    unsafe fn power_of_two(whole: Self::F) -> Self::F;

    /// All lanes, in an order that depends on nothing.
    #[inline(always)]
    unsafe fn lanes(value: Self::F) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        unsafe { Self::store(lanes.as_mut_ptr(), value) };
        lanes
    }

    /// The sum of the lanes: first those eight apart, then those four apart, and so on.
    #[inline(always)]
    unsafe fn sum(value: Self::F) -> f32 {
        let mut lanes = unsafe { Self::lanes(value) };
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                lanes[i] += lanes[i + width];
            }
            width /= 2;
        }
        lanes[0]
    }

    /// The largest of the lanes, compared in the order of [`Simd::sum`].
    #[inline(always)]
    unsafe fn largest(value: Self::F) -> f32 {
        let mut lanes = unsafe { Self::lanes(value) };
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                lanes[i] = if lanes[i] > lanes[i + width] { lanes[i] } else { lanes[i + width] };
            }
            width /= 2;
        }
        lanes[0]
    }

    /// Writes the nearest whole numbers of lanes between -127 and 127 as bytes, and gives their sum.
    #[inline(always)]
    unsafe fn store_codes(to: *mut i8, value: Self::F) -> i32 {
        let mut sum = 0;
        for (i, lane) in unsafe { Self::lanes(Self::round(value)) }.into_iter().enumerate() {
            // SAFETY: within what both can hold, and room for all lanes, by the contract.
            unsafe {
                let code = lane.to_int_unchecked::<i32>();
                to.add(i).write(code as i8);
                sum += code;
            }
        }
        sum
    }

    /// e to the power of `x`, to about 2 units in the last place; 0 below -87.
    ///
    /// The range reduction and polynomial of Cephes' `expf`.
    #[inline(always)]
    unsafe fn exp(x: Self::F) -> Self::F {
        unsafe {
            let x = Self::min(Self::max(x, Self::splat(-87.0)), Self::splat(88.0));
            let whole = Self::round(Self::mul(x, Self::splat(std::f32::consts::LOG2_E)));
            let rest = Self::fma(whole, Self::splat(-0.693_359_4), x);
            let rest = Self::fma(whole, Self::splat(2.121_944_4e-4), rest);
            let mut sum = Self::splat(1.987_569_1e-4);
            for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
                sum = Self::fma(sum, rest, Self::splat(coefficient));
            }
            let sum = Self::add(Self::fma(Self::mul(sum, rest), rest, rest), Self::splat(1.0));
            Self::mul(sum, Self::power_of_two(whole))
        }
    }
}

/// Defines a safe function that runs a generic kernel at the processor's level.
macro_rules! at_every_level {
    ($(#[$meta:meta])* $visible:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) = $body:ident) => {
        $(#[$meta])*
        $visible fn $name($($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,f16c")]
                unsafe fn avx2($($arg: $type),*) {
                    unsafe { $body::<$crate::simd::Avx2>($($arg),*) }
                }
                #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
                unsafe fn avx512($($arg: $type),*) {
                    unsafe { $body::<$crate::simd::Avx512>($($arg),*) }
                }
                match $crate::simd::level() {
                    // SAFETY: `level` names only what the processor has.
                    $crate::Level::Avx512 | $crate::Level::Amx => return unsafe { avx512($($arg),*) },
                    // SAFETY: the same.
                    $crate::Level::Avx2 | $crate::Level::AvxVnni => return unsafe { avx2($($arg),*) },
                    _ => {}
                }
            }
            #[cfg(target_arch = "aarch64")]
            if $crate::simd::level() != $crate::Level::Portable {
                // SAFETY: every such processor has NEON.
                return unsafe { $body::<$crate::simd::Neon>($($arg),*) };
            }
            // SAFETY: plain Rust runs anywhere.
            unsafe { $body::<$crate::simd::Portable>($($arg),*) }
        }
    };
}
pub(crate) use at_every_level;

at_every_level! {
    /// See [`crate::ActivationRow::quantize`].
    pub(crate) fn quantize(values: &[f32], codes: &mut [i8], scales: &mut [f32], sums: &mut [i32], half_sums: &mut [i16])
        = quantize_row
}

#[inline(always)]
unsafe fn quantize_row<S: Simd>(
    values: &[f32],
    codes: &mut [i8],
    scales: &mut [f32],
    sums: &mut [i32],
    half_sums: &mut [i16],
) {
    let values = values.as_chunks::<32>().0.iter().zip(codes.as_chunks_mut::<32>().0);
    let results = scales.iter_mut().zip(sums).zip(half_sums.as_chunks_mut::<2>().0);
    for ((values, codes), ((scale, sum), halves)) in values.zip(results) {
        // SAFETY: two vectors of values, and room for two of codes.
        unsafe {
            let values = [S::load(values.as_ptr()), S::load(values.as_ptr().add(LANES))];
            let mut largest = S::splat(0.0);
            for value in values {
                largest = S::max(largest, S::max(value, S::mul(value, S::splat(-1.0))));
            }
            let largest = S::largest(largest);
            *scale = largest / 127.0;
            let inverse = S::splat(if largest > 0.0 { 127.0 / largest } else { 0.0 });
            for (half, value) in values.into_iter().enumerate() {
                // What is not a number becomes -127: `max` gives its second operand then.
                let value = S::min(S::max(S::mul(value, inverse), S::splat(-127.0)), S::splat(127.0));
                halves[half] = S::store_codes(codes.as_mut_ptr().add(half * LANES), value) as i16;
            }
        }
        *sum = i32::from(halves[0]) + i32::from(halves[1]);
    }
}

//! How far ahead of the products weights are asked for, where one row of activations meets them; and by threads that wait
//! for a product.
//!
//! Processors foresee what is read next, some of them better than others, and some virtual machines hardly at all: on one
//! machine, asking 8 KiB ahead made decoding 1.6 times as fast, and on another slower. So it is measured where it is used.

use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Instant,
};

use crate::{
    Activations, Format, Packed, Pool, Product, multiply,
    product::STREAMS,
    simd::{Register, Simd, at_every_level},
};

/// What is tried, in bytes; 0 is not asking.
pub const CANDIDATES: [usize; 3] = [4096, 0, 8192];

/// Weights that each candidate is tried with at a time: few enough that a load hardly takes longer.
const SAMPLE_BYTES: usize = 32 << 20;
/// Fewer tell nothing: caches hold them.
const LEAST_BYTES: usize = 8 << 20;
/// A matrix that is larger, as outputs are, would be read as a whole each time, while somebody waits for the load.
const MOST_BYTES: usize = 128 << 20;
const ROUNDS: usize = 5;
/// Another distance than the usual one has to be so much faster: less is noise.
const LEAST_GAIN: f64 = 1.1;

/// Of each format.
static BYTES: [AtomicUsize; Format::ALL.len()] = [const { AtomicUsize::new(CANDIDATES[0]) }; Format::ALL.len()];

pub(crate) fn bytes(format: Format) -> usize {
    BYTES[format as usize].load(Relaxed)
}

/// Of each stream that is coming: with the others about what memory gives during the longest pause, and far less than a
/// second-level cache has.
const MOST_COMING_BYTES: usize = 32 << 10;

/// Where a thread's streams of its next product begin, of which it asks for the first lines while it waits: one thread alone
/// computes what lies between products, and memory would rest.
#[derive(Clone, Copy)]
pub(crate) struct Coming {
    /// Of each stream. Nothing is read: the memory may be gone by then.
    at: [*const u8; STREAMS],
    /// Bytes of each that have not been asked for.
    left: usize,
}

impl Coming {
    /// Nothing.
    pub(crate) const NONE: Self = Self { at: [std::ptr::null(); STREAMS], left: 0 };
    /// Bytes of each stream that are asked for at a time: soon the thread looks again whether there is work.
    const AT_ONCE: usize = 128;

    /// Of streams: rows of matrices, of which the first has the most.
    #[inline(always)]
    pub(crate) fn of(streams: [(&Packed, Range<usize>); STREAMS]) -> Self {
        let (first, rows) = &streams[0];
        if rows.is_empty() {
            return Self::NONE;
        }
        let left = (first.row_bytes * rows.len()).min(MOST_COMING_BYTES);
        let start = |weights: &Packed, row: usize| weights.rows_from(row).as_ptr();
        let first = start(first, rows.start);
        let at = streams.map(|(weights, rows)| if rows.is_empty() { first } else { start(weights, rows.start) });
        Self { at, left }
    }

    /// Asks for some more; false when nothing is left.
    pub(crate) fn ask(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        for at in &mut self.at {
            for line in (0..Self::AT_ONCE).step_by(64) {
                prefetch(at.wrapping_add(line));
            }
            *at = at.wrapping_add(Self::AT_ONCE);
        }
        self.left = self.left.saturating_sub(Self::AT_ONCE);
        true
    }
}

/// Asks for a cache line, where the kernels do.
fn prefetch(line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: an address that is asked for need not be a good one.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// What is read of a stream before the next one's turn: about what products take.
const TURN_BYTES: usize = 256;

at_every_level! {
    /// Reads `bytes`, whole KiB, in as many streams as products read and in turn as they do, and asks for what lies `ahead`
    /// bytes behind each line unless that is 0: the most that a plain read gives.
    pub fn read(bytes: &[u8], ahead: usize) = read_streams
}

#[inline(always)]
unsafe fn read_streams<S: Simd>(bytes: &[u8], ahead: usize) {
    let mut sums = [0_u64; 32];
    let len = bytes.len() / STREAMS / TURN_BYTES * TURN_BYTES;
    let turns = (0..len).step_by(TURN_BYTES).flat_map(|at| (0..STREAMS).map(move |stream| stream * len + at));
    for words in turns.map(|at| &bytes[at..][..TURN_BYTES]) {
        for line in (0..words.len()).step_by(64).filter(|_| ahead > 0) {
            // SAFETY: an address that is asked for need not be a good one.
            unsafe { S::Register::prefetch(words.as_ptr().wrapping_add(ahead + line)) };
        }
        for (sum, word) in sums.iter_mut().zip(words.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_ne_bytes(*word));
        }
    }
    std::hint::black_box(sums);
}

/// Finds what is fastest on this machine for each format among `weights`. Results of products do not depend on it.
pub fn tune(pool: &mut Pool, weights: &[&Packed]) {
    if cfg!(not(target_arch = "x86_64")) {
        // The kernels ask for nothing there.
        return;
    }
    for format in Format::ALL {
        let is_sample = |weights: &&Packed| weights.format == format && weights.len_bytes() <= MOST_BYTES;
        let of_format: Vec<&Packed> = weights.iter().copied().filter(is_sample).collect();
        if of_format.iter().map(|weights| weights.len_bytes()).sum::<usize>() >= LEAST_BYTES {
            choose(pool, format, &of_format);
        }
    }
}

fn choose(pool: &mut Pool, format: Format, weights: &[&Packed]) {
    let mut activations = Activations::default();
    let mut out = Vec::new();
    // Each time other weights, as long as there are some: those that were just read lie in a cache.
    let mut next = weights.iter().cycle();
    let mut best = [f64::INFINITY; CANDIDATES.len()];
    for _ in 0..ROUNDS {
        for (candidate, best) in CANDIDATES.into_iter().zip(&mut best) {
            BYTES[format as usize].store(candidate, Relaxed);
            let (mut bytes, mut seconds) = (0, 0.0);
            while bytes < SAMPLE_BYTES {
                let Some(weights) = next.next() else { return };
                activations.resize(1, weights.columns);
                activations.rows_mut().for_each(|mut row| row.quantize());
                out.resize(weights.rows, 0.0);
                let begun = Instant::now();
                multiply(pool, &activations, &mut [Product { weights, out: &mut out }], None);
                seconds += begun.elapsed().as_secs_f64();
                bytes += weights.len_bytes();
            }
            *best = best.min(seconds / bytes as f64);
        }
    }
    let fastest = CANDIDATES.into_iter().zip(best).min_by(|one, two| one.1.total_cmp(&two.1));
    let chosen = fastest.filter(|(_, time)| time * LEAST_GAIN < best[0]).map_or(CANDIDATES[0], |(bytes, _)| bytes);
    BYTES[format as usize].store(chosen, Relaxed);
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::{Arena, Matrix};

    #[test]
    fn a_distance_is_chosen_and_changes_no_result() {
        let mut pool = Pool::new(2).expect("threads");
        let (rows, columns) = (8192, 2048);
        for format in [Format::Q4_0, Format::Q6K, Format::F16] {
            let bytes = vec![0x22; format.row_bytes(columns).expect("whole blocks") * rows];
            let matrix = Matrix::new(format, rows, columns, &bytes).expect("a matrix");
            let weights = Packed::new(&mut pool, &matrix, &mut Arena::default()).expect("memory");
            let mut activations = Activations::default();
            activations.resize(1, columns);
            for mut row in activations.rows_mut() {
                row.values.iter_mut().enumerate().for_each(|(i, value)| *value = (i as f32).sin());
                row.quantize();
            }
            let products = |pool: &mut Pool| {
                let mut out = vec![0.0; rows];
                multiply(pool, &activations, &mut [Product { weights: &weights, out: &mut out }], None);
                out
            };
            let before = products(&mut pool);
            for candidate in CANDIDATES {
                BYTES[format as usize].store(candidate, Relaxed);
                assert_eq!(products(&mut pool), before, "{format:?}, {candidate} bytes ahead");
            }
            BYTES[format as usize].store(usize::MAX, Relaxed);
            tune(&mut pool, &[&weights]);
            let chosen = super::bytes(format);
            assert!(CANDIDATES.contains(&chosen), "{format:?}: {chosen} bytes ahead");
        }
    }
}

//! How weights are asked for where one row of activations meets them: how far ahead of the products, in how many streams,
//! and by threads that wait for a product.
//!
//! Processors foresee what is read next, some of them better than others, and some virtual machines hardly at all: on one
//! machine, asking 8 KiB ahead made decoding 1.6 times as fast, and on another slower; four streams gave up to 1.1 times as
//! much as two on one, and on another no more. So it is measured where it is used.

use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Instant,
};

use crate::{
    Activations, Format, Packed, Pool, Product, multiply,
    product::{LEAST_STREAMS, STREAMS},
    simd::{Register, Simd, at_every_level},
};

/// What is tried, in bytes; 0 is not asking (blocks whose groups lie together then ask for what is read at that moment).
pub const CANDIDATES: [usize; 3] = [4096, 0, 8192];

/// Weights that each candidate is tried with at a time: few enough that a load hardly takes longer.
const SAMPLE_BYTES: usize = 32 << 20;
/// Fewer tell nothing: caches hold them.
const LEAST_BYTES: usize = 8 << 20;
/// A matrix that is larger, as outputs are, would be read as a whole each time, while somebody waits for the load.
const MOST_BYTES: usize = 128 << 20;
const ROUNDS: usize = 9;
/// Another choice than the usual one has to be so much faster in three rounds of four: less is noise.
const LEAST_GAIN: f64 = 1.03;

/// Of each format.
static BYTES: [AtomicUsize; Format::ALL.len()] = [const { AtomicUsize::new(CANDIDATES[0]) }; Format::ALL.len()];
static STREAM_COUNTS: [AtomicUsize; Format::ALL.len()] = [const { AtomicUsize::new(STREAMS) }; Format::ALL.len()];

/// How far ahead products ask for weights of a format.
pub(crate) fn bytes(format: Format) -> usize {
    BYTES[format as usize].load(Relaxed)
}

/// In how many streams a thread reads weights of a format that are long enough.
pub(crate) fn streams(format: Format) -> usize {
    STREAM_COUNTS[format as usize].load(Relaxed)
}

/// Of all that is coming to a thread: about what memory gives during the longest pause.
const MOST_COMING_BYTES: usize = 256 << 10;

/// Where a thread's streams of its next product begin, of which it asks for the first lines while it waits: one thread alone
/// computes what lies between products, and memory would rest.
#[derive(Clone, Copy)]
pub(crate) struct Coming {
    /// Of each stream. Nothing is read: the memory may be gone by then.
    at: [*const u8; STREAMS],
    /// Streams.
    count: usize,
    /// Bytes of each that have not been asked for.
    left: usize,
}

impl Coming {
    /// Nothing.
    pub(crate) const NONE: Self = Self { at: [std::ptr::null(); STREAMS], count: 0, left: 0 };
    /// Bytes of each stream that are asked for at a time: soon the thread looks again whether there is work.
    const AT_ONCE: usize = 128;

    /// Of streams: rows of matrices, of which the first has the most.
    #[inline(always)]
    pub(crate) fn of(streams: [(&Packed, Range<usize>); STREAMS]) -> Self {
        let mut coming = Self::NONE;
        coming.left = streams[0].0.row_bytes * streams[0].1.len();
        for (weights, rows) in streams.into_iter().filter(|(_, rows)| !rows.is_empty()) {
            coming.at[coming.count] = weights.rows_from(rows.start).as_ptr();
            coming.count += 1;
        }
        coming.left = coming.left.min(MOST_COMING_BYTES / coming.count.max(1));
        coming
    }

    /// Asks for some more; false when nothing is left.
    pub(crate) fn ask(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        for at in &mut self.at[..self.count] {
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

/// Asks for memory that will be written or read soon, a few KiB: what a thread does meanwhile need not wait for it.
pub fn ask_for(bytes: &[u8]) {
    for line in bytes.chunks(64) {
        prefetch(line.as_ptr());
    }
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
    let mut seconds = || {
        let (mut bytes, mut seconds) = (0, 0.0);
        while bytes < SAMPLE_BYTES {
            let Some(weights) = next.next() else { break };
            activations.resize(1, weights.columns);
            activations.rows_mut().for_each(|mut row| row.quantize());
            out.resize(weights.rows, 0.0);
            let begun = Instant::now();
            multiply(pool, &activations, &mut [Product { weights, out: &mut out }], None);
            seconds += begun.elapsed().as_secs_f64();
            bytes += weights.len_bytes();
        }
        seconds / bytes as f64
    };
    choose_one(&BYTES[format as usize], CANDIDATES, &mut seconds);
    choose_one(&STREAM_COUNTS[format as usize], [STREAMS, LEAST_STREAMS], &mut seconds);
}

/// Makes `choice` that of the candidates with which `seconds` is least, beside the first one's of the same round.
fn choose_one<const N: usize>(choice: &AtomicUsize, candidates: [usize; N], mut seconds: impl FnMut() -> f64) {
    let mut gains = [[0.0; ROUNDS]; N];
    for round in 0..ROUNDS {
        let times = candidates.map(|candidate| {
            choice.store(candidate, Relaxed);
            seconds()
        });
        (0..N).for_each(|index| gains[index][round] = times[0] / times[index]);
        // Somebody waits: no more rounds than it takes to know that nothing is faster in most of them.
        let few =
            |gains: &[f64; ROUNDS]| gains[..=round].iter().filter(|gain| **gain <= LEAST_GAIN).count() > ROUNDS / 4;
        if gains.iter().all(few) {
            break;
        }
    }
    // What others do to the memory meanwhile makes some rounds look like gains.
    let in_most_rounds = |mut gains: [f64; ROUNDS]| {
        gains.sort_by(f64::total_cmp);
        gains[ROUNDS / 4]
    };
    let best = candidates.into_iter().zip(gains.map(in_most_rounds)).max_by(|one, two| one.1.total_cmp(&two.1));
    let chosen = best.filter(|&(_, gain)| gain > LEAST_GAIN).map_or(candidates[0], |(candidate, _)| candidate);
    choice.store(chosen, Relaxed);
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::{Arena, Matrix};

    #[test]
    fn another_choice_has_to_be_faster_in_most_rounds() {
        let (choice, mut times) = (AtomicUsize::new(0), 0);
        // The second candidate is faster in all rounds, then in every other one, then by too little.
        for (gains, expected) in [([1.2, 1.2], 8), ([1.5, 1.0], 4), ([1.02, 1.02], 4)] {
            choose_one(&choice, [4, 8], || {
                times += 1;
                if choice.load(Relaxed) == 8 { 1.0 / gains[times / 2 % 2] } else { 1.0 }
            });
            assert_eq!(choice.load(Relaxed), expected, "{gains:?}");
        }
        assert!(times < 2 * 3 * ROUNDS, "no more rounds than it takes");
    }

    #[test]
    #[cfg_attr(miri, ignore = "measures how fast megabytes are read")]
    fn ways_to_read_are_chosen_and_change_no_result() {
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
            STREAM_COUNTS[format as usize].store(LEAST_STREAMS, Relaxed);
            assert_eq!(products(&mut pool), before, "{format:?}, few streams");
            BYTES[format as usize].store(usize::MAX, Relaxed);
            STREAM_COUNTS[format as usize].store(usize::MAX, Relaxed);
            tune(&mut pool, &[&weights]);
            let chosen = (super::bytes(format), super::streams(format));
            assert!(
                CANDIDATES.contains(&chosen.0) && [LEAST_STREAMS, STREAMS].contains(&chosen.1),
                "{format:?}: {chosen:?}"
            );
        }
    }
}

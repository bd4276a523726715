//! What the memory delivers.

use std::time::Instant;

use tektra_kernels::{AHEAD_BYTES, Piece, Pool};

/// How fast memory is read, in GB/s (10^9 bytes): the ceiling of decoding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReadBandwidth {
    /// The fastest pass.
    pub best: f64,
    /// The median pass: where others use the memory too, what it gives for longer than a moment.
    pub median: f64,
}

impl ReadBandwidth {
    /// Reads with `threads` threads half a GiB of memory like that of the weights, five times with each of the distances
    /// that products ask ahead; the median is that of the best distance.
    ///
    /// # Errors
    /// When the system starts no more threads or gives no memory.
    pub fn measure(threads: usize) -> std::io::Result<Self> {
        const BYTES: usize = 512 << 20;
        const CHUNK: usize = 2 << 20;
        const PASSES: usize = 5;
        let mut memory = Piece::new(BYTES)?;
        // Pages that were never written are all the same one.
        memory.fill(1);
        let mut pool = Pool::new(threads)?;
        let mut passes = [[0.0; PASSES]; AHEAD_BYTES.len()];
        for pass in 0..PASSES {
            for (ahead, speeds) in AHEAD_BYTES.into_iter().zip(&mut passes) {
                let begun = Instant::now();
                pool.run(BYTES / CHUNK, &|chunk| {
                    let mut sums = [0_u64; 32];
                    for words in memory[chunk * CHUNK..][..CHUNK].as_chunks::<256>().0 {
                        tektra_kernels::ask_ahead(words, ahead);
                        for (sum, word) in sums.iter_mut().zip(words.as_chunks::<8>().0) {
                            *sum = sum.wrapping_add(u64::from_ne_bytes(*word));
                        }
                    }
                    std::hint::black_box(sums);
                });
                speeds[pass] = BYTES as f64 / begun.elapsed().as_secs_f64() / 1e9;
            }
        }
        for speeds in &mut passes {
            speeds.sort_by(f64::total_cmp);
        }
        let highest = |pass: usize| passes.iter().map(|speeds| speeds[pass]).fold(0.0, f64::max);
        Ok(Self { best: highest(PASSES - 1), median: highest(PASSES / 2) })
    }
}

//! What the memory delivers.

use std::time::Instant;

use tektra_kernels::{AHEAD_BYTES, Piece, Pool};

/// How fast `threads` threads read memory, in GB/s (10^9 bytes): the ceiling of decoding. The best of nine times over
/// half a GiB of memory like that of the weights, with each of the distances that products ask ahead.
///
/// # Errors
/// When the system starts no more threads or gives no memory.
pub fn read_gigabytes_per_second(threads: usize) -> std::io::Result<f64> {
    const BYTES: usize = 512 << 20;
    const CHUNK: usize = 2 << 20;
    let mut memory = Piece::new(BYTES)?;
    // Pages that were never written are all the same one.
    memory.fill(1);
    let mut pool = Pool::new(threads)?;
    let mut best = f64::INFINITY;
    for ahead in AHEAD_BYTES.into_iter().cycle().take(3 * AHEAD_BYTES.len()) {
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
        best = best.min(begun.elapsed().as_secs_f64());
    }
    Ok(BYTES as f64 / best / 1e9)
}

//! What the memory delivers.

use std::time::Instant;

use tektra_kernels::Pool;

/// How fast `threads` threads read memory, in GB/s (10^9 bytes): the ceiling of decoding. The best of five times over
/// half a GiB of memory like that of the weights.
///
/// # Errors
/// When the system starts no more threads or gives no memory.
pub fn read_gigabytes_per_second(threads: usize) -> std::io::Result<f64> {
    const BYTES: usize = 512 << 20;
    const CHUNK: usize = 2 << 20;
    let mut memory = tektra_kernels::memory(BYTES)?;
    // Pages that were never written are all the same one.
    memory.fill(1);
    let mut pool = Pool::new(threads)?;
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let begun = Instant::now();
        pool.run(BYTES / CHUNK, &|chunk| {
            let mut sums = [0_u64; 32];
            for words in memory[chunk * CHUNK..][..CHUNK].as_chunks::<256>().0 {
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

//! What the memory delivers, and decoding beside it.

use std::time::Instant;

use tektra_kernels::{AHEAD_BYTES, PAGE, Piece, Pool};

use super::{AtDepth, MeasureError, Subject, speed::random};

/// Bytes that are read in a pass.
const BYTES: usize = 512 << 20;
/// What a thread takes of them at a time, in several streams.
const CHUNK: usize = 4 << 20;
/// Passes with each distance.
const PASSES: usize = 5;

/// How fast memory is read, in GB/s (10^9 bytes): the ceiling of decoding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReadBandwidth {
    /// The fastest pass.
    pub best: f64,
    /// The median pass: where others use the memory too, what it gives for longer than a moment.
    pub median: f64,
}

impl ReadBandwidth {
    /// Reads with `threads` threads half a GiB of memory like that of the weights, in streams like those of products, five
    /// times with each of the distances that products ask ahead; the median is that of the best distance.
    ///
    /// # Errors
    /// When the system starts no more threads or gives no memory.
    pub fn measure(threads: usize) -> std::io::Result<Self> {
        Ok(Memory::new(&mut Pool::new(threads)?)?.bandwidth)
    }
}

/// Decoding, and a plain read of memory right after it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecodeAndRead {
    /// Decoded tokens a second.
    pub decode_tokens_per_second: f64,
    /// Bytes of the KV cache that one of these tokens read, beside the weights.
    pub kv_bytes_per_token: f64,
    /// What memory then gave, in GB/s (10^9 bytes).
    pub read_gb_per_second: f64,
}

impl Subject {
    /// Decodes from `start` and reads half a GiB of memory, in turn, `turns` times: what disturbs the memory for longer than
    /// a turn falls on both. A turn decodes as many tokens as read half a GiB of weights, or one.
    ///
    /// # Errors
    /// [`MeasureError::NoMemory`], and [`MeasureError::Unreadable`] when the model's file cannot be read any more.
    pub fn decode_and_read(&mut self, start: &AtDepth, turns: usize) -> Result<Vec<DecodeAndRead>, MeasureError> {
        let steps = BYTES.div_ceil(self.forward.weights_bytes().max(1) as usize);
        let tokens = (steps * start.workload.sequences) as f64;
        // Of the timed ones, from the second on.
        let mean_positions = start.workload.depth as f64 + 1.0 + (1 + steps) as f64 / 2.0;
        let kv_bytes_per_token = self.forward.layout.bytes() as f64 / PAGE as f64 * mean_positions;
        let memory = Memory::new(&mut self.forward.pool).map_err(MeasureError::NoMemory)?;
        let mut random = random();
        let turn = |_| {
            // The first is for what the read has driven out of the caches, and for the copy of the KV cache's last page.
            let ms: f64 = self.decode_from(start, 1 + steps, &mut random)?.0[1..].iter().sum();
            let read_gb_per_second = memory.read(&mut self.forward.pool, memory.ahead);
            let decode_tokens_per_second = tokens * 1e3 / ms;
            Ok(DecodeAndRead { decode_tokens_per_second, kv_bytes_per_token, read_gb_per_second })
        };
        (0..turns).map(turn).collect()
    }
}

/// What is read.
struct Memory {
    bytes: Piece,
    /// How far ahead it is asked for: what gives the fastest median pass.
    ahead: usize,
    bandwidth: ReadBandwidth,
}

impl Memory {
    fn new(pool: &mut Pool) -> std::io::Result<Self> {
        let mut bytes = Piece::new(BYTES)?;
        // Pages that were never written are all the same one.
        bytes.fill(1);
        let mut memory = Self { bytes, ahead: 0, bandwidth: ReadBandwidth { best: 0.0, median: 0.0 } };
        let mut passes = [[0.0; PASSES]; AHEAD_BYTES.len()];
        for pass in 0..PASSES {
            for (ahead, speeds) in AHEAD_BYTES.into_iter().zip(&mut passes) {
                speeds[pass] = memory.read(pool, ahead);
            }
        }
        for (ahead, mut speeds) in AHEAD_BYTES.into_iter().zip(passes) {
            speeds.sort_by(f64::total_cmp);
            memory.bandwidth.best = memory.bandwidth.best.max(speeds[PASSES - 1]);
            if speeds[PASSES / 2] > memory.bandwidth.median {
                (memory.ahead, memory.bandwidth.median) = (ahead, speeds[PASSES / 2]);
            }
        }
        Ok(memory)
    }

    /// One pass, in GB/s.
    fn read(&self, pool: &mut Pool, ahead: usize) -> f64 {
        let begun = Instant::now();
        pool.run(BYTES / CHUNK, &|chunk| {
            tektra_kernels::read(&self.bytes[chunk * CHUNK..][..CHUNK], ahead);
        });
        BYTES as f64 / begun.elapsed().as_secs_f64() / 1e9
    }
}

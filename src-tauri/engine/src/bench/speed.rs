//! `tektra-engine bench`: what the CPU executor does, measured for scripts. One line of JSON a repetition.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::json;
use tektra_cpu::{DecodeAndRead, KvType, ReadBandwidth, Workload};

use super::{
    load,
    options::{MOST, Options},
    read_text, resident_mib, say,
};

pub(super) const HELP: &str = "\
tektra-engine bench --model FILE [--threads N] [--gpu-layers N,…] [--prefill 512] [--decode 128] [--sequences 1] [--repetitions 5] [--kv f16]
    speed, one line of JSON a repetition; with --profiled every other one while stacks are sampled, to see what that costs
tektra-engine bench --model FILE --perplexity TEXT [--threads N] [--window 512] [--kv f16]
    perplexity of the model on a text; - for standard input
tektra-engine bench --bandwidth [--threads N]
    what the memory delivers: the fastest and the median pass
tektra-engine bench --bandwidth --model FILE [--threads N] [--prefill 512] [--sequences 1] [--repetitions 5] [--kv f16]
    decoding and a plain read of memory in turn, one line of JSON a repetition: how much of what the memory delivers decoding uses";

pub(super) struct Bench {
    /// None where the memory alone is measured.
    model: Option<PathBuf>,
    bandwidth: bool,
    text: Option<PathBuf>,
    kv: KvType,
    threads: usize,
    gpu_layers: Vec<usize>,
    window: usize,
    prefill: usize,
    decode: usize,
    sequences: usize,
    repetitions: usize,
    profiled: bool,
}

impl Bench {
    pub(super) fn read(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        const NAMES: [&str; 10] = [
            "--model",
            "--perplexity",
            "--kv",
            "--threads",
            "--gpu-layers",
            "--window",
            "--prefill",
            "--decode",
            "--sequences",
            "--repetitions",
        ];
        let options = Options::read(arguments, &NAMES, &["--bandwidth", "--profiled"])?;
        let number = |name, default| options.number(name, default, 1..=MOST);
        let bandwidth = options.has("--bandwidth");
        if bandwidth && !options.gpu_layers()?.is_empty() {
            return Err("--bandwidth is about the memory that the CPU reads: leave --gpu-layers out".to_owned());
        }
        Ok(Self {
            model: if bandwidth { options.path("--model") } else { Some(options.needed_path("--model")?) },
            bandwidth,
            text: options.path("--perplexity"),
            kv: options.kv()?,
            threads: options.threads()?,
            gpu_layers: options.gpu_layers()?,
            window: number("--window", 512)?,
            prefill: number("--prefill", 512)?,
            decode: number("--decode", 128)?,
            sequences: number("--sequences", 1)?,
            repetitions: number("--repetitions", 5)?,
            profiled: options.has("--profiled"),
        })
    }

    pub(super) fn measure(&self) -> Result<(), String> {
        let threads = self.threads;
        let Some(model) = &self.model else {
            let ReadBandwidth { best, median } = ReadBandwidth::measure(threads).map_err(|error| error.to_string())?;
            say(&json!({ "read_gb_per_second": best, "median_read_gb_per_second": median, "threads": threads }));
            return Ok(());
        };
        let mut subject = load(model, threads, self.kv, &self.gpu_layers)?;
        if self.bandwidth {
            let workload = Workload { sequences: self.sequences, depth: self.prefill, prompt: 1, decode: 1 };
            let start = subject.at_depth(workload).map_err(|error| error.to_string())?;
            let turns = subject.decode_and_read(&start, self.repetitions).map_err(|error| error.to_string())?;
            for DecodeAndRead { decode_tokens_per_second, kv_bytes_per_token, read_gb_per_second } in turns {
                say(&json!({
                    "threads": threads,
                    "decode_tokens_per_second": decode_tokens_per_second,
                    "kv_bytes_per_token": kv_bytes_per_token,
                    "read_gb_per_second": read_gb_per_second,
                }));
            }
            return Ok(());
        }
        if let Some(path) = &self.text {
            let tokens = subject.tokens(&read_text(path)?).map_err(|error| error.to_string())?;
            let perplexity = subject.perplexity(&tokens, self.window);
            let perplexity = perplexity.map_err(|error| format!("{}: {error}", path.display()))?;
            say(&json!({ "perplexity": perplexity, "tokens": tokens.len(), "simd": subject.simd() }));
            return Ok(());
        }
        for index in 0..self.repetitions {
            let profiled = self.profiled && index % 2 == 1;
            let measured = AtomicBool::new(false);
            let speed = std::thread::scope(|scope| {
                let sample = || tektra_profile::record(u32::MAX, || measured.load(Ordering::Relaxed));
                let sampling = profiled.then(|| scope.spawn(sample));
                let speed = subject.speed(self.prefill, self.decode, self.sequences);
                // Before anything returns: the scope waits for the thread that samples.
                measured.store(true, Ordering::Relaxed);
                let speed = speed.map_err(|error| error.to_string())?;
                match sampling.map(|sampling| sampling.join()) {
                    None | Some(Ok(Ok(_))) => Ok(speed),
                    Some(Ok(Err(error))) => Err(error.to_string()),
                    Some(Err(_)) => Err("the stacks could not be sampled".to_owned()),
                }
            })?;
            say(&json!({
                "file": model,
                "threads": threads,
                "sequences": self.sequences,
                "prefill_tokens": self.prefill,
                "prefill_tokens_per_second": speed.prefill_tokens_per_second,
                "decode_tokens": self.decode,
                "decode_tokens_per_second": speed.decode_tokens_per_second,
                "resident_mib": resident_mib(),
                "simd": subject.simd(),
                "profiled": profiled,
            }));
        }
        Ok(())
    }
}

//! `tektra-engine cell`: one configuration of the benchmark, every repetition with all its samples.

use std::{path::PathBuf, time::Instant};

use serde_json::json;
use tektra_cpu::{KvType, PackageEnergy, Workload};

use super::{
    load,
    options::{MOST, Options},
    peak_resident_mib, resident_mib, say,
};

pub(super) const HELP: &str = "\
tektra-engine cell --model FILE [--threads N] [--gpu-layers N,…] [--kv f16|q8|f32] [--batch 1] [--depth 0] [--prompt 512] [--decode 128]
                   [--repetitions 5] [--warm-ups 1] [--until-stdin-closes]
    speed of BATCH sequences side by side, each with DEPTH tokens in its cache before PROMPT more are read or DECODE more
    are generated; lines of JSON: \"loaded\", \"warm\", a \"repetition\" each, \"done\", or \"error\"";

pub(super) struct Cell {
    model: PathBuf,
    threads: usize,
    gpu_layers: Vec<usize>,
    kv: KvType,
    workload: Workload,
    repetitions: usize,
    warm_ups: usize,
    until_stdin_closes: bool,
}

impl Cell {
    pub(super) fn read(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        const NAMES: [&str; 10] = [
            "--model",
            "--threads",
            "--gpu-layers",
            "--kv",
            "--batch",
            "--depth",
            "--prompt",
            "--decode",
            "--repetitions",
            "--warm-ups",
        ];
        let options = Options::read(arguments, &NAMES, &["--until-stdin-closes"])?;
        let workload = Workload {
            sequences: options.number("--batch", 1, 0..=MOST)?,
            depth: options.number("--depth", 0, 0..=MOST)?,
            prompt: options.number("--prompt", 512, 0..=MOST)?,
            decode: options.number("--decode", 128, 0..=MOST)?,
        };
        workload.check().map_err(|error| error.to_string())?;
        Ok(Self {
            model: options.needed_path("--model")?,
            threads: options.threads()?,
            gpu_layers: options.gpu_layers()?,
            kv: options.kv()?,
            workload,
            repetitions: options.number("--repetitions", 5, 1..=MOST)?,
            warm_ups: options.number("--warm-ups", 1, 0..=MOST)?,
            until_stdin_closes: options.has("--until-stdin-closes"),
        })
    }

    pub(super) fn measure(&self) -> Result<(), String> {
        if self.until_stdin_closes {
            std::thread::spawn(crate::end_with_the_core);
        }
        let begun = Instant::now();
        let mut subject = load(&self.model, self.threads, self.kv, &self.gpu_layers)?;
        let load_ms = begun.elapsed().as_secs_f64() * 1e3;
        say(&json!({
            "kind": "loaded",
            "load_ms": load_ms,
            "resident_mib": resident_mib(),
            "simd": subject.simd(),
        }));
        let start = subject.at_depth(self.workload).map_err(|error| error.to_string())?;
        for _ in 0..self.warm_ups {
            subject.warm_up(&start).map_err(|error| error.to_string())?;
        }
        say(&json!({ "kind": "warm" }));
        for index in 0..self.repetitions {
            let mut energy = PackageEnergy::open();
            let repetition = subject.repetition(&start).map_err(|error| error.to_string())?;
            let joules = energy.as_mut().and_then(PackageEnergy::joules);
            say(&json!({
                "kind": "repetition",
                "index": index,
                "prefill_ms": repetition.prefill_ms,
                "decode_ms": repetition.decode_ms(),
                "first_token_ms": repetition.first_token_ms(),
                "inter_token_ms": repetition.inter_token_ms,
                "resident_mib": resident_mib(),
                "joules": joules,
            }));
        }
        say(&json!({ "kind": "done", "peak_resident_mib": peak_resident_mib() }));
        Ok(())
    }
}

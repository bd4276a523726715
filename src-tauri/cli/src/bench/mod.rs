//! `bench …`.

mod look;
mod measure;
mod precisions;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tektra_core::{BenchDevice, BenchFormat, BenchKv, BenchPreset, BenchRequest, EngineOptions, Error, Home, Tektra};

use crate::outcome::Outcome;

/// Measure how fast configurations are, and keep it.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    look: Option<Look>,
    #[command(flatten)]
    measure: Measure,
}

#[derive(Subcommand)]
enum Look {
    /// Show every run, the latest first
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show a run
    Show {
        /// Its id, from `bench list`
        id: String,
        #[command(flatten)]
        format: Format,
    },
    /// Compare two runs: one is called faster only where the 95 % intervals are apart
    Compare {
        /// The one's id
        a: String,
        /// The other's id
        b: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Go on with a run that was interrupted or stopped
    Resume {
        /// Its id, from `bench list`
        id: String,
        #[command(flatten)]
        format: Format,
    },
}

/// What to measure; what is absent is the preset's.
#[derive(Args)]
struct Measure {
    /// How thorough: quick (under a minute with a small model), standard, thorough
    #[arg(long, value_name = "PRESET", default_value = "quick", value_parser = preset)]
    preset: BenchPreset,
    /// A model's name from `models list`, or the path of a GGUF file; the one in use when absent
    #[arg(long = "model", value_name = "NAME|PATH")]
    models: Vec<String>,
    /// Precisions of the model that are on this machine: int4, int8, fp16, fp32 or a type such as Q4_K
    #[arg(long = "quant", value_name = "TYPE,TYPE", value_delimiter = ',')]
    quantizations: Vec<String>,
    /// Answers side by side
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    batch: Vec<u32>,
    /// Threads to compute with
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    threads: Vec<u32>,
    /// Tokens in the context before what is measured
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    depth: Vec<u32>,
    /// What keys and values are kept in: f16, q8, f32
    #[arg(long, value_name = "TYPE,TYPE", value_delimiter = ',', value_parser = kv)]
    kv: Vec<BenchKv>,
    /// What computes: cpu, gpu
    #[arg(long, value_name = "DEVICE,DEVICE", value_delimiter = ',', value_parser = device)]
    on: Vec<BenchDevice>,
    /// How often each configuration is measured
    #[arg(long, value_name = "N")]
    reps: Option<u32>,
    /// Measure what the precision loses, too
    #[arg(long)]
    quality: bool,
    #[command(flatten)]
    format: Format,
}

/// What a run is printed as; a table when absent.
#[derive(Args)]
struct Format {
    /// Print one JSON object with every sample
    #[arg(long, group = "format")]
    json: bool,
    /// Print a line for each metric of each configuration
    #[arg(long, group = "format")]
    csv: bool,
    /// Print a table in Markdown
    #[arg(long, group = "format")]
    markdown: bool,
    /// Print what llama-bench prints with `-o json`
    #[arg(long, group = "format")]
    llama_bench_json: bool,
    /// Write it into a file instead
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Format {
    fn kind(&self) -> BenchFormat {
        match self {
            Self { json: true, .. } => BenchFormat::Json,
            Self { csv: true, .. } => BenchFormat::Csv,
            Self { llama_bench_json: true, .. } => BenchFormat::LlamaBenchJson,
            _ => BenchFormat::Markdown,
        }
    }
}

impl Measure {
    fn request(&self, models: Vec<String>) -> BenchRequest {
        BenchRequest {
            preset: self.preset,
            models,
            batches: self.batch.clone(),
            threads: self.threads.clone(),
            depths: self.depth.clone(),
            kvs: self.kv.clone(),
            devices: self.on.clone(),
            repetitions: self.reps,
            quality: self.quality.then_some(true),
        }
    }
}

pub(crate) async fn run(home: Home, command: Bench) -> Outcome {
    let done = match command {
        Bench { look: Some(Look::List { json }), .. } => look::list(home, json).await,
        Bench { look: Some(Look::Show { id, format }), .. } => look::show(home, &id, &format).await,
        Bench { look: Some(Look::Compare { a, b, json }), .. } => look::compare(home, &a, &b, json).await,
        Bench { look: Some(Look::Resume { id, format }), .. } => measure::resume(home, &id, &format).await,
        Bench { look: None, measure } => measure::measure(home, &measure).await,
    };
    done.unwrap_or_else(Outcome::from)
}

async fn open(home: Home) -> Result<Tektra, Error> {
    Tektra::open(home, EngineOptions::find()).await
}

fn preset(text: &str) -> Result<BenchPreset, String> {
    match text {
        "quick" => Ok(BenchPreset::Quick),
        "standard" => Ok(BenchPreset::Standard),
        "thorough" => Ok(BenchPreset::Thorough),
        _ => Err("write quick, standard or thorough".into()),
    }
}

fn device(text: &str) -> Result<BenchDevice, String> {
    match text {
        "cpu" => Ok(BenchDevice::Cpu),
        "gpu" => Ok(BenchDevice::Gpu),
        _ => Err("write cpu or gpu".into()),
    }
}

fn kv(text: &str) -> Result<BenchKv, String> {
    match text {
        "f16" => Ok(BenchKv::F16),
        "q8" => Ok(BenchKv::Q8),
        "f32" => Ok(BenchKv::F32),
        _ => Err("write f16, q8 or f32".into()),
    }
}

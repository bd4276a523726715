//! Loading a model.

use std::{path::PathBuf, sync::Arc, time::Instant};

use mistralrs::Device;
use tektra_cpu::{Executor, KvType, LoadError, MOST_TOGETHER, Options};
use tektra_protocol::{LayersOn, LoadRequest, Loaded, Reply};
use tokio::sync::mpsc;

use crate::session::Runner;

/// KV caches of finished conversations are kept for their next turn up to this size.
const KV_BYTES: usize = 512 << 20;

/// Prints what this build can compute on besides the CPU, as one line of JSON; returns the exit status.
#[allow(clippy::print_stdout, reason = "this command's output is its result")]
pub(crate) fn devices() -> i32 {
    println!("{}", serde_json::json!({ "cuda": cfg!(feature = "cuda"), "metal": cfg!(feature = "metal") }));
    0
}

/// Loads a GGUF file, telling `out` how far it is: on a CPU with Tektra's own executor where that knows the model, otherwise with mistral.rs.
///
/// # Errors
/// The reason in the loader's own words, a panic's included: mistral.rs panics on files that it does not expect.
pub(crate) async fn load(
    request: &LoadRequest,
    out: &mpsc::UnboundedSender<Reply>,
) -> Result<(Runner, Loaded), String> {
    let begun = Instant::now();
    // For comparisons.
    let wanted = std::env::var("TEKTRA_EXECUTOR").unwrap_or_default();
    let (gpu, device) = device(&request.layers)?;
    if gpu.is_cpu() && wanted != "mistral.rs" {
        let path = PathBuf::from(&request.path);
        let options = Options { threads: threads(), kept_kv_bytes: KV_BYTES, kv: kv_type(request.kv) };
        let out = out.clone();
        let mut progress = move |done_bytes| drop(out.send(Reply::Loading { done_bytes }));
        let load = tokio::task::spawn_blocking(move || Executor::load(&path, options, &mut progress));
        match load.await.map_err(|failure| panic_text(failure.into_panic()))? {
            Ok(executor) => {
                let load_ms = begun.elapsed().as_millis() as u32;
                let warnings = executor.warnings().iter().map(ToString::to_string).collect();
                let loaded = Loaded { load_ms, device, parallel: MOST_TOGETHER as u32, warnings };
                return Ok((Runner::Cpu(Arc::new(executor)), loaded));
            }
            Err(LoadError::Unsupported(reason)) => tracing::info!(reason, "left to mistral.rs"),
            Err(error) => return Err(error.to_string()),
        }
    }
    let (model, warnings) = crate::mistral_rs::load(request, gpu, out).await?;
    let load_ms = begun.elapsed().as_millis() as u32;
    // mistral.rs batches only sequences of equal length on a CPU and loses streams at several.
    Ok((Runner::MistralRs(Box::new(model)), Loaded { load_ms, device, parallel: 1, warnings }))
}

/// The first device that layers lie on, and all of them in words.
fn device(layers: &[LayersOn]) -> Result<(Device, String), String> {
    let cpu = || match threads() {
        1 => "CPU, 1 thread".to_owned(),
        threads => format!("CPU, {threads} threads"),
    };
    let on_gpus: Vec<_> = layers.iter().filter_map(|on| Some((on.gpu?, on.layers))).collect();
    if on_gpus.is_empty() {
        return Ok((Device::Cpu, cpu()));
    }
    let names = on_gpus.iter().map(|(gpu, layers)| format!("GPU {gpu}: {layers} layers"));
    let words: Vec<_> = names.chain(layers.iter().any(|on| on.gpu.is_none()).then(cpu)).collect();
    // The core shows this process only the GPUs that are to be used, in their order: the first is number 0.
    let device = if cfg!(feature = "metal") { Device::new_metal(0) } else { Device::new_cuda(0) };
    let device = device.map_err(|error| format!("the GPU cannot be used ({error})"))?;
    Ok((device, words.join(", ")))
}

const fn kv_type(kv: tektra_protocol::KvType) -> KvType {
    match kv {
        tektra_protocol::KvType::F16 => KvType::F16,
        tektra_protocol::KvType::Q8 => KvType::Q8,
        tektra_protocol::KvType::F32 => KvType::F32,
    }
}

pub(crate) fn panic_text(panic: Box<dyn std::any::Any + Send>) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "the model reader failed without a reason".into())
}

/// Threads to compute on: of the executor's pool and, by the same rule, of rayon's.
pub(crate) fn threads() -> usize {
    std::env::var("RAYON_NUM_THREADS")
        .ok()
        .and_then(|number| number.parse().ok())
        .filter(|&number| number > 0)
        .or_else(|| std::thread::available_parallelism().ok().map(Into::into))
        .unwrap_or(1)
}

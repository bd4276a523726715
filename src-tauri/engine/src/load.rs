//! Loading a model.

use std::{path::PathBuf, sync::Arc, time::Instant};

use mistralrs::Device;
use tektra_cpu::{Executor, GpuError, KvType, LoadError, Options, Room};
use tektra_protocol::{Dtype, LayersOn, LoadRequest, Loaded, Reply};
use tokio::sync::mpsc;

use crate::session::Runner;

/// KV caches of finished conversations are kept for their next turn up to this size.
const KV_BYTES: usize = 512 << 20;

/// Why a model is not loaded.
pub(crate) struct LoadFailure {
    pub(crate) reason: String,
    pub(crate) gpu_memory_full: bool,
}

impl From<String> for LoadFailure {
    fn from(reason: String) -> Self {
        Self { reason, gpu_memory_full: false }
    }
}

/// Prints what this build can compute on besides the CPU, as one line of JSON; returns the exit status.
#[allow(clippy::print_stdout, reason = "this command's output is its result")]
pub(crate) fn devices() -> i32 {
    println!(
        "{}",
        serde_json::json!({ "cuda": cfg!(feature = "cuda"), "nvidia": cfg!(feature = "nvidia"), "metal": cfg!(feature = "metal") })
    );
    0
}

/// Loads a GGUF file, telling `out` how far it is: with Tektra's own executor where that knows the model, otherwise with
/// mistral.rs.
///
/// # Errors
/// The reason in the loader's own words, a panic's included: mistral.rs panics on files that it does not expect.
pub(crate) async fn load(
    request: &LoadRequest,
    out: &mpsc::UnboundedSender<Reply>,
) -> Result<(Runner, Loaded), LoadFailure> {
    let begun = Instant::now();
    // For comparisons.
    let wanted = std::env::var("TEKTRA_EXECUTOR").unwrap_or_default();
    let device = words(&request.layers);
    let on_gpus = request.layers.iter().filter(|on| on.gpu.is_some());
    // The core shows this process only the GPUs that are to be used, in their order: the first is number 0.
    let gpu_layers: Vec<usize> = on_gpus.map(|on| on.layers as usize).collect();
    // What is computed in is only chosen for mistral.rs.
    let own_kernels = cfg!(feature = "nvidia") && request.dtype == Dtype::Auto;
    if wanted != "mistral.rs" && (gpu_layers.is_empty() || own_kernels) {
        let path = PathBuf::from(&request.path);
        let kept_kv = match gpu_layers.len() {
            0 => Room::Bytes(KV_BYTES),
            // What the plan of the GPU's memory has for them.
            _ => Room::Tokens(request.context_length as usize),
        };
        let options = Options { threads: threads(), kept_kv, kv: kv_type(request.kv), gpu_layers: gpu_layers.clone() };
        let out = out.clone();
        let mut progress = move |done_bytes| drop(out.send(Reply::Loading { done_bytes }));
        let load = tokio::task::spawn_blocking(move || Executor::load(&path, options, &mut progress));
        match load.await.map_err(|failure| panic_text(failure.into_panic()))? {
            Ok(executor) => {
                let load_ms = begun.elapsed().as_millis() as u32;
                let warnings = executor.warnings().iter().map(ToString::to_string).collect();
                let loaded = Loaded { load_ms, device, parallel: executor.most_together() as u32, warnings };
                return Ok((Runner::Tektra(Arc::new(executor)), loaded));
            }
            Err(LoadError::Unsupported(reason) | LoadError::Gpu(GpuError::Unsupported(reason))) => {
                if !gpu_layers.is_empty() && !cfg!(feature = "cuda") {
                    return Err(format!("{reason}; this engine has mistral.rs only for the CPU").into());
                }
                tracing::info!(reason, "left to mistral.rs");
            }
            Err(error) => {
                let gpu_memory_full = matches!(error, LoadError::Gpu(GpuError::OutOfMemory { .. }));
                return Err(LoadFailure { reason: error.to_string(), gpu_memory_full });
            }
        }
    }
    let gpu = if gpu_layers.is_empty() { Device::Cpu } else { first_gpu()? };
    let (model, warnings) = crate::mistral_rs::load(request, gpu, out).await?;
    let load_ms = begun.elapsed().as_millis() as u32;
    // mistral.rs batches only sequences of equal length on a CPU and loses streams at several.
    Ok((Runner::MistralRs(Box::new(model)), Loaded { load_ms, device, parallel: 1, warnings }))
}

/// Where the layers lie, in words.
fn words(layers: &[LayersOn]) -> String {
    let cpu = || match threads() {
        1 => "CPU, 1 thread".to_owned(),
        threads => format!("CPU, {threads} threads"),
    };
    let on_gpus: Vec<_> = layers.iter().filter_map(|on| Some((on.gpu?, on.layers))).collect();
    if on_gpus.is_empty() {
        return cpu();
    }
    let names = on_gpus.iter().map(|(gpu, layers)| format!("GPU {gpu}: {layers} layers"));
    names.chain(layers.iter().any(|on| on.gpu.is_none()).then(cpu)).collect::<Vec<_>>().join(", ")
}

fn first_gpu() -> Result<Device, String> {
    let device = if cfg!(feature = "metal") { Device::new_metal(0) } else { Device::new_cuda(0) };
    device.map_err(|error| format!("the GPU cannot be used ({error})"))
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

//! The devices of this machine that a model could be computed on.

use std::{path::PathBuf, process::Stdio, time::Duration};

use nvml_wrapper::Nvml;
use serde::Deserialize;
use tektra_models::{Devices, Gpu, Problem};

use crate::{engine::EngineOptions, models::Memory};

/// The engine only prints a line; one that says nothing for longer is not asked again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What an engine's executable was built to compute on, besides the CPU: the output of `tektra-engine devices`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Built {
    cuda: bool,
}

/// The devices as they are now, and why the GPUs among them cannot be used, if they cannot.
pub(crate) async fn devices_now(options: &EngineOptions) -> Devices {
    let gpus = tokio::task::spawn_blocking(nvidia_gpus).await.unwrap_or_default();
    let no_gpu_because = if gpus.is_empty() { None } else { why_no_gpu(options.executable.clone()).await };
    Devices { ram_free_bytes: Memory::now().available_bytes, gpus, no_gpu_because }
}

/// The NVIDIA GPUs in the order of the PCI bus, which the engine is told to use too; none without a driver.
fn nvidia_gpus() -> Vec<Gpu> {
    let Ok(nvml) = Nvml::init() else { return Vec::new() };
    let gpu = |index: u32| {
        let device = nvml.device_by_index(index).ok()?;
        let memory = device.memory_info().ok()?;
        let capability = device.cuda_compute_capability().ok();
        Some(Gpu {
            index,
            name: device.name().unwrap_or_else(|_| format!("GPU {index}")),
            total_bytes: memory.total,
            free_bytes: memory.free,
            compute_capability: capability
                .and_then(|it| Some((u32::try_from(it.major).ok()?, u32::try_from(it.minor).ok()?))),
            drives_display: device.is_display_active().unwrap_or(false),
        })
    };
    (0..nvml.device_count().unwrap_or(0)).filter_map(gpu).collect()
}

async fn why_no_gpu(executable: PathBuf) -> Option<Problem> {
    let asked = tokio::process::Command::new(executable)
        .arg("devices")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let said = tokio::time::timeout(ANSWER_TIMEOUT, asked).await.ok().and_then(Result::ok);
    match said.and_then(|said| serde_json::from_slice::<Built>(&said.stdout).ok()) {
        Some(Built { cuda: true }) => None,
        Some(Built { cuda: false }) => Some(Problem {
            reason: "This engine was built for the CPU only.".into(),
            hint: "Choose the CPU, or build the engine with `--features cuda`, which needs the CUDA toolkit.".into(),
        }),
        None => Some(Problem {
            reason: "The engine does not say what it can compute on.".into(),
            hint: "Build or install Tektra anew.".into(),
        }),
    }
}

//! The devices of this machine that a model could be computed on.

use std::{path::PathBuf, process::Stdio, time::Duration};

use nvml_wrapper::Nvml;
use serde::Deserialize;
use tektra_models::{Devices, Gpu, GpuExecutors, Problem};

use crate::{engine::EngineOptions, models::Memory};

/// The engine only prints a line; one that says nothing for longer is not asked again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What an engine's executable was built to compute on, besides the CPU: the output of `tektra-engine devices`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Built {
    /// mistral.rs's kernels.
    cuda: bool,
    /// Tektra's own; engines of before do not tell.
    #[serde(default)]
    nvidia: bool,
}

/// The devices as they are now, and why the GPUs among them cannot be used, if they cannot.
pub(crate) async fn devices_now(options: &EngineOptions) -> Devices {
    let gpus = tokio::task::spawn_blocking(nvidia_gpus).await.unwrap_or_default();
    let built = if gpus.is_empty() { Ok(GpuExecutors::default()) } else { built(options.executable_for_gpus()).await };
    Devices {
        ram_free_bytes: Memory::now().available_bytes,
        gpus,
        gpu_executors: built.as_ref().copied().unwrap_or_default(),
        no_gpu_because: built.err(),
    }
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

/// What the engine for GPUs was built with, or why it is of no use.
async fn built(executable: PathBuf) -> Result<GpuExecutors, Problem> {
    let asked =
        tokio::process::Command::new(executable).arg("devices").stdin(Stdio::null()).kill_on_drop(true).output();
    let silent = |why: String| Problem {
        reason: format!("The engine for GPUs does not start{why}."),
        hint: "Choose the CPU, or build that engine anew with `make engine-cuda`.".into(),
    };
    let said = match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
        Ok(Ok(said)) => said,
        Ok(Err(error)) => return Err(silent(format!(" ({error})"))),
        Err(_) => return Err(silent(" in 10 s".into())),
    };
    match serde_json::from_slice::<Built>(&said.stdout) {
        Ok(Built { cuda: false, nvidia: false }) => Err(Problem {
            reason: "This engine was built for the CPU only.".into(),
            hint: "Choose the CPU, or build the engine for GPUs with `make engine-cuda`.".into(),
        }),
        Ok(Built { cuda, nvidia }) => Ok(GpuExecutors { tektra: nvidia, mistral_rs: cuda }),
        // What the system's loader says of a library that is not there.
        Err(_) => {
            let errors = String::from_utf8_lossy(&said.stderr);
            let last = errors.lines().rfind(|line| !line.trim().is_empty());
            Err(silent(last.map(|line| format!(" ({})", line.trim())).unwrap_or_default()))
        }
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use super::built;

    async fn reason(folder: &Path, script: &str) -> Option<String> {
        let path = folder.join("engine");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        built(path).await.err().map(|problem| problem.reason)
    }

    #[tokio::test]
    async fn an_engine_that_cannot_use_a_gpu_says_why() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(reason(folder.path(), r#"echo '{"cuda":true,"metal":false}'"#).await, None);
        let cpu = reason(folder.path(), r#"echo '{"cuda":false,"metal":false}'"#).await.unwrap();
        assert_eq!(cpu, "This engine was built for the CPU only.");
        let lacking = "libcuda.so.1: cannot open shared object file";
        let loader = reason(folder.path(), &format!("echo '{lacking}' >&2; exit 127")).await.unwrap();
        assert!(loader.contains(lacking), "{loader}");
        let own = r#"{"cuda":false,"nvidia":true,"metal":false}"#;
        assert_eq!(reason(folder.path(), &format!("echo '{own}'")).await, None);
        let gone = built(folder.path().join("gone")).await.unwrap_err();
        assert!(gone.reason.contains("does not start") && gone.hint.contains("make engine-cuda"), "{gone:?}");
    }
}

//! Loading a model.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use mistralrs::{GgufModelBuilder, Model, TokenSource};
use tektra_cpu::{Executor, LoadError, MOST_TOGETHER};
use tektra_protocol::{LoadRequest, Loaded};

use crate::session::Runner;

/// KV caches of finished conversations are kept for their next turn up to this size.
const KV_BYTES: usize = 512 << 20;

/// Loads a GGUF file: on a CPU with Tektra's own executor where that knows the model, otherwise with mistral.rs.
///
/// # Errors
/// The reason in the loader's own words, a panic's included: mistral.rs panics on files that it does not expect.
pub(crate) async fn load(request: &LoadRequest) -> Result<(Runner, Loaded), String> {
    let begun = Instant::now();
    let on_cpu = !mistralrs::best_device(false).is_ok_and(|device| device.is_cuda() || device.is_metal());
    // For comparisons.
    let wanted = std::env::var("TEKTRA_EXECUTOR").unwrap_or_default();
    if on_cpu && wanted != "mistral.rs" {
        let path = PathBuf::from(&request.path);
        let load = tokio::task::spawn_blocking(move || Executor::load(&path, threads(), KV_BYTES));
        match load.await.map_err(|failure| panic_text(failure.into_panic()))? {
            Ok(executor) => {
                let load_ms = begun.elapsed().as_millis() as u32;
                let warnings = executor.warnings().iter().map(ToString::to_string).collect();
                let loaded = Loaded { load_ms, device: device(), parallel: MOST_TOGETHER as u32, warnings };
                return Ok((Runner::Cpu(Arc::new(executor)), loaded));
            }
            Err(LoadError::Unsupported(reason)) => tracing::info!(reason, "left to mistral.rs"),
            Err(error) => return Err(error.to_string()),
        }
    }
    let mut warnings = Vec::new();
    let model = load_with_mistral_rs(request, &mut warnings).await?;
    let load_ms = begun.elapsed().as_millis() as u32;
    // mistral.rs batches only sequences of equal length on a CPU and loses streams at several.
    Ok((Runner::MistralRs(Box::new(model)), Loaded { load_ms, device: device(), parallel: 1, warnings }))
}

async fn load_with_mistral_rs(request: &LoadRequest, warnings: &mut Vec<String>) -> Result<Model, String> {
    let path = Path::new(&request.path);
    let (Some(folder), Some(file)) = (path.parent(), path.file_name()) else {
        return Err(format!("`{}` is not a file", request.path));
    };
    // mistral.rs would cut every text as one family does, whatever the file says.
    let tokenizer = tempfile::tempdir().map_err(|error| format!("no temporary folder can be made ({error})"))?;
    let written = tektra_cpu::write_tokenizer_folder(path, tokenizer.path()).map_err(|error| error.to_string())?;
    warnings.extend(written.iter().map(ToString::to_string));
    let builder = GgufModelBuilder::new(folder.display(), vec![file.to_string_lossy()])
        .with_tok_model_id(tokenizer.path().display())
        .with_token_source(TokenSource::None)
        // mistral.rs keeps every finished conversation for ever on the CPU and counts one token too
        // many as cached, which changes the next answer.
        .with_prefix_cache_n(None)
        .with_max_num_seqs(1);
    // The build blocks for as long as it reads the file, so it gets a thread of its own.
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(builder.build()))
        .await
        .map_err(|failure| panic_text(failure.into_panic()))?
        .map_err(|error| format!("{error:#}"))
}

fn panic_text(panic: Box<dyn std::any::Any + Send>) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "the model reader failed without a reason".into())
}

fn device() -> String {
    match mistralrs::best_device(false) {
        Ok(device) if device.is_cuda() => "NVIDIA GPU".into(),
        Ok(device) if device.is_metal() => "Apple GPU".into(),
        _ => match threads() {
            1 => "CPU, 1 thread".into(),
            threads => format!("CPU, {threads} threads"),
        },
    }
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

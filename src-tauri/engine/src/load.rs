//! Loading a model.

use std::{path::Path, time::Instant};

use mistralrs::{GgufModelBuilder, Model, TokenSource};
use tektra_protocol::{LoadRequest, Loaded};

/// Loads a GGUF file.
///
/// # Errors
/// The engine's reason in its own words, a panic's included: mistral.rs panics on files that it does not expect.
pub(crate) async fn load(request: &LoadRequest) -> Result<(Model, Loaded), String> {
    let path = Path::new(&request.path);
    let (Some(folder), Some(file)) = (path.parent(), path.file_name()) else {
        return Err(format!("`{}` is not a file", request.path));
    };
    let builder = GgufModelBuilder::new(folder.display(), vec![file.to_string_lossy()])
        .with_token_source(TokenSource::None)
        // mistral.rs keeps every finished conversation for ever on the CPU and counts one token too
        // many as cached, which changes the next answer.
        .with_prefix_cache_n(None)
        .with_max_num_seqs(1);
    let begun = Instant::now();
    // The build blocks for as long as it reads the file, so it gets a thread of its own.
    let runtime = tokio::runtime::Handle::current();
    let model = tokio::task::spawn_blocking(move || runtime.block_on(builder.build()))
        .await
        .map_err(|failure| panic_text(failure.into_panic()))?
        .map_err(|error| format!("{error:#}"))?;
    let load_ms = begun.elapsed().as_millis() as u32;
    Ok((model, Loaded { load_ms, device: device() }))
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

/// The size of rayon's pool, by the same rule as rayon's own.
fn threads() -> usize {
    std::env::var("RAYON_NUM_THREADS")
        .ok()
        .and_then(|number| number.parse().ok())
        .filter(|&number| number > 0)
        .or_else(|| std::thread::available_parallelism().ok().map(Into::into))
        .unwrap_or(1)
}

//! Loading a model with mistral.rs.

use std::{path::Path, time::Duration};

use mistralrs::{
    DefaultSchedulerMethod, Device, DeviceMapSetting, Model, ModelDType, SchedulerConfig, TokenSource,
    core::{DeviceLayerMapMetadata, DeviceMapMetadata, GGUFLoaderBuilder, GGUFSpecificConfig, MistralRsBuilder},
};
use tektra_protocol::{Dtype, LayersOn, LoadRequest, Reply};
use tokio::sync::mpsc;

use crate::load::panic_text;

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Loads a GGUF file with its layers where the request wants them, `first` being the first of the devices; also what a
/// person should know of it.
///
/// mistral.rs's own builder for GGUF files takes neither a precision nor a device.
///
/// # Errors
/// The reason in the loader's own words, a panic's included.
pub(crate) async fn load(
    request: &LoadRequest,
    first: Device,
    out: &mpsc::UnboundedSender<Reply>,
) -> Result<(Model, Vec<String>), String> {
    let path = Path::new(&request.path);
    let (Some(folder), Some(file)) = (path.parent(), path.file_name()) else {
        return Err(format!("`{}` is not a file", request.path));
    };
    // mistral.rs would cut every text as one family does, whatever the file says.
    let tokenizer = tempfile::tempdir().map_err(|error| format!("no temporary folder can be made ({error})"))?;
    let written = tektra_cpu::write_tokenizer_folder(path, tokenizer.path()).map_err(|error| error.to_string())?;
    let warnings = written.iter().map(ToString::to_string).collect();
    let loader = GGUFLoaderBuilder::new(
        None,
        Some(tokenizer.path().display().to_string()),
        folder.display().to_string(),
        vec![file.to_string_lossy().into_owned()],
        GGUFSpecificConfig::default(),
        false,
        None,
    )
    .build();
    let (dtype, layers) = (dtype(request.dtype), placed(&request.layers));
    // It blocks for as long as it reads the file, so it gets a thread of its own.
    let telling = tokio::spawn(tell_progress(out.clone()));
    let pipeline = tokio::task::spawn_blocking(move || {
        let source = TokenSource::None;
        loader.load_model_from_hf(None, source, &dtype, &first, true, layers, None, None)
    });
    let pipeline = pipeline.await;
    telling.abort();
    let pipeline =
        pipeline.map_err(|failure| panic_text(failure.into_panic()))?.map_err(|error| format!("{error:#}"))?;
    let one = 1.try_into().map_err(|_| "one answer at a time".to_owned())?;
    let scheduler = SchedulerConfig::DefaultScheduler { method: DefaultSchedulerMethod::Fixed(one) };
    let runner = MistralRsBuilder::new(pipeline, scheduler, false, None)
        // mistral.rs keeps every finished conversation for ever on the CPU and counts one token too
        // many as cached, which changes the next answer.
        .with_no_prefix_cache(true)
        .build()
        .await;
    Ok((Model::new(runner), warnings))
}

/// mistral.rs tells nobody how far it is, so what the process has read is told, where the system counts that.
async fn tell_progress(out: mpsc::UnboundedSender<Reply>) {
    let read = || {
        let counts = std::fs::read_to_string("/proc/self/io").ok()?;
        counts.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse::<u64>().ok())
    };
    let Some(before) = read() else { return };
    loop {
        tokio::time::sleep(PROGRESS_EVERY).await;
        let Some(now) = read() else { return };
        let _ = out.send(Reply::Loading { done_bytes: now - before });
    }
}

const fn dtype(dtype: Dtype) -> ModelDType {
    match dtype {
        Dtype::Auto => ModelDType::Auto,
        Dtype::Bf16 => ModelDType::BF16,
        Dtype::F16 => ModelDType::F16,
        Dtype::F32 => ModelDType::F32,
    }
}

/// The GPUs that the process sees are numbered from 0 in the order of `layers`; what is not on them is on the CPU.
fn placed(layers: &[LayersOn]) -> DeviceMapSetting {
    let on_gpus = layers.iter().filter(|on| on.gpu.is_some()).enumerate();
    let on_gpus: Vec<_> =
        on_gpus.map(|(ordinal, on)| DeviceLayerMapMetadata { ordinal, layers: on.layers as usize }).collect();
    if on_gpus.is_empty() {
        return DeviceMapSetting::dummy();
    }
    DeviceMapSetting::Map(DeviceMapMetadata::from_num_device_layers(on_gpus))
}

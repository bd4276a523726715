//! Loading a model with mistral.rs.

use std::{num::NonZeroUsize, path::Path, sync::Arc, time::Duration};

use mistralrs::{
    DefaultSchedulerMethod, Device, DeviceMapSetting, Model, ModelDType, SchedulerConfig, TokenSource,
    core::{
        DeviceLayerMapMetadata, DeviceMapMetadata, GGUFLoaderBuilder, GGUFSpecificConfig, MemoryGpuConfig,
        MistralRsBuilder, PagedAttentionConfig, PagedCacheType, paged_attn_supported,
    },
};
use tektra_protocol::{Dtype, LayersOn, LoadRequest, Reply};
use tokio::sync::mpsc;

use super::MistralRs;
use crate::load::panic_text;

/// What mistral.rs takes from the context of a paged cache: a page of 32 tokens that stands for none, what does not fill a
/// page, and what does not fill a MiB, which is 46 tokens of the starter model and fewer of larger ones.
const ROUNDED_AWAY_TOKENS: u32 = 128;
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
) -> Result<(MistralRs, Vec<String>), String> {
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
    let (dtype, layers, paged) = (dtype(request.dtype), placed(&request.layers), paged(request)?);
    // It blocks for as long as it reads the file, so it gets a thread of its own.
    let telling = tokio::spawn(tell_progress(out.clone()));
    let pipeline = tokio::task::spawn_blocking(move || {
        let source = TokenSource::None;
        loader.load_model_from_hf(None, source, &dtype, &first, true, layers, None, paged)
    });
    let pipeline = pipeline.await;
    telling.abort();
    let pipeline =
        pipeline.map_err(|failure| panic_text(failure.into_panic()))?.map_err(|error| format!("{error:#}"))?;
    let paged = pipeline.lock().await.get_metadata().cache_config.clone();
    // One page is never used: it stands for none.
    let room_tokens = paged.as_ref().map_or(request.context_length, |cache| {
        u32::try_from(cache.num_gpu_blocks.saturating_sub(1) * cache.block_size).unwrap_or(u32::MAX)
    });
    // One answer at a time: several give NaN with a paged cache, and other texts than alone without.
    let scheduler = match paged {
        Some(config) => SchedulerConfig::PagedAttentionMeta { max_num_seqs: 1, config },
        None => SchedulerConfig::DefaultScheduler { method: DefaultSchedulerMethod::Fixed(NonZeroUsize::MIN) },
    };
    let runner = MistralRsBuilder::new(pipeline, scheduler, false, None)
        // mistral.rs keeps every finished conversation for ever on the CPU and counts one token too
        // many as cached, which changes the next answer.
        .with_no_prefix_cache(true)
        .build()
        .await;
    Ok((MistralRs { model: Model::new(runner), room_tokens, counts: Arc::default() }, warnings))
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

/// A KV cache in pages with kernels of its own, where all layers lie on GPUs: a probe decoded 1.4 times as fast on an
/// H100. As large as the context, or mistral.rs would take nearly all of the free memory. `TEKTRA_PAGED_ATTENTION=0`
/// compares.
fn paged(request: &LoadRequest) -> Result<Option<PagedAttentionConfig>, String> {
    let wanted = std::env::var("TEKTRA_PAGED_ATTENTION").map_or(true, |value| value != "0");
    let on_gpus = !request.layers.is_empty() && request.layers.iter().all(|on| on.gpu.is_some());
    if !wanted || !on_gpus || !paged_attn_supported() {
        return Ok(None);
    }
    let memory = MemoryGpuConfig::ContextSize((request.context_length + ROUNDED_AWAY_TOKENS) as usize);
    PagedAttentionConfig::new(None, memory, PagedCacheType::Auto).map(Some).map_err(|error| error.to_string())
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

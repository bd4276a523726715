//! Writing a model in another precision.

use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use tektra_quantize::{Base, Plan, Progress, Report, Rule};

use crate::{Error, Result};

/// Writes the model `source` (a folder of safetensors, or a GGUF file) as one GGUF file of `kind` (`int4`, `Q5_K`, `f16` …)
/// into the folder `out`, and returns its path.
///
/// `rules` are exceptions as `PATTERN=FORMAT`. Blocks; `progress` hears of every stretch, `cancel` ends it and leaves
/// nothing behind.
///
/// # Errors
/// [`Error::InvalidInput`] for a kind or rule that does not exist, [`Error::ModelUnusable`] for everything else.
pub fn quantize(
    source: &Path,
    kind: &str,
    rules: &[String],
    out: &Path,
    progress: &mut dyn FnMut(Progress),
    cancel: &AtomicBool,
) -> Result<(PathBuf, Report)> {
    let wrong = |error: tektra_quantize::Error| Error::InvalidInput { what: format!("{error}.") };
    let base: Base = kind.parse().map_err(wrong)?;
    let rules = rules.iter().map(|rule| rule.parse::<Rule>()).collect::<Result<_, _>>().map_err(wrong)?;
    let plan = Plan { base, rules };
    let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    std::fs::create_dir_all(out).map_err(|error| crate::error::file_error(out, &error))?;
    let path = out.join(format!("{name}.{}.gguf", tektra_quantize::format_name(base.format())));
    if path.exists() {
        return Err(Error::InvalidInput { what: format!("{} exists already.", path.display()) });
    }
    let report = if source.is_dir() {
        tektra_quantize::convert(source, &plan, &path, progress, cancel)
    } else {
        tektra_quantize::requantize(source, &plan, &path, false, progress, cancel)
    };
    Ok((path, report.map_err(|error| not_written(name, error))?))
}

/// Writes the GGUF file `source` as the new folder `out` of safetensors, in half precision. Blocks; progress and
/// cancellation as in [`quantize`].
///
/// # Errors
/// [`Error::ModelUnusable`]: nothing is left behind.
pub fn to_safetensors(
    source: &Path,
    out: &Path,
    progress: &mut dyn FnMut(Progress),
    cancel: &AtomicBool,
) -> Result<()> {
    let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    tektra_quantize::to_safetensors(source, out, progress, cancel).map_err(|error| not_written(name, error))
}

fn not_written(name: String, error: tektra_quantize::Error) -> Error {
    match error {
        tektra_quantize::Error::Cancelled => Error::Interrupted,
        error => Error::ModelUnusable {
            name,
            reason: format!("{error}."),
            hint: "Nothing was written. Choose another type or another model.".into(),
        },
    }
}

//! A GGUF file in another precision.

use std::{path::Path, sync::atomic::AtomicBool};

use tektra_kernels::dequantize;

use crate::{
    Error, Plan, Progress, Report,
    format::bits,
    format_name,
    gguf::{GgufFile, Stored},
    layout::{Source, Tensor},
    metadata::Metadata,
    plan::{Decision, Planner, in_layer},
    write::write,
};

/// Below this, what a format lost is heard, and rounding once more would add to it.
const NEARLY_LOSSLESS_BITS: f64 = 8.0;

/// The matrices that a plan is for, whatever the architecture; everything else is copied as it is.
const MATRICES: [&str; 13] = [
    "token_embd.weight",
    "output.weight",
    "attn_q.weight",
    "attn_k.weight",
    "attn_v.weight",
    "attn_qkv.weight",
    "attn_output.weight",
    "ffn_gate.weight",
    "ffn_up.weight",
    "ffn_down.weight",
    "ffn_gate_exps.weight",
    "ffn_up_exps.weight",
    "ffn_down_exps.weight",
];

/// Writes the GGUF file at `input` to `out` as `plan` says, with all of its metadata. Progress and cancellation as in
/// [`crate::convert`].
///
/// A matrix is never given more bits than it has. One of less than eight bits is only changed with `allow_requantize`,
/// which also allows it more bits: nothing is won back, but a program may need the format.
///
/// # Errors
/// When the file is damaged or has unknown formats, when the plan can't be followed or would only lose, when the disk is
/// full, when cancelled.
pub fn requantize(
    input: &Path,
    plan: &Plan,
    out: &Path,
    allow_requantize: bool,
    progress: &mut dyn FnMut(Progress),
    cancel: &AtomicBool,
) -> Result<Report, Error> {
    let file = GgufFile::open(input)?;
    if let (Ok(input), Ok(out)) = (input.canonicalize(), out.canonicalize())
        && input == out
    {
        return Err(Error::Refused("the new file needs another name than the old one".into()));
    }
    let tensors = &file.header.tensors;
    let tied = !tensors.iter().any(|tensor| tensor.name == "output.weight");
    let last = tensors.iter().filter_map(|tensor| Some(in_layer(&tensor.name)?.0)).max();
    let layers = last.map_or(0, |last| last.saturating_add(1));
    let mut planner = Planner::new(plan, layers, tied);
    let mut planned = Vec::new();
    for tensor in tensors {
        let stored = file.matrix(tensor)?;
        let part = in_layer(&tensor.name).map_or(tensor.name.as_str(), |(_, part)| part);
        let decision = if MATRICES.contains(&part) && stored.rows > 1 {
            let decision = planner.matrix(&tensor.name, stored.columns);
            check(&tensor.name, &stored, &decision, allow_requantize)?;
            decision
        } else {
            Decision { wanted: stored.format, used: stored.format, why: None }
        };
        let format = decision.used;
        let source = if format == stored.format {
            Source::Bytes(stored.bytes)
        } else {
            Source::Rows(Box::new(move |row, out| dequantize(stored.format, stored.row(row), out)))
        };
        let dimensions = tensor.dimensions.clone();
        let tensor = Tensor { name: tensor.name.clone(), dimensions, format, source };
        planner.report(&tensor.name, decision, tensor.len_bytes());
        planned.push(tensor);
    }
    let mut metadata = Metadata::default();
    for (name, bytes) in file.metadata()? {
        // How it is aligned, and what it is made of, is this file's own.
        if !matches!(name.as_str(), "general.alignment" | "general.file_type" | "general.quantization_version") {
            metadata.copy(bytes);
        }
    }
    metadata.number("general.file_type", plan.base.file_type());
    metadata.number("general.quantization_version", 2);
    let mut report = Report { groups: planner.finish()?, ..Report::default() };
    report.size_bytes = write(out, &metadata, &planned, progress, cancel)?;
    Ok(report)
}

fn check(name: &str, stored: &Stored<'_>, decision: &Decision, allow_requantize: bool) -> Result<(), Error> {
    let (from, to) = (stored.format, decision.used);
    let (from_name, to_name) = (format_name(from), format_name(to));
    if from == to || allow_requantize && !from.is_float() {
        return Ok(());
    }
    if bits(to) > bits(from) {
        return Err(Error::Refused(format!(
            "`{name}` is {from_name} and would become {to_name}: a larger file that holds no more"
        )));
    }
    if bits(from) < NEARLY_LOSSLESS_BITS {
        return Err(Error::Refused(format!(
            "`{name}` is {from_name} already; made {to_name} it would lose a second time. Start from a file with more \
             bits"
        )));
    }
    Ok(())
}

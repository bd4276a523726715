//! A GGUF file in another precision.

use std::{path::Path, sync::atomic::AtomicBool};

use tektra_kernels::{Format, dequantize};

use crate::{
    Error, Plan, Progress, Report,
    format::bits,
    format_name,
    gguf::GgufFile,
    layout::{Layout, Source, Tensor},
    metadata::Metadata,
    plan::{Decision, Planner, in_layer},
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
    let remade = Remade::new(&file, plan)?;
    match remade.changes.iter().find_map(|change| change.refused(allow_requantize)) {
        Some(error) => Err(error),
        None => remade.layout.write(out, progress, cancel),
    }
}

/// The file that `plan` makes of another one, whether or not that makes sense.
pub(crate) struct Remade<'a> {
    pub(crate) layout: Layout<'a>,
    changes: Vec<Change>,
}

/// A matrix that gets another format.
struct Change {
    name: String,
    elements: u64,
    from: Format,
    to: Format,
}

/// Why a change would only lose.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// Room: it would have more bits for what fewer hold.
    Room,
    /// Quality: it was rounded before.
    Quality,
}

impl<'a> Remade<'a> {
    pub(crate) fn new(file: &'a GgufFile<'_>, plan: &Plan) -> Result<Self, Error> {
        let tensors = &file.header.tensors;
        let tied = !tensors.iter().any(|tensor| tensor.name == "output.weight");
        let last = tensors.iter().filter_map(|tensor| Some(in_layer(&tensor.name)?.0)).max();
        let layers = last.map_or(0, |last| last.saturating_add(1));
        let mut planner = Planner::new(plan, layers, tied);
        let (mut planned, mut changes) = (Vec::new(), Vec::new());
        for tensor in tensors {
            let stored = file.matrix(tensor)?;
            let part = in_layer(&tensor.name).map_or(tensor.name.as_str(), |(_, part)| part);
            let decision = if MATRICES.contains(&part) && stored.rows > 1 {
                planner.matrix(&tensor.name, stored.columns)
            } else {
                Decision { wanted: stored.format, used: stored.format, why: None }
            };
            let format = decision.used;
            let source = if format == stored.format {
                Source::Bytes(stored.bytes)
            } else {
                changes.push(Change {
                    name: tensor.name.clone(),
                    elements: tensor.elements,
                    from: stored.format,
                    to: format,
                });
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
        let layout = Layout::new(&metadata, planned, planner.finish()?, Vec::new());
        Ok(Self { layout, changes })
    }

    /// Why it makes no sense to write it, in a sentence about what holds for most of the weights.
    pub(crate) fn problem(&self) -> Option<String> {
        if self.changes.is_empty() {
            return Some("nothing would change: the weights are stored so already".into());
        }
        let mut losses: Vec<(Loss, Format, u64)> = Vec::new();
        for change in &self.changes {
            let Some(loss) = change.loss(false) else { continue };
            match losses.iter_mut().find(|(other, from, _)| (*other, *from) == (loss, change.from)) {
                Some((_, _, elements)) => *elements += change.elements,
                None => losses.push((loss, change.from, change.elements)),
            }
        }
        let (loss, from, elements) = losses.into_iter().max_by_key(|(_, _, elements)| *elements)?;
        let some = if elements * 2 < self.layout.elements() { "some of " } else { "" };
        let what = match loss {
            Loss::Room => "this would be a larger file that holds no more",
            Loss::Quality => "less than 8 bits rounded once more would lose quality",
        };
        Some(format!("{some}its weights are {} already; {what}", format_name(from)))
    }
}

impl Change {
    fn loss(&self, allow_requantize: bool) -> Option<Loss> {
        let (from, to) = (bits(self.from), bits(self.to));
        if allow_requantize && !self.from.is_float() {
            None
        } else if to > from {
            Some(Loss::Room)
        } else {
            (from < NEARLY_LOSSLESS_BITS).then_some(Loss::Quality)
        }
    }

    fn refused(&self, allow_requantize: bool) -> Option<Error> {
        let (name, from, to) = (&self.name, format_name(self.from), format_name(self.to));
        let why = match self.loss(allow_requantize)? {
            Loss::Room => format!("`{name}` is {from} and would become {to}: a larger file that holds no more"),
            Loss::Quality => format!(
                "`{name}` is {from} already; made {to} it would lose a second time. Start from a file with more bits"
            ),
        };
        Some(Error::Refused(why))
    }
}

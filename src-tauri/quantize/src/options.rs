//! What can be made of a model.

use std::path::Path;

use tektra_kernels::Format;

use crate::{Base, Error, Group, convert::Model, format::bits, gguf::GgufFile, layout::Layout, requantize::Remade};

/// Single formats that are worth a choice: for programs that read no K formats, and for little memory.
const EXACT: [Base; 4] =
    [Base::Exact(Format::Q4_0), Base::Exact(Format::Q5_0), Base::Exact(Format::Q3K), Base::Exact(Format::Q2K)];

/// A type that a model can be converted to.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The type.
    pub base: Base,
    /// The file's size, to the byte.
    pub size_bytes: u64,
    /// The bits that a number takes in it on average: the tensors' bytes over how many numbers they hold.
    pub bits_per_weight: f64,
    /// Or why it makes no sense for this model: a short sentence without a full stop.
    pub possible: Result<(), String>,
    /// What is known of its quality, without having measured this model.
    pub quality: &'static str,
    /// What each group of tensors would be stored in.
    pub groups: Vec<Group>,
}

/// What can be made of the model at `source`: of a folder of safetensors by [`crate::convert`], of a GGUF file by
/// [`crate::requantize`]. First all of [`Base::ALL`], then some single formats.
///
/// # Errors
/// When nothing can: the source is no model of a known kind, or damaged.
pub fn options(source: &Path) -> Result<Vec<Choice>, Error> {
    let bases = Base::ALL.into_iter().chain(EXACT);
    let mut choices = Vec::new();
    if source.is_dir() {
        let model = Model::open(source)?;
        let source_bits = model.bits()?;
        for base in bases {
            let problem = (bits(base.format()) > source_bits)
                .then(|| format!("the weights have {source_bits} bits; more would take room and change nothing"));
            add(&mut choices, base, &model.layout(&base.into())?, problem);
        }
    } else {
        let file = GgufFile::open(source)?;
        for base in bases {
            let remade = Remade::new(&file, &base.into())?;
            add(&mut choices, base, &remade.layout, remade.problem());
        }
    }
    Ok(choices)
}

/// Adds a choice, with the `problem` that its source has with it.
fn add(choices: &mut Vec<Choice>, base: Base, layout: &Layout<'_>, problem: Option<String>) {
    let groups = &layout.report.groups;
    let no_blocks =
        groups.iter().any(|group| !group.wanted.is_float()) && groups.iter().all(|group| group.used.is_float());
    let same = || choices.iter().find(|choice| same_formats(&choice.groups, groups));
    let problem = if no_blocks {
        Some("no row of this model is made of blocks of 32 elements".into())
    } else {
        problem.or_else(|| Some(format!("for the shapes of this model it is the same as {}", same()?.base)))
    };
    choices.push(Choice {
        base,
        size_bytes: layout.report.size_bytes,
        bits_per_weight: layout.bits_per_weight(),
        possible: problem.map_or(Ok(()), Err),
        quality: quality(base),
        groups: groups.clone(),
    });
}

fn same_formats(a: &[Group], b: &[Group]) -> bool {
    let formats = |groups: &[Group]| groups.iter().map(|group| (group.tensors.clone(), group.used)).collect::<Vec<_>>();
    formats(a) == formats(b)
}

/// Published figures of llama.cpp's for models of 7 to 8 billion weights (`QUANT_OPTIONS` in
/// <https://github.com/ggml-org/llama.cpp/blob/master/tools/quantize/quantize.cpp>), and our own for one of 0.1 billion.
const fn quality(base: Base) -> &'static str {
    match base {
        Base::Int4 => "a small loss: perplexity some 1 to 4 % higher, most for small models (estimate)",
        Base::Int5 => "hardly any loss: perplexity up to 1 % higher (estimate)",
        Base::Int6 => "no loss that shows: perplexity up to 0.5 % higher (estimate)",
        Base::Int8 => "no loss that shows: perplexity up to 0.1 % higher (estimate)",
        Base::F16 | Base::F32 => "no loss",
        Base::Exact(Format::Q4_0) => {
            "a loss: perplexity some 8 % higher, 25 % for the smallest models; for programs that cannot read int4 (estimate)"
        }
        Base::Exact(Format::Q5_0) => {
            "a small loss: perplexity some 2 % higher, 10 % for the smallest models; for programs that cannot read int5 \
             (estimate)"
        }
        Base::Exact(Format::Q3K) => {
            "a large loss: perplexity some 25 % higher, 40 % and more for the smallest models (estimate)"
        }
        Base::Exact(Format::Q2K) => {
            "a very large loss: perplexity some 50 % higher, three times as high for the smallest models; only where \
             nothing else fits (estimate)"
        }
        Base::Exact(_) => "not known",
    }
}

#[cfg(test)]
mod tests;

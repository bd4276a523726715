//! What can be made of a model.

use std::path::Path;

use crate::{Base, Error, Group, Plan, convert::Model, format::bits, layout};

/// A type that a model can be converted to.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The type.
    pub base: Base,
    /// The file's size, to the byte.
    pub size_bytes: u64,
    /// Or why it makes no sense for this model.
    pub possible: Result<(), String>,
    /// What is known of its quality, without having measured this model.
    pub quality: &'static str,
    /// What each group of tensors would be stored in.
    pub groups: Vec<Group>,
}

/// What can be made of the model folder at `folder`.
///
/// # Errors
/// When nothing can: the folder is no model of a known kind, or damaged.
pub fn options(folder: &Path) -> Result<Vec<Choice>, Error> {
    let model = Model::open(folder)?;
    let source_bits = model.bits()?;
    let mut choices: Vec<Choice> = Vec::new();
    for base in Base::ALL {
        let layout = model.layout(&Plan::from(base))?;
        let header = layout::header(&layout.metadata, &layout.tensors);
        let groups = layout.report.groups;
        let target = base.format();
        let possible = if bits(target) > source_bits {
            Err(format!("the weights have {source_bits} bits; more would take room and change nothing"))
        } else if !target.is_float() && groups.iter().all(|group| group.used.is_float()) {
            Err("no row of this model is made of blocks of 32 elements".into())
        } else if let Some(same) = choices.iter().find(|choice| same_formats(&choice.groups, &groups)) {
            Err(format!("for the shapes of this model it is the same as {}", same.base))
        } else {
            Ok(())
        };
        let size_bytes = layout::file_bytes(header.len(), &layout.tensors);
        choices.push(Choice { base, size_bytes, possible, quality: quality(base), groups });
    }
    Ok(choices)
}

fn same_formats(a: &[Group], b: &[Group]) -> bool {
    let formats = |groups: &[Group]| groups.iter().map(|group| (group.tensors.clone(), group.used)).collect::<Vec<_>>();
    formats(a) == formats(b)
}

/// Published figures of llama.cpp's for models of 7 to 8 billion weights, and our own for one of 0.1 billion.
const fn quality(base: Base) -> &'static str {
    match base {
        Base::Int4 => "a small loss: perplexity some 1 to 4 % higher, most for small models (estimate)",
        Base::Int5 => "hardly any loss: perplexity up to 1 % higher (estimate)",
        Base::Int6 => "no loss that shows: perplexity up to 0.5 % higher (estimate)",
        Base::Int8 => "no loss that shows: perplexity up to 0.1 % higher (estimate)",
        Base::F16 | Base::F32 => "no loss",
        Base::Exact(_) => "not known",
    }
}

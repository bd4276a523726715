//! Which tensor gets which format.

use std::{fmt, str::FromStr};

use tektra_kernels::Format;

use crate::{Error, format_name, parse_format};

/// How precise the file is on the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// Q4_K; the output, and the values and feed-forward outputs of the layers that need it most, in Q6_K: what llama.cpp
    /// calls Q4_K_M.
    Int4,
    /// As [`Base::Int4`] with Q5_K: Q5_K_M.
    Int5,
    /// Q6_K.
    Int6,
    /// Q8_0.
    Int8,
    /// Halves.
    F16,
    /// Single precision.
    F32,
    /// This format for every matrix, the output included.
    Exact(Format),
}

impl Base {
    /// Those without a format of one's own choice.
    pub const ALL: [Self; 6] = [Self::Int4, Self::Int5, Self::Int6, Self::Int8, Self::F16, Self::F32];

    /// The format of most matrices.
    pub const fn format(self) -> Format {
        match self {
            Self::Int4 => Format::Q4K,
            Self::Int5 => Format::Q5K,
            Self::Int6 => Format::Q6K,
            Self::Int8 => Format::Q8_0,
            Self::F16 => Format::F16,
            Self::F32 => Format::F32,
            Self::Exact(format) => format,
        }
    }

    /// `general.file_type`: `llama_ftype` in <https://github.com/ggml-org/llama.cpp/blob/master/include/llama.h>.
    pub(crate) const fn file_type(self) -> u32 {
        match self {
            Self::Int4 => 15,
            Self::Int5 => 17,
            _ => match self.format() {
                Format::F32 => 0,
                Format::F16 => 1,
                Format::Q4_0 => 2,
                Format::Q4_1 => 3,
                Format::Q8_0 => 7,
                Format::Q5_0 => 8,
                Format::Q5_1 => 9,
                Format::Q2K => 10,
                Format::Q3K => 11,
                Format::Q4K => 14,
                Format::Q5K => 16,
                Format::Q6K => 18,
                Format::BF16 => 32,
            },
        }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Int4 => "int4",
            Self::Int5 => "int5",
            Self::Int6 => "int6",
            Self::Int8 => "int8",
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::Exact(format) => format_name(*format),
        })
    }
}

impl FromStr for Base {
    type Err = Error;

    /// "int4" or "Q4_K_M", "int5" or "Q5_K_M", "int6", "int8", "fp16" or "f16", "fp32" or "f32", or a format: "Q4_0".
    fn from_str(text: &str) -> Result<Self, Error> {
        let name = text.to_ascii_lowercase();
        let name = match name.as_str() {
            "fp16" => "f16",
            "fp32" => "f32",
            "q4_k_m" => "int4",
            "q5_k_m" => "int5",
            other => other,
        };
        let named = Self::ALL.into_iter().find(|base| base.to_string() == name);
        named.or_else(|| parse_format(name).map(Self::Exact)).ok_or_else(|| {
            let formats: Vec<&str> = Format::ALL.into_iter().map(format_name).collect();
            Error::Plan(format!(
                "\"{text}\" is no type; choose int4, int5, int6, int8, fp16, fp32 or one of {}",
                formats.join(", ")
            ))
        })
    }
}

/// What to make of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where no rule says otherwise.
    pub base: Base,
    /// The first rule that a matrix matches counts. A rule that no matrix matches is an error.
    pub rules: Vec<Rule>,
}

impl From<Base> for Plan {
    fn from(base: Base) -> Self {
        Self { base, rules: Vec::new() }
    }
}

/// A format for some matrices. Vectors (norms, biases) always stay in single precision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which ones.
    pub pattern: Pattern,
    /// Their format.
    pub format: Format,
}

/// Which matrices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// GGUF's name of them, `*` standing for any characters: `*.ffn_down.weight`.
    Name(String),
    /// All of these layers, the last one included.
    Layers(usize, usize),
}

impl FromStr for Rule {
    type Err = Error;

    /// `PATTERN=FORMAT`, the pattern a name, a layer or a range of layers: `*.ffn_down.weight=Q6_K`, `0-3=Q8_0`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = text.split_once('=').and_then(|(pattern, format)| {
            let (pattern, format) = (pattern.trim(), parse_format(format.trim())?);
            let (first, last) = pattern.split_once('-').unwrap_or((pattern, pattern));
            let pattern = match (first.trim().parse(), last.trim().parse()) {
                (Ok(first), Ok(last)) => Pattern::Layers(first, last),
                _ if pattern.is_empty() => return None,
                _ => Pattern::Name(pattern.to_owned()),
            };
            Some(Self { pattern, format })
        });
        parsed.ok_or_else(|| {
            Error::Plan(format!("\"{text}\" is no rule; write *.ffn_down.weight=Q6_K, or 0-3=Q8_0 for layers"))
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pattern {
            Pattern::Name(name) => f.write_str(name)?,
            Pattern::Layers(first, last) if first == last => write!(f, "{first}")?,
            Pattern::Layers(first, last) => write!(f, "{first}-{last}")?,
        }
        write!(f, "={}", format_name(self.format))
    }
}

impl Pattern {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(pattern) => glob(pattern, name),
            Self::Layers(first, last) => in_layer(name).is_some_and(|(layer, _)| (*first..=*last).contains(&layer)),
        }
    }
}

fn glob(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(start) else { return false };
    let (middle, end) = rest.rsplit_once('*').map_or((None, rest), |(middle, end)| (Some(middle), end));
    for part in middle.into_iter().flat_map(|middle| middle.split('*')) {
        let Some((_, after)) = name.split_once(part) else { return false };
        name = after;
    }
    name.ends_with(end)
}

/// The number and the rest of `blk.7.attn_q.weight`.
pub(crate) fn in_layer(name: &str) -> Option<(usize, &str)> {
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    Some((layer.parse().ok()?, rest))
}

/// What was planned for some tensors, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Their name, with `*` for the layer.
    pub tensors: String,
    /// How many they are.
    pub count: usize,
    /// What the plan says.
    pub wanted: Format,
    /// What they are stored in.
    pub used: Format,
    /// Why that is another one.
    pub why: Option<String>,
    /// Their bytes.
    pub size_bytes: u64,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The tensors, in the file's order.
    pub groups: Vec<Group>,
    /// What may not be as it was in the source.
    pub warnings: Vec<String>,
    /// Bytes of the file.
    pub size_bytes: u64,
}

/// A format chosen for one tensor.
pub(crate) struct Decision {
    pub(crate) wanted: Format,
    pub(crate) used: Format,
    pub(crate) why: Option<String>,
}

/// Decides over a model's tensors, and reports.
pub(crate) struct Planner<'a> {
    plan: &'a Plan,
    layers: usize,
    /// The embeddings are also the output.
    tied: bool,
    used_rules: Vec<bool>,
    pub(crate) groups: Vec<Group>,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(plan: &'a Plan, layers: usize, tied: bool) -> Self {
        Self { plan, layers, tied, used_rules: vec![false; plan.rules.len()], groups: Vec::new() }
    }

    /// The format of a matrix whose rows have `columns` elements.
    pub(crate) fn matrix(&mut self, name: &str, columns: usize) -> Decision {
        let rule = self.plan.rules.iter().position(|rule| rule.pattern.matches(name));
        let wanted = match rule {
            Some(rule) => {
                self.used_rules[rule] = true;
                self.plan.rules[rule].format
            }
            None => mix(self.plan.base, name, self.layers, self.tied),
        };
        let fits = |format: &Format| columns.is_multiple_of(format.block_len());
        let used = fallbacks(wanted).into_iter().find(fits).unwrap_or(Format::F16);
        let why = (used != wanted)
            .then(|| format!("rows of {columns} elements are not made of blocks of {}", wanted.block_len()));
        Decision { wanted, used, why }
    }

    /// Takes a tensor into the report.
    pub(crate) fn report(&mut self, name: &str, decision: Decision, size_bytes: usize) {
        let tensors = in_layer(name).map_or(name.to_owned(), |(_, rest)| format!("blk.*.{rest}"));
        let Decision { wanted, used, why } = decision;
        let size_bytes = size_bytes as u64;
        let same = |group: &&mut Group| {
            group.tensors == tensors && (group.wanted, group.used) == (wanted, used) && group.why == why
        };
        match self.groups.iter_mut().find(same) {
            Some(group) => {
                group.count += 1;
                group.size_bytes += size_bytes;
            }
            None => self.groups.push(Group { tensors, count: 1, wanted, used, why, size_bytes }),
        }
    }

    /// Fails when a rule matched nothing.
    pub(crate) fn finish(self) -> Result<Vec<Group>, Error> {
        match self.used_rules.iter().position(|used| !used) {
            Some(rule) => {
                Err(Error::Plan(format!("the rule \"{}\" matches no matrix of this model", self.plan.rules[rule])))
            }
            None => Ok(self.groups),
        }
    }
}

/// The mixes that llama.cpp found to lose least for their size
/// (`llama_tensor_get_type` in <https://github.com/ggml-org/llama.cpp/blob/master/src/llama-quant.cpp>).
fn mix(base: Base, name: &str, layers: usize, tied: bool) -> Format {
    if !matches!(base, Base::Int4 | Base::Int5) {
        return base.format();
    }
    let sensitive = match in_layer(name) {
        None => name == "output.weight" || tied && name == "token_embd.weight",
        Some((layer, part)) => {
            let eighth = layers / 8;
            let place = layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
            place && matches!(part, "attn_v.weight" | "ffn_down.weight")
        }
    };
    if sensitive { Format::Q6K } else { base.format() }
}

/// A format, and what takes its place where rows aren't made of its blocks: the next finer one with smaller blocks.
fn fallbacks(format: Format) -> [Format; 2] {
    let second = match format {
        Format::Q2K | Format::Q3K => Format::Q4_0,
        Format::Q4K => Format::Q5_0,
        Format::Q5K => Format::Q5_1,
        Format::Q6K => Format::Q8_0,
        other => other,
    };
    [format, second]
}

#[cfg(test)]
mod tests;

//! ggml's number formats: all of them, so that one that cannot be run can still be named and measured.

/// A number format of tensors.
pub(crate) struct Type {
    kind: u32,
    /// `Q4_K`.
    pub(crate) name: &'static str,
    block_elements: u64,
    block_bytes: u64,
    /// Whether an executor computes with it.
    runs: bool,
}

const fn runs(kind: u32, name: &'static str, block_elements: u64, block_bytes: u64) -> Type {
    Type { kind, name, block_elements, block_bytes, runs: true }
}

const fn named(kind: u32, name: &'static str, block_elements: u64, block_bytes: u64) -> Type {
    Type { kind, name, block_elements, block_bytes, runs: false }
}

/// Source: `ggml_type` in <https://github.com/ggml-org/ggml/blob/master/include/ggml.h> and `block_*` in
/// <https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h>.
const TYPES: [Type; 32] = [
    runs(0, "F32", 1, 4),
    runs(1, "F16", 1, 2),
    runs(2, "Q4_0", 32, 18),
    runs(3, "Q4_1", 32, 20),
    runs(6, "Q5_0", 32, 22),
    runs(7, "Q5_1", 32, 24),
    runs(8, "Q8_0", 32, 34),
    runs(9, "Q8_1", 32, 36),
    runs(10, "Q2_K", 256, 84),
    runs(11, "Q3_K", 256, 110),
    runs(12, "Q4_K", 256, 144),
    runs(13, "Q5_K", 256, 176),
    runs(14, "Q6_K", 256, 210),
    runs(15, "Q8_K", 256, 292),
    runs(30, "BF16", 1, 2),
    named(16, "IQ2_XXS", 256, 66),
    named(17, "IQ2_XS", 256, 74),
    named(18, "IQ3_XXS", 256, 98),
    named(19, "IQ1_S", 256, 50),
    named(20, "IQ4_NL", 32, 18),
    named(21, "IQ3_S", 256, 110),
    named(22, "IQ2_S", 256, 82),
    named(23, "IQ4_XS", 256, 136),
    named(24, "I8", 1, 1),
    named(25, "I16", 1, 2),
    named(26, "I32", 1, 4),
    named(27, "I64", 1, 8),
    named(28, "F64", 1, 8),
    named(29, "IQ1_M", 256, 56),
    named(34, "TQ1_0", 256, 54),
    named(35, "TQ2_0", 256, 66),
    named(39, "MXFP4", 32, 17),
];

/// The format of ggml's type number.
pub(crate) fn of_kind(kind: u32) -> Option<&'static Type> {
    TYPES.iter().find(|known| known.kind == kind)
}

/// What a type is called: `Q4_K`, or `type 99` for one that is newer than this program.
pub(crate) fn name_of(kind: u32) -> String {
    of_kind(kind).map_or_else(|| format!("type {kind}"), |known| known.name.into())
}

/// Whether an executor computes with the type.
pub(crate) fn is_computed_with(kind: u32) -> bool {
    of_kind(kind).is_some_and(|known| known.runs)
}

/// Whether the CPU executor computes with the type; it leaves these two, which no file uses for weights, to mistral.rs.
pub(crate) fn is_known_to_cpu_executor(kind: u32) -> bool {
    is_computed_with(kind) && !matches!(kind, 9 | 15)
}

/// Bytes of `elements` numbers; an unknown type counts nothing.
pub(crate) fn bytes_of(kind: u32, elements: u64) -> u64 {
    let bytes = |known: &Type| elements.div_ceil(known.block_elements).saturating_mul(known.block_bytes);
    of_kind(kind).map_or(0, bytes)
}

/// Bits of one number in the format called `name`.
pub(crate) fn bits_of(name: &str) -> Option<f64> {
    let known = TYPES.iter().find(|known| known.name == name)?;
    Some(known.block_bytes as f64 * 8.0 / known.block_elements as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_that_the_kernels_read() {
        for known in &TYPES {
            let Some(format) = tektra_kernels::Format::from_ggml(known.kind) else {
                assert!(!is_known_to_cpu_executor(known.kind), "{}", known.name);
                continue;
            };
            assert!(is_known_to_cpu_executor(known.kind), "{}", known.name);
            assert_eq!(Some(bytes_of(known.kind, 1024) as usize), format.row_bytes(1024), "{}", known.name);
        }
    }
}

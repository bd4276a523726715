//! Names and numbers of the formats.

use tektra_kernels::Format;

/// The name that llama.cpp gives a format: "Q4_K".
pub const fn format_name(format: Format) -> &'static str {
    match format {
        Format::F32 => "F32",
        Format::F16 => "F16",
        Format::BF16 => "BF16",
        Format::Q4_0 => "Q4_0",
        Format::Q4_1 => "Q4_1",
        Format::Q5_0 => "Q5_0",
        Format::Q5_1 => "Q5_1",
        Format::Q8_0 => "Q8_0",
        Format::Q2K => "Q2_K",
        Format::Q3K => "Q3_K",
        Format::Q4K => "Q4_K",
        Format::Q5K => "Q5_K",
        Format::Q6K => "Q6_K",
    }
}

/// The format of that name, in either case.
pub fn parse_format(name: &str) -> Option<Format> {
    Format::ALL.into_iter().find(|&format| format_name(format).eq_ignore_ascii_case(name))
}

/// ggml's number of a format.
pub(crate) fn ggml_number(format: Format) -> u32 {
    (0..=30).find(|&number| Format::from_ggml(number) == Some(format)).unwrap_or_default()
}

/// How much room an element takes, in bits.
pub(crate) fn bits(format: Format) -> f64 {
    format.block_bytes() as f64 * 8.0 / format.block_len() as f64
}

//! What quantization costs in quality.

use serde::{Deserialize, Serialize};

use crate::fit::Basis;

/// How much worse a quantized model predicts text than the same model in F16.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityLoss {
    /// By how much its perplexity is higher, in percent.
    pub perplexity_increase_percent: f64,
    /// Always an estimate: measured of one model that is not this one.
    pub basis: Basis,
}

/// Where the figures of [`quality`] were measured.
pub const QUALITY_SOURCE: &str = "Llama 3 8B on Wikitext-2, by the llama.cpp project (April 2024)";

/// Perplexity of the F16 model that the increases below are relative to.
const REFERENCE_PERPLEXITY: f64 = 6.231_634;

/// Increases of perplexity.
const INCREASES: [(&[&str], f64); 15] = [
    (&["F32", "F16", "BF16"], 0.0),
    (&["Q8_0"], 0.002_650),
    (&["Q6_K"], 0.021_748),
    (&["Q5_K", "Q5_K_M"], 0.056_974),
    (&["Q5_K_S"], 0.104_964),
    (&["Q5_1"], 0.106_223),
    (&["Q5_0"], 0.131_591),
    (&["Q4_K", "Q4_K_M"], 0.175_482),
    (&["Q4_K_S"], 0.268_895),
    (&["Q4_1"], 0.451_103),
    (&["Q4_0"], 0.468_514),
    (&["Q3_K_L"], 0.556_242),
    (&["Q3_K", "Q3_K_M"], 0.656_864),
    (&["Q3_K_S"], 1.632_152),
    (&["Q2_K"], 3.519_934),
];

/// The usual loss of a GGUF type (`Q4_K`, `Q4_K_M`, in either case); `None` for one that is not known.
///
/// An estimate: small models lose more, larger ones less, and so does a file that is of one type throughout lose more
/// than a mixture, which `Q4_K` is read as (`Q4_K_M`). Files made with an importance matrix lose less.
///
/// Source: <https://github.com/ggml-org/llama.cpp/blob/master/tools/perplexity/README.md>, "LLaMA 3 8b Scoreboard", the
/// rows without importance matrix, column ΔPPL: Llama 3 8B, test set of Wikitext-2, llama.cpp revision f364eb6f, April 2024
/// (<https://github.com/ggml-org/llama.cpp/pull/6936>).
pub fn quality(quantization: &str) -> Option<QualityLoss> {
    let is = |name: &&str| name.eq_ignore_ascii_case(quantization);
    let (_, increase) = INCREASES.iter().find(|(names, _)| names.iter().any(is))?;
    let perplexity_increase_percent = increase / REFERENCE_PERPLEXITY * 100.0;
    Some(QualityLoss { perplexity_increase_percent, basis: Basis::Estimated })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(name: &str) -> f64 {
        quality(name).map_or(f64::NAN, |loss| loss.perplexity_increase_percent)
    }

    #[test]
    fn fewer_bits_lose_more() {
        let kinds = ["F16", "Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "Q4_0", "Q3_K", "Q2_K"];
        assert!(kinds.windows(2).all(|pair| percent(pair[0]) < percent(pair[1])));
        // The published ratios: 1.000425, 1.003490, 1.028160 and 1.564849.
        for (name, published) in [("q8_0", 0.0425), ("Q6_K", 0.349), ("Q4_K_M", 2.816), ("Q2_K", 56.4849)] {
            assert!((percent(name) - published).abs() < 0.001, "{name}: {}", percent(name));
        }
        assert!(percent("Q4_K_S") > percent("Q4_K_M"));
        assert_eq!(quality("IQ9_Z"), None);
    }
}

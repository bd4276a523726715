//! Pre-tokenizers of byte-level BPE: what `tokenizer.json` writes out, GGUF names (`tokenizer.ggml.pre`).
//!
//! Sources: the patterns that llama.cpp gives for each name in
//! <https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp>, in the form in which the models' own
//! `tokenizer.json` have them.

use serde_json::{Value, json};

/// English contractions.
macro_rules! contraction {
    () => {
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    };
}

/// Runs of whitespace: up to the last line break, else all but the space that belongs to the next word.
macro_rules! whitespace {
    () => {
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    };
}

/// Words in upper and lower case, with `$end` after each.
macro_rules! cased {
    ($end:expr) => {
        concat!(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
            $end,
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
            $end
        )
    };
}

/// One step of splitting a text; each splits further what the ones before it left together.
#[derive(Clone, Copy, PartialEq)]
enum Step<'a> {
    /// Digits one by one.
    Digits,
    /// What a pattern finds, and what lies between.
    Split(&'a str),
    /// Bytes as letters, after splitting as GPT-2 does where that is asked for.
    Bytes { split: bool },
    /// Anything else.
    Other,
}

/// A way to split that GGUF has a name for.
pub(crate) struct PreTokenizer {
    /// The first is the one that is written.
    names: &'static [&'static str],
    steps: &'static [Step<'static>],
    /// A whole word that is in the vocabulary is one token, whatever the merges say.
    pub(crate) ignore_merges: bool,
    /// The models of this kind bring text into Unicode's composed form first.
    pub(crate) composes: bool,
}

const KNOWN: [PreTokenizer; 7] = [
    PreTokenizer {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "smaug-bpe"],
        steps: &[
            Step::Split(concat!(
                contraction!(),
                r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*",
                whitespace!()
            )),
            Step::Bytes { split: false },
        ],
        ignore_merges: true,
        composes: false,
    },
    PreTokenizer {
        names: &["qwen2", "deepseek-r1-qwen", "megrez", "stablelm2"],
        steps: &[
            Step::Split(concat!(
                contraction!(),
                r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*",
                whitespace!()
            )),
            Step::Bytes { split: false },
        ],
        ignore_merges: false,
        composes: true,
    },
    PreTokenizer {
        names: &["smollm", "starcoder", "refact", "command-r", "codeshell"],
        steps: &[Step::Digits, Step::Bytes { split: true }],
        ignore_merges: false,
        composes: false,
    },
    PreTokenizer {
        names: &["gpt-2", "phi-2", "mpt", "olmo"],
        steps: &[Step::Bytes { split: true }],
        ignore_merges: false,
        composes: false,
    },
    PreTokenizer {
        names: &["tekken"],
        steps: &[
            Step::Split(concat!(cased!(""), r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*", whitespace!())),
            Step::Bytes { split: false },
        ],
        ignore_merges: true,
        composes: false,
    },
    PreTokenizer {
        names: &["gpt-4o"],
        steps: &[
            Step::Split(concat!(
                cased!(concat!(contraction!(), "?")),
                r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*",
                whitespace!()
            )),
            Step::Bytes { split: false },
        ],
        ignore_merges: false,
        composes: false,
    },
    PreTokenizer {
        names: &["deepseek-v3"],
        steps: &[
            Step::Split(r"\p{N}{1,3}"),
            Step::Split("[一-龥\u{3040}-ゟ゠-ヿ]+"),
            Step::Split(concat!(
                r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##,
                r"| ?[\p{P}\p{S}]+[\r\n]*",
                whitespace!()
            )),
            Step::Bytes { split: false },
        ],
        ignore_merges: false,
        composes: false,
    },
];

impl PreTokenizer {
    /// The one that `tokenizer.json` describes in `pre_tokenizer`.
    pub(crate) fn recognise(pre_tokenizer: &Value) -> Option<&'static Self> {
        let mut steps = Vec::new();
        collect(pre_tokenizer, &mut steps);
        KNOWN.iter().find(|known| known.steps == steps)
    }

    /// The one that GGUF calls `name`.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        KNOWN.iter().find(|known| known.names.contains(&name))
    }

    /// GGUF's name.
    pub(crate) fn name(&self) -> &'static str {
        self.names[0]
    }

    /// `pre_tokenizer` of `tokenizer.json`.
    pub(crate) fn json(&self) -> Value {
        let step = |step: &Step<'_>| match step {
            Step::Digits => json!({ "type": "Digits", "individual_digits": true }),
            Step::Split(pattern) => {
                json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false })
            }
            Step::Bytes { split } => {
                json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": split })
            }
            Step::Other => Value::Null,
        };
        match self.steps {
            [only] => step(only),
            steps => json!({ "type": "Sequence", "pretokenizers": steps.iter().map(step).collect::<Vec<_>>() }),
        }
    }
}

/// Whether a pre-tokenizer turns bytes into letters.
pub(crate) fn is_byte_level(pre_tokenizer: &Value) -> bool {
    let mut steps = Vec::new();
    collect(pre_tokenizer, &mut steps);
    steps.iter().any(|step| matches!(step, Step::Bytes { .. }))
}

fn collect<'a>(pre_tokenizer: &'a Value, steps: &mut Vec<Step<'a>>) {
    let kept = || {
        // Keeping what is found and what lies between, or only what is found: the same where everything is found.
        let (behavior, invert) = (pre_tokenizer["behavior"].as_str(), pre_tokenizer["invert"].as_bool());
        (behavior, invert.unwrap_or(false)) == (Some("Isolated"), false)
            || (behavior, invert.unwrap_or(false)) == (Some("Removed"), true)
    };
    let step = match pre_tokenizer["type"].as_str() {
        Some("Sequence") => {
            for part in pre_tokenizer["pretokenizers"].as_array().into_iter().flatten() {
                collect(part, steps);
            }
            return;
        }
        Some("Digits") if pre_tokenizer["individual_digits"] == true => Step::Digits,
        Some("ByteLevel") => Step::Bytes { split: pre_tokenizer["use_regex"].as_bool().unwrap_or(true) },
        Some("Split") if kept() => pre_tokenizer["pattern"]["Regex"].as_str().map_or(Step::Other, Step::Split),
        _ => Step::Other,
    };
    steps.push(step);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_recognised_in_its_own_json() {
        for known in &KNOWN {
            assert_eq!(PreTokenizer::recognise(&known.json()).map(PreTokenizer::name), Some(known.names[0]));
            assert!(is_byte_level(&known.json()));
            assert!(known.names.iter().all(|name| PreTokenizer::named(name).is_some()));
        }
    }

    #[test]
    fn others_are_not_taken_for_known_ones() {
        let mut json = KNOWN[0].json();
        json["pretokenizers"][0]["pattern"]["Regex"] = json!(r"\p{N}{1,4}");
        assert!(PreTokenizer::recognise(&json).is_none());
        let digits = json!({ "type": "Digits", "individual_digits": false });
        assert!(PreTokenizer::recognise(&digits).is_none() && !is_byte_level(&digits));
        for rubbish in [json!(null), json!(7), json!({ "type": 7 }), json!({ "type": "Sequence", "pretokenizers": {} })]
        {
            assert!(PreTokenizer::recognise(&rubbish).is_none());
        }
    }
}

//! Pre-tokenizers of byte-level BPE: how a text falls into words before any merge happens. The patterns are those
//! that llama.cpp ties to each value of `tokenizer.ggml.pre`. Where the published one of a family is known to be
//! another, it is the published one, because the model was trained with it: llama.cpp cuts at the vowel signs of Indic
//! scripts and the like in the families of `cased`, and composes no characters.

use std::borrow::Cow;

use tokenizers::{NormalizedString, Normalizer, normalizers::NFC, utils::SysRegex};

use super::TokenizerError;

/// English contractions in either case.
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

/// A punctuation sign before ASCII letters, words with their marks, punctuation.
macro_rules! deepseek {
    () => {
        concat!(
            r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##,
            r"| ?[\p{P}\p{S}]+[\r\n]*",
            whitespace!()
        )
    };
}

/// Capitalised words and their marks. `$end` follows each word.
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

/// Han and the two Japanese syllabaries.
const HAN_KANA: &str = r"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+";
/// Han of the first DeepSeek models; llama.cpp replaces the Unicode spaces inside the second range beforehand.
const HAN_WIDE: &str = r"[[\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]--\s]+";
const DEFAULT_PATTERNS: &[&str] = &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"];
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";
/// Digits in threes, counted from the right. The cut comes behind each group: what is before the first stays with it,
/// as in llama.cpp.
const THREES: &str = r"(?<=\p{N})(?=(?:\p{N}{3})*(?!\p{N}))";
const LLAMA3: &str =
    concat!(contraction!(), r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*", whitespace!());
const QWEN2: &str =
    concat!(contraction!(), r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*", whitespace!());
const QWEN35: &str =
    concat!(contraction!(), r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*", whitespace!());
/// Words of the scripts that DeepSeek's first tokenizer knows: Latin, Greek, Cyrillic, Armenian and some more.
const LETTERS: &str = concat!(
    r"\s?[A-Za-z",
    r"\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF}",
    r"\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}",
    r"\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}",
    r"\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}",
    r"\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}",
    r"\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}",
    r"\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}",
    r"\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}",
    r"\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}",
    r"\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}",
    r"\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}",
    r"\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}",
    r"\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}",
    "]+"
);

/// What a value of `tokenizer.ggml.pre` says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Each pattern splits further what the ones before it left together: at its matches, and between them.
    pub(super) patterns: &'static [&'static str],
    /// Characters are composed beforehand (Unicode's form NFC).
    pub(super) composes: bool,
    /// A whole word that is in the vocabulary is one token, whatever the merges say.
    pub(super) ignore_merges: bool,
    /// The model expects a BOS token unless the file says otherwise.
    pub(super) add_bos: bool,
}

impl Rules {
    /// For files that name no pre-tokenizer, or one that isn't known.
    pub(super) const DEFAULT: Self =
        Self { patterns: DEFAULT_PATTERNS, composes: false, ignore_merges: false, add_bos: false };

    /// The rules of that name; `None` for a name that isn't known.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(Self {
            patterns: patterns(name)?,
            composes: name == "qwen2",
            ignore_merges: matches!(
                name,
                "llama3"
                    | "llama-v3"
                    | "llama-bpe"
                    | "falcon3"
                    | "falcon-h1"
                    | "pixtral"
                    | "midm-2.0"
                    | "lfm2"
                    | "tekken"
                    | "youtu"
                    | "minicpm5"
            ),
            add_bos: matches!(
                name,
                "llama3"
                    | "llama-v3"
                    | "llama-bpe"
                    | "falcon3"
                    | "falcon-h1"
                    | "pixtral"
                    | "midm-2.0"
                    | "lfm2"
                    | "tekken"
                    | "chameleon"
            ),
        })
    }
}

/// Rules whose patterns are compiled.
pub(super) struct PreTokenizer {
    patterns: Vec<SysRegex>,
    composes: bool,
}

impl PreTokenizer {
    pub(super) fn new(rules: &Rules) -> Result<Self, TokenizerError> {
        let patterns = rules.patterns.iter().map(|pattern| SysRegex::new(pattern)).collect::<Result<_, _>>();
        let patterns = patterns.map_err(|error| TokenizerError::Pattern(error.to_string()))?;
        Ok(Self { patterns, composes: rules.composes })
    }

    /// The text as its words are cut from it.
    pub(super) fn normalize<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, TokenizerError> {
        if !self.composes || text.is_ascii() {
            return Ok(text.into());
        }
        let mut normalized = NormalizedString::from(text);
        NFC.normalize(&mut normalized).map_err(|error| TokenizerError::Bpe(error.to_string()))?;
        Ok(normalized.get().to_owned().into())
    }

    /// The words of the text, in order and without a gap.
    pub(super) fn split<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let mut pieces = vec![text];
        for pattern in &self.patterns {
            let mut finer = Vec::with_capacity(pieces.len());
            for piece in pieces {
                let mut end = 0;
                for (start, stop) in pattern.find_iter(piece) {
                    finer.extend([&piece[end..start], &piece[start..stop]]);
                    end = stop;
                }
                finer.push(&piece[end..]);
            }
            finer.retain(|piece| !piece.is_empty());
            pieces = finer;
        }
        pieces
    }
}

fn patterns(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "default" => DEFAULT_PATTERNS,
        "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0" | "lfm2" | "dbrx"
        | "smaug-bpe" | "glm4" | "chatglm-bpe" => &[LLAMA3],
        "minicpm5" => &[
            r"\p{N}{1,3}",
            concat!(contraction!(), r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*", whitespace!()),
        ],
        "qwen2" | "deepseek-r1-qwen" | "kormo" | "f2llmv2" | "megrez" | "stablelm2" | "hunyuan" | "solar-open"
        | "grok-2" => &[QWEN2],
        "qwen35" => &[QWEN35],
        "laguna" => &[r"[^\n]+|\n+", QWEN2],
        "ufakzeka" => &[concat!(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*", whitespace!())],
        "jais-2" => &[concat!(
            contraction!(),
            r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)",
            r"|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s"
        )],
        "gpt-2" | "phi-2" | "gigachat" | "a.x-4.0" | "mellum" | "modern-bert" | "exaone4" | "mpt" | "olmo" | "jais"
        | "trillion" | "granite-docling" => &[GPT2],
        "starcoder" | "refact" | "command-r" | "smollm" | "codeshell" | "exaone" | "minerva-7b" | "mellum2" => {
            &[r"\p{N}", GPT2]
        }
        "falcon" => &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
        "deepseek-llm" => &[
            r"[\r\n]",
            LETTERS,
            r"\s?[!-/:-\x{7E}\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3001}\x{3002}]+",
            r"\s+$",
            HAN_WIDE,
            r"\p{N}+",
        ],
        "deepseek-coder" => &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", HAN_WIDE, r"\p{N}"],
        "deepseek-v3" | "hunyuan-dense" | "joyai-llm" | "hy_v4" => &[r"\p{N}{1,3}", HAN_KANA, deepseek!()],
        "afmoe" => &[
            THREES,
            concat!(
                r"[\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{F900}-\x{FAFF}\x{3040}-\x{30FF}\x{FF65}-\x{FF9F}",
                r"\x{2F00}-\x{2FDF}\x{E40}-\x{EFF}\x{1780}-\x{17FF}\x{1000}-\x{109F}\x{AA60}-\x{AA7F}",
                r"\x{A9E0}-\x{A9FF}\x{AC00}-\x{D7AF}\x{1100}-\x{11FF}]+"
            ),
            deepseek!(),
        ],
        "youtu" => &[
            concat!(
                r"[\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+|[！…“”‘’—：；，\x{3001}-\x{303F}\x{FE30}-\x{FE4F}]+",
                r"|[\x{3105}-\x{312F}]+|[\x{4E00}-\x{9FA5}\x{3040}-\x{30FF}]+"
            ),
            concat!(
                r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+",
                contraction!(),
                r"?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*",
                whitespace!()
            ),
        ],
        "tekken" => &[concat!(cased!(""), r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*", whitespace!())],
        "gpt-4o" | "llama4" | "kanana2" | "talkie" | "minimax-m2" => {
            &[concat!(cased!(concat!(contraction!(), "?")), r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*", whitespace!())]
        }
        "tiny_aya" | "cohere2moe" => &[
            THREES,
            concat!(
                r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+",
                contraction!(),
                r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*",
                whitespace!()
            ),
        ],
        "superbpe" => &[r"\p{N}+", "(?=([0-9]{3})+(?![0-9]))"],
        "poro-chat" | "bloom" | "gpt3-finnish" => &[r" ?[^(\s|.,!?…。，、।۔،)]+"],
        "viking" => &[r" ?[^(\s|.,!?…。，、।۔،)]+", r"\p{N}"],
        "bailingmoe" | "bailingmoe2" | "llada-moe" => &[concat!(
            r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*",
            r"|\s*[\r\n]|\s+(?!\S)|\s+"
        )],
        "seed-coder" => {
            &[concat!(contraction!(), r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+", whitespace!())]
        }
        "exaone-moe" => &[concat!(
            contraction!(),
            r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?",
            r"|\s*[\r\n]|\s+(?!\S)|\s+"
        )],
        "chameleon" => &[
            "<sentinel:[0-9]+>",
            "IMGIMG[A-I]{1,4}Z",
            r"[\t\n]|    |  ",
            r"\p{N}",
            r"[\p{P}!-/:-@\[-`\x{7B}-\x{7E}]",
            GPT2,
        ],
        _ => return None,
    })
}

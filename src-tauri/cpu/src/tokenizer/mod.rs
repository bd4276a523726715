//! The tokenizer that a GGUF file describes: byte-level BPE or SentencePiece BPE. It gives the same tokens as
//! llama.cpp, whose conventions the files follow.

mod bpe;
mod pre;
mod spm;

use std::collections::{HashMap, HashSet};

use bpe::Bpe;
use pre::PreTokenizer;
use spm::Spm;

/// The tokenizer's part of a GGUF file's metadata.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vocabulary {
    /// `tokenizer.ggml.model`: "gpt2" for byte-level BPE, "llama" for SentencePiece BPE.
    pub(crate) model: String,
    /// `tokenizer.ggml.pre`: how byte-level BPE splits a text into words.
    pub(crate) pre: Option<String>,
    /// `tokenizer.ggml.tokens`: the name of each token.
    pub(crate) tokens: Vec<String>,
    /// `tokenizer.ggml.scores`: which merge SentencePiece prefers; may be empty.
    pub(crate) scores: Vec<f32>,
    /// `tokenizer.ggml.token_type`; may be empty.
    pub(crate) kinds: Vec<i32>,
    /// `tokenizer.ggml.merges`: the merges of byte-level BPE, the first one first.
    pub(crate) merges: Vec<String>,
    /// `tokenizer.ggml.bos_token_id`.
    pub(crate) bos: Option<u32>,
    /// `tokenizer.ggml.eos_token_id`.
    pub(crate) eos: Option<u32>,
    /// `tokenizer.ggml.eot_token_id`.
    pub(crate) eot: Option<u32>,
    /// `tokenizer.ggml.unknown_token_id`.
    pub(crate) unknown: Option<u32>,
    /// `tokenizer.ggml.add_bos_token`.
    pub(crate) add_bos: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`.
    pub(crate) add_space_prefix: Option<bool>,
}

/// Why a vocabulary or a text can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file's kind of tokenizer isn't supported.
    #[error("the tokenizer \"{0}\" is not supported")]
    UnknownModel(String),
    /// The file has no tokens.
    #[error("the vocabulary is empty")]
    Empty,
    /// The file has more tokens than a token number can name.
    #[error("the vocabulary is too large")]
    TooLarge,
    /// A pre-tokenizer's pattern does not compile.
    #[error("a pre-tokenizer is faulty: {0}")]
    Pattern(String),
    /// Byte-level BPE failed.
    #[error("byte-level BPE failed: {0}")]
    Bpe(String),
}

/// What a token is, as `tokenizer.ggml.token_type` numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

/// Tokens that end the generation wherever they occur. The last two rows, from fill-in-the-middle, are what stands
/// between files: past it comes another file.
const ENDS: &str = "<|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> </s> \
    <|eom_id|> <|endoftext|> <EOT> _<EOT> [EOT] [EOS] <|end_of_text|> <end_of_utterance> <eos> <turn|> \
    <｜end▁of▁sentence｜> [e~[ \
    <|fim_pad|> <fim-pad> <fim_pad> <PAD> [PAD] \
    <|fim_repo|> <|repo_name|> <fim-repo> <REPO> <reponame> <|file_sep|>";

/// The other tokens of fill-in-the-middle; control tokens even where a file calls them text.
const FILL_IN: &str = "<|fim_prefix|> <fim-prefix> <fim_prefix> <｜fim▁begin｜> <PRE> ▁<PRE> <|code_prefix|> \
    <|fim_suffix|> <fim-suffix> <fim_suffix> <｜fim▁hole｜> <SUF> ▁<SUF> <|code_suffix|> \
    <|fim_middle|> <fim-middle> <fim_middle> <｜fim▁end｜> <MID> ▁<MID> <|code_middle|>";

/// The channel marks of gpt-oss, which belong to its visible output.
const CHANNELS: &str = "<|channel|> <|message|> <|start|> <|constrain|>";

/// A token that is found in the text before anything else happens.
struct Special {
    id: u32,
    /// Found in any text, not only where control tokens are asked for.
    always: bool,
    /// Swallows the whitespace after it.
    strips: bool,
}

/// A stretch of text, or a special token found in it.
enum Fragment<'t> {
    Text(&'t str),
    Token(u32),
}

enum Model {
    Bpe(Box<Bpe>),
    Spm(Box<Spm>),
}

/// Turns text into tokens and tokens into bytes.
pub(crate) struct Tokenizer {
    model: Model,
    tokens: Vec<String>,
    /// What all tokens stand for, one after another; token `i` from `offsets[i]` to `offsets[i + 1]`.
    bytes: Vec<u8>,
    offsets: Vec<usize>,
    specials: Vec<Special>,
    ends: HashSet<u32>,
    bos: Option<u32>,
    adds_bos: bool,
    space_prefix: bool,
    unknown_pre: Option<String>,
}

impl Tokenizer {
    /// The tokenizer of a file. Tables that are too short or numbers out of range are made up for as llama.cpp does.
    pub(crate) fn new(vocabulary: Vocabulary) -> Result<Self, TokenizerError> {
        let Vocabulary { model, tokens, .. } = vocabulary;
        let count = u32::try_from(tokens.len()).map_err(|_| TokenizerError::TooLarge)?;
        if count == 0 {
            return Err(TokenizerError::Empty);
        }
        let valid = |id: Option<u32>| id.filter(|&id| id < count);
        let spm = model == "llama";
        let mut kinds = kinds(&tokens, &vocabulary.kinds, spm);
        let mut ends: HashSet<_> = valid(vocabulary.eos.or(spm.then_some(2))).into_iter().collect();
        ends.extend(valid(vocabulary.eot));
        mark(&tokens, &mut kinds, &mut ends);

        let mut unknown_pre = None;
        let (model, adds_bos) = match model.as_str() {
            "llama" => {
                let unknown = valid(vocabulary.unknown.or(Some(0)));
                (Model::Spm(Box::new(Spm::new(&tokens, vocabulary.scores, unknown))), true)
            }
            "gpt2" => {
                let name = vocabulary.pre.as_deref().filter(|name| !name.is_empty()).unwrap_or("default");
                let pre = match PreTokenizer::named(name)? {
                    Some(pre) => pre,
                    None => {
                        unknown_pre = Some(name.to_owned());
                        PreTokenizer::named("default")?.ok_or_else(|| TokenizerError::Pattern("no default".into()))?
                    }
                };
                let adds_bos = pre.add_bos;
                (Model::Bpe(Box::new(Bpe::new(&tokens, &vocabulary.merges, pre)?)), adds_bos)
            }
            _ => return Err(TokenizerError::UnknownModel(model)),
        };

        let (mut bytes, mut offsets) = (Vec::new(), vec![0]);
        for (token, kind) in tokens.iter().zip(&kinds) {
            match kind {
                Kind::Normal if spm => bytes.extend_from_slice(token.replace('▁', " ").as_bytes()),
                Kind::Normal => bpe::bytes_of(token, &mut bytes),
                Kind::UserDefined => bytes.extend_from_slice(token.as_bytes()),
                Kind::Byte => bytes.extend(byte_of(token)),
                Kind::Unknown | Kind::Control | Kind::Unused => {}
            }
            offsets.push(bytes.len());
        }
        let bos = valid(vocabulary.bos.or(spm.then_some(1)));
        Ok(Self {
            model,
            specials: specials(&tokens, &kinds),
            tokens,
            bytes,
            offsets,
            ends,
            bos,
            adds_bos: vocabulary.add_bos.unwrap_or(adds_bos) && bos.is_some(),
            space_prefix: spm && vocabulary.add_space_prefix.unwrap_or(true),
            unknown_pre,
        })
    }

    /// The tokens of a text, without BOS. With `specials`, the text of a control token becomes that token, which is
    /// what a rendered chat template needs and what text from anywhere else must not get.
    pub(crate) fn encode(&self, text: &str, specials: bool) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = Vec::new();
        let mut after_special = true;
        for fragment in self.fragments(text, specials) {
            match (fragment, &self.model) {
                (Fragment::Token(id), _) => {
                    ids.push(id);
                    after_special = true;
                }
                (Fragment::Text(text), Model::Bpe(model)) => model.encode(text, &mut ids)?,
                (Fragment::Text(text), Model::Spm(model)) => {
                    let prefix = if self.space_prefix && after_special { "▁" } else { "" };
                    model.encode(&[prefix, &text.replace(' ', "▁")].concat(), &mut ids);
                    after_special = false;
                }
            }
        }
        Ok(ids)
    }

    /// What the token stands for in the output. Empty for control, unknown and unused tokens, and for no token at all.
    pub(crate) fn bytes(&self, token: u32) -> &[u8] {
        match self.offsets.get(token as usize..).unwrap_or_default() {
            &[start, end, ..] => &self.bytes[start..end],
            _ => &[],
        }
    }

    /// Whether the token ends the generation.
    pub(crate) fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// The token's name in the vocabulary.
    pub(crate) fn text_of(&self, token: u32) -> Option<&str> {
        self.tokens.get(token as usize).map(String::as_str)
    }

    /// The token that begins a text.
    pub(crate) fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Whether the model wants the BOS token before a text.
    pub(crate) fn adds_bos(&self) -> bool {
        self.adds_bos
    }

    /// The number of tokens.
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The file's pre-tokenizer, if it isn't a known one and the default splits the words instead.
    pub(crate) fn unknown_pre(&self) -> Option<&str> {
        self.unknown_pre.as_deref()
    }

    /// Cuts the special tokens out of the text, longer names first.
    fn fragments<'t>(&self, text: &'t str, specials: bool) -> Vec<Fragment<'t>> {
        let mut fragments = vec![Fragment::Text(text)];
        // Some vocabularies have thousands of special tokens. Where in the text their first bytes are tells quickly
        // which of them can be in it.
        let mut places = vec![Vec::new(); 256];
        for (place, byte) in text.bytes().enumerate() {
            places[usize::from(byte)].push(place);
        }
        for special in self.specials.iter().filter(|special| specials || special.always) {
            let name = &self.tokens[special.id as usize];
            let first = usize::from(name.as_bytes()[0]);
            if places[first].iter().any(|&place| text.as_bytes()[place..].starts_with(name.as_bytes())) {
                fragments = fragments.into_iter().flat_map(|fragment| special.cut(name, fragment)).collect();
            }
        }
        fragments.retain(|fragment| !matches!(fragment, Fragment::Text("")));
        fragments
    }
}

impl Special {
    fn cut<'t>(&self, name: &str, fragment: Fragment<'t>) -> Vec<Fragment<'t>> {
        let Fragment::Text(text) = fragment else { return vec![fragment] };
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(name) {
            parts.extend([Fragment::Text(before), Fragment::Token(self.id)]);
            rest = if self.strips {
                after.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0B')
            } else {
                after
            };
        }
        parts.push(Fragment::Text(rest));
        parts.retain(|part| !matches!(part, Fragment::Text("")));
        parts
    }
}

fn kinds(tokens: &[String], numbers: &[i32], spm: bool) -> Vec<Kind> {
    let kind = |(index, token): (usize, &String)| match numbers.get(index) {
        // Without kinds, the names are all there is to tell a byte by.
        None if spm && byte_of(token).is_some() => Kind::Byte,
        None | Some(1) => Kind::Normal,
        Some(2) => Kind::Unknown,
        Some(3) => Kind::Control,
        Some(4) => Kind::UserDefined,
        Some(6) => Kind::Byte,
        Some(_) => Kind::Unused,
    };
    tokens.iter().enumerate().map(kind).collect()
}

/// Finds the tokens that llama.cpp knows by their names: files often don't say, or say wrongly, what they are.
fn mark(tokens: &[String], kinds: &mut [Kind], ends: &mut HashSet<u32>) {
    let named = [(ENDS, Kind::Control), (FILL_IN, Kind::Control), (CHANNELS, Kind::UserDefined)];
    let named: HashMap<_, _> =
        named.into_iter().flat_map(|(names, kind)| names.split(' ').map(move |name| (name, (names, kind)))).collect();
    let mut found = Vec::new();
    for (id, token) in (0u32..).zip(tokens) {
        let Some(&(names, kind)) = named.get(token.as_str()) else { continue };
        kinds[id as usize] = kind;
        if names == ENDS {
            ends.insert(id);
        }
        found.push((id, token));
    }
    // In gpt-oss and Solar Open, `<|end|>` ends one message of several.
    let has = |name| found.iter().any(|(_, token)| *token == name);
    if (has("<|call|>") || has("<|calls|>")) && (has("<|return|>") || has("<|flush|>")) {
        for &(id, _) in found.iter().filter(|(_, token)| *token == "<|end|>") {
            ends.remove(&id);
            kinds[id as usize] = Kind::UserDefined;
        }
    }
}

fn specials(tokens: &[String], kinds: &[Kind]) -> Vec<Special> {
    // Phi-3 was trained with the line breaks of its template swallowed. No file says so; this name is its own.
    let phi3 = tokens.iter().any(|token| token == "<|placeholder1|>");
    let mut specials: Vec<_> = (0u32..)
        .zip(tokens.iter().zip(kinds))
        .filter(|(_, (token, kind))| {
            !token.is_empty() && matches!(kind, Kind::Unknown | Kind::Control | Kind::UserDefined)
        })
        .map(|(id, (token, &kind))| Special {
            id,
            always: kind == Kind::UserDefined,
            strips: phi3 && !matches!(token.as_str(), "<unk>" | "<s>" | "<|endoftext|>"),
        })
        .collect();
    specials.sort_by_key(|special| std::cmp::Reverse(tokens[special.id as usize].len()));
    specials
}

/// The byte that a token like `<0x0A>` stands for.
fn byte_of(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2)
}

/// Assembles the bytes of streamed tokens into text. A character that isn't complete yet is held back; bytes that can't
/// become one are replaced by U+FFFD.
#[derive(Debug, Default)]
pub(crate) struct TextStream {
    held: Vec<u8>,
}

impl TextStream {
    /// Takes the bytes of the next token and gives the text that is certain by now.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let mut text = String::new();
        let mut used = 0;
        while let Err(error) = std::str::from_utf8(&self.held[used..]) {
            let good = used + error.valid_up_to();
            text.push_str(&String::from_utf8_lossy(&self.held[used..good]));
            used = good;
            let Some(bad) = error.error_len() else {
                self.held.drain(..used);
                return text;
            };
            text.push(char::REPLACEMENT_CHARACTER);
            used += bad;
        }
        text.push_str(&String::from_utf8_lossy(&self.held[used..]));
        self.held.clear();
        text
    }

    /// Gives what is left at the end: U+FFFD for a character that never became complete.
    pub(crate) fn finish(self) -> String {
        String::from_utf8_lossy(&self.held).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    /// All bytes, then some merges.
    fn byte_level(pre: &str, merges: &[&str], special: &[(&str, i32)]) -> Tokenizer {
        let mut tokens: Vec<_> = (0..=255).map(|byte| bpe::char_of(byte).to_string()).collect();
        tokens.extend(merges.iter().map(|merge| merge.replace(' ', "")));
        let mut kinds = vec![1; tokens.len()];
        for (name, kind) in special {
            tokens.push((*name).to_owned());
            kinds.push(*kind);
        }
        let vocabulary = Vocabulary {
            model: "gpt2".into(),
            pre: Some(pre.into()),
            tokens,
            kinds,
            merges: names(merges),
            ..Vocabulary::default()
        };
        Tokenizer::new(vocabulary).unwrap()
    }

    fn sentence_piece(pieces: &[(&str, f32, i32)], space_prefix: Option<bool>) -> Tokenizer {
        let mut all = vec![("<unk>".to_owned(), 0.0, 2), ("<s>".to_owned(), 0.0, 3), ("</s>".to_owned(), 0.0, 3)];
        all.extend((0..=255).map(|byte: u8| (format!("<0x{byte:02X}>"), 0.0, 6)));
        all.extend(pieces.iter().map(|&(name, score, kind)| (name.to_owned(), score, kind)));
        let vocabulary = Vocabulary {
            model: "llama".into(),
            scores: all.iter().map(|piece| piece.1).collect(),
            kinds: all.iter().map(|piece| piece.2).collect(),
            tokens: all.into_iter().map(|piece| piece.0).collect(),
            add_space_prefix: space_prefix,
            ..Vocabulary::default()
        };
        Tokenizer::new(vocabulary).unwrap()
    }

    fn pieces<'t>(tokenizer: &'t Tokenizer, text: &str, specials: bool) -> Vec<&'t str> {
        let ids = tokenizer.encode(text, specials).unwrap();
        ids.into_iter().map(|id| tokenizer.text_of(id).unwrap()).collect()
    }

    fn decoded(tokenizer: &Tokenizer, ids: &[u32]) -> String {
        let mut stream = TextStream::default();
        let mut text: String = ids.iter().map(|&id| stream.push(tokenizer.bytes(id))).collect();
        text += &stream.finish();
        text
    }

    #[test]
    fn merges_in_their_order_and_within_words() {
        let tokenizer = byte_level("gpt-2", &["b c", "a b", "Ġ a", "Ġa bc"], &[]);
        assert_eq!(pieces(&tokenizer, "abc abc", false), ["a", "bc", "Ġabc"]);
        assert_eq!(pieces(&tokenizer, "a b c", false), ["a", "Ġ", "b", "Ġ", "c"]);
        let text = "né \u{1F469}\u{200D}\u{1F680}\0\t 中\r\n";
        assert_eq!(decoded(&tokenizer, &tokenizer.encode(text, false).unwrap()), text);
    }

    #[test]
    fn pre_tokenizers_differ_as_documented() {
        let digits = ["1 2", "3 4", "12 34", "12 3"];
        assert_eq!(pieces(&byte_level("gpt-2", &digits, &[]), "1234", false), ["1234"]);
        assert_eq!(pieces(&byte_level("llama-bpe", &digits, &[]), "1234", false), ["123", "4"]);
        assert_eq!(pieces(&byte_level("qwen2", &digits, &[]), "1234", false), ["1", "2", "3", "4"]);
        assert_eq!(pieces(&byte_level("smollm", &digits, &[]), "1234", false), ["1", "2", "3", "4"]);
        // A whole word of the vocabulary needs no merge where merges may be ignored.
        let mut vocabulary =
            Vocabulary { model: "gpt2".into(), tokens: names(&["a", "b", "ab"]), ..Vocabulary::default() };
        for (pre, expected) in [("llama-bpe", vec![2]), ("qwen2", vec![0, 1])] {
            vocabulary.pre = Some(pre.into());
            assert_eq!(Tokenizer::new(vocabulary.clone()).unwrap().encode("ab", false).unwrap(), expected);
        }
    }

    #[test]
    fn every_pre_tokenizer_loses_nothing() {
        let text =
            "It's 1234567 (ok?)  \n\n\t x~~y DON'T CamelCaseWörter 你好，世界 ไทย हिन्दी \u{3000}\u{85}e\u{301}👍🏽 ";
        for name in "default llama-bpe minicpm5 qwen2 qwen35 laguna ufakzeka jais-2 gpt-2 smollm falcon deepseek-llm \
            deepseek-coder deepseek-v3 afmoe youtu tekken gpt-4o tiny_aya superbpe bloom viking bailingmoe seed-coder \
            exaone-moe chameleon"
            .split_whitespace()
        {
            let pre = PreTokenizer::named(name).unwrap().unwrap();
            assert_eq!(pre.split(text).concat(), text, "{name}");
            assert!(pre.split("").is_empty());
        }
    }

    #[test]
    fn an_unknown_pre_tokenizer_is_the_default_one() {
        let tokenizer = byte_level("brand-new", &["a b"], &[]);
        assert_eq!(tokenizer.unknown_pre(), Some("brand-new"));
        assert_eq!(pieces(&tokenizer, "ab", false), ["ab"]);
        assert_eq!(byte_level("", &[], &[]).unknown_pre(), None);
    }

    #[test]
    fn special_tokens_only_where_asked_for() {
        let tokenizer = byte_level("gpt-2", &[], &[("<|im_end|>", 3), ("<tool>", 4), ("<|im_end|><tool>", 3)]);
        assert_eq!(pieces(&tokenizer, "a<|im_end|>b", true), ["a", "<|im_end|>", "b"]);
        assert_eq!(pieces(&tokenizer, "<|im_end|>", false).len(), 10);
        assert_eq!(pieces(&tokenizer, "a<tool>", false), ["a", "<tool>"]);
        assert_eq!(pieces(&tokenizer, "<|im_end|><tool>", true), ["<|im_end|><tool>"]);
        assert_eq!((tokenizer.bytes(256), tokenizer.bytes(257)), (&b""[..], &b"<tool>"[..]));
        assert!(tokenizer.is_end(256) && !tokenizer.is_end(257) && !tokenizer.is_end(9999));
        assert_eq!((tokenizer.bytes(9999), tokenizer.text_of(9999), tokenizer.len()), (&b""[..], None, 259));
    }

    #[test]
    fn control_tokens_are_known_by_name() {
        let tokenizer = byte_level("gpt-2", &[], &[("<|endoftext|>", 1), ("<|end|>", 3), ("<|call|>", 3)]);
        assert!(tokenizer.is_end(256) && tokenizer.is_end(257) && tokenizer.bytes(256).is_empty());
        let harmony = [("<|return|>", 3), ("<|call|>", 3), ("<|end|>", 3), ("<|message|>", 3)];
        let tokenizer = byte_level("gpt-4o", &[], &harmony);
        assert_eq!([256, 257, 258, 259].map(|id| tokenizer.is_end(id)), [true, true, false, false]);
        assert_eq!(tokenizer.bytes(259), b"<|message|>");
    }

    #[test]
    fn best_score_first() {
        let tokenizer = sentence_piece(
            &[
                ("▁", -9.0, 1),
                ("a", -9.0, 1),
                ("b", -9.0, 1),
                ("c", -9.0, 1),
                ("ab", -3.0, 1),
                ("bc", -2.0, 1),
                ("▁a", -4.0, 1),
            ],
            None,
        );
        assert_eq!(pieces(&tokenizer, "abc", false), ["▁a", "bc"]);
        assert_eq!(pieces(&tokenizer, "aab", false), ["▁a", "ab"]);
        assert_eq!(pieces(&tokenizer, "é", false), ["▁", "<0xC3>", "<0xA9>"]);
        assert_eq!(pieces(&tokenizer, "a</s>a", true), ["▁a", "</s>", "▁a"]);
        assert_eq!(decoded(&tokenizer, &tokenizer.encode("a b é", false).unwrap()), " a b é");
        assert_eq!((tokenizer.bos(), tokenizer.adds_bos()), (Some(1), true));
        assert!(tokenizer.is_end(2));
        let tokenizer = sentence_piece(&[("▁", -9.0, 1), ("a", -9.0, 1), ("▁a", -1.0, 1)], Some(false));
        assert_eq!(pieces(&tokenizer, "a a", false), ["a", "▁a"]);
    }

    #[test]
    fn phi3_swallows_whitespace_after_special_tokens() {
        let tokenizer =
            sentence_piece(&[("a", 0.0, 1), ("<|user|>", 0.0, 3), ("<|placeholder1|>", 0.0, 3)], Some(false));
        assert_eq!(
            pieces(&tokenizer, "<|user|>\n a<s> a", true),
            ["<|user|>", "a", "<s>", "<0xE2>", "<0x96>", "<0x81>", "a"]
        );
    }

    #[test]
    fn rubbish_is_an_error_or_does_no_harm() {
        let new = |vocabulary| Tokenizer::new(vocabulary);
        assert!(matches!(new(Vocabulary::default()), Err(TokenizerError::Empty)));
        let wordpiece = Vocabulary { model: "bert".into(), tokens: names(&["a"]), ..Vocabulary::default() };
        assert_eq!(new(wordpiece).err().unwrap().to_string(), "the tokenizer \"bert\" is not supported");
        for model in ["gpt2", "llama"] {
            let tokenizer = new(Vocabulary {
                model: model.into(),
                tokens: names(&["", "a", "a", "<0xZZ>", "<s>", "é"]),
                scores: vec![f32::NAN],
                kinds: vec![3, 99, -1, 6, 3],
                merges: names(&["", " ", "a", "é", "a ", " a", "x y", "a a"]),
                bos: Some(77),
                eos: Some(u32::MAX),
                unknown: Some(9),
                add_bos: Some(true),
                ..Vocabulary::default()
            })
            .unwrap();
            tokenizer.encode("a é<s>\u{10FFFF}\0", true).unwrap();
            assert_eq!((tokenizer.bos(), tokenizer.adds_bos()), (None, false));
            assert!(tokenizer.encode("", true).unwrap().is_empty());
        }
    }

    #[test]
    fn text_streams_in_whole_characters() {
        let mut stream = TextStream::default();
        assert_eq!(stream.push(b"a\xF0\x9F"), "a");
        assert_eq!(stream.push(b""), "");
        assert_eq!(stream.push(b"\x91"), "");
        assert_eq!(stream.push(b"\x8Db"), "👍b");
        assert_eq!(stream.push(b"\xFFc\x80\xE2\x82"), "\u{FFFD}c\u{FFFD}");
        assert_eq!(stream.push(b"x"), "\u{FFFD}x");
        assert_eq!(stream.push(b"\xC3"), "");
        assert_eq!(stream.finish(), "\u{FFFD}");
    }
}

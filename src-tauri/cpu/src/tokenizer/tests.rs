//! Tests with vocabularies of a few tokens.

use super::{pre::PreTokenizer, pre::Rules, *};

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
    let mut vocabulary = Vocabulary { model: "gpt2".into(), tokens: names(&["a", "b", "ab"]), ..Vocabulary::default() };
    for (pre, expected) in [("llama-bpe", vec![2]), ("qwen2", vec![0, 1])] {
        vocabulary.pre = Some(pre.into());
        assert_eq!(Tokenizer::new(vocabulary.clone()).unwrap().encode("ab", false).unwrap(), expected);
    }
}

#[test]
fn every_pre_tokenizer_loses_nothing() {
    let text = "It's 1234567 (ok?)  \n\n\t x~~y DON'T CamelCaseWörter 你好，世界 ไทย हिन्दी \u{3000}\u{85}e\u{301}👍🏽 ";
    for name in "default llama-bpe minicpm5 qwen2 qwen35 laguna ufakzeka jais-2 gpt-2 smollm falcon deepseek-llm \
        deepseek-coder deepseek-v3 afmoe youtu tekken gpt-4o tiny_aya superbpe bloom viking bailingmoe seed-coder \
        exaone-moe chameleon"
        .split_whitespace()
    {
        let pre = PreTokenizer::new(&Rules::named(name).unwrap()).unwrap();
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
fn the_end_token_of_some_is_html_to_others() {
    let merges = ["< /", "</ s", "</s >"];
    let tokenizer = byte_level("qwen2", &merges, &[("<|im_end|>", 3)]);
    assert_eq!(pieces(&tokenizer, "</s>", true), ["</", "s", ">"]);
    assert!(!tokenizer.is_end(258) && tokenizer.is_end(259));
}

#[test]
fn text_never_merges_into_a_control_token() {
    let pieces_of_end =
        [("▁", -1.0, 1), ("<", -9.0, 1), ("/", -9.0, 1), ("s", -9.0, 1), (">", -9.0, 1), ("</", -3.0, 1)];
    let tokenizer = sentence_piece(&[&pieces_of_end[..], &[("s>", -2.0, 1)]].concat(), Some(false));
    assert_eq!(pieces(&tokenizer, "</s>", false), ["</", "s>"]);
    assert_eq!(pieces(&tokenizer, "</s>", true), ["</s>"]);
}

#[test]
fn characters_are_composed_where_the_model_was_trained_so() {
    let merges = ["Ã ©", "Ì ģ"];
    assert_eq!(pieces(&byte_level("qwen2", &merges, &[]), "e\u{301}", false), ["Ã©"]);
    assert_eq!(pieces(&byte_level("llama-bpe", &merges, &[]), "e\u{301}", false), ["e", "Ìģ"]);
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
    let tokenizer = sentence_piece(&[("a", 0.0, 1), ("<|user|>", 0.0, 3), ("<|placeholder1|>", 0.0, 3)], Some(false));
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

//! Tokens against those of the published tokenizers and of llama.cpp, which `scripts/tokenizer` writes down.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;

use super::{
    folder::TokenizerFiles,
    pre::{PreTokenizer, Rules},
    *,
};

/// Digits, code, emoji, white space and some twenty scripts.
const TEXT: &str = include_str!("fixtures/text.txt");

/// A family's vocabulary, reduced to the tokens that occur in the text and the letters to make up all others, and what
/// the reference makes of it.
#[derive(Deserialize)]
struct Fixture {
    family: String,
    /// Every `tokenizer.ggml.pre` that these tokens hold for.
    pre: Vec<String>,
    /// Byte-level BPE; the products are the tokens that follow the 256 bytes.
    #[serde(default)]
    merges: Vec<String>,
    /// SentencePiece; what follows `<unk>`, `<s>`, `</s>` and the 256 bytes.
    #[serde(default)]
    pieces: Vec<(String, f32)>,
    /// What follows those.
    specials: Vec<(String, i32)>,
    add_space_prefix: Option<bool>,
    /// The tokens of the text.
    ids: Vec<u32>,
    /// The bytes in each word of the text, if the published pre-tokenizer is at hand.
    #[serde(default)]
    words: Vec<usize>,
    /// A text with special tokens, and its tokens.
    marked: (String, Vec<u32>),
}

impl Fixture {
    fn all() -> Vec<Self> {
        macro_rules! fixtures {
            ($($name:literal)*) => {
                vec![$(serde_json::from_str(include_str!(concat!("fixtures/", $name, ".json"))).unwrap()),*]
            };
        }
        fixtures!("smollm" "llama-3.1" "qwen2.5" "gpt-2" "gpt-4" "gpt-oss" "mistral-nemo" "deepseek-v3" "mistral-7b" "phi-3")
    }

    fn vocabulary(&self, pre: &str) -> Vocabulary {
        let bpe = self.pieces.is_empty();
        let mut vocabulary = Vocabulary {
            model: if bpe { "gpt2" } else { "llama" }.into(),
            pre: Some(pre.into()),
            merges: self.merges.clone(),
            add_space_prefix: self.add_space_prefix,
            ..Vocabulary::default()
        };
        let mut add = |name: &str, score: f32, kind: i32| {
            vocabulary.tokens.push(name.into());
            vocabulary.scores.push(score);
            vocabulary.kinds.push(kind);
        };
        if bpe {
            (0..=255).for_each(|byte| add(&bpe::char_of(byte).to_string(), 0.0, 1));
            let mut seen = HashSet::new();
            let products = self.merges.iter().map(|merge| merge.replacen(' ', "", 1));
            products.filter(|product| seen.insert(product.clone())).for_each(|product| add(&product, 0.0, 1));
        } else {
            [("<unk>", 2), ("<s>", 3), ("</s>", 3)].iter().for_each(|&(name, kind)| add(name, 0.0, kind));
            (0..=255).for_each(|byte: u8| add(&format!("<0x{byte:02X}>"), 0.0, 6));
            self.pieces.iter().for_each(|(piece, score)| add(piece, *score, 1));
        }
        self.specials.iter().for_each(|(name, kind)| add(name, 0.0, *kind));
        vocabulary
    }
}

/// The tokens that Hugging Face's tokenizer makes of the folder's `tokenizer.json`.
fn encode_with_json(json: &[u8], text: &str) -> Vec<u32> {
    let tokenizer = tokenizers::Tokenizer::from_bytes(json).unwrap();
    tokenizer.encode_fast(text, false).unwrap().get_ids().to_vec()
}

/// Where two sequences part, with what stands there.
fn difference<T: PartialEq + std::fmt::Debug>(got: &[T], expected: &[T]) -> Option<String> {
    let at = (0..got.len().max(expected.len())).find(|&at| got.get(at) != expected.get(at))?;
    let around = |all: &[T]| format!("{:?}", all.iter().skip(at.saturating_sub(3)).take(8).collect::<Vec<_>>());
    Some(format!("at {at}: {} instead of {}", around(got), around(expected)))
}

#[test]
fn families_give_the_tokens_of_their_reference() {
    for fixture in Fixture::all() {
        for pre in &fixture.pre {
            let vocabulary = fixture.vocabulary(pre);
            let names = vocabulary.tokens.clone();
            let check = |what: &str, got: &[u32], expected: &[u32]| {
                let [got, expected] =
                    [got, expected].map(|ids| ids.iter().map(|&id| &names[id as usize]).collect::<Vec<_>>());
                let difference = difference(&got, &expected);
                assert_eq!(difference, None, "{} with {pre:?}, {what}", fixture.family);
            };
            let json = serde_json::to_vec(&TokenizerFiles::new(&vocabulary, None).unwrap().tokenizer).unwrap();
            let tokenizer = Tokenizer::new(vocabulary).unwrap();
            let (marked, marked_ids) = &fixture.marked;
            check("own", &tokenizer.encode(TEXT, false).unwrap(), &fixture.ids);
            check("own, marked", &tokenizer.encode(marked, true).unwrap(), marked_ids);
            check("tokenizer.json", &encode_with_json(&json, TEXT), &fixture.ids);
            check("tokenizer.json, marked", &encode_with_json(&json, marked), marked_ids);
        }
    }
}

/// The words of the text for the pre-tokenizers of these names.
#[derive(Deserialize)]
struct Words {
    pre: Vec<String>,
    words: Vec<usize>,
}

impl Words {
    /// As the published pre-tokenizers cut.
    fn published() -> Vec<Self> {
        let fixtures = Fixture::all().into_iter().filter(|fixture| !fixture.words.is_empty());
        fixtures.map(|fixture| Self { pre: fixture.pre, words: fixture.words }).collect()
    }

    /// As llama.cpp cuts, for all names of which it isn't known that this is wrong.
    fn llama_cpp() -> Vec<Self> {
        serde_json::from_str(include_str!("fixtures/words.json")).unwrap()
    }

    /// The text in words of these lengths.
    fn cut<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let mut rest = text;
        let mut words = Vec::new();
        for &bytes in &self.words {
            let (word, after) = rest.split_at(bytes);
            words.push(word);
            rest = after;
        }
        assert_eq!(rest, "");
        words
    }
}

/// The words as the produced `tokenizer.json` cuts them, in the letters that stand for their bytes.
fn cut_with_json(pre: &str, text: &str) -> Vec<String> {
    let vocabulary =
        Vocabulary { model: "gpt2".into(), pre: Some(pre.into()), tokens: vec!["a".into()], ..Vocabulary::default() };
    let json = serde_json::to_vec(&TokenizerFiles::new(&vocabulary, None).unwrap().tokenizer).unwrap();
    let tokenizer = tokenizers::Tokenizer::from_bytes(json).unwrap();
    let mut words = tokenizers::PreTokenizedString::from(text);
    tokenizers::PreTokenizer::pre_tokenize(tokenizer.get_pre_tokenizer().unwrap(), &mut words).unwrap();
    let splits = words.get_splits(tokenizers::OffsetReferential::Normalized, tokenizers::OffsetType::Byte);
    splits.into_iter().map(|(word, ..)| word.to_owned()).collect()
}

#[test]
fn words_are_cut_as_by_the_reference() {
    let (published, llama_cpp) = (Words::published(), Words::llama_cpp());
    assert!(published.len() >= 8 && llama_cpp.len() >= 20);
    let mut differences = Vec::new();
    for reference in published.iter().chain(&llama_cpp) {
        for pre in &reference.pre {
            let pre_tokenizer = PreTokenizer::new(&Rules::named(pre).unwrap()).unwrap();
            let text = pre_tokenizer.normalize(TEXT).unwrap();
            let expected = reference.cut(&text);
            let own = difference(&pre_tokenizer.split(&text), &expected);
            let letters = |word: &&str| word.bytes().map(bpe::char_of).collect::<String>();
            let json = difference(&cut_with_json(pre, &text), &expected.iter().map(letters).collect::<Vec<_>>());
            differences.extend(own.or(json).map(|difference| format!("{pre} {difference}")));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Otherwise a pattern could be taken for another and no test would notice.
#[test]
fn the_text_tells_all_patterns_apart() {
    let mut words = BTreeMap::new();
    for reference in Words::published().into_iter().chain(Words::llama_cpp()) {
        // These write Llama 3's and Qwen's pattern in another way.
        let alike = ["minicpm5", "bailingmoe", "bailingmoe2", "llada-moe"];
        for pre in reference.pre.iter().filter(|pre| !alike.contains(&pre.as_str())) {
            let patterns = Rules::named(pre).unwrap().patterns;
            let same = words.entry(reference.words.clone()).or_insert((patterns, pre.clone()));
            assert_eq!(same.0, patterns, "{pre} and {}", same.1);
        }
    }
}

/// Whole vocabularies are too large to be kept here: `scripts/tokenizer/compare.py FOLDER` fetches them and says how to
/// run this.
#[test]
#[ignore = "needs the folder that scripts/tokenizer/compare.py makes"]
fn whole_vocabularies_give_the_tokens_of_their_reference() {
    let folder = std::env::var("TEKTRA_VOCABULARIES").expect("TEKTRA_VOCABULARIES names the folder");
    let text = fs::read_to_string(Path::new(&folder).join("text.txt")).unwrap();
    let (mut families, mut differences) = (0, Vec::new());
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "gguf") {
            continue;
        }
        let expected: Vec<u32> = serde_json::from_slice(&fs::read(path.with_extension("json")).unwrap()).unwrap();
        let written = path.with_extension("folder");
        assert_eq!(write_tokenizer_folder(&path, &written).unwrap(), []);
        let with_json = encode_with_json(&fs::read(written.join("tokenizer.json")).unwrap(), &text);
        let file = crate::file::ModelFile::open(&path).unwrap();
        let tokenizer = Tokenizer::new(Vocabulary::read(&file.header, file.bytes())).unwrap();
        let own = tokenizer.encode(&text, true).unwrap();
        for (what, got) in [("own", own), ("tokenizer.json", with_json)] {
            if let Some(difference) = difference(&got, &expected) {
                differences.push(format!("{}, {what}: {difference}", path.display()));
            }
        }
        families += 1;
    }
    assert!(families > 0, "no vocabulary in {folder}");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

//! Byte-level BPE, the tokenizer of the "gpt2" family: Llama 3, Qwen, SmolLM, Mistral Nemo and most others.

use std::collections::HashSet;

use tokenizers::Model as _;
use tokenizers::models::bpe::{BPE, Vocab};

use super::TokenizerError;
use super::pre::{PreTokenizer, Rules};
use super::vocabulary::Kind;

/// Words by a pre-tokenizer, tokens by merges.
pub(super) struct Bpe {
    model: BPE,
    pre: PreTokenizer,
    /// Which bytes have a token of their own.
    known: [bool; 256],
}

impl Bpe {
    pub(super) fn new(
        tokens: &[String],
        kinds: &[Kind],
        merges: &[String],
        rules: &Rules,
    ) -> Result<Self, TokenizerError> {
        let mut vocab = Vocab::default();
        for ((id, token), kind) in (0u32..).zip(tokens).zip(kinds) {
            if kind.is_text() {
                vocab.entry(token.clone()).or_insert(id);
            }
        }
        let merges = usable(merges, |token| vocab.contains_key(token));
        let merges = merges.into_iter().map(|(left, right)| (left.to_owned(), right.to_owned())).collect();
        let mut letter = [0; 4];
        let known = std::array::from_fn(|byte| vocab.contains_key(&*char_of(byte as u8).encode_utf8(&mut letter)));
        let model = BPE::builder().vocab_and_merges(vocab, merges).ignore_merges(rules.ignore_merges).build();
        let model = model.map_err(|error| TokenizerError::Bpe(error.to_string()))?;
        Ok(Self { model, pre: PreTokenizer::new(rules)?, known })
    }

    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), TokenizerError> {
        for word in self.pre.split(&self.pre.normalize(text)?) {
            // A byte without a token is left out. It still keeps its neighbours apart, which the model would merge.
            for part in word.as_bytes().split(|&byte| !self.known[usize::from(byte)]) {
                let letters: String = part.iter().map(|&byte| char_of(byte)).collect();
                let tokens = self.model.tokenize(&letters).map_err(|error| TokenizerError::Bpe(error.to_string()))?;
                ids.extend(tokens.iter().map(|token| token.id));
            }
        }
        Ok(())
    }
}

/// The pairs that can be merged. A merge of or into something that isn't in the vocabulary can never give a token, and
/// of a repeated one the first counts; the model refuses the former and takes the last of the latter.
pub(super) fn usable(merges: &[String], has: impl Fn(&str) -> bool) -> Vec<(&str, &str)> {
    let mut seen = HashSet::new();
    let pairs = merges.iter().filter_map(|merge| {
        let space = 1 + merge.bytes().skip(1).position(|byte| byte == b' ')?;
        merge.split_at_checked(space).map(|(left, right)| (left, &right[1..]))
    });
    pairs
        .filter(|&(left, right)| has(left) && has(right) && has(&[left, right].concat()) && seen.insert((left, right)))
        .collect()
}

/// The printable character by which byte-level vocabularies write a byte: itself, or one from U+0100 on.
pub(super) fn char_of(byte: u8) -> char {
    char::from_u32(match byte {
        b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => byte.into(),
        0..=b' ' => 0x100 + u32::from(byte),
        0x7F..=0xA0 => 0x121 + u32::from(byte - 0x7F),
        0xAD => 0x143,
    })
    .unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The bytes that a token of a byte-level vocabulary stands for.
pub(super) fn bytes_of(token: &str, bytes: &mut Vec<u8>) {
    for letter in token.chars() {
        match u32::from(letter) {
            code @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => bytes.push(code as u8),
            code @ 0x100..=0x120 => bytes.push((code - 0x100) as u8),
            code @ 0x121..=0x142 => bytes.push((code - 0x121 + 0x7F) as u8),
            0x143 => bytes.push(0xAD),
            _ => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character() {
        for byte in 0..=255 {
            let mut bytes = Vec::new();
            bytes_of(&char_of(byte).to_string(), &mut bytes);
            assert_eq!(bytes, [byte]);
        }
        assert_eq!([char_of(b' '), char_of(b'\n'), char_of(0xAD), char_of(0xA0)], ['Ġ', 'Ċ', 'Ń', 'ł']);
    }
}

//! SentencePiece BPE, the tokenizer of the "llama" family: Llama 2, Mistral, Gemma, Phi-3.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use super::vocabulary::Kind;

/// Tokens by merging neighbours, the pair with the best score first.
pub(super) struct Spm {
    ids: HashMap<String, u32>,
    scores: Vec<f32>,
    /// The token of each byte, for characters that the vocabulary lacks.
    bytes: [Option<u32>; 256],
}

/// A stretch of the text that is one piece so far. A piece that was merged into its left neighbour has length 0.
struct Piece {
    start: usize,
    len: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

/// A possible merge of two neighbours, the better one greater: by score, then the one further left.
struct Merge {
    score: f32,
    left: usize,
    right: usize,
    len: usize,
}

impl Ord for Merge {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left)).then(self.len.cmp(&other.len))
    }
}

impl PartialOrd for Merge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Merge {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Merge {}

impl Spm {
    pub(super) fn new(tokens: &[String], kinds: &[Kind], scores: Vec<f32>, unknown: Option<u32>) -> Self {
        let mut ids = HashMap::with_capacity(tokens.len());
        for ((id, token), kind) in (0u32..).zip(tokens).zip(kinds) {
            if kind.is_text() {
                ids.entry(token.clone()).or_insert(id);
            }
        }
        let bytes = std::array::from_fn(|byte| {
            let bare = char::from(byte as u8).to_string();
            ids.get(&format!("<0x{byte:02X}>")).or_else(|| ids.get(&bare)).copied().or(unknown)
        });
        Self { ids, scores, bytes }
    }

    /// Appends the tokens of the text, whose spaces are `▁` already.
    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) {
        let count = text.chars().count();
        let mut pieces: Vec<_> = (text.char_indices().enumerate())
            .map(|(index, (start, letter))| Piece {
                start,
                len: letter.len_utf8(),
                previous: index.checked_sub(1),
                next: (index + 1 < count).then_some(index + 1),
            })
            .collect();
        let mut queue: BinaryHeap<_> =
            (1..count).filter_map(|right| self.merge(text, &pieces, right - 1, right)).collect();
        while let Some(Merge { left, right, len, .. }) = queue.pop() {
            // Either side may have been merged elsewhere since.
            if pieces[left].len == 0 || pieces[right].len == 0 || pieces[left].len + pieces[right].len != len {
                continue;
            }
            pieces[left].len = len;
            pieces[right].len = 0;
            let next = pieces[right].next;
            pieces[left].next = next;
            if let Some(next) = next {
                pieces[next].previous = Some(left);
                queue.extend(self.merge(text, &pieces, left, next));
            }
            if let Some(previous) = pieces[left].previous {
                queue.extend(self.merge(text, &pieces, previous, left));
            }
        }
        for piece in pieces.iter().filter(|piece| piece.len > 0) {
            let word = &text[piece.start..piece.start + piece.len];
            match self.ids.get(word) {
                Some(&id) => ids.push(id),
                None => ids.extend(word.bytes().filter_map(|byte| self.bytes[usize::from(byte)])),
            }
        }
    }

    fn merge(&self, text: &str, pieces: &[Piece], left: usize, right: usize) -> Option<Merge> {
        let len = pieces[left].len + pieces[right].len;
        let &id = self.ids.get(&text[pieces[left].start..pieces[left].start + len])?;
        // Adding 0 makes of -0 a 0: the two must not differ in the order.
        let score = self.scores.get(id as usize).copied().unwrap_or_default() + 0.0;
        Some(Merge { score, left, right, len })
    }
}

/// The scores as an order of merges, the first one first, which is how Hugging Face's BPE takes them. Pairs that give
/// the same piece follow each other as in its own conversion: by the numbers of their parts.
pub(super) fn merges<'t>(tokens: &'t [String], kinds: &[Kind], scores: &[f32]) -> Vec<(&'t str, &'t str)> {
    let mut ids = HashMap::with_capacity(tokens.len());
    for ((id, token), kind) in tokens.iter().enumerate().zip(kinds) {
        if kind.is_text() {
            ids.entry(token.as_str()).or_insert(id);
        }
    }
    let mut merges = Vec::new();
    for (&token, &id) in &ids {
        for (place, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(place);
            if let (Some(&left_id), Some(&right_id)) = (ids.get(left), ids.get(right)) {
                let score = scores.get(id).copied().unwrap_or_default() + 0.0;
                merges.push((score, id, left_id, right_id, left, right));
            }
        }
    }
    merges.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2, a.3).cmp(&(b.1, b.2, b.3))));
    merges.into_iter().map(|merge| (merge.4, merge.5)).collect()
}

//! Models of a few megabytes with random weights, for tests: they answer nonsense, at once.

use std::{collections::HashSet, path::Path, sync::atomic::AtomicBool};

use crate::{
    Architecture, Error,
    config::{Config, RopeScaling},
    export::write_folder,
    gguf::GgufFile,
    layout::Source,
    tensors::{self, Part},
    vocabulary::{Vocabulary, kind},
};

/// Tokens that are kept of the vocabulary.
const TOKENS: usize = 1024;

/// Single characters that are kept: all of those that stand for a byte.
const LETTERS: usize = 400;

/// Writes a model folder of less than 3 MB at `out`, which must not exist: two layers of 256 elements, and the special
/// and the most frequent tokens and the chat template of the GGUF file at `vocabulary`. The same `seed` gives the same
/// weights.
///
/// # Errors
/// When the GGUF file can't be read, or the folder not written.
pub fn write_model(architecture: Architecture, vocabulary: &Path, out: &Path, seed: u64) -> Result<(), Error> {
    let file = GgufFile::open(vocabulary)?;
    let vocabulary = shortened(Vocabulary::from_gguf(&file)?);
    let config = Config {
        architecture,
        name: Some("tiny-random".into()),
        dim: 256,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 64,
        feed_forward: 512,
        context: 2048,
        epsilon: 1e-5,
        rope_base: 10_000.0,
        rope_scaling: RopeScaling::None,
        tied: Some(true),
        window: None,
    };
    let mut random = fastrand::Rng::with_seed(seed);
    let parts = tensors::all(&config, vocabulary.tokens.len(), true).filter(|part| !part.optional);
    let parts = parts.map(|part| {
        let data = weights(&part, &mut random);
        let row = move |row: usize, out: &mut [f32]| out.copy_from_slice(&data[row * out.len()..][..out.len()]);
        (part, Source::Rows(Box::new(row)))
    });
    let parts = parts.collect();
    let licence = file.header.text("general.license");
    write_folder(out, &config, &vocabulary, licence, parts, &mut |_| {}, &AtomicBool::new(false))
}

/// Norms of about one; matrices that neither swell nor drown what passes through them.
fn weights(part: &Part, random: &mut fastrand::Rng) -> Vec<f32> {
    let elements = part.shape.iter().product();
    let spread = match part.shape[..] {
        [_, columns] => (columns as f32).sqrt().recip(),
        _ => 0.1,
    };
    let centre = if part.ours.ends_with("norm.weight") { 1.0 } else { 0.0 };
    // Box and Muller's way from even numbers to a normal distribution.
    let mut normal = || (-2.0 * (1.0 - random.f32()).ln()).sqrt() * (std::f32::consts::TAU * random.f32()).cos();
    (0..elements).map(|_| centre + spread * normal()).collect()
}

/// The vocabulary with its special tokens and the first of the others, and the merges between them.
fn shortened(mut vocabulary: Vocabulary) -> Vocabulary {
    let mut kept: Vec<usize> = Vec::new();
    let all = || vocabulary.tokens.iter().zip(&vocabulary.kinds).enumerate();
    let normal = |kind: i32| kind == kind::NORMAL;
    kept.extend(all().filter(|(_, (_, kind))| !normal(**kind) && **kind != kind::UNUSED).map(|(id, _)| id).take(512));
    for (single, most) in [(true, kept.len() + LETTERS), (false, TOKENS)] {
        let fitting = all().filter(|(_, (text, kind))| normal(**kind) && (text.chars().count() == 1) == single);
        let ids: Vec<usize> = fitting.map(|(id, _)| id).take(most.saturating_sub(kept.len())).collect();
        kept.extend(ids);
    }
    kept.sort_unstable();
    let new_id = |id: Option<u32>| kept.binary_search(&(id? as usize)).ok().map(|id| id as u32);
    let ids = [vocabulary.bos, vocabulary.eos, vocabulary.eot, vocabulary.unknown, vocabulary.padding].map(new_id);
    [vocabulary.bos, vocabulary.eos, vocabulary.eot, vocabulary.unknown, vocabulary.padding] = ids;
    let pick = |id: &usize| vocabulary.tokens[*id].clone();
    let tokens: Vec<String> = kept.iter().map(pick).collect();
    vocabulary.kinds = kept.iter().map(|&id| vocabulary.kinds[id]).collect();
    if !vocabulary.scores.is_empty() {
        vocabulary.scores = kept.iter().map(|&id| vocabulary.scores[id]).collect();
    }
    let known: HashSet<&str> = tokens.iter().map(String::as_str).collect();
    vocabulary.merges.retain(|merge| {
        merge.split_once(' ').is_some_and(|(left, right)| {
            known.contains(left) && known.contains(right) && known.contains(&*[left, right].concat())
        })
    });
    vocabulary.tokens = tokens;
    vocabulary
}

//! Measurements of the starter model, of worse copies of it, and of numbers worked out by hand.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tektra_gguf::Header;
use tektra_kernels::KvType;

use super::{
    MeasureError, PackageEnergy, Subject, Workload,
    quality::{kl_divergence, percentile},
    speed::random,
};
use crate::kv_tests::starter;

const TEXT: &str = include_str!("../../../core/text/the-old-lighthouse.txt");

/// A folder of one test's own, which goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tektra-measure-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A copy of the starter model with its bytes changed.
    fn copy(&self, change: impl FnOnce(&mut [u8])) -> Subject {
        let path = self.0.join("changed.gguf");
        let mut bytes = fs::read(starter()).unwrap();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        load(&path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn load(path: &Path) -> Subject {
    Subject::load(path, 2, KvType::F16, &[]).unwrap()
}

/// Keeps only some bits of each pair of 4-bit weights and sets others, so that what is left is as coarse as fewer bits.
fn coarsen(bytes: &mut [u8], keep: u8, set: u8) {
    /// ggml's number of Q4_1: blocks of two f16, then 32 weights in 16 bytes.
    const Q4_1: u32 = 3;
    let header = Header::read(bytes).unwrap();
    let mut changed = 0;
    for tensor in header.tensors.iter().filter(|tensor| tensor.kind == Q4_1) {
        let start = (header.data_start + tensor.offset) as usize;
        for block in bytes[start..][..tensor.elements as usize / 32 * 20].chunks_exact_mut(20) {
            block[4..].iter_mut().for_each(|weights| *weights = *weights & keep | set);
        }
        changed += tensor.elements;
    }
    assert!(changed > 100_000_000, "{changed} weights");
}

#[test]
fn a_model_does_not_diverge_from_itself() {
    let (mut model, mut reference) = (load(&starter()), load(&starter()));
    let tokens = model.tokens(TEXT).unwrap();
    let quality = model.quality(Some(&mut reference), &tokens[..300], 200).unwrap();
    let divergence = quality.divergence.unwrap();
    assert_eq!((divergence.kl_mean, divergence.kl_p99, divergence.same_top_percent), (0.0, 0.0, 100.0));
    assert_eq!(quality.tokens, 199 + 99, "all but the first token of each window");
    let alone = model.quality(None, &tokens[..300], 200).unwrap();
    assert_eq!(alone.perplexity, quality.perplexity);
    assert_eq!(model.perplexity(&tokens[..300], 200).unwrap(), quality.perplexity);
    assert!(alone.divergence.is_none());
}

#[test]
fn fewer_bits_diverge_further() {
    let scratch = Scratch::new("bits");
    let mut reference = load(&starter());
    let tokens = reference.tokens(TEXT).unwrap();
    let mut measured = Vec::new();
    // Three bits, two bits; one of a pair becomes smaller and the other larger, so that their mean stays.
    for (keep, set) in [(0xEE, 0x10), (0xCC, 0x21)] {
        let mut model = scratch.copy(|bytes| coarsen(bytes, keep, set));
        let quality = model.quality(Some(&mut reference), &tokens[..200], 128).unwrap();
        let divergence = quality.divergence.unwrap();
        assert!(divergence.kl_mean > 0.01 && divergence.kl_p99 > divergence.kl_mean, "{divergence:?}");
        assert!((0.0..100.0).contains(&divergence.same_top_percent), "{divergence:?}");
        measured.push((quality.perplexity, divergence));
    }
    let exact = reference.perplexity(&tokens[..200], 128).unwrap();
    let [(three_bits, near), (two_bits, far)] = measured[..] else { panic!("two") };
    assert!(exact < three_bits && three_bits < two_bits, "{exact} {measured:?}");
    assert!(near.kl_mean < far.kl_mean && near.same_top_percent > far.same_top_percent, "{measured:?}");
}

#[test]
fn only_models_with_the_same_tokens_are_compared() {
    let scratch = Scratch::new("tokens");
    let mut other = scratch.copy(|bytes| {
        let token = [&5_u64.to_le_bytes()[..], "Ġthe".as_bytes()].concat();
        let place = bytes.windows(token.len()).position(|window| window == token).unwrap();
        bytes[place + token.len() - 1] = b'Q';
    });
    let error = load(&starter()).quality(Some(&mut other), &[1, 2, 3], 512).unwrap_err();
    assert!(matches!(error, MeasureError::Vocabularies), "{error}");
    assert!(error.to_string().contains("different vocabularies"), "{error}");
}

#[test]
fn what_cannot_be_measured_is_refused_in_words() {
    let mut model = load(&starter());
    assert!(matches!(model.quality(None, &[5], 512), Err(MeasureError::TooShort)));
    assert!(matches!(model.quality(None, &[], 512), Err(MeasureError::TooShort)));
    assert!(matches!(model.quality(None, &[1, 2, 3], 1), Err(MeasureError::TooShort)));
    let error = model.quality(None, &[1; 9000], 9000).unwrap_err();
    assert_eq!(error.to_string(), "the model was trained on 8192 tokens at once: 9000 do not fit");

    let workload = Workload { sequences: 1, depth: 0, prompt: 1, decode: 1 };
    let mut refused = |workload: Workload| model.at_depth(workload).err().map(|error| error.to_string());
    assert_eq!(refused(workload), None);
    let sentence = |most, count| Some(format!("1 to {most} sequences are computed together, not {count}"));
    // 16 on a GPU.
    assert_eq!(refused(Workload { sequences: 0, ..workload }), sentence(16, 0));
    assert_eq!(refused(Workload { sequences: 9, ..workload }), sentence(8, 9));
    for nothing in [Workload { prompt: 0, ..workload }, Workload { decode: 0, ..workload }] {
        assert!(refused(nothing).is_some_and(|why| why.contains("at least one token")));
    }
    // Prompt and answer are both computed at the depth, not one after the other.
    let long = |wanted| Some(format!("the model was trained on 8192 tokens at once: {wanted} do not fit"));
    assert_eq!(refused(Workload { depth: 8184, prompt: 9, ..workload }), long(8193));
    assert_eq!(refused(Workload { depth: 8184, decode: 10, ..workload }), long(8194));
    assert_eq!(refused(Workload { depth: usize::MAX, ..workload }), long(usize::MAX));
}

#[test]
fn prompt_and_decoding_both_start_at_the_depth() {
    let mut model = load(&starter());
    let workload = Workload { sequences: 3, depth: 140, prompt: 150, decode: 5 };
    let start = model.at_depth(workload).unwrap();
    let lengths = |caches: &[crate::kv::Cache]| caches.iter().map(|cache| cache.tokens.len()).collect::<Vec<_>>();
    assert_eq!(lengths(&start.caches), [140; 3]);
    assert_eq!(lengths(&model.prefill_from(&start, &mut random()).unwrap().1), [290; 3]);
    let (steps, caches) = model.decode_from(&start, 5, &mut random()).unwrap();
    assert_eq!((steps.len(), lengths(&caches)), (5, vec![145; 3]));
    assert!(caches.iter().all(|cache| cache.tokens.starts_with(&start.caches[0].tokens)));
    let page = |index: usize| start.caches[index].pages[0].host.bytes();
    assert!(page(0) == page(1) && page(0).as_ptr() != page(1).as_ptr(), "each sequence reads memory of its own");

    model.warm_up(&start).unwrap();
    let repetition = model.repetition(&start).unwrap();
    assert_eq!(repetition.inter_token_ms.len(), 5);
    assert!(repetition.prefill_ms > 0.0 && repetition.inter_token_ms.iter().all(|ms| *ms > 0.0), "{repetition:?}");
    assert_eq!(repetition.first_token_ms(), repetition.prefill_ms + repetition.inter_token_ms[0]);
    assert_eq!(repetition.decode_ms(), repetition.inter_token_ms.iter().sum::<f64>());
    assert_eq!(lengths(&start.caches), [140; 3], "the next repetition starts where this one did");
}

#[test]
fn divergence_is_what_the_definition_says() {
    let kl = |p: &[f32], q: &[f32]| {
        let logits = |likelihoods: &[f32]| likelihoods.iter().map(|p| p.ln() + 3.0).collect::<Vec<f32>>();
        let (p, q) = (logits(p), logits(q));
        let largest = q.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = q.iter().map(|q| f64::from(q - largest).exp()).sum();
        kl_divergence(&p, &q, sum.ln())
    };
    // 0.5 ln(0.5 / 0.9) + 0.5 ln(0.5 / 0.1), and the other way round 0.9 ln(0.9 / 0.5) + 0.1 ln(0.1 / 0.5).
    assert!((kl(&[0.5, 0.5], &[0.9, 0.1]) - 0.510_826).abs() < 1e-5);
    assert!((kl(&[0.9, 0.1], &[0.5, 0.5]) - 0.368_064).abs() < 1e-5);
    assert_eq!(kl(&[0.2, 0.3, 0.5], &[0.2, 0.3, 0.5]), 0.0);
    assert!((kl(&[1.0, 0.0], &[0.5, 0.5]) - std::f64::consts::LN_2).abs() < 1e-6, "impossible tokens add nothing");
    assert_eq!(kl(&[0.5, 0.5], &[1.0, 0.0]), f64::INFINITY);
    assert!(kl(&[f32::NAN, 0.5], &[0.5, 0.5]).is_nan());
}

#[test]
fn a_percentile_lies_between_its_neighbours() {
    let mut values: Vec<f64> = (0..=200).rev().map(f64::from).collect();
    assert_eq!(percentile(&mut values, 0.99), 198.0);
    assert!((percentile(&mut [4.0, 2.0], 0.99) - 3.98).abs() < 1e-12);
    assert_eq!(percentile(&mut [7.0], 0.99), 7.0);
}

#[test]
fn energy_is_of_the_packages_alone_and_counters_go_round() {
    let scratch = Scratch::new("energy");
    let zone = |zone: &str, name: &str, microjoules: &str| {
        let folder = scratch.0.join(zone);
        fs::create_dir_all(&folder).unwrap();
        for (file, text) in [("name", name), ("energy_uj", microjoules), ("max_energy_range_uj", "9000000")] {
            fs::write(folder.join(file), format!("{text}\n")).unwrap();
        }
    };
    assert!(PackageEnergy::open_in(&scratch.0).is_none(), "no package");
    zone("intel-rapl:0", "package-0", "1000000");
    zone("intel-rapl:1", "package-1", "8000000");
    for (twin, name) in [("intel-rapl-mmio:0", "package-0"), ("intel-rapl:0:0", "core"), ("intel-rapl:2", "psys")] {
        zone(twin, name, "0");
    }
    let mut energy = PackageEnergy::open_in(&scratch.0).unwrap();
    zone("intel-rapl:0", "package-0", "1500000");
    zone("intel-rapl:1", "package-1", "500000");
    for (twin, name) in [("intel-rapl-mmio:0", "package-0"), ("intel-rapl:0:0", "core"), ("intel-rapl:2", "psys")] {
        zone(twin, name, "5000000");
    }
    assert_eq!(energy.joules(), Some(0.5 + 1.5));
    assert_eq!(energy.joules(), Some(0.0));
    fs::remove_file(scratch.0.join("intel-rapl:1/energy_uj")).unwrap();
    assert_eq!(energy.joules(), None, "no half of a machine");
    assert!(PackageEnergy::open_in(&scratch.0).is_none());
}

#[test]
fn decoding_and_memory_are_measured_in_turn() {
    let mut subject = load(&starter());
    let start = subject.at_depth(Workload { sequences: 1, depth: 8, prompt: 1, decode: 1 }).unwrap();
    let turns = subject.decode_and_read(&start, 2).unwrap();
    assert_eq!(turns.len(), 2);
    for turn in turns {
        // No computer decodes the starter, of 94 MiB, ten times as fast as it reads memory, or a thousandth as fast.
        let used = turn.decode_tokens_per_second * 94.0 / 1e3 / turn.read_gb_per_second;
        assert!((1e-3..10.0).contains(&used), "{turn:?}");
    }
}

//! Attention over every type of cache against softmax attention in `f64` over the keys and values as they were.

use super::{super::*, Random, cases};

/// Keys and values of one sequence, as they were and in pages.
struct Sequence {
    shape: AttentionShape,
    tokens: usize,
    queries: Vec<f32>,
    /// By head and position.
    keys: Vec<Vec<Vec<f32>>>,
    values: Vec<Vec<Vec<f32>>>,
    pages: Vec<KvPage>,
    values_at: usize,
}

impl Sequence {
    fn new(random: &mut Random, shape: AttentionShape, tokens: usize) -> Self {
        let AttentionShape { heads, kv_heads, head_dim, kv } = shape;
        let head_bytes = kv.bytes_per_head(head_dim) * PAGE;
        let values_at = kv_heads * head_bytes;
        let from = KvPages::new(2 * values_at);
        let mut pages: Vec<KvPage> = (0..tokens.div_ceil(PAGE)).map(|_| from.page()).collect();
        let mut vector = |size: f32, len: usize| (0..len).map(|_| random.unit() * size).collect::<Vec<f32>>();
        let queries = vector(0.2, tokens * heads * head_dim);
        let (mut keys, mut values) = (vec![Vec::new(); kv_heads], vec![Vec::new(); kv_heads]);
        for position in 0..tokens {
            let page = pages[position / PAGE].bytes_mut();
            for head in 0..kv_heads {
                // Sizes that differ, so that a scale in the wrong place shows.
                let size = |of: usize| [2.0, 0.5, 1.0, 0.1][(position + of) % 4];
                let (key, value) = (vector(size(head), head_dim), vector(size(head + 1), head_dim));
                store_key(kv, &mut page[head * head_bytes..], position % PAGE, &key);
                store_value(kv, &mut page[values_at + head * head_bytes..], position % PAGE, &value);
                keys[head].push(key);
                values[head].push(value);
            }
        }
        Self { shape, tokens, queries, keys, values, pages, values_at }
    }

    /// Attention of the tokens from each of `firsts` to the next of them, all in one call.
    fn attend(&self, firsts: &[usize], threads: usize) -> Vec<f32> {
        let pages: Vec<&[u8]> = self.pages.iter().map(KvPage::bytes).collect();
        let len = self.shape.heads * self.shape.head_dim;
        let mut queries = &self.queries[firsts[0] * len..];
        let mut out = vec![f32::NAN; queries.len()];
        let mut rest = &mut out[..];
        let ends = firsts[1..].iter().chain([&self.tokens]);
        let mut runs = Vec::new();
        for (&first, end) in firsts.iter().zip(ends) {
            let (own, later) = queries.split_at((end - first) * len);
            let (out, rest_out) = rest.split_at_mut(own.len());
            (queries, rest) = (later, rest_out);
            let (keys, values) = (0, self.values_at);
            runs.push(AttentionRun { first_position: first, queries: own, pages: &pages, keys, values, out });
        }
        attend(&mut Pool::new(threads).expect("threads"), self.shape, &mut runs);
        out
    }

    /// What a query head of a token should get.
    fn expected(&self, token: usize, head: usize) -> Vec<f64> {
        let AttentionShape { heads, kv_heads, head_dim, .. } = self.shape;
        let query = &self.queries[(token * heads + head) * head_dim..][..head_dim];
        let kv_head = head / (heads / kv_heads);
        let (keys, values) = (&self.keys[kv_head][..=token], &self.values[kv_head][..=token]);
        let product = |key: &Vec<f32>| query.iter().zip(key).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum();
        let scores: Vec<f64> = keys.iter().map(product).collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let element = |i: usize| weights.iter().zip(values).map(|(weight, value)| weight * f64::from(value[i])).sum();
        (0..head_dim)
            .map(|i| {
                let all: f64 = element(i);
                all / sum
            })
            .collect()
    }
}

#[test]
fn attention_is_right_whole_in_parts_and_on_threads_in_every_type() {
    let mut random = Random(99);
    for kv in KvType::ALL {
        // Of values up to 2: a little more than their own rounding, as scores are rounded as well.
        let bound = match kv {
            KvType::F16 => 6e-4,
            KvType::Q8 => 1e-2,
            KvType::F32 => 1e-6,
        };
        let shapes = [
            (3, 1, 16, 34),
            (3, 1, 64, 75),
            (4, 4, 32, 33),
            (8, 2, 80, 20),
            (14, 2, 128, 140),
            (3, 1, 16, 530),
            (6, 2, 64, 300),
        ];
        for (heads, kv_heads, head_dim, tokens) in cases(shapes, 1) {
            let shape = AttentionShape { heads, kv_heads, head_dim, kv };
            let sequence = Sequence::new(&mut random, shape, tokens);
            let whole = sequence.attend(&[0], 1);
            for (index, got) in whole.chunks(head_dim).enumerate() {
                for (got, expected) in got.iter().zip(sequence.expected(index / heads, index % heads)) {
                    let error = (f64::from(*got) - expected).abs();
                    assert!(error < bound, "{kv}: head {} of token {}: {error}", index % heads, index / heads);
                }
            }
            let divided = [
                &[tokens / 2, tokens - 1][..],
                &[1],
                &[tokens / 2],
                &[tokens - 1],
                &[0, 5],
                &[3, tokens / 2, tokens - 1],
            ];
            for firsts in cases(divided, 1) {
                let parts = sequence.attend(firsts, 3);
                assert_eq!(parts[..], whole[firsts[0] * heads * head_dim..], "{kv}: from {firsts:?}");
            }
        }
    }
}

#[test]
fn a_head_takes_the_bytes_that_are_planned_for_it() {
    let head_dim = 64;
    for (kv, bytes) in [(KvType::F16, 128), (KvType::Q8, 68), (KvType::F32, 256)] {
        assert_eq!(kv.bytes_per_head(head_dim), bytes, "{kv}");
        let mut head = vec![0; bytes * PAGE];
        for position in 0..PAGE {
            store_key(kv, &mut head, position, &vec![1.0; head_dim]);
        }
        let (elements, scales) = head.split_at(if kv == KvType::Q8 { head_dim * PAGE } else { head.len() });
        assert!(elements.iter().all(|&byte| byte == 127) || kv != KvType::Q8);
        assert!(scales.chunks(4).all(|scale| scale == (1.0_f32 / 127.0).to_ne_bytes()));
        assert!(head[head.len() - 4..] != [0; 4], "{kv}: nothing is left over");
        let mut next = vec![0; bytes * PAGE];
        (0..PAGE).for_each(|position| store_value(kv, &mut next, position, &vec![1.0; head_dim]));
        assert_eq!(head, next, "{kv}: values take what keys take");
    }
}

#[test]
fn codes_of_a_cache_are_the_nearest_and_defined_for_anything() {
    let mut random = Random(8);
    for size in [0.0, 1e-39, 1e-30, 1e-3, 1.0, 1e30] {
        let key: Vec<f32> = (0..64).map(|_| random.unit() * size).collect();
        let mut head = vec![0; KvType::Q8.bytes_per_head(64) * PAGE];
        store_value(KvType::Q8, &mut head, 5, &key);
        let scale = f32::from_ne_bytes(head[64 * PAGE + 5 * 4..][..4].try_into().expect("a scale"));
        for (&code, value) in head[5 * 64..].iter().zip(key) {
            let got = f32::from(code as i8) * scale;
            assert!((got - value).abs() <= scale * 0.501 + 1e-36, "{got} for {value} of {size}");
        }
    }
    let mut head = vec![0; KvType::Q8.bytes_per_head(16) * PAGE];
    let rubbish = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0].repeat(4);
    store_key(KvType::Q8, &mut head, 31, &rubbish);
    store_value(KvType::Q8, &mut head, 31, &rubbish);
}

#[test]
fn names_of_types_are_read_as_they_are_written() {
    for kv in KvType::ALL {
        assert_eq!(kv.to_string().parse(), Ok(kv));
    }
    assert_eq!(KvType::default(), KvType::F16);
    for wrong in ["", "F16", "q4", "q8 "] {
        let error = wrong.parse::<KvType>().expect_err("no type").to_string();
        assert!(error.contains(&format!("\"{wrong}\"")) && error.contains("f16, q8 or f32"), "{error}");
    }
}

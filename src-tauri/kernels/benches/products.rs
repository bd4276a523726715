//! Products in every format: `cargo bench -p tektra-kernels`.
//!
//! `decode` has one row of activations and weights that no cache holds: its GiB/s against
//! `tektra-engine bench --bandwidth --threads 1` is the fraction of the roofline. `cached` has one row and weights that
//! stay in the cache: what computing alone allows. `prefill` has 128 rows and such weights: its elements are
//! multiply-adds.

#![allow(missing_docs, reason = "criterion writes its own main")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tektra_kernels::{Activations, Arena, Format, Matrix, Packed, Pool, Product, multiply};

const COLUMNS: usize = 2048;
/// More weights than any cache of a desktop holds, in every format.
const DECODE_ROWS: usize = 128 * 1024;
const CACHED_ROWS: usize = 256;

fn products(criterion: &mut Criterion) {
    let mut pool = Pool::new(1).expect("threads");
    for (name, rows, tokens) in [("decode", DECODE_ROWS, 1), ("cached", CACHED_ROWS, 1), ("prefill", CACHED_ROWS, 128)]
    {
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10);
        for format in Format::ALL {
            // Any bytes are weights; speed does not depend on them, and these are no subnormal or infinite scales.
            let bytes = vec![0x22; format.row_bytes(COLUMNS).expect("whole blocks") * rows];
            let matrix = Matrix::new(format, rows, COLUMNS, &bytes).expect("a matrix");
            let weights = &Packed::new(&mut pool, &matrix, &mut Arena::default()).expect("memory");
            let mut activations = Activations::default();
            activations.resize(tokens, COLUMNS);
            for mut row in activations.rows_mut() {
                row.values.fill(0.5);
                row.quantize();
            }
            let mut out = vec![0.0; rows * tokens];
            group.throughput(match tokens {
                1 => Throughput::Bytes(bytes.len() as u64),
                _ => Throughput::Elements((rows * COLUMNS * tokens) as u64),
            });
            group.bench_function(BenchmarkId::from_parameter(format!("{format:?}")), |bencher| {
                bencher.iter(|| {
                    multiply(&mut pool, &activations, &mut [Product { weights, out: &mut out }], None);
                    black_box(&mut out);
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, products);
criterion_main!(benches);

//! Every kernel at every level of this processor against plain sums in `f64`.

use super::{
    product::multiply_at,
    simd::{LANES, Portable, Register, Simd, at_every_level},
    *,
};

mod attention;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    /// About -1 to 1.
    fn unit(&mut self) -> f32 {
        (self.next() as f32 / u32::MAX as f32) * 2.0 - 1.0
    }
}

/// All cases; the first `few` under Miri, which takes ten thousand times as long.
fn cases<T: Clone, const N: usize>(all: [T; N], few: usize) -> impl Iterator<Item = T> + Clone {
    all.into_iter().take(if cfg!(miri) { few } else { N })
}

/// All formats; under Miri one for each way through the kernels: floats, small blocks and large ones.
fn formats() -> impl Iterator<Item = Format> {
    let few = [Format::F16, Format::Q4_0, Format::Q6K];
    Format::ALL.into_iter().filter(move |format| !cfg!(miri) || few.contains(format))
}

/// Where a block's half-precision scales are.
fn halves(format: Format) -> &'static [usize] {
    match format {
        Format::Q4_0 | Format::Q5_0 | Format::Q8_0 => &[0],
        Format::Q4_1 | Format::Q5_1 | Format::Q4K | Format::Q5K => &[0, 2],
        Format::Q2K => &[80, 82],
        Format::Q3K => &[108],
        Format::Q6K => &[208],
        Format::F32 | Format::F16 | Format::BF16 => &[],
    }
}

/// Random weights; `extreme` sets every code bit now and then, so that sums are as large as they get.
fn weights(random: &mut Random, format: Format, rows: usize, columns: usize, extreme: bool) -> Vec<u8> {
    let blocks = rows * columns / format.block_len();
    let mut bytes = Vec::new();
    for _ in 0..blocks {
        let block = match format {
            Format::F32 => random.unit().to_le_bytes().to_vec(),
            Format::F16 => f32_to_f16(random.unit()).to_le_bytes().to_vec(),
            Format::BF16 => ((random.unit().to_bits() >> 16) as u16).to_le_bytes().to_vec(),
            _ => {
                let fill = if extreme { [0x00, 0xff, 0x80, 0x7f][random.below(4)] } else { 0 };
                let byte = |random: &mut Random| if extreme { fill } else { random.next() as u8 };
                let mut block: Vec<u8> = (0..format.block_bytes()).map(|_| byte(random)).collect();
                for &at in halves(format) {
                    block[at..at + 2].copy_from_slice(&f32_to_f16(random.unit() * 0.01).to_le_bytes());
                }
                block
            }
        };
        bytes.extend(block);
    }
    bytes
}

fn activations(random: &mut Random, rows: usize, columns: usize) -> Activations {
    let mut activations = Activations::default();
    activations.resize(rows, columns);
    for mut row in activations.rows_mut() {
        let size = 10_f32.powi(random.below(6) as i32 - 3);
        row.values.iter_mut().for_each(|value| *value = random.unit() * size);
        row.quantize();
    }
    activations
}

/// What the kernels should give, and how large the sums were that it came from.
fn expected(matrix: &Matrix<'_>, activations: &Activations, token: usize, row: usize) -> (f64, f64) {
    let columns = matrix.columns;
    let mut weights = vec![0.0; columns];
    dequantize(matrix.format, matrix.row(row), &mut weights);
    let value = |i: usize| {
        if matrix.format.is_float() {
            f64::from(activations.values[token * columns + i])
        } else {
            let scale = activations.scales[(token * columns + i) / 32];
            f64::from(activations.codes[token * columns + i]) * f64::from(scale)
        }
    };
    let products = weights.iter().enumerate().map(|(i, &weight)| f64::from(weight) * value(i));
    products.fold((0.0, 1e-9), |(sum, size), product| (sum + product, size + product.abs()))
}

fn run(level: Level, threads: usize, matrix: Matrix<'_>, activations: &Activations) -> Vec<f32> {
    let mut out = vec![f32::NAN; activations.rows() * matrix.rows];
    let mut pool = Pool::new(threads).expect("threads");
    let weights = &Packed::for_level(level, &mut pool, &matrix, &mut Arena::default()).expect("memory");
    multiply_at(level, &mut pool, activations, &mut [Product { weights, out: &mut out }], Some(Next::Product(weights)));
    out
}

#[test]
fn gated_products_are_those_of_each_step_to_the_last_bit() {
    let mut random = Random(11);
    let formats = [Format::Q4_0, Format::Q6K, Format::F16];
    for (one, two) in cases(formats, 1).flat_map(|one| formats.map(|two| (one, two))) {
        let shapes = [(50, 1, 2), (50, 2, 2), (32, 1, 2), (416, 1, 1), (416, 1, 3), (416, 5, 2), (96, 40, 3)];
        for (width, tokens, threads) in cases(shapes, 1) {
            let columns = 256;
            let mut pool = Pool::new(threads).expect("threads");
            let [gate, up] = [one, two].map(|format| {
                let bytes = weights(&mut random, format, width, columns, false);
                let matrix = Matrix::new(format, width, columns, &bytes).expect("a matrix");
                Packed::new(&mut pool, &matrix, &mut Arena::default()).expect("memory")
            });
            let from = activations(&mut random, tokens, columns);
            let mut products = [&gate, &up].map(|weights| (weights, vec![0.0; tokens * width]));
            let mut each = products.each_mut().map(|(weights, out)| Product { weights, out });
            multiply(&mut pool, &from, &mut each, Some(Next::Gated([&gate, &up])));
            let mut expected = Activations::default();
            expected.resize(tokens, width);
            let [(_, gates), (_, ups)] = &products;
            for ((mut row, gate), up) in expected.rows_mut().zip(gates.chunks(width)).zip(ups.chunks(width)) {
                ops::silu_times(gate, up, row.values);
                row.quantize();
            }
            let mut got = Activations::default();
            let products = products.each_mut().map(|(weights, out)| Product { weights, out });
            multiply_gated(&mut pool, &from, products, &mut got, None);
            let of = format!("{one:?}, {two:?}, {tokens} rows of {width}, {threads} threads");
            assert_eq!(got.values, expected.values, "{of}");
            assert_eq!((&got.codes, &got.scales), (&expected.codes, &expected.scales), "{of}");
            assert_eq!((&got.sums, &got.half_sums), (&expected.sums, &expected.half_sums), "{of}");
            assert_eq!(got.scaled_sums, expected.scaled_sums, "{of}");
        }
    }
}

#[test]
fn products_are_right_in_every_format_and_at_every_level() {
    let mut random = Random(0x1234_5678_9abc_def1);
    for format in formats() {
        let shapes = [
            (1, 1, 1, false),
            (8, 3, 1, false),
            (9, 1, 9, true),
            (37, 2, 2, true),
            (16, 5, 3, false),
            (65, 2, 5, false),
            (50, 3, 23, true),
        ];
        for (rows, blocks, tokens, extreme) in cases(shapes, 3) {
            let columns = if format.is_float() { blocks * 13 + 3 } else { blocks * format.block_len() };
            let bytes = weights(&mut random, format, rows, columns, extreme);
            let matrix = Matrix::new(format, rows, columns, &bytes).expect("a matrix");
            let activations = activations(&mut random, tokens, columns);
            for level in Level::available() {
                let out = run(level, 2, matrix, &activations);
                for token in 0..tokens {
                    for row in 0..rows {
                        let (expected, size) = expected(&matrix, &activations, token, row);
                        let got = f64::from(out[token * rows + row]);
                        let error = (got - expected).abs() / size;
                        assert!(
                            error < 2e-6,
                            "{format:?} {level:?} {rows}x{columns}, {tokens} tokens, {extreme}: {got} for {expected}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_its_company_nor_on_the_threads() {
    let mut random = Random(77);
    for format in formats() {
        let (rows, columns) = if cfg!(miri) { (17, format.block_len().max(LANES)) } else { (70, 512) };
        let bytes = weights(&mut random, format, rows, columns, false);
        let matrix = Matrix::new(format, rows, columns, &bytes).expect("a matrix");
        // More than products of floats take at a time.
        let all = activations(&mut random, if cfg!(miri) { 3 } else { 71 }, columns);
        for level in Level::available() {
            let together = run(level, 1, matrix, &all);
            assert_eq!(together, run(level, 3, matrix, &all), "{format:?} {level:?}: threads");
            for count in cases([1, 2, 3, 4, 5, 6, 7, 8, 9, 13], 1) {
                let mut few = Activations::default();
                few.resize(count, columns);
                for (i, mut row) in few.rows_mut().enumerate() {
                    row.values.copy_from_slice(&all.values[i * columns..][..columns]);
                    row.quantize();
                }
                let alone = run(level, 1, matrix, &few);
                assert_eq!(alone[..], together[..count * rows], "{format:?} {level:?}: {count} rows");
            }
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "streams are shorter there, so that the other tests read several")]
fn a_row_does_not_depend_on_how_many_streams_are_read() {
    let mut random = Random(99);
    for format in Format::ALL {
        // One thread reads four streams of these rows in every format, two threads two of each in some, and one of few rows.
        let (rows, columns) = (6_149, 512);
        let bytes = weights(&mut random, format, rows, columns, false);
        let matrix = Matrix::new(format, rows, columns, &bytes).expect("a matrix");
        let activations = activations(&mut random, 1, columns);
        for level in Level::available() {
            let results = [1, 2].map(|threads| run(level, threads, matrix, &activations));
            let row_bytes = matrix.row_bytes();
            for (first, count) in [(0, 40), (1_500, 100), (3_000, 200), (4_590, 100), (rows - 9, 9)] {
                let bytes = &bytes[first * row_bytes..][..count * row_bytes];
                let few = Matrix::new(format, count, columns, bytes).expect("a matrix");
                let few = run(level, 1, few, &activations);
                for results in &results {
                    assert_eq!(results[first..][..count], few, "{format:?} {level:?}, rows from {first} on");
                }
            }
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "there is one level")]
fn every_level_gives_the_same_to_the_last_bit() {
    let mut random = Random(4242);
    for format in Format::ALL {
        let columns = 768;
        let bytes = weights(&mut random, format, 40, columns, false);
        let matrix = Matrix::new(format, 40, columns, &bytes).expect("a matrix");
        for tokens in [1, 20] {
            let activations = activations(&mut random, tokens, columns);
            let plain = run(Level::Portable, 1, matrix, &activations);
            for level in Level::available() {
                assert_eq!(run(level, 1, matrix, &activations), plain, "{format:?} {level:?}, {tokens} rows");
            }
        }
    }
}

at_every_level! {
    fn vector_operations(x: &[f32], y: &[f32], halves: &[u16], codes: &[i8], out: &mut Vec<f32>) = operations
}

#[inline(always)]
unsafe fn operations<S: Simd>(x: &[f32], y: &[f32], halves: &[u16], codes: &[i8], out: &mut Vec<f32>) {
    assert!([x.len(), y.len(), halves.len(), codes.len()] == [LANES; 4], "one vector");
    // SAFETY: whole vectors.
    unsafe {
        let (x, y) = (S::load(x.as_ptr()), S::load(y.as_ptr()));
        out.extend(S::lanes(S::add(S::mul(x, S::splat(3.0)), S::div(x, y))));
        out.extend(S::lanes(S::fma(x, y, S::splat(0.1))));
        out.extend(S::lanes(S::max(x, y)));
        out.extend(S::lanes(S::min(x, y)));
        out.extend(S::lanes(S::round(x)));
        out.extend(S::lanes(S::exp(x)));
        out.extend(S::lanes(S::load_f16(halves.as_ptr())));
        let mut whole = [0.0; LANES];
        for at in (0..LANES).step_by(S::Register::LANES) {
            S::Register::load_bf16(halves.as_ptr().add(at)).store(whole.as_mut_ptr().add(at));
        }
        out.extend(whole);
        for at in (0..LANES).step_by(S::Register::LANES) {
            S::Register::load_f16(halves.as_ptr().add(at)).store(whole.as_mut_ptr().add(at));
        }
        out.extend(whole);
        out.extend(S::lanes(S::load_i8(codes.as_ptr())));
        out.extend([S::sum(x), S::largest(x)]);
        let mut written = [0_i8; LANES];
        let in_range = S::min(S::max(x, S::splat(-127.0)), S::splat(127.0));
        out.push(S::store_codes(written.as_mut_ptr(), in_range) as f32);
        out.extend(written.map(f32::from));
    }
}

#[test]
fn vectors_are_the_same_to_the_last_bit() {
    let mut random = Random(31);
    for first in (0..=u16::MAX).step_by(if cfg!(miri) { 97 * LANES } else { LANES }) {
        let halves: Vec<u16> = (0..LANES as u16).map(|i| first + i).collect();
        let codes: Vec<i8> = halves.iter().map(|&half| half as i8).collect();
        let mut vector = |size: f32| (0..LANES).map(|_| random.unit() * size).collect::<Vec<f32>>();
        let (mut x, y) = (vector(100.0), vector(100.0));
        (x[1], x[2]) = (2.5, y[2]);
        if first % 64 == 0 {
            (x[5], x[6], x[7]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
        }
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        // SAFETY: plain Rust runs anywhere.
        unsafe { operations::<Portable>(&x, &y, &halves, &codes, &mut plain) };
        vector_operations(&x, &y, &halves, &codes, &mut out);
        for (i, (got, plain)) in out.iter().zip(&plain).enumerate() {
            assert!(got == plain || got.is_nan() && plain.is_nan(), "{i} of {x:?}, {y:?}: {got} for {plain}");
        }
    }
}

#[test]
fn codes_are_the_nearest() {
    let mut random = Random(5);
    let activations = activations(&mut random, 4, 96);
    for (i, &value) in activations.values.iter().enumerate() {
        let scale = activations.scales[i / 32];
        assert!((f32::from(activations.codes[i]) * scale - value).abs() <= scale * 0.501, "{value} at {i}");
    }
    for (i, codes) in activations.codes.chunks(16).enumerate() {
        assert_eq!(codes.iter().map(|&code| i16::from(code)).sum::<i16>(), activations.half_sums[i]);
    }
}

#[test]
fn rubbish_in_activations_is_no_undefined_behaviour() {
    let mut activations = Activations::default();
    activations.resize(1, 64);
    for mut row in activations.rows_mut() {
        row.values.fill(f32::NAN);
        row.values[3] = f32::INFINITY;
        row.values[40] = f32::NEG_INFINITY;
        row.quantize();
    }
    assert!(activations.codes.iter().all(|&code| code >= -127));
}

#[test]
fn half_precision_is_converted_like_the_hardware_does() {
    for bits in 0..=u16::MAX {
        let value = f16_to_f32(bits);
        if !value.is_nan() {
            assert_eq!(f32_to_f16(value), bits, "{bits:#06x}");
        }
    }
    assert_eq!(f32_to_f16(65_520.0), 0x7c00);
    assert_eq!(f32_to_f16(65_519.0), 0x7bff);
    assert_eq!(f32_to_f16(1.0 + 1.0 / 2048.0), 0x3c00, "ties to even");
    assert_eq!(f32_to_f16(1.0 + 3.0 / 2048.0), 0x3c02, "ties to even");
    assert_eq!(f32_to_f16(2.0_f32.powi(-25)), 0, "ties to even");
    assert_eq!(f32_to_f16(2.0_f32.powi(-24)), 1);
}

#[test]
fn norms_and_activation_functions_are_right() {
    let mut random = Random(11);
    let mut vector = |len: usize| (0..len).map(|_| random.unit() * 8.0).collect::<Vec<f32>>();
    for len in [1, 15, 16, 100] {
        let (x, y, mut out) = (vector(len), vector(len), vec![0.0; len]);
        ops::rms_norm(&x, &y, 1e-5, &mut out);
        let mean = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / len as f64;
        for i in 0..len {
            let expected = f64::from(x[i]) / (mean + 1e-5).sqrt() * f64::from(y[i]);
            assert!((f64::from(out[i]) - expected).abs() < 1e-5, "rms_norm of {len}");
        }
        ops::silu_times(&x, &y, &mut out);
        for i in 0..len {
            let expected = f64::from(x[i]) / (1.0 + f64::from(-x[i]).exp()) * f64::from(y[i]);
            assert!((f64::from(out[i]) - expected).abs() < 1e-4, "silu of {}: {} for {expected}", x[i], out[i]);
        }
    }
}

#[test]
fn rotation_keeps_lengths_and_turns_by_the_angle() {
    let angles: Vec<[f32; 2]> = [0.3_f32, 1.2].map(|angle| [angle.cos(), angle.sin()]).to_vec();
    let mut neighbours = [1.0, 0.0, 0.0, 1.0, 9.0];
    ops::rope(&mut neighbours, 5, &angles, ops::RopePairs::Neighbours);
    assert_eq!(neighbours, [angles[0][0], angles[0][1], -angles[1][1], angles[1][0], 9.0]);
    let mut halves = [1.0, 0.0, 0.0, 1.0, 9.0];
    ops::rope(&mut halves, 5, &angles, ops::RopePairs::Halves);
    assert_eq!(halves, [angles[0][0], -angles[1][1], angles[0][1], angles[1][0], 9.0]);
}

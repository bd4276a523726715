use tektra_kernels::{Format, dequantize};

use super::{EncodeError, encode};

/// Relative error of each format on a normal distribution, in percent: what ggml's reference encoders
/// (`quantize_row_*_ref`, measured) make, and what these are held to, a little above what was measured for them.
const ERRORS: [(Format, f64, f64); 13] = [
    (Format::F32, 0.0, 0.0),
    (Format::F16, 0.021, 0.021),
    (Format::BF16, 0.168, 0.168),
    (Format::Q8_0, 0.5355, 0.5355),
    (Format::Q6K, 1.775, 1.74),
    (Format::Q5K, 3.613, 3.51),
    (Format::Q5_1, 3.785, 3.40),
    (Format::Q5_0, 4.270, 4.06),
    (Format::Q4K, 7.137, 7.10),
    (Format::Q4_1, 7.827, 7.05),
    (Format::Q4_0, 8.600, 8.20),
    (Format::Q3K, 15.10, 14.6),
    (Format::Q2K, 29.67, 27.0),
];

fn normal(count: usize, seed: u64) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut one = || (-2.0 * (1.0 - random.f64()).ln()).sqrt() * (std::f64::consts::TAU * random.f64()).cos();
    (0..count).map(|_| one() as f32).collect()
}

fn there_and_back(format: Format, values: &[f32], importance: Option<&[f32]>) -> Vec<f32> {
    let mut bytes = vec![0xaa; format.row_bytes(values.len()).unwrap()];
    encode(format, values, importance, &mut bytes).unwrap();
    let mut back = vec![f32::NAN; values.len()];
    dequantize(format, &bytes, &mut back);
    back
}

/// Root of the mean square of the errors, weighted, against that of the values.
fn relative(values: &[f32], back: &[f32], weight: impl Fn(usize) -> f64) -> f64 {
    let sum = |of: &dyn Fn(usize) -> f64| (0..values.len()).map(|i| weight(i) * of(i).powi(2)).sum::<f64>();
    (sum(&|i| f64::from(back[i]) - f64::from(values[i])) / sum(&|i| f64::from(values[i]))).sqrt()
}

#[test]
fn errors_are_below_those_of_the_reference() {
    let values = normal(1 << 18, 1);
    for (format, reference, most) in ERRORS {
        let error = 100.0 * relative(&values, &there_and_back(format, &values, None), |_| 1.0);
        assert!(error <= most, "{format:?}: {error:.4} %");
        assert!(most <= reference);
    }
    assert!(Format::ALL.iter().all(|format| ERRORS.iter().any(|(tested, ..)| tested == format)));
}

#[test]
fn errors_do_not_depend_on_the_size_of_the_weights() {
    let values = normal(1 << 14, 2);
    for scale in [1e-3, 0.02, 1.0, 300.0] {
        let scaled: Vec<f32> = values.iter().map(|value| value * scale).collect();
        for (format, _, most) in ERRORS {
            let error = 100.0 * relative(&scaled, &there_and_back(format, &scaled, None), |_| 1.0);
            // Halves of small numbers have fewer digits.
            assert!(error <= most * 1.06 + 0.002, "{format:?} × {scale}: {error:.4} %");
        }
    }
}

#[test]
fn what_matters_more_is_stored_better() {
    let values = normal(1 << 14, 3);
    let importance: Vec<f32> = (0..values.len()).map(|i| if i % 4 == 0 { 50.0 } else { 1.0 }).collect();
    for (format, ..) in ERRORS {
        let weight = |i: usize| f64::from(importance[i]);
        let plain = relative(&values, &there_and_back(format, &values, None), weight);
        let guided = relative(&values, &there_and_back(format, &values, Some(&importance)), weight);
        if format.is_float() || format == Format::Q8_0 {
            assert_eq!(plain, guided, "{format:?}");
        } else {
            assert!(guided < 0.97 * plain, "{format:?}: {guided} against {plain}");
        }
    }
    let zeros = vec![0.0; values.len()];
    for format in Format::ALL {
        let back = there_and_back(format, &values, Some(&zeros));
        assert!(relative(&values, &back, |_| 1.0) < 0.6, "{format:?} without any importance");
    }
}

#[test]
fn zeros_stay_zeros() {
    for format in Format::ALL {
        assert!(there_and_back(format, &[0.0; 512], None).iter().all(|&value| value == 0.0), "{format:?}");
        assert!(there_and_back(format, &[-0.0; 512], None).iter().all(|&value| value == 0.0), "{format:?}");
    }
}

#[test]
fn constants_and_lone_values_survive() {
    for format in Format::ALL {
        for value in [1.0, -1.0, 0.02, -0.02, 1234.0] {
            let error = relative(&[value; 512], &there_and_back(format, &[value; 512], None), |_| 1.0);
            assert!(error < 0.005, "{format:?}: all {value}: {error}");
            let mut lone = [0.0; 512];
            lone[77] = value;
            let back = there_and_back(format, &lone, None);
            assert!((back[77] / value - 1.0).abs() < 0.02, "{format:?}: {value} alone became {}", back[77]);
            let others = back.iter().enumerate().filter(|(i, _)| *i != 77);
            // Where zero is a scale and an offset, it is as exact as small halves are.
            assert!(others.into_iter().all(|(_, other)| other.abs() < 5e-3 * value.abs()), "{format:?}: {value} alone");
        }
    }
}

#[test]
fn values_far_from_zero_keep_their_differences() {
    let values: Vec<f32> = normal(512, 4).iter().map(|value| 100.0 + value).collect();
    for (format, most) in [(Format::Q4_1, 0.09), (Format::Q5_1, 0.045)] {
        let back = there_and_back(format, &values, None);
        let error = 100.0 * relative(&values, &back, |_| 1.0);
        assert!(error < most, "{format:?}: {error} %");
    }
}

#[test]
fn numbers_too_small_to_scale_become_something_small() {
    for scale in [1e-45_f32, 1e-40, 1e-30, 1e-12, 3e-9, 1e-8, 1e-7, 1e-6] {
        let values: Vec<f32> = normal(512, 5).iter().map(|value| value * scale).collect();
        let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        for format in Format::ALL {
            let back = there_and_back(format, &values, None);
            // The smallest half there is, times the largest code.
            let most = 2.0 * largest + 6e-8;
            assert!(back.iter().all(|value| value.abs() <= most), "{format:?} × {scale}: {back:?}");
        }
    }
}

#[test]
fn the_largest_halves_are_stored_and_anything_beyond_is_an_error() {
    let mut values: Vec<f32> = normal(512, 6).iter().map(|value| value.clamp(-1.0, 1.0) * 65504.0).collect();
    for format in Format::ALL {
        let back = there_and_back(format, &values, None);
        assert!(back.iter().all(|value| value.is_finite()), "{format:?}");
        assert!(relative(&values, &back, |_| 1.0) < 0.35, "{format:?}");
    }
    for value in [70_000.0, -1e30, f32::MAX] {
        values[300] = value;
        for format in Format::ALL {
            let mut out = vec![0; format.row_bytes(512).unwrap()];
            let expected = match format {
                Format::F32 => Ok(()),
                Format::BF16 if value.abs() < 1e38 => Ok(()),
                _ => Err(EncodeError::TooLarge { value, format }),
            };
            assert_eq!(encode(format, &values, None, &mut out), expected, "{format:?}");
        }
    }
    let error = EncodeError::TooLarge { value: 1e30, format: Format::Q4K }.to_string();
    assert!(error.ends_with("which Q4_K cannot hold; choose BF16 or F32 for it"), "{error}");
}

#[test]
fn what_is_no_number_is_an_error() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = [1.0; 512];
        values[511] = value;
        for format in Format::ALL {
            let mut out = vec![0; format.row_bytes(512).unwrap()];
            let error = encode(format, &values, None, &mut out).unwrap_err();
            assert!(matches!(error, EncodeError::NotFinite(_)), "{format:?}");
        }
    }
}

#[test]
fn lengths_that_do_not_fit_are_errors() {
    for format in Format::ALL {
        let bytes = format.row_bytes(512).unwrap();
        let cases = [(512, bytes - 1, 512), (512, bytes + 1, 512), (512, bytes, 511), (511, bytes, 511)];
        for (values, out, importance) in cases {
            let result = encode(format, &vec![0.0; values], Some(&vec![1.0; importance]), &mut vec![0; out]);
            assert_eq!(result, Err(EncodeError::Length { columns: values, format }));
        }
        encode(format, &[], None, &mut []).unwrap();
    }
}

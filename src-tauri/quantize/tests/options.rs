//! What can be made of a model: sizes to the byte, and why not.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;

use std::{fs, sync::atomic::AtomicBool};

use common::{Gguf, folder, run, starter, tiny_model};
use tektra_kernels::Format;
use tektra_quantize::{Architecture, Base, Choice, Error, Plan, options, requantize};

/// The types that are listed.
fn bases() -> Vec<Base> {
    let exact = [Format::Q4_0, Format::Q5_0, Format::Q3K, Format::Q2K].map(Base::Exact);
    Base::ALL.into_iter().chain(exact).collect()
}

fn choice(choices: &[Choice], base: Base) -> &Choice {
    choices.iter().find(|choice| choice.base == base).unwrap()
}

#[test]
fn options_of_a_folder_are_exact_and_say_why_not() {
    let place = tiny_model(Architecture::Qwen3);
    let model = place.path().join("model");
    let choices = options(&model).unwrap();
    assert_eq!(choices.iter().map(|choice| choice.base).collect::<Vec<_>>(), bases());
    for choice in &choices {
        let out = place.path().join("out.gguf");
        let report = run(&model, choice.base, &out).unwrap();
        assert_eq!(fs::metadata(&out).unwrap().len(), choice.size_bytes, "{}", choice.base);
        assert_eq!(report.groups, choice.groups);
        assert!(!choice.quality.is_empty() && choice.quality != "not known");
        let tensors = Gguf::read(&out).header.tensors;
        let bits: f64 = tensors
            .iter()
            .map(|tensor| {
                let format = Format::from_ggml(tensor.kind).unwrap();
                tensor.elements as f64 * format.block_bytes() as f64 * 8.0 / format.block_len() as f64
            })
            .sum();
        let elements: u64 = tensors.iter().map(|tensor| tensor.elements).sum();
        assert!((choice.bits_per_weight - bits / elements as f64).abs() < 1e-9, "{}", choice.bits_per_weight);
    }
    let reason = choices[5].possible.clone().unwrap_err();
    assert_eq!(reason, "the weights have 16 bits; more would take room and change nothing");
    assert!(choices.iter().all(|choice| choice.possible.is_ok() || choice.base == Base::F32));
    assert!(choices[..6].windows(2).all(|pair| pair[0].size_bytes < pair[1].size_bytes));
    assert!(choices[6..].windows(2).all(|pair| pair[0].size_bytes != pair[1].size_bytes));
    assert!((16.0..16.2).contains(&choices[4].bits_per_weight), "{}", choices[4].bits_per_weight);
}

#[test]
fn options_of_a_file_are_what_requantize_does() {
    let place = tiny_model(Architecture::Llama);
    let file = |name: &str| place.path().join(name);
    let [model, source, out] = ["model", "source.gguf", "out.gguf"].map(file);
    for from in [Base::F32, Base::F16, Base::Int8, Base::Int4, Base::Exact(Format::Q4_0)] {
        run(&model, from, &source).unwrap();
        let choices = options(&source).unwrap();
        assert_eq!(choices.iter().map(|choice| choice.base).collect::<Vec<_>>(), bases());
        for Choice { base, size_bytes, possible, groups, .. } in choices {
            let remake = |allow| requantize(&source, &base.into(), &out, allow, &mut |_| {}, &AtomicBool::new(false));
            let unchanged = possible == Err("nothing would change: the weights are stored so already".into());
            assert_eq!(unchanged, base == from, "{from} to {base}: {possible:?}");
            let report = match remake(false) {
                Ok(report) => {
                    assert!(unchanged || possible.is_ok(), "{from} to {base}: {possible:?}");
                    report
                }
                Err(Error::Refused(_)) => {
                    let reason = possible.unwrap_err();
                    assert!(reason.contains(" already; ") && !reason.contains('`'), "{from} to {base}: {reason}");
                    // Its size is told all the same.
                    remake(true).or_else(|_| run(&model, base, &out)).unwrap()
                }
                Err(error) => panic!("{from} to {base}: {error}"),
            };
            assert_eq!(groups, report.groups, "{from} to {base}");
            assert_eq!((size_bytes, size_bytes), (report.size_bytes, fs::metadata(&out).unwrap().len()));
        }
    }
}

#[test]
fn reasons_are_about_most_of_the_weights() {
    let place = tiny_model(Architecture::Llama);
    let source = place.path().join("source.gguf");
    let reason = |from: Plan, to: Base| {
        run(&place.path().join("model"), from, &source).unwrap();
        choice(&options(&source).unwrap(), to).possible.clone().unwrap_err()
    };
    let larger = "its weights are F16 already; this would be a larger file that holds no more";
    assert_eq!(reason(Base::F16.into(), Base::F32), larger);
    let twice = "its weights are Q6_K already; less than 8 bits rounded once more would lose quality";
    assert_eq!(reason(Base::Int6.into(), Base::Int4), twice);
    // The embeddings and some others are Q6_K in both; the rest would grow.
    let larger = "its weights are Q4_K already; this would be a larger file that holds no more";
    assert_eq!(reason(Base::Int4.into(), Base::Int5), larger);
    // One of two layers, and the embeddings with the other.
    let mixed = Plan { base: Base::F16, rules: vec!["1=Q4_K".parse().unwrap()] };
    assert_eq!(reason(mixed, Base::Int8), format!("some of {larger}"));
}

#[test]
fn of_the_starter_nothing_can_be_made() {
    let choices = options(&starter()).unwrap();
    let twice = "its weights are Q4_1 already; less than 8 bits rounded once more would lose quality";
    let larger = "its weights are Q4_1 already; this would be a larger file that holds no more";
    for Choice { base, possible, size_bytes, bits_per_weight, .. } in choices {
        let smaller = matches!(base, Base::Exact(Format::Q4_0 | Format::Q3K | Format::Q2K));
        assert_eq!(possible.unwrap_err(), if smaller { twice } else { larger }, "{base}");
        assert!(size_bytes > 50 << 20 && bits_per_weight > 3.0, "{base}");
    }
}

#[test]
fn files_that_are_no_models_are_errors() {
    let place = folder();
    let path = place.path().join("model.gguf");
    assert!(matches!(options(&path).unwrap_err(), Error::Unreadable { .. }));
    let whole = fs::read(starter()).unwrap();
    for length in [0, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(matches!(options(&path).unwrap_err(), Error::Damaged { .. }), "{length}");
    }
}

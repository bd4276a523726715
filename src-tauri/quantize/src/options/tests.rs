use std::sync::atomic::AtomicBool;

use super::*;
use crate::{
    layout::{Source, Tensor},
    metadata::Metadata,
};

/// What can be made of a file of one layer whose rows have `columns` halves, in words.
fn choices(columns: u64) -> Vec<(String, Result<(), String>)> {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("model.gguf");
    let tensor = |name: &str, dimensions: &[u64], format| Tensor {
        name: name.into(),
        dimensions: dimensions.into(),
        format,
        source: Source::Rows(Box::new(|_, out| out.fill(0.5))),
    };
    let tensors = vec![
        tensor("token_embd.weight", &[columns, 8], Format::F16),
        tensor("blk.0.ffn_down.weight", &[columns, 8], Format::F16),
        tensor("blk.0.ffn_norm.weight", &[columns], Format::F32),
    ];
    let layout = Layout::new(&Metadata::default(), tensors, Vec::new(), Vec::new());
    layout.write(&path, &mut |_| {}, &AtomicBool::new(false)).unwrap();
    let named = |choice: Choice| (choice.base.to_string(), choice.possible);
    options(&path).unwrap().into_iter().map(named).collect()
}

#[test]
fn what_shapes_make_the_same_is_listed_once() {
    let same = |other: &str| Err(format!("for the shapes of this model it is the same as {other}"));
    let expected = [
        // Both of the matrices are sensitive ones, and Q8_0 where there is no Q6_K.
        ("int4", Ok(())),
        ("int5", same("int4")),
        ("int6", same("int4")),
        ("int8", same("int4")),
        ("f16", Err("nothing would change: the weights are stored so already".into())),
        ("f32", Err("its weights are F16 already; this would be a larger file that holds no more".into())),
        ("Q4_0", Ok(())),
        ("Q5_0", Ok(())),
        ("Q3_K", same("Q4_0")),
        ("Q2_K", same("Q4_0")),
    ];
    assert_eq!(choices(96), expected.map(|(base, possible)| (base.to_owned(), possible)));
}

#[test]
fn rows_without_blocks_stay_as_they_are() {
    for (base, possible) in choices(100) {
        let reason = match base.as_str() {
            "f16" => "nothing would change: the weights are stored so already",
            "f32" => "its weights are F16 already; this would be a larger file that holds no more",
            _ => "no row of this model is made of blocks of 32 elements",
        };
        assert_eq!(possible.unwrap_err(), reason, "{base}");
    }
}

//! Damaged headers, many of them: never a panic, always facts or a sentence.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use support::{Gguf, Value, write, write_safetensors};
use tektra_models::{Plan, fit, inspect, max_context};

/// Damages `bytes` here and there.
fn mutate(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    for _ in 0..random.usize(1..6) {
        // The header is what is read.
        let at = random.usize(..bytes.len().min(4000));
        match random.u8(..6) {
            0 => bytes[at] = random.u8(..),
            1 => bytes[at] ^= 1 << random.u8(..8),
            2 => bytes.truncate(at.max(1)),
            3 => {
                let value = [0, 1, u64::MAX, u64::MAX / 2, 1 << 32, 1 << 20][random.usize(..6)];
                let end = (at + 8).min(bytes.len());
                bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
            }
            4 => {
                let end = (at + random.usize(..40)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let piece = bytes[at..(at + random.usize(..40)).min(bytes.len())].to_vec();
                let to = random.usize(..=bytes.len().min(4000));
                bytes.splice(to..to, piece);
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
}

#[test]
fn no_header_makes_it_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    let mut random = fastrand::Rng::with_seed(4);
    let mut read = 0;
    for architecture in ["llama", "phi3"] {
        let mut gguf = Gguf::model(architecture);
        gguf.set("general.alignment", Value::Number(32));
        let whole = gguf.bytes();
        for _ in 0..2000 {
            let mut bytes = whole.clone();
            mutate(&mut bytes, &mut random);
            match inspect(&write(&path, &bytes)) {
                Ok(facts) => {
                    read += 1;
                    for plan in [Plan::cpu(u32::MAX), Plan::gpu(0), Plan { parallel: u32::MAX, ..Plan::cpu(4096) }] {
                        let need = fit(&facts, &plan);
                        assert!(need.total_bytes >= need.weights_bytes);
                    }
                    max_context(&facts, &Plan::cpu(0), u64::MAX);
                    max_context(&facts, &Plan::cpu(0), 1 << 30);
                }
                Err(error) => assert!(!error.problem().reason.is_empty() && !error.problem().hint.is_empty()),
            }
        }
    }
    assert!(read > 200, "the damage is so light that {read} files can still be read");
}

#[test]
fn no_part_makes_it_panic() {
    let folder = tempfile::tempdir().unwrap();
    let parts = Gguf::model("llama").write_parts(folder.path(), "big", 3);
    let mut random = fastrand::Rng::with_seed(5);
    for part in &parts {
        let whole = std::fs::read(part).unwrap();
        for _ in 0..300 {
            let mut bytes = whole.clone();
            mutate(&mut bytes, &mut random);
            write(part, &bytes);
            let _ = inspect(&parts[0]);
        }
        write(part, &whole);
    }
    assert!(inspect(&parts[0]).is_ok());
}

#[test]
fn no_folder_makes_it_panic() {
    let folder = tempfile::tempdir().unwrap();
    write_safetensors(folder.path());
    let mut random = fastrand::Rng::with_seed(6);
    for name in ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "README.md"] {
        let path = folder.path().join(name);
        let whole = std::fs::read(&path).unwrap();
        for _ in 0..300 {
            let mut bytes = whole.clone();
            mutate(&mut bytes, &mut random);
            write(&path, &bytes);
            if let Ok(facts) = inspect(folder.path()) {
                fit(&facts, &Plan::cpu(8192));
            }
        }
        write(&path, &whole);
    }
    assert!(inspect(folder.path()).is_ok());
}

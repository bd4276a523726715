//! Any bytes as a model file: no panic, no hang, no memory beyond what the bytes themselves take.
//!
//! `cargo +nightly fuzz run --fuzz-dir src-tauri/gguf/fuzz header -- -max_total_time=600 -rss_limit_mb=512 -timeout=5`

#![no_main]

use libfuzzer_sys::fuzz_target;
use tektra_gguf::Header;

fuzz_target!(|bytes: &[u8]| {
    let Ok(header) = Header::read(bytes) else { return };
    let _ = (header.quantization(), header.unknown_type());
    for name in header.metadata.keys() {
        let _ = (header.text(name), header.number(name), header.flag(name));
        let _ = (header.texts(bytes, name), header.numbers(bytes, name));
    }
});

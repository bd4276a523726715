//! The page's typed bindings are those of the commands as they are now. `UPDATE_BINDINGS=1` writes them.

use std::{fs, path::Path};

#[test]
fn the_bindings_are_current() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("ui/src/bindings.ts");
    let fresh = std::env::temp_dir().join(format!("tektra-bindings-{}.ts", std::process::id()));
    tektra_lib::write_bindings(&fresh).expect("bindings");
    let text = fs::read_to_string(&fresh).expect("bindings");
    fs::remove_file(&fresh).expect("a temporary file");
    if std::env::var_os("UPDATE_BINDINGS").is_some() {
        fs::write(&committed, &text).expect("bindings");
    }
    let known = fs::read_to_string(&committed).expect("ui/src/bindings.ts");
    assert!(known == text, "ui/src/bindings.ts is not current: run `make bindings`");
}

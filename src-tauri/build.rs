//! Tauri's build step: the window's configuration becomes code.

fn main() {
    tauri_build::build();
}

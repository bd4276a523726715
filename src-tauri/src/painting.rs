//! How the page is painted.

use std::{fs, path::Path};

/// What tells WebKit to paint the page as one picture instead of putting layers together on a GPU.
const WITHOUT_LAYERS: &str = "WEBKIT_DISABLE_COMPOSITING_MODE";

/// On a machine without a GPU, WebKit would emulate one, which makes each change of the page four times as dear
/// (BENCHMARKS.md, "What looking costs"). To be called before anything else; who has set the variable is heard.
pub(crate) fn choose() {
    if std::env::var_os(WITHOUT_LAYERS).is_some() || has_gpu(Path::new("/dev")) {
        return;
    }
    // SAFETY: this process has no other thread yet that could read the environment meanwhile.
    #[allow(unsafe_code)]
    unsafe {
        std::env::set_var(WITHOUT_LAYERS, "1");
    }
}

/// Whether a driver offers to paint: Linux's own way, NVIDIA's, or that of Windows around it.
fn has_gpu(devices: &Path) -> bool {
    let nodes = fs::read_dir(devices.join("dri")).into_iter().flatten().flatten();
    let renders = nodes.map(|node| node.file_name()).any(|name| name.to_string_lossy().starts_with("renderD"));
    renders || ["nvidiactl", "dxg"].iter().any(|name| devices.join(name).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_alone_is_no_gpu() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| fs::write(folder.path().join(name), "").unwrap();
        assert!(!has_gpu(folder.path()));
        fs::create_dir(folder.path().join("dri")).unwrap();
        write("dri/card0");
        assert!(!has_gpu(folder.path()));
        write("dri/renderD128");
        assert!(has_gpu(folder.path()));
        fs::remove_dir_all(folder.path().join("dri")).unwrap();
        write("nvidiactl");
        assert!(has_gpu(folder.path()));
    }
}

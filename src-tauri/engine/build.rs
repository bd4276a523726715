//! The build for NVIDIA GPUs finds the CUDA libraries where it was linked with them.

fn main() {
    println!("cargo:rerun-if-env-changed=CUDA_HOME");
    let folder = std::env::var("CUDA_HOME").ok().filter(|_| std::env::var_os("CARGO_FEATURE_CUDA").is_some());
    if let Some(folder) = folder {
        // Beside the executable first, where a package would put them.
        for place in ["$ORIGIN/cuda", &format!("{folder}/lib")] {
            println!("cargo:rustc-link-arg-bins=-Wl,-rpath,{place}");
        }
    }
}

//! Compiles the kernels with nvcc where the feature `cuda` asks for them.

use std::{env, path::PathBuf, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=kernels");
    println!("cargo::rerun-if-env-changed=CUDA_COMPUTE_CAP");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    // The same variable as mistral.rs's kernels take: 90 for an H100.
    let capability =
        env::var("CUDA_COMPUTE_CAP").expect("CUDA_COMPUTE_CAP says which GPU is built for: 90 for an H100");
    let nvcc = env::var_os("CUDA_HOME").map_or("nvcc".into(), |home| PathBuf::from(home).join("bin/nvcc"));
    let image = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("kernels.fatbin");
    // Of these, a multiprocessor has shared memory for two blocks of a product with four groups at a time; others have half
    // of it.
    let step = if ["80", "90", "100", "103"].contains(&capability.as_str()) { 4 } else { 2 };
    println!("cargo::rustc-env=TEKTRA_STEP_GROUPS={step}");
    let status = Command::new(&nvcc)
        .arg(format!("-DSTEP_GROUPS={step}"))
        .args(["-fatbin", "--std=c++17", "-O3", "-lineinfo"])
        // Machine code for this generation, and what newer ones translate.
        .arg(format!("-gencode=arch=compute_{capability},code=[sm_{capability},compute_{capability}]"))
        .arg("-o")
        .arg(&image)
        .arg("kernels/kernels.cu")
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("nvcc ended with {status}"),
        Err(error) => panic!("{} cannot be run ({error}): `make engine-cuda` brings it", nvcc.display()),
    }
}

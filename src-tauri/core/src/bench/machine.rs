//! Where a benchmark runs, and which file it measures.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    process::Stdio,
    time::Duration,
};

use sha2::{Digest, Sha256};
use sysinfo::{CpuRefreshKind, System};
use tektra_bench::MachineInfo;
use tektra_models::Devices;

use crate::models::{Memory, mib};

/// Files up to this size are hashed whole: that takes about a second.
const WHOLE_BYTES: u64 = 256 << 20;
/// Of larger ones the beginning, which holds the header, and as much of the end.
const PART_BYTES: u64 = 4 << 20;
/// What is read at once.
const BUFFER_BYTES: usize = 1 << 20;
/// An engine that does not say its version in this time is unknown.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// What the machine computes side by side.
pub(super) fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32)
}

/// This machine with the engine at `executable`.
pub(super) async fn machine(executable: &Path, devices: &Devices) -> MachineInfo {
    let mut system = System::new();
    system.refresh_cpu_list(CpuRefreshKind::nothing());
    let brand = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned()).filter(|brand| !brand.is_empty());
    let os = System::long_os_version().unwrap_or_else(|| std::env::consts::OS.into());
    MachineInfo {
        cpu: brand.unwrap_or_else(|| std::env::consts::ARCH.into()),
        cores: cores(),
        memory_mib: Some(mib(Memory::now().total_bytes)),
        gpus: devices.gpus.iter().map(|gpu| gpu.name.clone()).collect(),
        system: format!("{os}, {}", std::env::consts::ARCH),
        tektra_version: env!("CARGO_PKG_VERSION").into(),
        engine_version: engine_version(executable).await,
        simd: String::new(),
    }
}

/// In a line: `A CPU, 8 cores, 15.6 GiB`.
pub(super) fn in_a_line(machine: &MachineInfo) -> String {
    let memory = machine.memory_mib.map(|mib| format!(", {:.1} GiB", f64::from(mib) / 1024.0)).unwrap_or_default();
    let gpus: String = machine.gpus.iter().map(|gpu| format!(", {gpu}")).collect();
    format!("{}, {} cores{memory}{gpus}", machine.cpu, machine.cores)
}

/// What `tektra-engine --version` says, without its name.
async fn engine_version(executable: &Path) -> String {
    let asked =
        tokio::process::Command::new(executable).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output();
    let said = tokio::time::timeout(VERSION_TIMEOUT, asked).await.ok().and_then(Result::ok);
    let words = said.map(|said| [said.stdout, said.stderr].concat()).unwrap_or_default();
    let words = String::from_utf8_lossy(&words);
    words.split_whitespace().nth(1).unwrap_or("unknown").to_owned()
}

/// What tells `files` from others: a SHA-256 of all bytes of small ones, else of the beginning, the end and the size; the
/// text says which.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn model_hash(files: &[std::path::PathBuf]) -> io::Result<String> {
    let size_bytes = files.iter().map(|file| file.metadata().map(|it| it.len())).sum::<io::Result<u64>>()?;
    let whole = size_bytes <= WHOLE_BYTES;
    let mut hash = Sha256::new();
    for path in files {
        let mut file = File::open(path)?;
        if whole {
            feed(&mut hash, &mut file, u64::MAX)?;
            continue;
        }
        feed(&mut hash, &mut file, PART_BYTES)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(PART_BYTES)))?;
        feed(&mut hash, &mut file, PART_BYTES)?;
        hash.update(length.to_le_bytes());
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(if whole { format!("sha256:{digest}") } else { format!("sha256 of 4 MiB at both ends and the size:{digest}") })
}

fn feed(hash: &mut Sha256, file: &mut File, most_bytes: u64) -> io::Result<()> {
    let mut reader = file.take(most_bytes);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(()),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// Drops the pages of `files` from the page cache, so that the next load reads the disk. `false` where the system has no
/// way to ask for that. Pages that a process has mapped stay.
#[cfg(target_os = "linux")]
pub(super) fn drop_from_cache(files: &[std::path::PathBuf]) -> bool {
    files.iter().all(|path| {
        let Ok(file) = File::open(path) else { return false };
        // Pages that are not written yet cannot be dropped.
        file.sync_data().is_ok() && rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).is_ok()
    })
}

/// Other systems offer no such thing to a program without special rights.
#[cfg(not(target_os = "linux"))]
pub(super) fn drop_from_cache(_files: &[std::path::PathBuf]) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::{WHOLE_BYTES, model_hash};

    #[test]
    fn the_hash_says_what_it_covers_and_notices_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.gguf");
        fs::write(&path, b"abc").unwrap();
        let small = model_hash(std::slice::from_ref(&path)).unwrap();
        // FIPS 180-2, appendix B.1.
        assert_eq!(small, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");

        File::options().write(true).open(&path).unwrap().set_len(WHOLE_BYTES + 1).unwrap();
        let large = model_hash(std::slice::from_ref(&path)).unwrap();
        assert!(large.starts_with("sha256 of 4 MiB"), "{large}");
        File::options().write(true).open(&path).unwrap().set_len(WHOLE_BYTES + 2).unwrap();
        assert_ne!(model_hash(std::slice::from_ref(&path)).unwrap(), large);
        assert!(model_hash(&[folder.path().join("gone")]).is_err());
    }
}

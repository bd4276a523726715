//! GPUs: NVIDIA's through NVML, AMD's through sysfs.

#[cfg(target_os = "linux")]
mod amd;
mod nvidia;

use crate::types::{GpuSample, Probe};

/// All GPUs that answer.
#[derive(Debug, Default)]
pub(crate) struct Gpus {
    nvidia: nvidia::Nvidia,
    #[cfg(target_os = "linux")]
    amd: amd::Amd,
}

impl Gpus {
    /// Looks anew for what came, or could not be asked before.
    pub(crate) fn list(&mut self) {
        self.nvidia.list();
        #[cfg(target_os = "linux")]
        self.amd.list(std::path::Path::new("/sys/class/drm"));
    }

    pub(crate) fn sample(&mut self, engines: &[u32]) -> Vec<GpuSample> {
        #[cfg(target_os = "linux")]
        let mut gpus = self.nvidia.sample(engines);
        #[cfg(not(target_os = "linux"))]
        let gpus = self.nvidia.sample(engines);
        #[cfg(target_os = "linux")]
        gpus.extend(self.amd.sample(self.nvidia.count()));
        gpus
    }

    pub(crate) fn probes(&self) -> Vec<Probe> {
        #[cfg(target_os = "linux")]
        let other = Probe::new("AMD (sysfs)", self.amd.found());
        #[cfg(not(target_os = "linux"))]
        let other =
            Probe::new("Other GPUs", &Err("this system tells their figures only to programs of its maker".into()));
        vec![Probe::new("NVIDIA (NVML)", self.nvidia.found()), other]
    }
}

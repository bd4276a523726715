//! NVIDIA's GPUs. NVML comes with the driver, so it is looked for while the program runs, and may go while it runs.

use nvml_wrapper::{
    Device, Nvml,
    bitmasks::device::ThrottleReasons,
    enum_wrappers::device::{Clock, TemperatureSensor},
    enums::device::UsedGpuMemory,
    error::NvmlError,
};

use crate::{mib, types::GpuSample};

/// What holds a GPU back, in words; that it is idle or set so is no trouble.
const THROTTLE: [(ThrottleReasons, &str); 6] = [
    (ThrottleReasons::SW_POWER_CAP, "Power limit"),
    (ThrottleReasons::SW_THERMAL_SLOWDOWN, "Too warm"),
    (ThrottleReasons::HW_THERMAL_SLOWDOWN, "Far too warm"),
    (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, "Power supply"),
    (ThrottleReasons::HW_SLOWDOWN, "Slowed by the hardware"),
    (ThrottleReasons::SYNC_BOOST, "Waits for another GPU"),
];

#[derive(Debug)]
pub(super) struct Nvidia {
    nvml: Option<Nvml>,
    names: Vec<String>,
    found: Result<String, String>,
}

impl Default for Nvidia {
    fn default() -> Self {
        Self { nvml: None, names: Vec::new(), found: Err(String::new()) }
    }
}

impl Nvidia {
    /// Opens NVML where it is not open, and asks which GPUs there are.
    pub(super) fn list(&mut self) {
        let nvml = match self.nvml.take().map_or_else(Nvml::init, Ok) {
            Ok(nvml) => nvml,
            Err(error) => return self.lose(&error),
        };
        let listed = nvml.device_count().map(|count| {
            let name = |index| nvml.device_by_index(index).and_then(|gpu| gpu.name());
            (0..count).map(|index| name(index).unwrap_or_else(|_| format!("GPU {index}"))).collect::<Vec<_>>()
        });
        match listed {
            Err(error) => self.lose(&error),
            Ok(names) if names.is_empty() => self.found = Err("the driver finds no GPU".into()),
            Ok(names) => {
                let driver = nvml.sys_driver_version().map(|version| format!("driver {version}"));
                self.found = Ok(driver.unwrap_or_else(|_| "a driver of unknown version".into()));
                self.names = names;
                self.nvml = Some(nvml);
            }
        }
    }

    pub(super) fn found(&self) -> &Result<String, String> {
        &self.found
    }

    #[cfg(any(target_os = "linux", test))]
    pub(super) fn count(&self) -> u32 {
        self.names.len() as u32
    }

    /// The GPUs that answer. When NVML has gone there are none until the next [`Nvidia::list`].
    pub(super) fn sample(&mut self, engines: &[u32]) -> Vec<GpuSample> {
        let Some(nvml) = &self.nvml else { return Vec::new() };
        let mut gpus = Vec::new();
        let mut lost = None;
        for (index, name) in (0..).zip(&self.names) {
            match nvml.device_by_index(index) {
                Ok(gpu) => gpus.push(read(&gpu, index, name, engines)),
                // One that was taken out, or has crashed, is only itself gone.
                Err(NvmlError::GpuLost | NvmlError::InvalidArg | NvmlError::NotFound) => {}
                Err(error) => lost = Some(error),
            }
        }
        if let Some(error) = lost {
            self.lose(&error);
        }
        gpus
    }

    fn lose(&mut self, why: &NvmlError) {
        self.nvml = None;
        self.names.clear();
        self.found = Err(words(why));
    }
}

fn words(error: &NvmlError) -> String {
    match error {
        NvmlError::LibloadingError(reason) => {
            let library = if cfg!(windows) { "nvml.dll" } else { "libnvidia-ml.so.1" };
            format!("{library} could not be opened ({reason})")
        }
        NvmlError::DriverNotLoaded => "NVIDIA's driver is installed but not loaded".into(),
        NvmlError::NoPermission => "this user may not ask NVIDIA's driver".into(),
        NvmlError::LibRmVersionMismatch => {
            "NVIDIA's driver was updated: it works again after a restart of the machine".into()
        }
        other => format!("NVIDIA's driver does not answer ({other})"),
    }
}

/// Everything that this GPU tells; what it does not know is absent.
fn read(gpu: &Device<'_>, index: u32, name: &str, engines: &[u32]) -> GpuSample {
    let memory = gpu.memory_info().ok();
    let held = (!engines.is_empty()).then(|| gpu.running_compute_processes().ok()).flatten().and_then(|all| {
        let of_engines = all.iter().filter(|process| engines.contains(&process.pid));
        let bytes = of_engines.map(|process| match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        });
        // Of none of them is nothing, but of one that is not told nobody knows.
        bytes.sum::<Option<u64>>()
    });
    let throttle = gpu.current_throttle_reasons().unwrap_or(ThrottleReasons::NONE);
    GpuSample {
        index,
        name: name.to_owned(),
        utilization_percent: gpu.utilization_rates().ok().map(|rates| f64::from(rates.gpu)),
        memory_used_mib: memory.as_ref().map(|memory| mib(memory.used)),
        memory_total_mib: memory.as_ref().map(|memory| mib(memory.total)),
        engine_memory_mib: held.map(mib),
        temperature_celsius: gpu.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
        power_watts: gpu.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / 1e3),
        clock_mhz: gpu.clock_info(Clock::Graphics).ok().map(f64::from),
        memory_clock_mhz: gpu.clock_info(Clock::Memory).ok().map(f64::from),
        fan_percent: gpu.fan_speed(0).ok().map(f64::from),
        throttle: THROTTLE
            .iter()
            .filter(|(reason, _)| throttle.contains(*reason))
            .map(|(_, words)| (*words).into())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_driver_there_are_no_gpus_and_a_reason() {
        let mut nvidia = Nvidia::default();
        nvidia.list();
        let gpus = nvidia.sample(&[std::process::id()]);
        assert_eq!(gpus.is_empty(), nvidia.found().is_err());
        if let Err(why) = nvidia.found() {
            assert!(why.len() > 10, "{why}");
        }
        // Lost, and looked for again.
        nvidia.lose(&NvmlError::Uninitialized);
        assert!(nvidia.sample(&[]).is_empty() && nvidia.count() == 0 && nvidia.found().is_err());
        nvidia.list();
        assert_eq!(nvidia.sample(&[]).len(), gpus.len());
    }
}

//! NVIDIA's GPUs. NVML comes with the driver, so it is looked for while the program runs, and may go while it runs.

use std::path::Path;

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
            Ok(names) if names.is_empty() => self.forget("the driver finds no GPU".into()),
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
        let same_pids = same_pids();
        let mut gpus = Vec::new();
        let mut lost = None;
        for (index, name) in (0..).zip(&self.names) {
            match nvml.device_by_index(index) {
                Ok(gpu) => gpus.push(read(&gpu, index, name, engines, same_pids)),
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
        self.forget(words(why));
    }

    /// There are no GPUs, until the next [`Nvidia::list`].
    fn forget(&mut self, why: String) {
        self.nvml = None;
        self.names.clear();
        self.found = Err(why);
    }
}

/// Whether the driver calls processes by the numbers that this process knows. In a container it tells the host's.
fn same_pids() -> bool {
    // What Linux calls the namespace that it starts with, always (PROC_PID_INIT_INO of its sources).
    let first = Path::new("pid:[4026531836]");
    !cfg!(target_os = "linux") || std::fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link == first)
}

/// What `engines` hold in bytes, of `all` that hold something and how much, where that is told. That none of them holds
/// anything is known only with `same_pids`.
fn held(all: &[(u32, Option<u64>)], engines: &[u32], same_pids: bool) -> Option<u64> {
    let of_engines: Vec<_> = all.iter().filter(|(pid, _)| engines.contains(pid)).map(|(_, bytes)| *bytes).collect();
    if engines.is_empty() || (of_engines.is_empty() && !same_pids) {
        return None;
    }
    // Of none of them is nothing, but of one that is not told nobody knows.
    of_engines.into_iter().sum()
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
fn read(gpu: &Device<'_>, index: u32, name: &str, engines: &[u32], same_pids: bool) -> GpuSample {
    let memory = gpu.memory_info().ok();
    let processes = (!engines.is_empty()).then(|| gpu.running_compute_processes().ok()).flatten();
    let held = processes.and_then(|processes| {
        let bytes = |memory: &UsedGpuMemory| match memory {
            UsedGpuMemory::Used(bytes) => Some(*bytes),
            UsedGpuMemory::Unavailable => None,
        };
        let all: Vec<_> = processes.iter().map(|process| (process.pid, bytes(&process.used_gpu_memory))).collect();
        held(&all, engines, same_pids)
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
        nvidia.names.push("one that goes".into());
        nvidia.lose(&NvmlError::Uninitialized);
        assert!(nvidia.sample(&[]).is_empty() && nvidia.count() == 0 && nvidia.found().is_err());
        nvidia.list();
        assert_eq!(nvidia.sample(&[]).len(), gpus.len());
    }

    #[test]
    fn where_the_driver_has_other_numbers_for_processes_nothing_is_not_known() {
        let all = [(1, Some(10)), (2, Some(20)), (3, None)];
        assert_eq!((held(&all, &[2, 1], true), held(&all, &[2, 1], false)), (Some(30), Some(30)));
        assert_eq!((held(&all, &[7], true), held(&all, &[7], false)), (Some(0), None));
        assert_eq!((held(&[], &[7], true), held(&[], &[7], false)), (Some(0), None));
        assert_eq!((held(&all, &[2, 3], true), held(&all, &[], true)), (None, None));
    }
}

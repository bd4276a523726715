//! AMD's GPUs, as the driver amdgpu tells of them: <https://docs.kernel.org/gpu/amdgpu/driver-misc.html> and
//! <https://docs.kernel.org/gpu/amdgpu/thermal.html>.

use std::path::{Path, PathBuf};

use crate::{
    linux::{celsius, names, number, text},
    mib,
    types::GpuSample,
};

/// AMD's number on the PCI bus.
const VENDOR: &str = "0x1002";
/// The fan's signal at full speed.
const FULL_PWM: f64 = 255.0;

#[derive(Debug)]
pub(super) struct Amd {
    cards: Vec<Card>,
    found: Result<String, String>,
}

#[derive(Debug)]
struct Card {
    device: PathBuf,
    hwmon: Option<PathBuf>,
    name: String,
}

impl Default for Amd {
    fn default() -> Self {
        Self { cards: Vec::new(), found: Err(String::new()) }
    }
}

impl Amd {
    pub(super) fn list(&mut self, drm: &Path) {
        // `card0-DP-1` is one of its sockets.
        let cards = names(drm).into_iter().filter(|name| name.starts_with("card") && !name.contains('-'));
        let devices = cards.map(|name| drm.join(name).join("device"));
        let of_amd = devices.filter(|device| text(&device.join("vendor")).is_some_and(|vendor| vendor == VENDOR));
        self.cards = of_amd.filter_map(Card::find).collect();
        let words = self.cards.iter().map(|card| card.name.as_str()).collect::<Vec<_>>().join(", ");
        let none = || format!("no card in {} has the driver amdgpu", drm.display());
        self.found = if self.cards.is_empty() { Err(none()) } else { Ok(words) };
    }

    pub(super) fn found(&self) -> &Result<String, String> {
        &self.found
    }

    /// The GPUs that answer, numbered from `first` on.
    pub(super) fn sample(&self, first: u32) -> Vec<GpuSample> {
        (first..).zip(&self.cards).filter_map(|(index, card)| card.read(index)).collect()
    }
}

impl Card {
    fn find(device: PathBuf) -> Option<Self> {
        // Cards that the older driver serves tell nothing.
        number::<u64>(&device.join("mem_info_vram_total"))?;
        let monitors = device.join("hwmon");
        let hwmon = names(&monitors).first().map(|name| monitors.join(name));
        let product = text(&device.join("product_name")).filter(|name| !name.is_empty());
        let name = product.or_else(|| Some(format!("AMD GPU {}", text(&device.join("device"))?)));
        Some(Self { name: name.unwrap_or_else(|| "AMD GPU".into()), device, hwmon })
    }

    /// Everything that it tells; absent when it has gone.
    fn read(&self, index: u32) -> Option<GpuSample> {
        let memory_total: u64 = number(&self.device.join("mem_info_vram_total"))?;
        let of = |name: &str| number::<f64>(&self.hwmon.as_ref()?.join(name)).filter(|it| it.is_finite() && *it >= 0.0);
        let percent = |value: f64| (0.0..=100.0).contains(&value);
        Some(GpuSample {
            index,
            name: self.name.clone(),
            utilization_percent: number::<f64>(&self.device.join("gpu_busy_percent")).filter(|busy| percent(*busy)),
            memory_used_mib: number(&self.device.join("mem_info_vram_used")).map(mib),
            memory_total_mib: Some(mib(memory_total)),
            engine_memory_mib: None,
            temperature_celsius: self.hwmon.as_ref().and_then(|hwmon| celsius(&hwmon.join("temp1_input"))),
            power_watts: of("power1_average").or_else(|| of("power1_input")).map(|microwatts| microwatts / 1e6),
            clock_mhz: of("freq1_input").map(|hertz| hertz / 1e6),
            memory_clock_mhz: of("freq2_input").map(|hertz| hertz / 1e6),
            fan_percent: of("pwm1").map(|pwm| pwm / FULL_PWM * 100.0).filter(|fan| percent(*fan)),
            throttle: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::tests::{rubbish, write};

    #[test]
    fn a_card_tells_what_its_driver_knows_and_goes_without_a_word() {
        let folder = tempfile::tempdir().unwrap();
        let drm = folder.path();
        let mut amd = Amd::default();
        amd.list(drm);
        assert!(amd.found().as_ref().is_err_and(|why| why.contains("amdgpu")) && amd.sample(0).is_empty());

        let device = drm.join("card1/device");
        let files = [
            ("vendor", "0x1002\n"),
            ("device", "0x744c\n"),
            ("gpu_busy_percent", "37\n"),
            ("mem_info_vram_used", "1073741824\n"),
            ("mem_info_vram_total", "25753026560\n"),
            ("hwmon/hwmon4/temp1_input", "61000\n"),
            ("hwmon/hwmon4/power1_average", "214000000\n"),
            ("hwmon/hwmon4/freq1_input", "2482000000\n"),
            ("hwmon/hwmon4/pwm1", "51\n"),
        ];
        write(&device, &files);
        write(&drm.join("card0/device"), &[("vendor", "0x8086\n"), ("mem_info_vram_total", "1")]);
        write(&drm.join("card1-DP-1/device"), &[("vendor", "0x1002\n"), ("mem_info_vram_total", "1")]);
        amd.list(drm);
        let gpus = amd.sample(2);
        let [gpu] = gpus.as_slice() else { panic!("{gpus:?}") };
        assert_eq!((gpu.index, gpu.name.as_str()), (2, "AMD GPU 0x744c"));
        assert_eq!((gpu.utilization_percent, gpu.memory_used_mib), (Some(37.0), Some(1024.0)));
        assert_eq!((gpu.temperature_celsius, gpu.power_watts), (Some(61.0), Some(214.0)));
        assert_eq!((gpu.clock_mhz, gpu.memory_clock_mhz, gpu.fan_percent), (Some(2482.0), None, Some(20.0)));

        for text in rubbish() {
            let strange: Vec<_> = files[2..].iter().map(|(name, _)| (*name, text.as_str())).collect();
            write(&device, &strange);
            amd.sample(0);
            amd.list(drm);
        }
        write(&device, &files);
        amd.list(drm);
        std::fs::remove_dir_all(drm.join("card1")).unwrap();
        assert!(amd.sample(0).is_empty(), "it was taken out");
    }
}

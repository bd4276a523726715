//! What is so at the moment of asking. Written anew each time, so that what has gone is not told any more.

use crate::resources::ResourceSample;

/// What is told beside the machine's sample.
pub(crate) struct Now<'a> {
    pub(crate) waiting: u32,
    /// What the loaded models' processes hold; absent while a model is being loaded.
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) sample: Option<&'a ResourceSample>,
}

impl Now<'_> {
    pub(super) fn text(&self) -> String {
        let bytes = |mib: Option<f64>| mib.map(|mib| mib * f64::from(1 << 20));
        let mut out = String::new();
        let waiting = [(String::new(), Some(f64::from(self.waiting)))];
        family(&mut out, super::WAITING, "Answers that wait for their turn", waiting);
        let shares = self.sample.map(|sample| &sample.shares);
        let memory = [
            ("resident", self.resident_bytes.map(|bytes| bytes as f64)),
            ("weights", shares.and_then(|shares| bytes(shares.weights_mib))),
            ("kv", shares.and_then(|shares| bytes(shares.kv_mib))),
        ];
        let memory = memory.map(|(kind, value)| (format!("{{kind=\"{kind}\"}}"), value));
        family(&mut out, super::MEMORY, "Memory of the loaded models by kind", memory);
        let cpu = [
            ("window", shares.and_then(|shares| shares.window_cpu_percent)),
            ("engine", shares.and_then(|shares| shares.engine_cpu_percent)),
        ];
        let cpu = cpu.map(|(process, percent)| (format!("{{process=\"{process}\"}}"), percent.map(|it| it / 100.0)));
        family(&mut out, super::CPU, "Processor time in cores, by process", cpu);
        let gpus = self.sample.map(|sample| sample.gpus.as_slice()).unwrap_or_default();
        let gpus = gpus.iter().flat_map(|gpu| {
            let kinds =
                [("used", gpu.memory_used_mib), ("total", gpu.memory_total_mib), ("engine", gpu.engine_memory_mib)];
            let index = gpu.index;
            kinds.map(|(kind, mib)| (format!("{{gpu=\"{index}\",kind=\"{kind}\"}}"), bytes(mib)))
        });
        family(&mut out, super::GPU_MEMORY, "Memory of each GPU by kind", gpus);
        out
    }
}

/// A gauge with all its values; not told when it has none.
fn family(out: &mut String, name: &str, what: &str, values: impl IntoIterator<Item = (String, Option<f64>)>) {
    let lines: String =
        values.into_iter().filter_map(|(labels, value)| Some(format!("{name}{labels} {}\n", value?))).collect();
    if !lines.is_empty() {
        *out += &format!("# HELP {name} {what}\n# TYPE {name} gauge\n{lines}\n");
    }
}

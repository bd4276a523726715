//! The picture of `top`.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style, Stylize},
    text::{Line, Span},
    widgets::{LineGauge, Paragraph, Sparkline},
};
use tektra_core::{GpuSample, Probe, ResourceSample};

/// What is not measured.
const ABSENT: &str = "–";
/// Cells in which a core's share is drawn.
const CORE_BARS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// A block of the picture with its height.
type Part<'a> = (u16, Box<dyn Fn(&mut Frame<'_>, Rect) + 'a>);

/// Draws the latest of `samples`, which stands first, and what it was before.
pub(super) fn draw(frame: &mut Frame<'_>, samples: &[&ResourceSample], probes: &[Probe], cost: &str) {
    let Some(now) = samples.first() else {
        return frame.render_widget(Paragraph::new("Reading the sensors…"), frame.area());
    };
    let mut parts: Vec<Part<'_>> = Vec::new();
    let text = |lines: Vec<Line<'static>>| -> Part<'_> {
        (lines.len() as u16, Box::new(move |frame, area| frame.render_widget(Paragraph::new(lines.clone()), area)))
    };
    parts.push(bar("CPU", now.cpu.total_percent, cpu_words(now), Color::Cyan));
    parts.push(history(samples, |sample| sample.cpu.total_percent, Some(100), Color::Cyan));
    parts.push(text(vec![cores(now), Line::default()]));
    let used = now.memory.used_mib.zip(now.memory.total_mib).map(|(used, total)| used / total.max(1.0) * 100.0);
    parts.push(bar("Memory", used, memory_words(now), Color::Magenta));
    parts.push(text(vec![shares(now), Line::default()]));
    if now.gpus.is_empty() {
        parts.push(text(no_gpu(probes)));
    }
    for gpu in &now.gpus {
        parts.push(bar(&format!("GPU {}", gpu.index), gpu.utilization_percent, gpu_words(gpu), Color::Green));
        let index = gpu.index;
        let busy = move |sample: &ResourceSample| {
            sample.gpus.iter().find(|gpu| gpu.index == index).and_then(|gpu| gpu.utilization_percent)
        };
        parts.push(history(samples, busy, Some(100), Color::Green));
    }
    parts.push(text(vec![Line::default(), engine(now)]));
    let decode = |sample: &ResourceSample| sample.engine.as_ref().and_then(|engine| engine.decode_tokens_per_second);
    parts.push(history(samples, decode, None, Color::Yellow));
    parts.push(text(vec![Line::default(), flows(now), Line::from(format!("{cost} · q leaves")).dim()]));

    let heights = parts.iter().map(|(height, _)| Constraint::Length(*height));
    let areas = Layout::vertical(heights).split(frame.area());
    for ((_, render), area) in parts.iter().zip(areas.iter()) {
        render(frame, *area);
    }
}

fn bar<'a>(name: &str, percent: Option<f64>, words: String, color: Color) -> Part<'a> {
    let label = format!("{name:7} {:>5}", percent.map_or(ABSENT.into(), |percent| format!("{percent:.0} %")));
    let ratio = percent.filter(|percent| percent.is_finite()).unwrap_or(0.0).clamp(0.0, 100.0) / 100.0;
    let render = move |frame: &mut Frame<'_>, area: Rect| {
        let [left, right] = Layout::horizontal([Constraint::Percentage(50), Constraint::Fill(1)]).areas(area);
        let gauge = LineGauge::default().ratio(ratio).label(label.clone()).filled_style(Style::new().fg(color));
        frame.render_widget(gauge, left);
        frame.render_widget(Paragraph::new(format!("  {words}")), right);
    };
    (1, Box::new(render))
}

/// The past up to now at the right, as far as there is room.
fn history<'a>(
    samples: &'a [&ResourceSample],
    read: impl Fn(&ResourceSample) -> Option<f64> + 'a,
    top: Option<u64>,
    color: Color,
) -> Part<'a> {
    let render = move |frame: &mut Frame<'_>, area: Rect| {
        let shown = samples.len().min(area.width as usize);
        let missing = std::iter::repeat_n(None, (area.width as usize).saturating_sub(shown));
        let values = samples[..shown].iter().rev().map(|sample| read(sample).map(|value| value.max(0.0) as u64));
        let line = Sparkline::default().data(missing.chain(values)).style(Style::new().fg(color));
        frame.render_widget(if let Some(top) = top { line.max(top) } else { line }, area);
    };
    (2, Box::new(render))
}

fn cpu_words(now: &ResourceSample) -> String {
    let clock = now.cpu.frequency_mhz.map(|mhz| format!("{:.2} GHz", mhz / 1e3));
    let heat = now.cpu.temperature_celsius.map(|celsius| format!("{celsius:.0} °C"));
    let of = |name: &str, percent: Option<f64>| percent.map(|percent| format!("{name} {:.2} cores", percent / 100.0));
    let engine = of("engine", now.shares.engine_cpu_percent);
    let window = of("window", now.shares.window_cpu_percent);
    joined([clock, heat, engine, window])
}

fn cores(now: &ResourceSample) -> Line<'static> {
    let cell = |percent: &Option<f32>| {
        percent.map_or(ABSENT, |percent| CORE_BARS[(percent / 100.0 * 8.0).clamp(0.0, 8.0) as usize])
    };
    let cells = now.cpu.cores_percent.iter().map(|percent| Span::from(cell(percent)).fg(Color::Cyan));
    let mut spans = vec![Span::from("Cores   ")];
    spans.extend(cells);
    Line::from(spans)
}

fn memory_words(now: &ResourceSample) -> String {
    let memory = &now.memory;
    let used = memory.used_mib.zip(memory.total_mib).map(|(used, total)| format!("{} of {}", size(used), size(total)));
    let swap = memory.swap_used_mib.filter(|_| memory.swap_total_mib.is_some_and(|total| total > 0.0));
    joined([used, swap.map(|used| format!("{} swapped", size(used)))])
}

fn shares(now: &ResourceSample) -> Line<'static> {
    let shares = &now.shares;
    let part = |name: &str, mib: Option<f64>| mib.map(|mib| format!("{name} {}", size(mib)));
    Line::from(format!(
        "        {}",
        joined([
            part("engine", shares.engine_mib),
            part("its weights", shares.weights_mib),
            part("its KV cache", shares.kv_mib),
            part("window", shares.window_mib),
            part("everything else", shares.other_mib),
        ])
    ))
}

fn gpu_words(gpu: &GpuSample) -> String {
    let memory = gpu.memory_used_mib.zip(gpu.memory_total_mib);
    joined([
        Some(gpu.name.clone()),
        memory.map(|(used, total)| format!("{} of {}", size(used), size(total))),
        gpu.engine_memory_mib.map(|mib| format!("engine {}", size(mib))),
        gpu.temperature_celsius.map(|celsius| format!("{celsius:.0} °C")),
        gpu.power_watts.map(|watts| format!("{watts:.0} W")),
        (!gpu.throttle.is_empty()).then(|| gpu.throttle.join(", ")),
    ])
}

fn no_gpu(probes: &[Probe]) -> Vec<Line<'static>> {
    let mut lines = vec![Line::from("CPU mode: no accelerator found").bold()];
    let gpus =
        probes.iter().filter(|probe| ["NVIDIA", "AMD", "Other GPUs"].iter().any(|name| probe.name.starts_with(name)));
    lines.extend(gpus.map(|probe| Line::from(format!("        {}: {}", probe.name, probe.detail)).dim()));
    lines
}

fn engine(now: &ResourceSample) -> Line<'static> {
    let Some(engine) = &now.engine else {
        // Memory without words: it loads a model, or is too busy to answer. `ask` and `loadtest` are not told at all.
        let runs = now.shares.engine_mib.is_some();
        let silent = "it runs and tells nothing at the moment";
        let none = "no window and no chat has a model loaded here";
        return Line::from(format!("Engine  {}", if runs { silent } else { none }));
    };
    let rate = |name: &str, rate: Option<f64>| rate.map(|rate| format!("{name} {rate:.1} tokens/s"));
    let words = joined([
        rate("writes", engine.decode_tokens_per_second),
        rate("reads", engine.prefill_tokens_per_second),
        Some(format!("{} active, {} waiting", engine.active, engine.waiting)),
        engine.kv_mib.map(|mib| format!("KV cache {}", size(mib))),
        (engine.prefix_hit_tokens > 0).then(|| format!("{} tokens reused", engine.prefix_hit_tokens)),
    ]);
    Line::from(format!("Engine  {words}"))
}

fn flows(now: &ResourceSample) -> Line<'static> {
    let rate = |name: &str, mib: Option<f64>| mib.map(|mib| format!("{name} {mib:.1} MiB/s"));
    let (disk, network) = (now.disk.clone().unwrap_or_default(), now.network.clone().unwrap_or_default());
    let power = now.power.clone().unwrap_or_default();
    Line::from(joined([
        rate("Disk reads", disk.read_mib_per_second),
        rate("writes", disk.written_mib_per_second),
        rate("Network receives", network.received_mib_per_second),
        rate("sends", network.sent_mib_per_second),
        power
            .charge_percent
            .map(|charge| format!("Battery {charge:.0} %{}", if power.on_battery { ", in use" } else { "" })),
        power.watts.map(|watts| format!("{watts:.1} W")),
    ]))
}

fn joined<const N: usize>(parts: [Option<String>; N]) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

fn size(mib: f64) -> String {
    if mib < 1024.0 { format!("{mib:.0} MiB") } else { format!("{:.1} GiB", mib / 1024.0) }
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};
    use tektra_core::{CpuSample, EngineSample, MemorySample, Shares};

    use super::*;

    fn sample() -> ResourceSample {
        ResourceSample {
            at_ms: 0.0,
            cpu: CpuSample { total_percent: Some(43.0), cores_percent: vec![Some(86.0), None], ..CpuSample::default() },
            memory: MemorySample { total_mib: Some(8192.0), used_mib: Some(2048.0), ..MemorySample::default() },
            disk: None,
            network: None,
            gpus: Vec::new(),
            power: None,
            shares: Shares { engine_mib: Some(610.0), ..Shares::default() },
            engine: Some(EngineSample { decode_tokens_per_second: Some(212.25), active: 1, ..EngineSample::default() }),
        }
    }

    fn picture(samples: &[&ResourceSample], width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let why = "libnvidia-ml.so.1 could not be opened".to_owned();
        let probes = [Probe { name: "NVIDIA (NVML)".into(), found: false, detail: why }];
        terminal.draw(|frame| draw(frame, samples, &probes, "0.3 % of one core")).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_picture_says_what_there_is_and_why_there_is_no_gpu() {
        let now = sample();
        let picture = picture(&[&now, &now], 120, 30);
        for words in [
            "43 %",
            "2.0 GiB of 8.0 GiB",
            "engine 610 MiB",
            "CPU mode: no accelerator found",
            "libnvidia-ml.so.1 could not be opened",
            "writes 212.2 tokens/s · 1 active, 0 waiting",
            "q leaves",
        ] {
            assert!(picture.contains(words), "{words} in\n{picture}");
        }
        assert!(!picture.contains("everything else"), "what is not known is not drawn");
    }

    #[test]
    fn an_engine_that_says_nothing_is_not_told_as_none() {
        let mut now = sample();
        now.engine = None;
        let silent = picture(&[&now], 120, 30);
        assert!(silent.contains("engine 610 MiB") && silent.contains("it runs and tells nothing"), "{silent}");
        now.shares.engine_mib = None;
        let none = picture(&[&now], 120, 30);
        assert!(none.contains("no window and no chat has a model loaded here"), "{none}");
    }

    #[test]
    fn strange_figures_and_tiny_terminals_are_drawn_too() {
        let mut now = sample();
        now.cpu.total_percent = Some(f64::NAN);
        now.memory.total_mib = Some(0.0);
        now.gpus = vec![GpuSample { utilization_percent: Some(1e9), ..GpuSample::default() }];
        for (width, height) in [(1, 1), (10, 3), (200, 60)] {
            picture(&[&now], width, height);
            picture(&[], width, height);
        }
    }
}

//! Samples, and what they say.

use crate::{
    statistics::{interval, mean, median, percentile, sd},
    types::{Metric, MetricName},
};

impl Metric {
    /// What `samples` of `name` say.
    pub fn new(name: MetricName, samples: Vec<f64>) -> Self {
        let interval = interval(&samples);
        Self {
            name,
            unit: name.unit().into(),
            higher_is_better: name.higher_is_better(),
            median: median(&samples),
            low: interval.map(|it| it.low),
            high: interval.map(|it| it.high),
            mean: mean(&samples),
            sd: sd(&samples),
            p95: percentile(&samples, 95),
            p99: percentile(&samples, 99),
            samples,
        }
    }

    /// Adds `samples` of `name` to those in `metrics`.
    pub fn add(metrics: &mut Vec<Self>, name: MetricName, samples: &[f64]) {
        if samples.is_empty() {
            return;
        }
        match metrics.iter_mut().find(|metric| metric.name == name) {
            Some(metric) => {
                let all = [metric.samples.as_slice(), samples].concat();
                *metric = Self::new(name, all);
            }
            None => metrics.push(Self::new(name, samples.to_vec())),
        }
    }
}

impl MetricName {
    /// What it is measured in.
    pub fn unit(self) -> &'static str {
        match self {
            Self::PrefillTokensPerSecond | Self::DecodeTokensPerSecond | Self::EndToEndTokensPerSecond => "tokens/s",
            Self::FirstTokenMs
            | Self::InterTokenMs
            | Self::ColdLoadMs
            | Self::WarmLoadMs
            | Self::EndToEndFirstTokenMs => "ms",
            Self::PeakResidentMib | Self::PeakGpuMib => "MiB",
            Self::JoulesPerToken | Self::GpuJoulesPerToken => "J",
        }
    }

    /// Whether more is better.
    pub fn higher_is_better(self) -> bool {
        self.unit() == "tokens/s"
    }

    /// As a person reads it.
    pub fn words(self) -> &'static str {
        match self {
            Self::PrefillTokensPerSecond => "prefill",
            Self::DecodeTokensPerSecond => "decode",
            Self::FirstTokenMs => "first token",
            Self::InterTokenMs => "between tokens",
            Self::ColdLoadMs => "load from the disk",
            Self::WarmLoadMs => "load from memory",
            Self::PeakResidentMib => "peak memory",
            Self::PeakGpuMib => "peak memory of the GPU",
            Self::JoulesPerToken => "energy a token",
            Self::GpuJoulesPerToken => "energy of the GPU a token",
            Self::EndToEndFirstTokenMs => "first token, end to end",
            Self::EndToEndTokensPerSecond => "answer, end to end",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::types::{Metric, MetricName};

    #[test]
    fn added_samples_are_all_kept_and_counted_anew() {
        let mut metrics = Vec::new();
        Metric::add(&mut metrics, MetricName::DecodeTokensPerSecond, &[10.0, 30.0]);
        Metric::add(&mut metrics, MetricName::FirstTokenMs, &[]);
        Metric::add(&mut metrics, MetricName::DecodeTokensPerSecond, &[20.0]);
        assert_eq!(metrics.len(), 1, "nothing measured is nothing shown");
        assert_eq!(metrics[0].samples, [10.0, 30.0, 20.0]);
        assert_eq!((metrics[0].median, metrics[0].mean, metrics[0].sd), (Some(20.0), Some(20.0), Some(10.0)));
        assert_eq!((metrics[0].low, metrics[0].p95, metrics[0].higher_is_better), (None, None, true));
        assert!(!Metric::new(MetricName::PeakResidentMib, vec![1.0]).higher_is_better);
    }
}

//! Median, spread, and how sure a median is.

use fastrand::Rng;

/// Below this many samples no interval of a median covers it 9 times in 10: that of five samples, from the least to the
/// greatest, does so in 1 - 2 · 2⁻⁵ = 94 % of cases, that of four in 88 %.
pub const FEWEST_FOR_INTERVAL: usize = 5;

/// Resamples of a bootstrap.
const RESAMPLES: usize = 4_000;
/// The same samples give the same interval at any time.
const SEED: u64 = 0x7e47_2a5e;
/// Of the resampled medians, this share lies beyond each end of the interval.
const BEYOND: f64 = 0.025;

/// From where to where a median lies in 95 % of cases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// From.
    pub low: f64,
    /// To.
    pub high: f64,
}

/// The middle sample, or the mean of the middle two.
pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    median_of(&mut sorted)
}

fn median_of(samples: &mut [f64]) -> Option<f64> {
    if samples.is_empty() {
        return None;
    }
    let middle = samples.len() / 2;
    let even = samples.len().is_multiple_of(2);
    let (below, at, _) = samples.select_nth_unstable_by(middle, f64::total_cmp);
    let at = *at;
    let before = below.iter().copied().max_by(f64::total_cmp);
    Some(before.filter(|_| even).map_or(at, |before| before.midpoint(at)))
}

/// The mean.
pub fn mean(samples: &[f64]) -> Option<f64> {
    (!samples.is_empty()).then(|| samples.iter().sum::<f64>() / samples.len() as f64)
}

/// The standard deviation of a sample, with n - 1; absent below two samples.
pub fn sd(samples: &[f64]) -> Option<f64> {
    let mean = mean(samples).filter(|_| samples.len() > 1)?;
    let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
    Some((squares / (samples.len() - 1) as f64).sqrt())
}

/// The least sample that at least `percent` of 100 samples do not exceed (nearest rank). Absent where `100 - percent` of
/// 100 is less than one sample: the greatest of five is no 99th percentile.
pub fn percentile(samples: &[f64], percent: u32) -> Option<f64> {
    let beyond = 100_usize.checked_sub(percent as usize)?;
    if samples.is_empty() || samples.len() * beyond < 100 {
        return None;
    }
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (samples.len() * percent as usize).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// The 95 % interval of the median by the percentile bootstrap: the samples are drawn anew with repetition, and the
/// middle 95 % of the medians of that are the interval. Absent below [`FEWEST_FOR_INTERVAL`] samples.
///
/// Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13.
pub fn interval(samples: &[f64]) -> Option<Interval> {
    if samples.len() < FEWEST_FOR_INTERVAL {
        return None;
    }
    let mut random = Rng::with_seed(SEED);
    let mut drawn = vec![0.0; samples.len()];
    let mut medians = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        for place in &mut drawn {
            *place = samples[random.usize(..samples.len())];
        }
        medians.extend(median_of(&mut drawn));
    }
    medians.sort_by(f64::total_cmp);
    let beyond = (medians.len() as f64 * BEYOND) as usize;
    Some(Interval { low: *medians.get(beyond)?, high: *medians.get(medians.len() - 1 - beyond)? })
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::{Interval, interval, mean, median, percentile, sd};

    #[test]
    fn hand_computed_values() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(mean(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), Some(5.0));
        // Squares around 5: 9+1+1+1+0+0+4+16 = 32; 32/7.
        assert_eq!(sd(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), Some((32.0_f64 / 7.0).sqrt()));
        assert_eq!(sd(&[1.0]), None);
        assert_eq!((median(&[]), mean(&[]), interval(&[])), (None, None, None));
    }

    #[test]
    fn percentiles_are_samples_and_absent_where_there_are_too_few() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!((percentile(&hundred, 50), percentile(&hundred, 95)), (Some(50.0), Some(95.0)));
        assert_eq!((percentile(&hundred, 99), percentile(&hundred[..99], 99)), (Some(99.0), None));
        // 19 of 20 is exactly 95 %.
        let twenty: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!((percentile(&twenty, 95), percentile(&twenty[..19], 95)), (Some(19.0), None));
    }

    #[test]
    fn an_interval_of_five_reaches_from_the_least_to_the_greatest() {
        // A resampled median is the least sample with 5.8 %: more than the 2.5 % that are cut off.
        let five = [10.0, 30.0, 20.0, 50.0, 40.0];
        assert_eq!(interval(&five), Some(Interval { low: 10.0, high: 50.0 }));
        assert_eq!(interval(&five[..4]), None);
        assert_eq!(interval(&[5.0; 9]), Some(Interval { low: 5.0, high: 5.0 }));
        let same = [1.0, 5.0, 2.0, 8.0, 4.0, 9.0, 3.0];
        assert_eq!(interval(&same), interval(&same), "the same samples give the same interval");
    }

    /// Box and Muller.
    fn normal(random: &mut Rng) -> f64 {
        (-2.0 * (1.0 - random.f64()).ln()).sqrt() * (std::f64::consts::TAU * random.f64()).cos()
    }

    #[test]
    fn the_interval_covers_the_median_of_known_distributions() {
        let mut random = Rng::with_seed(42);
        for (count, skewed) in [(5, false), (10, false), (21, false), (21, true)] {
            let runs = 400;
            let covered = (0..runs).filter(|_| {
                let draw = |random: &mut Rng| if skewed { normal(random).exp() } else { normal(random) };
                let samples: Vec<f64> = (0..count).map(|_| draw(&mut random)).collect();
                let truth = if skewed { 1.0 } else { 0.0 };
                interval(&samples).is_some_and(|it| it.low <= truth && truth <= it.high)
            });
            let share = covered.count() as f64 / f64::from(runs);
            assert!((0.90..=0.99).contains(&share), "{count} samples, skewed {skewed}: covered in {share}");
        }
    }

    #[test]
    fn more_samples_make_a_narrower_interval() {
        let mut random = Rng::with_seed(7);
        let samples: Vec<f64> = (0..400).map(|_| normal(&mut random)).collect();
        let width = |samples: &[f64]| interval(samples).map(|it| it.high - it.low).unwrap();
        assert!(width(&samples) < width(&samples[..25]) / 2.0);
        // Of a normal distribution the median's standard error is 1.2533/sqrt(n): 0.246 from end to end.
        assert!((0.15..0.35).contains(&width(&samples)));
    }
}

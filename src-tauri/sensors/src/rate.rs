//! From counters to rates.

use std::time::{Duration, Instant};

/// Over a shorter time a rate says nothing.
const SHORTEST: Duration = Duration::from_millis(10);

/// A counter that only grows, and what it was before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate(Option<(u64, Instant)>);

impl Rate {
    /// How much was counted a second since the call before: absent at first, and when the counter began anew.
    pub(crate) fn per_second(&mut self, count: Option<u64>, now: Instant) -> Option<f64> {
        let before = self.0;
        self.0 = count.map(|count| (count, now));
        let ((had, at), count) = (before?, count?);
        let elapsed = now.saturating_duration_since(at);
        (elapsed >= SHORTEST && count >= had).then(|| (count - had) as f64 / elapsed.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_needs_two_readings_of_a_counter_that_grew() {
        let (mut rate, begun) = (Rate::default(), Instant::now());
        let mut check = |count, ms, expected| {
            assert_eq!(rate.per_second(count, begun + Duration::from_millis(ms)), expected, "{count:?} at {ms} ms");
        };
        check(Some(100), 0, None);
        check(Some(300), 500, Some(400.0));
        check(Some(300), 1500, Some(0.0));
        check(Some(7), 2500, None);
        check(Some(17), 2505, None);
        check(None, 3500, None);
        check(Some(20), 4500, None);
        check(Some(u64::MAX), 5500, Some((u64::MAX - 20) as f64));
        check(Some(u64::MAX), 1000, None);
    }
}

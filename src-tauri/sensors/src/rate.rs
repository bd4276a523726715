//! From counters to rates.

use std::time::{Duration, Instant};

/// Over a shorter time a rate says nothing.
const SHORTEST: Duration = Duration::from_millis(10);
/// Over a shorter time a percentage of a processor's time says nothing: it is counted in ticks, mostly of 10 ms.
const SHORTEST_BUSY: Duration = Duration::from_millis(100);

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

/// When the processor's time was read before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Busy(Option<Instant>);

impl Busy {
    /// Seconds since the call before: absent at first, and when they are too few for a percentage.
    pub(crate) fn seconds(&mut self, now: Instant) -> Option<f64> {
        let elapsed = now.saturating_duration_since(self.0.replace(now)?);
        (elapsed >= SHORTEST_BUSY).then_some(elapsed.as_secs_f64())
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

    #[test]
    fn a_percentage_needs_a_time_of_many_ticks() {
        let (mut busy, begun) = (Busy::default(), Instant::now());
        let mut check = |ms, expected| {
            assert_eq!(busy.seconds(begun + Duration::from_millis(ms)), expected, "at {ms} ms");
        };
        check(0, None);
        check(99, None);
        check(599, Some(0.5));
        check(699, Some(0.1));
        check(0, None);
    }
}

//! The last ten minutes, in bounded memory.

use std::collections::VecDeque;

use super::{AnswerMark, ResourceHistory, ResourceSample};

/// Older ones are forgotten.
const KEPT_MS: f64 = 600_000.0;
/// Ten minutes at two samples a second.
const MOST_SAMPLES: usize = 1200;
/// More answers in ten minutes are no marks any more, but a band.
const MOST_MARKS: usize = 200;

#[derive(Debug, Default)]
pub(super) struct History {
    samples: VecDeque<ResourceSample>,
    marks: VecDeque<AnswerMark>,
}

impl History {
    pub(super) fn add(&mut self, sample: ResourceSample) {
        let now_ms = sample.at_ms;
        // What is later is from before the clock was set back.
        self.samples.retain(|earlier| earlier.at_ms < now_ms && earlier.at_ms > now_ms - KEPT_MS);
        if self.samples.len() == MOST_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    pub(super) fn mark(&mut self, mark: AnswerMark) {
        // One that was continued has one mark, the last.
        self.marks.retain(|earlier| {
            earlier.message_id != mark.message_id && (mark.ended_ms - earlier.ended_ms).abs() < KEPT_MS
        });
        if self.marks.len() == MOST_MARKS {
            self.marks.pop_front();
        }
        self.marks.push_back(mark);
    }

    pub(super) fn latest(&self) -> impl Iterator<Item = &ResourceSample> {
        self.samples.iter().rev()
    }

    /// What is not older than ten minutes at `now_ms`, in milliseconds of Unix time: nobody may have looked since.
    pub(super) fn told(&self, interval_ms: u32, now_ms: f64) -> ResourceHistory {
        let since = now_ms - KEPT_MS;
        let samples = self.samples.iter().filter(|sample| sample.at_ms > since).cloned().collect();
        let marks = self.marks.iter().filter(|mark| mark.ended_ms > since).cloned().collect();
        ResourceHistory { samples, marks, interval_ms }
    }
}

#[cfg(test)]
mod tests {
    use tektra_sensors::{CpuSample, MemorySample};

    use super::*;
    use crate::resources::Shares;

    fn sample(at_ms: f64) -> ResourceSample {
        ResourceSample {
            at_ms,
            cpu: CpuSample::default(),
            memory: MemorySample::default(),
            disk: None,
            network: None,
            gpus: Vec::new(),
            power: None,
            shares: Shares::default(),
            engine: None,
        }
    }

    fn mark(number: u32) -> AnswerMark {
        let ended_ms = f64::from(number) * 10.0;
        let (conversation_id, message_id) = ("c".into(), number.to_string());
        AnswerMark { started_ms: ended_ms - 5.0, ended_ms, conversation_id, message_id, tokens: 1 }
    }

    #[test]
    fn ten_minutes_are_kept_and_no_more_than_fit() {
        let mut history = History::default();
        (0..5000_u32).for_each(|second| history.add(sample(f64::from(second) * 1e3)));
        let kept = history.told(1000, 4.999e6);
        assert_eq!((kept.samples.len(), kept.samples[0].at_ms, kept.interval_ms), (600, 4_400_000.0, 1000));
        (0..20_000_u32).for_each(|tick| history.add(sample(5e6 + f64::from(tick) * 10.0)));
        assert_eq!(history.told(500, 5.2e6).samples.len(), 1200, "whatever the clock does");
        history.add(sample(7e9));
        assert_eq!(history.told(500, 7e9).samples.len(), 1, "after a night");
        history.add(sample(4e6));
        assert_eq!(history.latest().next().unwrap().at_ms, 4e6);
        assert_eq!(history.told(500, 4e6).samples.len(), 1, "the clock was set back");
        assert_eq!(history.told(500, 9e6).samples.len(), 0, "nobody has looked since");
    }

    #[test]
    fn each_answer_has_one_mark_of_the_last_ten_minutes() {
        let mut history = History::default();
        (0..500).for_each(|number| history.mark(mark(number)));
        let marks = history.told(1000, 0.0).marks;
        assert_eq!((marks.len(), marks[199].message_id.as_str()), (200, "499"));
        history.mark(AnswerMark { ended_ms: 6000.0, ..mark(400) });
        let marks = history.told(1000, 0.0).marks;
        assert_eq!((marks.len(), marks.iter().filter(|mark| mark.message_id == "400").count()), (200, 1));
        history.mark(mark(100_000));
        assert_eq!(history.told(1000, 1e6).marks.len(), 1);
        assert_eq!(history.told(1000, 2e6).marks.len(), 0);
    }
}

//! Which bytes of a file are there.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Sorted, disjoint, non-touching ranges of bytes, each `(start, end)` with `end` exclusive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "Vec<(u64, u64)>")]
pub(crate) struct Ranges(Vec<(u64, u64)>);

impl From<Vec<(u64, u64)>> for Ranges {
    fn from(pairs: Vec<(u64, u64)>) -> Self {
        let mut ranges = Self::default();
        for (start, end) in pairs {
            ranges.insert(start..end);
        }
        ranges
    }
}

impl Ranges {
    pub(crate) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|there| there.1 < range.start);
        let last = self.0.partition_point(|there| there.0 <= range.end);
        let merged = self.0[first..last]
            .iter()
            .fold((range.start, range.end), |merged, there| (merged.0.min(there.0), merged.1.max(there.1)));
        self.0.splice(first..last, [merged]);
    }

    /// Number of bytes.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(|there| there.1 - there.0).sum()
    }

    /// Where the last range ends.
    pub(crate) fn end(&self) -> u64 {
        self.0.last().map_or(0, |there| there.1)
    }

    /// What is missing of a file of `size_bytes`.
    pub(crate) fn gaps(&self, size_bytes: u64) -> Vec<Range<u64>> {
        let starts = [0].into_iter().chain(self.0.iter().map(|there| there.1));
        let ends = self.0.iter().map(|there| there.0).chain([size_bytes]);
        starts.zip(ends).map(|(start, end)| start..end).filter(|gap| !gap.is_empty()).collect()
    }
}

/// Halves the longest gap until there are `count`, but makes none shorter than `least_bytes`.
pub(crate) fn split(mut gaps: Vec<Range<u64>>, count: usize, least_bytes: u64) -> Vec<Range<u64>> {
    let length = |gap: &Range<u64>| gap.end - gap.start;
    while gaps.len() < count {
        let Some(longest) = (0..gaps.len()).max_by_key(|&index| length(&gaps[index])) else { break };
        let Range { start, end } = gaps[longest].clone();
        if end - start < 2 * least_bytes.max(1) {
            break;
        }
        let middle = start + (end - start) / 2;
        gaps.splice(longest..=longest, [start..middle, middle..end]);
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inserting_merges_neighbours_and_overlaps() {
        let mut ranges = Ranges::default();
        for range in [10..20, 30..40, 0..5, 20..25, 24..31, 7..7, 100..110] {
            ranges.insert(range);
        }
        assert_eq!(ranges.0, [(0, 5), (10, 40), (100, 110)]);
        assert_eq!(ranges.total(), 45);
        assert_eq!(ranges.end(), 110);
        assert_eq!(ranges.gaps(120), [5..10, 40..100, 110..120]);
        ranges.insert(0..200);
        assert!(ranges.gaps(200).is_empty());
    }

    #[test]
    fn ranges_from_a_damaged_file_are_put_in_order() {
        let ranges: Ranges = serde_json::from_str("[[50,60],[9,3],[0,10],[5,20],[60,61]]").unwrap();
        assert_eq!(ranges.0, [(0, 20), (50, 61)]);
    }

    #[test]
    fn splitting_keeps_every_byte_and_the_least_length() {
        #[expect(clippy::single_range_in_vec_init, reason = "one gap is meant")]
        let pieces = split(vec![0..1000], 4, 100);
        assert_eq!(pieces, [0..250, 250..500, 500..750, 750..1000]);
        let pieces = split(vec![0..150, 300..310], 4, 100);
        assert_eq!(pieces, [0..150, 300..310]);
        assert!(split(Vec::new(), 4, 100).is_empty());
    }
}

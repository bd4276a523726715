//! Layers over devices.

/// `layers` over devices of these weights, as near to them as whole layers go.
pub(super) fn divide(layers: u32, weights: &[f64]) -> Vec<u32> {
    let sum: f64 = weights.iter().sum();
    let even = 1.0 / weights.len().max(1) as f64;
    let share = |weight: &f64| f64::from(layers) * if sum > 0.0 { weight / sum } else { even };
    let exact: Vec<f64> = weights.iter().map(share).collect();
    let mut counts: Vec<u32> = exact.iter().map(|share| share.floor() as u32).collect();
    let rest = |index: &usize| exact[*index] - exact[*index].floor();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    // Of equals the first.
    order.sort_by(|a, b| rest(b).total_cmp(&rest(a)));
    let missing = layers.saturating_sub(counts.iter().sum());
    for index in order.into_iter().take(missing as usize) {
        counts[index] += 1;
    }
    counts
}

/// What the layers from `first` to before `end` of `layers` have of `bytes`.
pub(super) fn part(bytes: u64, first: u32, end: u32, layers: u32) -> u64 {
    let until = |layer: u32| u128::from(bytes) * u128::from(layer) / u128::from(layers.max(1));
    (until(end) - until(first)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_layers_are_given_and_none_twice() {
        assert_eq!(divide(28, &[1.0]), [28]);
        assert_eq!(divide(10, &[3.0, 1.0]), [8, 2]);
        assert_eq!(divide(10, &[1.0, 1.0, 1.0]), [4, 3, 3]);
        assert_eq!(divide(3, &[0.0, 0.0]), [2, 1]);
        assert_eq!(divide(7, &[]), [0; 0]);
        for layers in 0..60 {
            assert_eq!(divide(layers, &[24.0, 11.0, 7.5]).iter().sum::<u32>(), layers);
        }
    }

    #[test]
    fn parts_add_up() {
        assert_eq!(part(1000, 0, 3, 7) + part(1000, 3, 7, 7), 1000);
        assert_eq!(part(u64::MAX, 0, 5, 5), u64::MAX);
        assert_eq!(part(0, 0, 0, 0), 0);
    }
}

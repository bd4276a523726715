//! Choosing the next token.

/// How tokens are chosen.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// 0 picks the likeliest token every time; 1 samples what the model says; more is wilder.
    pub temperature: f32,
    /// Only the likeliest tokens that together have this probability are sampled.
    pub top_p: f32,
}

/// Below this share of the likeliest token's probability no token is sampled: that keeps the candidates few.
const LEAST_SHARE: f32 = 1e-6;

impl Sampling {
    /// The chosen token's id. `logits` are used up.
    pub(crate) fn choose(&self, logits: &mut [f32], random: &mut fastrand::Rng) -> u32 {
        let (likeliest, largest) = argmax(logits);
        if self.temperature <= 0.0 || !largest.is_finite() {
            return likeliest;
        }
        let mut total = 0.0_f64;
        let mut candidates = Vec::new();
        for (token, logit) in logits.iter().enumerate() {
            let weight = ((logit - largest) / self.temperature).exp();
            if weight > LEAST_SHARE {
                total += f64::from(weight);
                candidates.push((weight, token as u32));
            }
        }
        candidates.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut kept = 0;
        let mut mass = 0.0_f64;
        let wanted = total * f64::from(self.top_p.clamp(0.0, 1.0));
        while kept < candidates.len() && (kept == 0 || mass < wanted) {
            mass += f64::from(candidates[kept].0);
            kept += 1;
        }
        let mut at = random.f64() * mass;
        for &(weight, token) in &candidates[..kept] {
            at -= f64::from(weight);
            if at <= 0.0 {
                return token;
            }
        }
        likeliest
    }
}

/// The first largest number and where it is; not-a-number is never the largest.
fn argmax(logits: &[f32]) -> (u32, f32) {
    // Largest first, then where: the first pass becomes vector instructions.
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (chunks, rest) = logits.as_chunks::<16>();
    for chunk in chunks {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane = if logit > *lane { logit } else { *lane };
        }
    }
    let largest = lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    (logits.iter().position(|&logit| logit == largest).unwrap_or(0) as u32, largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frequencies(sampling: Sampling, logits: &[f32]) -> Vec<f64> {
        let mut random = fastrand::Rng::with_seed(1);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..20_000 {
            counts[sampling.choose(&mut logits.to_vec(), &mut random) as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn zero_temperature_takes_the_first_likeliest() {
        let sampling = Sampling { temperature: 0.0, top_p: 0.95 };
        for (mut logits, expected) in [
            (vec![1.0, 3.0, 3.0, 2.0], 1),
            (vec![f32::NAN, -1.0, f32::NEG_INFINITY], 1),
            (vec![f32::NAN; 3], 0),
            ((0..100).map(|i| i as f32).collect(), 99),
        ] {
            assert_eq!(sampling.choose(&mut logits, &mut fastrand::Rng::with_seed(1)), expected);
        }
    }

    #[test]
    fn tokens_come_as_often_as_the_model_says() {
        let probabilities = [0.5_f32, 0.25, 0.15, 0.1];
        let logits: Vec<f32> = probabilities.iter().map(|p| p.ln() + 3.0).collect();
        for (got, expected) in frequencies(Sampling { temperature: 1.0, top_p: 1.0 }, &logits).iter().zip(probabilities)
        {
            assert!((got - f64::from(expected)).abs() < 0.02, "{got} for {expected}");
        }
        let hot = frequencies(Sampling { temperature: 2.0, top_p: 1.0 }, &logits);
        assert!(hot[3] > 0.13, "a higher temperature evens out: {hot:?}");
    }

    #[test]
    fn the_tail_is_cut_where_the_probability_is_reached() {
        let logits: Vec<f32> = [0.5_f32, 0.25, 0.15, 0.1].iter().map(|p| p.ln()).collect();
        let counts = frequencies(Sampling { temperature: 1.0, top_p: 0.7 }, &logits);
        assert!(counts[2] == 0.0 && counts[3] == 0.0, "{counts:?}");
        assert!((counts[0] - 2.0 / 3.0).abs() < 0.02, "{counts:?}");
    }
}

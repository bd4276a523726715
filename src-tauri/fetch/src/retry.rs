//! What to do about a failure: give up, try again, or start again.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::{Error, Restart};

/// A longer wait than this is left to the person.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Why an attempt ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Trying again would not help.
    Fatal(Error),
    /// What was there does not belong to what the server has.
    Restart(Restart),
    /// It may pass; the server may have said when.
    Retry { error: Error, after: Option<Duration> },
    /// It was stopped, by the person or because of another failure.
    Stopped,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

impl Failure {
    pub(crate) fn passing(error: Error) -> Self {
        Self::Retry { error, after: None }
    }

    /// Of several failures at once the greatest decides.
    pub(crate) fn weight(&self) -> u8 {
        match self {
            Self::Stopped => 0,
            Self::Retry { after: None, .. } => 1,
            Self::Retry { after: Some(_), .. } => 2,
            Self::Restart(_) => 3,
            Self::Fatal(_) => 4,
        }
    }
}

/// The wait before attempt `failures + 1`: doubling from `first` to `longest`, with up to half of it taken away at
/// random, so that many clients do not come back at once.
pub(crate) fn backoff(failures: u32, first: Duration, longest: Duration) -> Duration {
    let full = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest);
    full.mul_f64(1.0 - fastrand::f64() / 2.0)
}

/// The header `Retry-After`: seconds or a date (RFC 9110, 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_within_its_bounds() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(30));
        for (failures, full) in [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (100, 30)] {
            for _ in 0..50 {
                let wait = backoff(failures, first, longest);
                let full = Duration::from_secs(full);
                assert!(wait >= full / 2 && wait <= full, "{failures}: {wait:?}");
            }
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (value, seconds) in [
            ("120", Some(120)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}

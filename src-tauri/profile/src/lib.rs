//! Where this process spends its time: stacks sampled while it computes.
//!
//! Nothing is sampled unless it is asked for. A signal interrupts whichever thread computes, [`SAMPLES_PER_SECOND`] times
//! in each second of processor time.

/// Not a round number, so that work that repeats evenly is not met at the same place each time.
pub const SAMPLES_PER_SECOND: i32 = 497;

/// Why there are no stacks.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The operating system has no such signals.
    #[error("stacks cannot be sampled on this system")]
    Unsupported,
    /// Nothing was computed.
    #[error("the process computed nothing in that time: let it answer something meanwhile")]
    Idle,
    /// In the sampler's words.
    #[error("the stacks could not be sampled ({0})")]
    Failed(String),
}

/// Samples the stacks of all threads for so many seconds, or nothing when `stopped` says true meanwhile. Blocks.
///
/// A line a stack, as <https://www.brendangregg.com/flamegraphs.html> folds them: the thread and the functions from the
/// outermost on, with semicolons between, then the samples.
///
/// # Errors
/// [`ProfileError`].
#[cfg(unix)]
pub fn record(seconds: u32, mut stopped: impl FnMut() -> bool) -> Result<Option<String>, ProfileError> {
    use std::time::{Duration, Instant};

    const LOOK_EVERY: Duration = Duration::from_millis(50);
    let failed = |error: pprof::Error| ProfileError::Failed(error.to_string());
    let guard = pprof::ProfilerGuardBuilder::default().frequency(SAMPLES_PER_SECOND).build().map_err(failed)?;
    let end = Instant::now() + Duration::from_secs(seconds.into());
    while Instant::now() < end {
        if stopped() {
            return Ok(None);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let report = guard.report().build().map_err(failed)?;
    drop(guard);
    if report.data.is_empty() {
        return Err(ProfileError::Idle);
    }
    let fold = |(stack, samples): (&pprof::Frames, &isize)| {
        let functions = stack.frames.iter().rev().flat_map(|frame| frame.iter().rev());
        let names = functions.map(|function| function.to_string().replace(';', ":"));
        let whole: Vec<_> = std::iter::once(stack.thread_name.clone()).chain(names).collect();
        format!("{} {samples}\n", whole.join(";"))
    };
    Ok(Some(report.data.iter().map(fold).collect()))
}

/// Samples nothing: this system has no such signals.
///
/// # Errors
/// [`ProfileError::Unsupported`].
#[cfg(not(unix))]
pub fn record(_: u32, _: impl FnMut() -> bool) -> Result<Option<String>, ProfileError> {
    Err(ProfileError::Unsupported)
}

#[cfg(all(test, unix))]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[inline(never)]
    fn a_function_that_computes(end: &AtomicBool) -> u64 {
        let mut sum = 1_u64;
        while !end.load(Ordering::Relaxed) {
            sum = std::hint::black_box(sum.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
        sum
    }

    // One test: the signal's handler is the whole process's.
    #[test]
    fn what_computes_is_in_the_graph_and_a_stop_is_heard() {
        let end = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| a_function_that_computes(&end));
            let stacks = record(1, || false).unwrap().unwrap();
            let computing = stacks.lines().find(|line| line.contains("a_function_that_computes"));
            let (stack, samples) = computing.unwrap_or_else(|| panic!("{stacks}")).rsplit_once(' ').unwrap();
            assert!(stack.contains(';') && samples.parse::<u32>().unwrap() > 0, "{stack} {samples}");
            assert!(record(3600, || true).unwrap().is_none());
            end.store(true, Ordering::Relaxed);
        });
    }
}

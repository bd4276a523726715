//! How an engine's process ended, and what it said before.

use std::{
    collections::VecDeque,
    process::ExitStatus,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
};

/// Lines of the engine's error output that are kept to explain its end.
const LAST_WORDS: usize = 30;

/// The last lines of an engine's error output.
pub(crate) type LastWords = Arc<Mutex<VecDeque<String>>>;

/// Carries the engine's error output into the log.
pub(crate) fn read_errors(child: &mut Child) -> LastWords {
    let kept = LastWords::default();
    if let Some(stderr) = child.stderr.take() {
        let kept = kept.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                tracing::info!(target: "tektra_engine", "{line}");
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == LAST_WORDS {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
    }
    kept
}

/// How a process ended, in words: its status, and what it said if it panicked.
pub(crate) fn ending(status: Option<ExitStatus>, last_words: &LastWords) -> String {
    let how = match status {
        #[cfg(unix)]
        Some(status) if std::os::unix::process::ExitStatusExt::signal(&status).is_some() => {
            match std::os::unix::process::ExitStatusExt::signal(&status) {
                Some(9) => "killed, perhaps for want of memory".into(),
                Some(signal) => format!("signal {signal}"),
                None => status.to_string(),
            }
        }
        Some(status) => status.to_string(),
        None => "without a status".into(),
    };
    let words = last_words.lock().unwrap_or_else(PoisonError::into_inner);
    let panic = words.iter().rposition(|line| line.contains("panicked at")).and_then(|at| words.get(at + 1));
    panic.map_or(how.clone(), |reason| format!("{how}: {reason}"))
}

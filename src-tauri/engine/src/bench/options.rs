//! Arguments of the measuring commands.

use std::{ops::RangeInclusive, path::PathBuf};

use tektra_cpu::{KvType, UnknownKvType};

/// What no count of tokens, repetitions or the like exceeds.
pub(super) const MOST: usize = 1 << 20;

/// More threads than any machine has.
const MOST_THREADS: usize = 1024;

/// `--name value` pairs, and flags without a value.
pub(super) struct Options(Vec<(String, String)>);

impl Options {
    /// Reads arguments of which `names` have a value and `flags` have none.
    pub(super) fn read(
        mut arguments: impl Iterator<Item = String>,
        names: &[&str],
        flags: &[&str],
    ) -> Result<Self, String> {
        let mut options = Vec::new();
        while let Some(name) = arguments.next() {
            let value = if flags.contains(&&*name) {
                String::new()
            } else if names.contains(&&*name) {
                arguments.next().ok_or(format!("{name} wants a value"))?
            } else {
                return Err(format!("{name} is not an option"));
            };
            options.push((name, value));
        }
        Ok(Self(options))
    }

    /// The value that was given last.
    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|option| option.0 == name).map(|option| option.1.as_str())
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.value(flag).is_some()
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.value(name).map(PathBuf::from)
    }

    pub(super) fn needed_path(&self, name: &str) -> Result<PathBuf, String> {
        self.path(name).ok_or(format!("{name} is missing"))
    }

    pub(super) fn number(&self, name: &str, default: usize, range: RangeInclusive<usize>) -> Result<usize, String> {
        let Some(value) = self.value(name) else { return Ok(default) };
        let number = value.parse().ok().filter(|number| range.contains(number));
        number.ok_or(format!("{name} wants a number from {} to {}, not {value}", range.start(), range.end()))
    }

    pub(super) fn threads(&self) -> Result<usize, String> {
        self.number("--threads", crate::load::threads(), 1..=MOST_THREADS)
    }

    /// Layers on each GPU that this process sees, from the model's first layer on.
    pub(super) fn gpu_layers(&self) -> Result<Vec<usize>, String> {
        let Some(value) = self.value("--gpu-layers") else { return Ok(Vec::new()) };
        let counts: Result<Vec<usize>, _> = value.split(',').map(str::parse).collect();
        let counts = counts.ok().filter(|counts| counts.iter().all(|count| (1..=MOST).contains(count)));
        counts.ok_or(format!("--gpu-layers wants numbers such as 32 or 16,16, not {value}"))
    }

    pub(super) fn kv(&self) -> Result<KvType, String> {
        let Some(value) = self.value("--kv") else { return Ok(KvType::default()) };
        value.parse().map_err(|error: UnknownKvType| error.to_string())
    }
}

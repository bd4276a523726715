//! What goes over the network.

use std::{path::Path, time::Instant};

use super::{names, text};
use crate::{mib, rate::Rate, types::NetworkSample};

/// Interfaces that stay on this machine, or pass on what others carry.
const NOT_OUTSIDE: [&str; 10] = ["br-", "bond", "docker", "dummy", "ifb", "lo", "tap", "tun", "veth", "virbr"];

#[derive(Debug)]
pub(super) struct Network {
    interfaces: Vec<String>,
    found: Result<String, String>,
    received: Rate,
    sent: Rate,
}

impl Default for Network {
    fn default() -> Self {
        Self { interfaces: Vec::new(), found: Err(String::new()), received: Rate::default(), sent: Rate::default() }
    }
}

impl Network {
    pub(super) fn list(&mut self, net: &Path) {
        let all = names(net);
        let hardware: Vec<_> = all.iter().filter(|name| net.join(name).join("device").exists()).cloned().collect();
        // A container has none, and one interface that leads out of it.
        let interfaces = if hardware.is_empty() {
            all.into_iter().filter(|name| !NOT_OUTSIDE.iter().any(|other| name.starts_with(other))).collect()
        } else {
            hardware
        };
        if interfaces != self.interfaces {
            (self.received, self.sent) = Default::default();
        }
        let none = interfaces.is_empty();
        self.found = if none { Err("no interface in /sys/class/net".into()) } else { Ok(interfaces.join(", ")) };
        self.interfaces = interfaces;
    }

    pub(super) fn found(&self) -> &Result<String, String> {
        &self.found
    }

    pub(super) fn sample(&mut self, proc: &Path, now: Instant) -> Option<NetworkSample> {
        let counted = text(&proc.join("net/dev")).and_then(|text| parse(&text, &self.interfaces));
        let rate = |rate: &mut Rate, bytes: Option<u64>| rate.per_second(bytes, now).map(|bytes| bytes * mib(1));
        let sample = NetworkSample {
            received_mib_per_second: rate(&mut self.received, counted.map(|(received, _)| received)),
            sent_mib_per_second: rate(&mut self.sent, counted.map(|(_, sent)| sent)),
        };
        counted.map(|_| sample)
    }
}

/// Bytes received and sent so far, of `/proc/net/dev`.
fn parse(dev: &str, interfaces: &[String]) -> Option<(u64, u64)> {
    let line = |line: &str| {
        let (name, counts) = line.split_once(':')?;
        interfaces.iter().any(|interface| interface == name.trim()).then_some(())?;
        let counts: Vec<&str> = counts.split_ascii_whitespace().take(9).collect();
        Some((counts.first()?.parse::<u64>().ok()?, counts.get(8)?.parse::<u64>().ok()?))
    };
    let all = dev.lines().filter_map(line);
    all.reduce(|sum, one| (sum.0.saturating_add(one.0), sum.1.saturating_add(one.1)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::linux::tests::{rubbish, write};

    #[test]
    fn only_what_leaves_the_machine_counts() {
        let folder = tempfile::tempdir().unwrap();
        let net = folder.path().join("class");
        for name in ["lo", "eth0", "docker0", "veth12"] {
            std::fs::create_dir_all(net.join(name)).unwrap();
        }
        let (mut network, begun) = (Network::default(), Instant::now());
        network.list(&net);
        assert_eq!(network.found(), &Ok("eth0".into()));
        std::fs::create_dir_all(net.join("wlan0/device")).unwrap();
        network.list(&net);
        assert_eq!(network.found(), &Ok("wlan0".into()), "hardware before what is only configured");
        let told = |bytes: u64| {
            let text = format!(
                "Inter-|   Receive\n face |bytes\n    lo: 999999 1 0 0 0 0 0 0 999999 1\nwlan0:{bytes} 1 0 0 0 0 0 0 {bytes} 1 0"
            );
            write(folder.path(), &[("net/dev", &text)]);
        };
        told(0);
        assert_eq!(network.sample(folder.path(), begun), Some(NetworkSample::default()));
        told(4 << 20);
        let sample = network.sample(folder.path(), begun + Duration::from_secs(2)).unwrap();
        assert_eq!((sample.received_mib_per_second, sample.sent_mib_per_second), (Some(2.0), Some(2.0)));
        for text in rubbish() {
            let _ = parse(&text, &["eth0".into()]);
        }
    }
}

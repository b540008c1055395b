//! Sums of counters by name, as control seals them for the dead.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;

use serde::Deserialize;
use sixlane_tables::{CounterSnapshot, PortSnapshot};
use sixlane_tunnel::Reason;

/// Most bytes of the file that are read.
const BYTES_MAX: u64 = 1 << 20;

/// Counters of one port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct PortFigures {
    pub(crate) rx_packets: u64,
    pub(crate) rx_bytes: u64,
    pub(crate) tx_packets: u64,
    pub(crate) tx_bytes: u64,
}

/// Counters by name. Names that this build does not know are kept out of sight.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Figures {
    named: BTreeMap<String, u64>,
    dropped: BTreeMap<String, u64>,
    /// By index of the port.
    pub(crate) ports: BTreeMap<u8, PortFigures>,
}

impl Figures {
    /// Those of one worker.
    pub(crate) fn of(counters: &CounterSnapshot, ports: &[PortSnapshot]) -> Self {
        let named = counters.named().into_iter().map(|(name, value)| (name.to_owned(), value));
        let dropped = Reason::ALL.iter().map(|&each| (each.name().to_owned(), counters.dropped_for(each)));
        let port = |port: &PortSnapshot| PortFigures {
            rx_packets: port.rx_packets,
            rx_bytes: port.rx_bytes,
            tx_packets: port.tx_packets,
            tx_bytes: port.tx_bytes,
        };
        Self {
            named: named.collect(),
            dropped: dropped.collect(),
            ports: (0..).zip(ports.iter().map(port)).collect(),
        }
    }

    /// Adds others.
    pub(crate) fn add(&mut self, other: &Self) {
        add(&mut self.named, &other.named);
        add(&mut self.dropped, &other.dropped);
        for (&index, port) in &other.ports {
            let sum = self.ports.entry(index).or_default();
            sum.rx_packets = sum.rx_packets.wrapping_add(port.rx_packets);
            sum.rx_bytes = sum.rx_bytes.wrapping_add(port.rx_bytes);
            sum.tx_packets = sum.tx_packets.wrapping_add(port.tx_packets);
            sum.tx_bytes = sum.tx_bytes.wrapping_add(port.tx_bytes);
        }
    }

    /// A figure; 0 for names that are not there.
    pub(crate) fn get(&self, name: &str) -> u64 {
        self.named.get(name).copied().unwrap_or(0)
    }

    /// The drops of one reason.
    pub(crate) fn dropped(&self, reason: Reason) -> u64 {
        self.dropped.get(reason.name()).copied().unwrap_or(0)
    }

    /// What the identity does not account for.
    pub(crate) fn unaccounted(&self) -> i64 {
        let sum = |names: &[&str]| names.iter().fold(0_u64, |sum, name| sum.wrapping_add(self.get(name)));
        let taken = sum(&["received", "injected", "generated"]);
        let settled = sum(&["transmitted", "local", "punted", "consumed", "held"]);
        let dropped = self.dropped.values().fold(0_u64, |sum, value| sum.wrapping_add(*value));
        taken.wrapping_sub(settled).wrapping_sub(dropped).cast_signed()
    }
}

fn add(sums: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>) {
    for (name, value) in more {
        let sum = sums.entry(name.clone()).or_default();
        *sum = sum.wrapping_add(*value);
    }
}

/// The sum over the dead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Dead {
    /// The last incarnation of the data plane that is inside.
    pub(crate) incarnation: u32,
    pub(crate) figures: Figures,
}

impl Dead {
    /// Reads what control sealed.
    ///
    /// # Errors
    /// The kernel's, or a text that is no such sum.
    pub(crate) fn open(fd: OwnedFd) -> io::Result<Self> {
        let mut file = File::from(fd);
        file.rewind()?;
        let mut text = String::new();
        file.take(BYTES_MAX).read_to_string(&mut text)?;
        Ok(serde_json::from_str(&text)?)
    }
}

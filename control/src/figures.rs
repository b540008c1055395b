//! Sums of counters by name: of the living, of the dead, and of both.
//!
//! A worker's counters die with its segment. When the data plane dies, control adds them to the sum
//! over the dead and hands that to the keeper in a sealed memory file, so that totals never go
//! backward, not even when control dies too. The file is JSON with names, so that a later build, with
//! more counters, can read it.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};
use sixlane_tables::{CounterSnapshot, PortSnapshot};
use sixlane_tunnel::Reason;

/// Most bytes of the file that are read: a thousand counters need a tenth.
const BYTES_MAX: u64 = 1 << 20;

/// Counters of one port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PortFigures {
    pub(crate) rx_packets: u64,
    pub(crate) rx_bytes: u64,
    pub(crate) tx_packets: u64,
    pub(crate) tx_bytes: u64,
}

/// Counters by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// All but drops.
    pub(crate) named: BTreeMap<String, u64>,
    /// Drops by the name of their reason; reasons without drops may lack.
    pub(crate) dropped: BTreeMap<String, u64>,
    /// By index of the port.
    pub(crate) ports: BTreeMap<u8, PortFigures>,
}

impl Figures {
    /// Adds a worker's counters.
    pub(crate) fn add(&mut self, counters: &CounterSnapshot, ports: &[PortSnapshot]) {
        for (name, value) in counters.named() {
            add_to(&mut self.named, name, value);
        }
        for reason in Reason::ALL {
            let value = counters.dropped_for(reason);
            if value != 0 {
                add_to(&mut self.dropped, reason.name(), value);
            }
        }
        for (index, port) in (0_u8..).zip(ports) {
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

    /// All drops together.
    pub(crate) fn dropped_total(&self) -> u64 {
        self.dropped.values().fold(0, |sum, value| sum.wrapping_add(*value))
    }

    /// Packets that the identity of design §4 does not account for: 0 at a quiet moment; what a worker
    /// held when it was killed stays.
    pub(crate) fn unaccounted(&self) -> i64 {
        let sum = |names: &[&str]| names.iter().fold(0_u64, |sum, name| sum.wrapping_add(self.get(name)));
        let taken = sum(&["received", "injected", "generated"]);
        let settled = sum(&["transmitted", "local", "punted", "consumed", "held"]);
        taken.wrapping_sub(settled).wrapping_sub(self.dropped_total()).cast_signed()
    }
}

fn add_to(sums: &mut BTreeMap<String, u64>, name: &str, value: u64) {
    let sum = sums.entry(name.to_owned()).or_default();
    *sum = sum.wrapping_add(value);
}

/// The sum over the dead as the keeper keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dead {
    /// The last incarnation of the data plane that is inside; 0: none.
    pub(crate) incarnation: u32,
    pub(crate) figures: Figures,
}

impl Dead {
    /// Writes the sum into a sealed memory file.
    ///
    /// # Errors
    /// The kernel's, or what cannot be written.
    pub(crate) fn seal(&self) -> std::io::Result<OwnedFd> {
        use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
        let fd = memfd_create("sixlane-totals", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = std::fs::File::from(fd);
        serde_json::to_writer(&mut file, self)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        fcntl_add_seals(&file, seals)?;
        Ok(file.into())
    }

    /// Reads what an earlier control sealed.
    ///
    /// # Errors
    /// The kernel's, or a text that is no such sum.
    pub(crate) fn open(fd: OwnedFd) -> std::io::Result<Self> {
        let mut text = String::new();
        read_from_start(fd, BYTES_MAX, &mut text)?;
        Ok(serde_json::from_str(&text)?)
    }
}

/// Reads a memory file from its start, wherever its offset (shared with others) stands.
pub(crate) fn read_from_start(fd: OwnedFd, bytes_max: u64, text: &mut String) -> std::io::Result<()> {
    use std::io::Seek;
    let mut file = std::fs::File::from(fd);
    file.rewind()?;
    file.take(bytes_max).read_to_string(text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_add_up_and_balance() {
        let mut counters = CounterSnapshot { received: 5, transmitted: 3, ..CounterSnapshot::default() };
        counters.dropped[0] = 1;
        let port = PortSnapshot {
            rx_packets: 5,
            rx_bytes: 500,
            tx_packets: 3,
            tx_bytes: 300,
            ..PortSnapshot::default()
        };
        let mut figures = Figures::default();
        figures.add(&counters, &[port]);
        figures.add(&counters, &[PortSnapshot::default(), port]);
        assert_eq!((figures.get("received"), figures.dropped_total()), (10, 2));
        assert_eq!(figures.ports[&1].tx_bytes, 300);
        assert_eq!(figures.unaccounted(), 2);
    }

    #[test]
    fn the_sum_over_the_dead_survives_its_file() {
        let mut dead = Dead { incarnation: 3, figures: Figures::default() };
        dead.figures.add(&CounterSnapshot { received: 7, ..CounterSnapshot::default() }, &[]);
        let fd = dead.seal().unwrap();
        let copy = fd.try_clone().unwrap();
        assert_eq!(Dead::open(fd).unwrap(), dead);
        assert_eq!(Dead::open(copy).unwrap(), dead, "read from its start again");
    }

    #[test]
    fn a_foreign_file_is_refused() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, b"not ours").unwrap();
        assert!(Dead::open(file.into()).is_err());
    }
}

//! The sets of the XDP program: what it hands to the data plane.
//!
//! They are filled after the tables are published, and an entry that stays is there all the time. Own
//! addresses come first (what is in that set is left to the kernel), ports last: a port that is not
//! in the map yet passes everything.

use std::io;

use sixlane_tables::PortSettings;
use sixlane_xsk::maps::Maps;
use sixlane_xsk::uapi::{
    ADDRESSES_MAX, FORWARD_ALL, PREFIXES_MAX, Port, PortKey, Prefix6, SERVES_SIXINFOUR, XdpCounters,
};

use crate::compile::Desired;

/// What the operator may learn from the program.
pub(crate) trait Program: std::fmt::Debug {
    /// The program's own counters of a port, if the kernel gives them.
    fn counters(&self, port: u8) -> Option<XdpCounters>;
}

impl Program for Maps {
    fn counters(&self, port: u8) -> Option<XdpCounters> {
        Self::counters(self, port.into()).ok()
    }
}

/// Why a set does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetsError {
    #[error("the XDP program's set {set} could not be written: {source}; restart sixlane")]
    Write { set: &'static str, source: io::Error },
    #[error("this box has {count} {what}, and the XDP program takes {max}: remove some")]
    TooMany { count: usize, what: &'static str, max: u32 },
}

/// Makes the sets say what `desired` says.
///
/// # Errors
/// [`SetsError`]; the sets before the failing one are written.
pub(crate) fn fill(maps: &Maps, desired: &Desired) -> Result<(), SetsError> {
    let sets = &desired.sets;
    limit(sets.local6.len(), "IPv6 addresses", ADDRESSES_MAX)?;
    limit(sets.relay4.len(), "relay addresses", ADDRESSES_MAX)?;
    limit(sets.served6.len(), "served prefixes", PREFIXES_MAX)?;
    let local6: Vec<_> = sets.local6.iter().map(|address| (address.octets(), 0)).collect();
    write("local6", maps.local6.replace(&local6))?;
    let relay4: Vec<_> = sets.relay4.iter().map(|address| (address.octets(), SERVES_SIXINFOUR)).collect();
    write("relay4", maps.relay4.replace(&relay4))?;
    let served6: Vec<_> = sets
        .served6
        .iter()
        .map(|net| (Prefix6 { length: net.prefix_len().into(), address: net.network().octets() }, 0))
        .collect();
    write("served6", maps.served6.replace(&served6))?;
    write("ports", maps.ports.replace(&ports(desired)))
}

fn ports(desired: &Desired) -> Vec<(PortKey, Port)> {
    desired
        .ports
        .iter()
        .filter_map(|(&ifindex, &index)| {
            let settings = desired.settings.port(index)?;
            let all = settings.flags & PortSettings::FORWARD_ALL != 0;
            let flags = if all { FORWARD_ALL } else { 0 };
            Some((PortKey { ifindex, tag: 0, reserved: 0 }, Port { index, flags, mac: settings.mac }))
        })
        .collect()
}

fn limit(count: usize, what: &'static str, max: u32) -> Result<(), SetsError> {
    if u32::try_from(count).is_ok_and(|count| count <= max) {
        Ok(())
    } else {
        Err(SetsError::TooMany { count, what, max })
    }
}

fn write(set: &'static str, done: io::Result<()>) -> Result<(), SetsError> {
    done.map_err(|source| SetsError::Write { set, source })
}

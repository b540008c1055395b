//! The sets of the XDP program: what it hands to the data plane.
//!
//! They are filled after the tables are published, and an entry that stays is there all the time. Own
//! addresses come first (what is in that set is left to the kernel), ports last: a port that is not
//! in the map yet passes everything.
//!
//! A change has two halves: before the tables change, [`Program::narrow`] leaves to the kernel what is
//! not ours any more; after it, [`Program::widen`] takes what is ours now. So nothing reaches the data
//! plane that its tables do not know.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;

use ipnet::Ipv6Net;
use sixlane_tables::PortSettings;
use sixlane_xsk::maps::Maps;
use sixlane_xsk::uapi::{
    ADDRESSES_MAX, FORWARD_ALL, PREFIXES_MAX, Port, PortKey, Prefix6, SERVES_SIXINFOUR, TAGGED, XdpCounters,
};

use crate::compile::{Desired, Sets};

/// The program as control uses it.
pub(crate) trait Program: std::fmt::Debug {
    /// The program's own counters of a port, if the kernel gives them.
    fn counters(&self, port: u8) -> Option<XdpCounters>;

    /// The first half of a change: what is not ours any more is left to the kernel.
    ///
    /// # Errors
    /// [`SetsError`]; what was done until then stays.
    fn narrow(&self, old: &Sets, new: &Sets) -> Result<(), SetsError>;

    /// The second half: what is ours now is taken.
    ///
    /// # Errors
    /// [`SetsError`]; what was done until then stays.
    fn widen(&self, old: &Sets, new: &Desired) -> Result<(), SetsError>;

    /// Before another configuration: takes what is ours under the old one or the new one. What is not ours
    /// any more goes by the two halves above, once the workers have left the old one behind.
    ///
    /// # Errors
    /// [`SetsError`]; what was done until then stays.
    fn unite(&self, old: &Sets, new: &Desired) -> Result<(), SetsError>;

    /// Writes everything, whatever is there: after a change that failed.
    ///
    /// # Errors
    /// [`SetsError`]; what was done until then stays.
    fn rewrite(&self, desired: &Desired) -> Result<(), SetsError>;
}

impl Program for Maps {
    fn counters(&self, port: u8) -> Option<XdpCounters> {
        Self::counters(self, port.into()).ok()
    }

    fn narrow(&self, old: &Sets, new: &Sets) -> Result<(), SetsError> {
        check(new)?;
        write("relay4", each(&old.relay4, &new.relay4, |&address| self.remove_relay4(address)))?;
        let remove = |net: &Ipv6Net| self.remove_served6(net.network(), net.prefix_len());
        write("served6", each(&old.served6, &new.served6, remove))?;
        write("local6", each(&new.local6, &old.local6, |&address| self.add_local6(address)))
    }

    fn widen(&self, old: &Sets, new: &Desired) -> Result<(), SetsError> {
        let sets = &new.sets;
        write("local6", each(&old.local6, &sets.local6, |&address| self.remove_local6(address)))?;
        let add = |&address: &Ipv4Addr| self.add_relay4(address, SERVES_SIXINFOUR);
        write("relay4", each(&sets.relay4, &old.relay4, add))?;
        let add = |net: &Ipv6Net| self.add_served6(net.network(), net.prefix_len());
        write("served6", each(&sets.served6, &old.served6, add))?;
        write("ports", ports(new).iter().try_for_each(|(key, port)| self.ports.set(key, port)))
    }

    fn unite(&self, old: &Sets, new: &Desired) -> Result<(), SetsError> {
        let sets = &new.sets;
        check(sets)?;
        let add = |&address: &Ipv4Addr| self.add_relay4(address, SERVES_SIXINFOUR);
        write("relay4", each(&sets.relay4, &old.relay4, add))?;
        let add = |net: &Ipv6Net| self.add_served6(net.network(), net.prefix_len());
        write("served6", each(&sets.served6, &old.served6, add))?;
        let both = |(key, mut port): (PortKey, Port)| {
            port.flags |= self.ports.get(&key)?.map_or(0, |port| port.flags);
            self.ports.set(&key, &port)
        };
        write("ports", ports(new).into_iter().try_for_each(both))
    }

    fn rewrite(&self, desired: &Desired) -> Result<(), SetsError> {
        fill(self, desired)
    }
}

/// Does something for each member of one set that is not in the other.
fn each<T: Ord>(
    of: &BTreeSet<T>,
    not_in: &BTreeSet<T>,
    work: impl FnMut(&T) -> io::Result<()>,
) -> io::Result<()> {
    of.difference(not_in).try_for_each(work)
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
    check(sets)?;
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
        .entrances
        .iter()
        .filter_map(|entrance| {
            let settings = desired.settings.port(entrance.port)?;
            let all = settings.flags & PortSettings::FORWARD_ALL != 0;
            let flags = if all { FORWARD_ALL } else { 0 };
            let tag = entrance.vlan.map_or(0, |id| id | TAGGED);
            let key = PortKey { ifindex: entrance.device, tag, reserved: 0 };
            Some((key, Port { index: entrance.port, flags, mac: settings.mac }))
        })
        .collect()
}

fn check(sets: &Sets) -> Result<(), SetsError> {
    limit(sets.local6.len(), "IPv6 addresses", ADDRESSES_MAX)?;
    limit(sets.relay4.len(), "relay addresses", ADDRESSES_MAX)?;
    limit(sets.served6.len(), "served prefixes", PREFIXES_MAX)
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

//! Publication: holds the tables' one writer, brings the tables to what [`Desired`] and the
//! neighbours say, and gives memory back once the workers have passed it.
//!
//! A change that the tables refuse (full arena, limit) leaves the old state in force; it is kept as
//! not applied, so that the next round tries again. The caller turns that into an alarm.

mod generation;
mod group;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sixlane_tables::adjacency::kind;
use sixlane_tables::{Adjacency, NextHopId, TableError, TableWriter, WorkerEpoch};

use crate::compile::{Changes, Desired, Target};
use crate::neighbours::Neighbours;
use crate::netlink::request::Key;

/// Who may still look at what was replaced.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Readers<'a> {
    /// The tables have not been given to anyone.
    Nobody,
    /// A data plane may be mapping them, and its workers are not all known: nothing can be reclaimed.
    Unknown,
    /// These workers and no others.
    Workers(&'a [WorkerEpoch<'a>]),
}

/// An adjacency in the tables.
#[derive(Debug, Clone, Copy)]
struct Held {
    id: NextHopId,
    adjacency: Adjacency,
}

/// The writer with what it has written.
#[derive(Debug)]
pub(crate) struct Publisher {
    writer: TableWriter,
    adjacencies: HashMap<Target, Held>,
    routes4: BTreeMap<Ipv4Net, Target>,
    routes6: BTreeMap<Ipv6Net, Target>,
    /// Hosts on links that have a route of their own, because their MAC address is known.
    hosts: BTreeMap<IpNet, Key>,
    /// The segment that the data plane has been asked to map.
    growing: Option<u32>,
    /// A generation is being made, and may have to be taken back.
    undo: Option<generation::Undo>,
    /// Changes of routes that are to be written together.
    group: group::Group,
}

impl Publisher {
    /// Starts with an empty set of tables.
    pub(crate) fn new(writer: TableWriter) -> Self {
        Self {
            writer,
            adjacencies: HashMap::new(),
            routes4: BTreeMap::new(),
            routes6: BTreeMap::new(),
            hosts: BTreeMap::new(),
            growing: None,
            undo: None,
            group: group::Group::default(),
        }
    }

    /// The writer, to look at.
    pub(crate) const fn writer(&self) -> &TableWriter {
        &self.writer
    }

    /// Brings the tables to `desired`, with what `neighbours` know. Routes that are refused keep their
    /// old state; the first refusal is the answer.
    ///
    /// # Errors
    /// [`TableError`]: something is not in the tables that should be.
    pub(crate) fn apply(
        &mut self,
        desired: &Desired,
        neighbours: &Neighbours,
        readers: Readers<'_>,
    ) -> Result<(), TableError> {
        let mut first = Ok(());
        // Meaning before routes: a route must find its port's settings and the classes.
        note(&mut first, self.writer.publish(Some(&desired.settings), Some(&desired.classes)));
        let targets = desired.routes4.values().chain(desired.routes6.values()).copied();
        for target in targets.collect::<std::collections::BTreeSet<_>>() {
            note(&mut first, self.ensure(target, desired, neighbours).map(drop));
        }
        for (&net, &target) in &desired.routes4 {
            note(&mut first, self.set_route(net.into(), target, None, desired, neighbours));
            self.write_sometimes(readers, &mut first);
        }
        for (&net, &target) in &desired.routes6 {
            note(&mut first, self.set_route(net.into(), target, None, desired, neighbours));
            self.write_sometimes(readers, &mut first);
        }
        let stale4 =
            self.routes4.keys().filter(|net| !desired.routes4.contains_key(net)).map(|&net| net.into());
        let stale6 =
            self.routes6.keys().filter(|net| !desired.routes6.contains_key(net)).map(|&net| net.into());
        let stale: Vec<IpNet> = stale4.chain(stale6).filter(|net| !self.hosts.contains_key(net)).collect();
        for net in stale {
            self.remove_route(net);
            self.write_sometimes(readers, &mut first);
        }
        note(&mut first, self.write_group());
        self.drop_unused();
        self.collect(readers);
        first
    }

    /// Brings the tables to `desired` with every neighbour that is known: [`Publisher::apply`], then the
    /// hosts' own routes. Nothing happens to what is there already.
    ///
    /// # Errors
    /// [`TableError`], the first one: something is not in the tables that should be.
    pub(crate) fn bring_to(
        &mut self,
        desired: &Desired,
        neighbours: &Neighbours,
        readers: Readers<'_>,
    ) -> Result<(), TableError> {
        let mut first = self.apply(desired, neighbours, readers);
        for shown in neighbours.shown().filter(|shown| shown.mac.is_some()) {
            note(&mut first, self.neighbour(shown.key, desired, neighbours));
        }
        for net in self.hosts.keys().copied().collect::<Vec<_>>() {
            note(&mut first, self.place(net, desired, neighbours));
        }
        note(&mut first, self.write_group());
        first
    }

    /// Brings into the tables what has changed, and touches nothing else.
    ///
    /// # Errors
    /// [`TableError`], the first one: something is not in the tables that should be.
    pub(crate) fn follow(
        &mut self,
        changes: &Changes,
        desired: &Desired,
        neighbours: &Neighbours,
        readers: Readers<'_>,
    ) -> Result<(), TableError> {
        let mut first = Ok(());
        if changes.meaning {
            note(&mut first, self.writer.publish(Some(&desired.settings), Some(&desired.classes)));
            // Ports may have another MTU or MAC address.
            for target in self.adjacencies.keys().copied().collect::<Vec<_>>() {
                note(&mut first, self.ensure(target, desired, neighbours).map(drop));
            }
        }
        self.follow_nets(changes, desired, neighbours, readers, &mut first);
        first
    }

    /// Brings the changed prefixes to where they should lead, and the hosts inside of them.
    fn follow_nets(
        &mut self,
        changes: &Changes,
        desired: &Desired,
        neighbours: &Neighbours,
        readers: Readers<'_>,
        first: &mut Result<(), TableError>,
    ) {
        // What comes before what goes: a prefix that is split is never without a route.
        let (come, go): (Vec<IpNet>, Vec<IpNet>) =
            changes.nets.iter().partition(|&&net| desired.target(net).is_some());
        for net in come.into_iter().chain(go) {
            note(first, self.place(net, desired, neighbours));
            self.write_sometimes(readers, first);
            // Hosts have routes of their own only where the link is the way to them.
            for key in desired.ports.keys().flat_map(|&ifindex| neighbours.inside(net, ifindex)) {
                note(first, self.place(key.address.into(), desired, neighbours));
            }
        }
        note(first, self.write_group());
    }

    /// Brings one prefix to where it should lead, with the next group.
    fn place(&mut self, net: IpNet, desired: &Desired, neighbours: &Neighbours) -> Result<(), TableError> {
        if let Some(target) = desired.target(net) {
            self.set_route(net, target, None, desired, neighbours)?;
        } else if let Some(key) = host(net, desired, neighbours) {
            self.set_route(net, Target::Neighbour(key), Some(key), desired, neighbours)?;
        } else if self.route(net).is_some() {
            self.remove_route(net);
        }
        Ok(())
    }

    fn route(&self, net: IpNet) -> Option<Target> {
        match net {
            IpNet::V4(net) => self.routes4.get(&net).copied(),
            IpNet::V6(net) => self.routes6.get(&net).copied(),
        }
    }

    /// How many routes of the kernel are in the tables: those of hosts on links are beside them.
    pub(crate) fn route_count(&self) -> usize {
        (self.routes4.len() + self.routes6.len()).saturating_sub(self.hosts.len())
    }

    /// A neighbour can be reached now, or by another MAC address, or no longer.
    ///
    /// # Errors
    /// [`TableError`]: its old state is in force.
    pub(crate) fn neighbour(
        &mut self,
        key: Key,
        desired: &Desired,
        neighbours: &Neighbours,
    ) -> Result<(), TableError> {
        if self.adjacencies.contains_key(&Target::Neighbour(key)) {
            self.ensure(Target::Neighbour(key), desired, neighbours)?;
        }
        self.place(key.address.into(), desired, neighbours)?;
        self.write_group()
    }

    /// Where the routes lead, at most `limit` of them: IPv4 first, by address and length.
    pub(crate) fn routes(&self, limit: usize) -> impl Iterator<Item = (IpNet, Target)> + '_ {
        let v4 = self.routes4.iter().map(|(&net, &target)| (IpNet::V4(net), target));
        let v6 = self.routes6.iter().map(|(&net, &target)| (IpNet::V6(net), target));
        v4.chain(v6).take(limit)
    }

    /// What a target is in the tables now.
    pub(crate) fn adjacency(&self, target: Target) -> Option<&Adjacency> {
        self.adjacencies.get(&target).map(|held| &held.adjacency)
    }

    /// The next hop of a neighbour, if it has one.
    pub(crate) fn next_hop(&self, key: Key) -> Option<NextHopId> {
        self.adjacencies.get(&Target::Neighbour(key)).map(|held| held.id)
    }

    /// Gives back what all readers have passed.
    pub(crate) fn collect(&mut self, readers: Readers<'_>) {
        match readers {
            Readers::Nobody => self.writer.collect(&[]),
            Readers::Unknown => {}
            Readers::Workers(epochs) => self.writer.collect(epochs),
        }
    }

    /// Makes sure that `target` has a next hop which says what is known now.
    fn ensure(
        &mut self,
        target: Target,
        desired: &Desired,
        neighbours: &Neighbours,
    ) -> Result<NextHopId, TableError> {
        let adjacency = adjacency(target, desired, neighbours);
        match self.adjacencies.get_mut(&target) {
            Some(held) if held.adjacency == adjacency => Ok(held.id),
            Some(held) => {
                self.writer.replace_adjacency(held.id, &adjacency)?;
                held.adjacency = adjacency;
                Ok(held.id)
            }
            None => {
                let id = self.writer.add_adjacency(&adjacency)?;
                self.adjacencies.insert(target, Held { id, adjacency });
                self.note_added(target);
                Ok(id)
            }
        }
    }

    /// Leads a prefix to a target, with the next group; `host`: as a host on a link.
    fn set_route(
        &mut self,
        net: IpNet,
        target: Target,
        host: Option<Key>,
        desired: &Desired,
        neighbours: &Neighbours,
    ) -> Result<(), TableError> {
        self.note_route(net);
        if self.route(net) == Some(target) {
            // A desired route at this place is no host's any more.
            self.stand(net, (Some(target), host));
            return Ok(());
        }
        let id = match self.adjacencies.get(&target) {
            Some(held) => held.id,
            None => self.ensure(target, desired, neighbours)?,
        };
        self.queue(net, Some((target, id)), host);
        Ok(())
    }

    fn remove_route(&mut self, net: IpNet) {
        self.note_route(net);
        self.queue(net, None, None);
    }

    fn drop_unused(&mut self) {
        let targets: Vec<Target> = self.adjacencies.keys().copied().collect();
        for target in targets {
            self.drop_if_unused(target);
        }
    }

    fn drop_if_unused(&mut self, target: Target) {
        let Some(held) = self.adjacencies.get(&target) else { return };
        if self.writer.adjacency_routes(held.id) == Some(0) && self.writer.remove_adjacency(held.id).is_ok() {
            self.adjacencies.remove(&target);
        }
    }
}

/// Growth: one segment at a time.
impl Publisher {
    /// Adds a segment when the tables were full and none is on its way. The answer is the segment to
    /// hand to the data plane; [`Publisher::mapped`] says that it may be used.
    ///
    /// # Errors
    /// [`TableError`]: no memory, or the limit of segments is reached.
    pub(crate) fn grow(&mut self) -> Result<Option<u32>, TableError> {
        if self.growing.is_some() {
            return Ok(None);
        }
        let index = self.writer.grow()?;
        self.growing = Some(index);
        Ok(Some(index))
    }

    /// The data plane has mapped segment `index`, or there is none that had to. The answer says
    /// whether this ends a growth, so that what was refused can be tried again.
    pub(crate) fn mapped(&mut self, index: u32) -> bool {
        if self.growing.is_none_or(|growing| growing != index) {
            return false;
        }
        self.growing = None;
        self.writer.acknowledge(index);
        true
    }
}

/// The usable neighbour on the link that leads to a prefix of full length, if a link does.
fn host(net: IpNet, desired: &Desired, neighbours: &Neighbours) -> Option<Key> {
    let key = Key { ifindex: desired.link_to(net)?, address: net.addr() };
    neighbours.mac(key).map(|_| key)
}

/// What a target is in the tables.
fn adjacency(target: Target, desired: &Desired, neighbours: &Neighbours) -> Adjacency {
    match target {
        Target::Kind(kind::SIXTOFOUR) => {
            Adjacency { mtu: desired.settings.sixtofour.mtu, ..Adjacency::of_kind(kind::SIXTOFOUR) }
        }
        Target::Kind(kind) => Adjacency::of_kind(kind),
        Target::Glean { port } => on_port(kind::GLEAN, port, desired),
        Target::Neighbour(key) => {
            let Some(&port) = desired.ports.get(&key.ifindex) else {
                return Adjacency::of_kind(kind::NO_ROUTE);
            };
            let mac = neighbours.mac(key);
            let what = if mac.is_some() { kind::REWRITE } else { kind::UNRESOLVED };
            let mut adjacency = on_port(what, port, desired);
            adjacency.dst_mac = mac.unwrap_or([0; 6]);
            adjacency.next_hop = mapped(key.address);
            adjacency
        }
    }
}

fn on_port(kind: u8, port: u8, desired: &Desired) -> Adjacency {
    let settings = desired.settings.port(port).copied().unwrap_or_default();
    Adjacency {
        port,
        mtu: settings.mtu,
        src_mac: settings.mac,
        ifindex: settings.ifindex,
        vlan: settings.vlan,
        ..Adjacency::of_kind(kind)
    }
}

/// The address as the tables hold it: IPv4 mapped into IPv6.
fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Keeps the first refusal.
fn note(first: &mut Result<(), TableError>, done: Result<(), TableError>) {
    if first.is_ok() {
        *first = done;
    }
}

#[cfg(test)]
mod following;
#[cfg(test)]
mod tests;

//! Who is on the links: the machine that asks the kernel for neighbours and turns its answers into
//! next hops. It takes events and `now`, and gives requests for netlink and changes of next hops; it
//! knows neither sockets nor clocks.
//!
//! Gateways of routes are *managed* entries: the kernel resolves and keeps probing them though it
//! sees no traffic of theirs. Hosts on a link are asked for when a packet needs them, and again every
//! [`REFRESH_NS`] while packets go to them, because for the kernel they are unused. What a packet can
//! make us ask is budgeted (RFC 6583 §7, security.md D5): a bucket per prefix, and at most a quarter
//! of the kernel's table unanswered at one time, of which each prefix may have as much as is free beside
//! it, so that there is always room for another; gateways are asked first and outside the budget.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use ipnet::IpNet;
use sixlane_tunnel::bucket::TokenBucket;

use crate::netlink::message::Neighbour;
use crate::netlink::request::{Ask, Key};
use crate::netlink::uapi;

const SECOND_NS: u64 = 1_000_000_000;
/// A host whose next hop is in use is confirmed this often.
pub(crate) const REFRESH_NS: u64 = 20 * SECOND_NS;
/// The kernel gives up after three probes of a second each; a host is not asked for twice in less.
const HOST_PATIENCE_NS: u64 = 4 * SECOND_NS;
/// First pause before a lost gateway is asked for again; it doubles up to [`GATEWAY_PAUSE_MAX_NS`].
const GATEWAY_PAUSE_NS: u64 = SECOND_NS;
const GATEWAY_PAUSE_MAX_NS: u64 = 16 * SECOND_NS;
/// After the kernel said that its table is full.
const FULL_PAUSE_NS: u64 = SECOND_NS;
/// Fresh hosts a second that packets may make us ask for, on each prefix.
const PREFIX_RATE: u32 = 64;
const PREFIX_BURST: u32 = 128;

/// A prefix on the link of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OnLink {
    pub(crate) ifindex: u32,
    pub(crate) net: IpNet,
}

/// What the tables must learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Packets for it can leave, to this MAC address.
    Up(Key, [u8; 6]),
    /// It cannot be reached now.
    Down(Key),
    /// A gateway is given up by the kernel: routes may go another way until it is up again.
    Lost(Key),
}

/// Why a wanted host was not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is not an address of a link of ours: what the data plane said is not believed.
    NotOnLink,
    /// The budget is used up for now.
    Budget,
    /// It is asked for already, or known.
    Known,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Packets can leave.
    Usable { mac: [u8; 6], permanent: bool },
    /// Asked for, no answer yet.
    Asked,
    /// The kernel gave up.
    Failed,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    state: State,
    gateway: bool,
    /// The kernel's NUD_ state, as last heard.
    kernel: u16,
    /// When the kernel was last asked, or last changed its mind; 0 = never.
    asked_ns: u64,
    pause_ns: u64,
    /// The next hop's packet count when it was last looked at.
    packets: u64,
}

impl Entry {
    const fn new(state: State) -> Self {
        Self { state, gateway: false, kernel: 0, asked_ns: 0, pause_ns: GATEWAY_PAUSE_NS, packets: 0 }
    }

    const fn usable(&self) -> bool {
        matches!(self.state, State::Usable { .. })
    }

    const fn permanent(&self) -> bool {
        matches!(self.state, State::Usable { permanent: true, .. })
    }

    /// Whether it counts in the budget of unanswered hosts.
    const fn unanswered(&self) -> bool {
        !self.gateway && matches!(self.state, State::Asked)
    }
}

/// A neighbour as the operator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) key: Key,
    /// The kernel's word: `reachable`, `stale`, `delay`, `probe`, `permanent`, `incomplete`, `failed`.
    pub(crate) state: &'static str,
    pub(crate) mac: Option<[u8; 6]>,
    pub(crate) gateway: bool,
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Neighbours {
    entries: BTreeMap<Key, Entry>,
    links: Vec<(OnLink, TokenBucket)>,
    urgent: VecDeque<(Ask, Key)>,
    requests: VecDeque<(Ask, Key)>,
    changes: Vec<Change>,
    /// Gateways that the kernel has given up, until it finds them again.
    lost: BTreeSet<Key>,
    /// Hosts that may be unanswered at one time.
    unanswered_max: usize,
    /// Hosts that may be known at one time.
    hosts_max: usize,
    /// Hosts that are asked for and have not answered.
    unanswered: BTreeSet<Key>,
    full_until_ns: u64,
    refused: u64,
}

impl Neighbours {
    /// `kernel_table`: entries that the kernel's table holds (`gc_thresh3`). `hosts_max`: hosts that
    /// our tables hold.
    pub(crate) fn new(kernel_table: usize, hosts_max: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            links: Vec::new(),
            urgent: VecDeque::new(),
            requests: VecDeque::new(),
            changes: Vec::new(),
            lost: BTreeSet::new(),
            unanswered_max: (kernel_table / 4).max(1),
            hosts_max,
            unanswered: BTreeSet::new(),
            full_until_ns: 0,
            refused: 0,
        }
    }

    /// Sets what is on the links and which neighbours are gateways. Known neighbours stay known.
    pub(crate) fn set_topology(&mut self, now: u64, gateways: &BTreeSet<Key>, on_link: &[OnLink]) {
        let old = std::mem::take(&mut self.links);
        self.links = on_link
            .iter()
            .map(|link| {
                let bucket = old.iter().find(|(known, _)| known == link).map(|(_, bucket)| *bucket);
                (*link, bucket.unwrap_or(TokenBucket::new(PREFIX_RATE, PREFIX_BURST)))
            })
            .collect();
        self.lost.retain(|key| gateways.contains(key));
        self.dismiss(gateways);
        for &key in gateways {
            let entry = self.entries.entry(key).or_insert(Entry::new(State::Failed));
            let fresh = !entry.gateway;
            entry.gateway = true;
            // Asking for a permanent entry would take its permanence away.
            if fresh && !entry.permanent() {
                Self::ask_gateway(&mut self.urgent, key, entry, now);
            }
        }
        self.recount();
    }

    /// Gateways that no route needs become hosts or are forgotten, here and in the kernel; so are hosts
    /// whose prefix is not on the link any more.
    fn dismiss(&mut self, gateways: &BTreeSet<Key>) {
        let unneeded =
            |key: &Key, entry: &Entry| !gateways.contains(key) && (entry.gateway || !self.connected(*key));
        let unneeded: Vec<Key> =
            self.entries.iter().filter(|(key, entry)| unneeded(key, entry)).map(|(key, _)| *key).collect();
        for key in unneeded {
            let host = self.connected(key);
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            let ours = entry.gateway && !entry.permanent();
            entry.gateway = false;
            if host && entry.usable() {
                // To ask for it as a host takes the management away.
                self.requests.push_back((Ask::Use, key));
                continue;
            }
            let before = entry.state;
            self.entries.remove(&key);
            self.report(key, before, State::Failed);
            if ours {
                self.requests.push_back((Ask::Forget, key));
            }
        }
    }

    fn connected(&self, key: Key) -> bool {
        self.on_link(key).is_some()
    }

    /// Gateways that the kernel has given up.
    pub(crate) const fn lost(&self) -> &BTreeSet<Key> {
        &self.lost
    }

    /// Notes that a gateway is lost.
    fn lose(&mut self, key: Key) {
        if self.lost.insert(key) {
            self.changes.push(Change::Lost(key));
        }
    }

    fn ask_gateway(urgent: &mut VecDeque<(Ask, Key)>, key: Key, entry: &mut Entry, now: u64) {
        urgent.push_back((Ask::Managed, key));
        entry.asked_ns = now.max(1);
        if !entry.usable() {
            entry.state = State::Asked;
        }
    }

    fn on_link(&self, key: Key) -> Option<usize> {
        let suits = |link: &OnLink| {
            link.ifindex == key.ifindex && link.net.contains(&key.address) && is_host(link.net, key.address)
        };
        self.links.iter().position(|(link, _)| suits(link))
    }

    /// The kernel says something of a neighbour. (The caller leaves out interfaces that are no ports.)
    pub(crate) fn heard(&mut self, now: u64, neighbour: &Neighbour) {
        let key = Key { ifindex: neighbour.ifindex, address: neighbour.address };
        let Some(state) = judge(neighbour) else { return };
        let known = self.entries.contains_key(&key);
        if !known && (!matches!(state, State::Usable { .. }) || self.on_link(key).is_none()) {
            return;
        }
        if !known && self.entries.len() >= self.hosts_max {
            self.refused += 1;
            return;
        }
        let entry = self.entries.entry(key).or_insert(Entry::new(State::Failed));
        let (before, was_permanent) = (*entry, entry.permanent());
        entry.state = state;
        entry.kernel = neighbour.state;
        if entry.state != before.state {
            entry.asked_ns = now.max(1);
        }
        if entry.usable() {
            entry.pause_ns = GATEWAY_PAUSE_NS;
        }
        if entry.gateway && was_permanent && !entry.permanent() {
            Self::ask_gateway(&mut self.urgent, key, entry, now);
        }
        let after = *entry;
        self.recount_one(key);
        if after.usable() {
            self.lost.remove(&key);
        }
        self.report(key, before.state, after.state);
        if after.state == State::Failed {
            if after.gateway {
                self.lose(key);
            }
            self.failed(key);
        }
    }

    /// A host that failed is forgotten, here and in the kernel, so that dead addresses do not fill
    /// its table. A gateway stays and is asked for again by [`Neighbours::tick`].
    fn failed(&mut self, key: Key) {
        if let Slot::Occupied(slot) = self.entries.entry(key)
            && !slot.get().gateway
        {
            slot.remove();
            self.unanswered.remove(&key);
            self.requests.push_back((Ask::Forget, key));
        }
    }

    fn report(&mut self, key: Key, before: State, after: State) {
        match (before, after) {
            (State::Usable { mac: old, .. }, State::Usable { mac, .. }) if old == mac => {}
            (_, State::Usable { mac, .. }) => self.changes.push(Change::Up(key, mac)),
            (State::Usable { .. }, _) => self.changes.push(Change::Down(key)),
            _ => {}
        }
    }

    /// The kernel has deleted a neighbour. A gateway is asked for again, at once unless that was just
    /// done.
    pub(crate) fn gone(&mut self, now: u64, key: Key) {
        let Slot::Occupied(mut slot) = self.entries.entry(key) else { return };
        let before = *slot.get();
        if before.gateway {
            slot.get_mut().state = State::Failed;
            if now.saturating_sub(before.asked_ns) >= before.pause_ns {
                Self::ask_gateway(&mut self.urgent, key, slot.get_mut(), now);
            }
        } else {
            slot.remove();
        }
        self.unanswered.remove(&key);
        self.report(key, before.state, State::Failed);
        if before.gateway && before.usable() {
            self.lose(key);
        }
    }

    /// The kernel's whole table was read: what it does not hold is gone.
    pub(crate) fn heard_all(&mut self, now: u64, all: &[Neighbour]) {
        let present: BTreeSet<Key> =
            all.iter().map(|n| Key { ifindex: n.ifindex, address: n.address }).collect();
        let lost: Vec<Key> = self.entries.keys().filter(|key| !present.contains(key)).copied().collect();
        for key in lost {
            self.gone(now, key);
        }
        for neighbour in all {
            self.heard(now, neighbour);
        }
    }

    /// A packet needs `key`. What the data plane says is checked: it may lie.
    ///
    /// # Errors
    /// [`Refusal`]: nothing was asked.
    pub(crate) fn wanted(&mut self, now: u64, key: Key) -> Result<(), Refusal> {
        if let Some(entry) = self.entries.get_mut(&key) {
            return if entry.gateway {
                Self::want_gateway(&mut self.urgent, now, key, entry)
            } else {
                Err(Refusal::Known)
            };
        }
        let Some(at) = self.on_link(key) else {
            self.refused += 1;
            return Err(Refusal::NotOnLink);
        };
        let room = self.unanswered.len() < self.unanswered_max
            && self.entries.len() < self.hosts_max
            && now >= self.full_until_ns;
        let granted =
            room && self.links.get_mut(at).is_some_and(|(_, bucket)| bucket.take(now)) && self.has_share(at);
        if !granted {
            self.refused += 1;
            return Err(Refusal::Budget);
        }
        let mut entry = Entry::new(State::Asked);
        entry.asked_ns = now.max(1);
        self.entries.insert(key, entry);
        self.unanswered.insert(key);
        self.requests.push_back((Ask::Use, key));
        Ok(())
    }

    fn want_gateway(
        urgent: &mut VecDeque<(Ask, Key)>,
        now: u64,
        key: Key,
        entry: &mut Entry,
    ) -> Result<(), Refusal> {
        if entry.usable() || now < entry.asked_ns.saturating_add(GATEWAY_PAUSE_NS) {
            return Err(Refusal::Known);
        }
        Self::ask_gateway(urgent, key, entry, now);
        Ok(())
    }

    /// The kernel refused a request for `key` because its table is full.
    pub(crate) fn kernel_full(&mut self, now: u64, key: Key) {
        self.full_until_ns = now.saturating_add(FULL_PAUSE_NS);
        if self.entries.get(&key).is_some_and(|entry| !entry.gateway && !entry.usable()) {
            self.entries.remove(&key);
            self.recount();
        }
    }

    /// Once a second: asks again for lost gateways, confirms hosts in use (`packets` tells the count
    /// of packets sent to a neighbour so far), gives up hosts that never answered.
    pub(crate) fn tick(&mut self, now: u64, mut packets: impl FnMut(Key) -> u64) {
        let mut silent = Vec::new();
        for (&key, entry) in &mut self.entries {
            let since = now.saturating_sub(entry.asked_ns);
            match entry.state {
                State::Usable { permanent, .. } if !entry.gateway && !permanent && since >= REFRESH_NS => {
                    let count = packets(key);
                    if count != entry.packets {
                        entry.packets = count;
                        self.requests.push_back((Ask::Use, key));
                    }
                    entry.asked_ns = now.max(1);
                }
                State::Usable { .. } => {}
                State::Asked | State::Failed if entry.gateway => {
                    if since >= entry.pause_ns {
                        entry.pause_ns = (entry.pause_ns * 2).min(GATEWAY_PAUSE_MAX_NS);
                        Self::ask_gateway(&mut self.urgent, key, entry, now);
                    }
                }
                State::Asked | State::Failed => {
                    if since >= HOST_PATIENCE_NS {
                        silent.push(key);
                    }
                }
            }
        }
        for key in silent {
            self.failed(key);
        }
        self.recount();
    }

    fn recount(&mut self) {
        let unanswered = self.entries.iter().filter(|(_, entry)| entry.unanswered());
        self.unanswered = unanswered.map(|(key, _)| *key).collect();
    }

    fn recount_one(&mut self, key: Key) {
        if self.entries.get(&key).is_some_and(Entry::unanswered) {
            self.unanswered.insert(key);
        } else {
            self.unanswered.remove(&key);
        }
    }

    /// Whether a prefix has fewer unanswered hosts than are still allowed beside it: one that is scanned
    /// ends at half of the budget, several at less, and some is always left.
    fn has_share(&self, at: usize) -> bool {
        let free = self.unanswered_max.saturating_sub(self.unanswered.len());
        let own = self.unanswered.iter().filter(|key| self.on_link(**key) == Some(at)).count();
        own < free.max(1)
    }

    /// The next request for the kernel, gateways first. None goes to an entry that has become
    /// permanent in the meantime: asking would take its permanence away.
    pub(crate) fn next_request(&mut self) -> Option<(Ask, Key)> {
        loop {
            let next = self.urgent.pop_front().or_else(|| self.requests.pop_front())?;
            if !self.entries.get(&next.1).is_some_and(Entry::permanent) {
                return Some(next);
            }
        }
    }

    /// The neighbours that the kernel keeps resolved for us: at the end it shall not probe them further.
    pub(crate) fn managed(&self) -> impl Iterator<Item = Key> + '_ {
        let managed = self.entries.iter().filter(|(_, entry)| entry.gateway && !entry.permanent());
        managed.map(|(key, _)| *key)
    }

    /// Takes what the kernel still keeps resolved for an earlier control: it is let go unless it is a
    /// gateway now as well.
    pub(crate) fn inherit(&mut self, managed: impl Iterator<Item = Key>) {
        for key in managed {
            match self.entries.get(&key) {
                Some(entry) if entry.gateway => {}
                // To ask for it as a host takes the management away.
                Some(entry) if entry.usable() => self.requests.push_back((Ask::Use, key)),
                _ => self.requests.push_back((Ask::Forget, key)),
            }
        }
    }

    /// The changes since the last call, in order.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// The MAC address of a usable neighbour.
    pub(crate) fn mac(&self, key: Key) -> Option<[u8; 6]> {
        match self.entries.get(&key)?.state {
            State::Usable { mac, .. } => Some(mac),
            _ => None,
        }
    }

    /// The neighbours on an interface with addresses inside a prefix, without the prefix itself.
    pub(crate) fn inside(&self, net: IpNet, ifindex: u32) -> impl Iterator<Item = Key> + '_ {
        let from = self.entries.range(Key { ifindex, address: net.network() }..).map(|(key, _)| *key);
        from.take_while(move |key| key.ifindex == ifindex && net.contains(&key.address))
            .filter(move |key| IpNet::from(key.address) != net)
    }

    /// How often a neighbour was not asked for or not taken, for want of budget or of a right to it.
    pub(crate) const fn refused(&self) -> u64 {
        self.refused
    }

    /// All neighbours, by interface and address.
    pub(crate) fn shown(&self) -> impl Iterator<Item = Shown> + '_ {
        self.entries.iter().map(|(&key, entry)| {
            let (state, mac) = match entry.state {
                State::Usable { mac, .. } => (word(entry.kernel), Some(mac)),
                State::Asked => ("incomplete", None),
                State::Failed => ("failed", None),
            };
            Shown { key, state, mac, gateway: entry.gateway }
        })
    }
}

/// The kernel's name of a usable state, as `ip neigh` prints it.
const fn word(state: u16) -> &'static str {
    match state {
        uapi::NUD_PERMANENT => "permanent",
        uapi::NUD_STALE => "stale",
        uapi::NUD_DELAY => "delay",
        uapi::NUD_PROBE => "probe",
        _ => "reachable",
    }
}

/// What a kernel state means to us; `None`: not a neighbour that packets could go to (multicast).
fn judge(neighbour: &Neighbour) -> Option<State> {
    if neighbour.address.is_multicast() || neighbour.address.is_unspecified() {
        return None;
    }
    const USABLE: u16 =
        uapi::NUD_REACHABLE | uapi::NUD_STALE | uapi::NUD_DELAY | uapi::NUD_PROBE | uapi::NUD_PERMANENT;
    let unicast = neighbour.mac.filter(|mac| mac[0] & 1 == 0 && *mac != [0; 6]);
    Some(match unicast {
        Some(mac) if neighbour.state & USABLE != 0 => {
            State::Usable { mac, permanent: neighbour.state & uapi::NUD_PERMANENT != 0 }
        }
        _ if neighbour.state & uapi::NUD_NOARP != 0 => return None,
        _ if neighbour.state & uapi::NUD_FAILED != 0 => State::Failed,
        // INCOMPLETE, or an entry that nobody has used yet.
        _ => State::Asked,
    })
}

/// Whether an address inside a prefix can be a host: not the network, not its broadcast address, not
/// the subnet-router anycast address (RFC 4291 §2.6.1).
fn is_host(net: IpNet, address: IpAddr) -> bool {
    match net {
        IpNet::V4(net) if net.prefix_len() < 31 => address != net.network() && address != net.broadcast(),
        IpNet::V6(net) if net.prefix_len() < 127 => address != net.network(),
        _ => true,
    }
}

#[cfg(test)]
mod tests;

//! Routes, as their one writer changes and reads them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::{Retired, TableError, TableWriter};
use crate::adjacency::NextHopId;
use crate::arena::Arena;
use crate::fib::{Family, Fib, Prefix, RouteChange, Store, Stored, Uses};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

impl TableWriter {
    /// Sets the route of an IPv4 prefix (host bits are ignored), new or not.
    ///
    /// # Errors
    /// [`TableError::UnknownNextHop`], [`TableError::RouteLimit`] or [`TableError::ArenaFull`]; the old
    /// tables stay in force.
    pub fn set_route4(&mut self, prefix: Ipv4Net, id: NextHopId) -> Result<(), TableError> {
        self.set_route(Family::V4, key4(prefix), id)
    }

    /// Sets the route of an IPv6 prefix (host bits are ignored), new or not.
    ///
    /// # Errors
    /// As for [`TableWriter::set_route4`].
    pub fn set_route6(&mut self, prefix: Ipv6Net, id: NextHopId) -> Result<(), TableError> {
        self.set_route(Family::V6, key6(prefix), id)
    }

    /// Removes the route of an IPv4 prefix; without one nothing happens.
    ///
    /// # Errors
    /// [`TableError::ArenaFull`]: the route stays in force.
    pub fn remove_route4(&mut self, prefix: Ipv4Net) -> Result<(), TableError> {
        self.change_routes(Family::V4, &[(key4(prefix), None)])
    }

    /// Removes the route of an IPv6 prefix; without one nothing happens.
    ///
    /// # Errors
    /// [`TableError::ArenaFull`]: the route stays in force.
    pub fn remove_route6(&mut self, prefix: Ipv6Net) -> Result<(), TableError> {
        self.change_routes(Family::V6, &[(key6(prefix), None)])
    }

    /// IPv4 routes in force, by address and length.
    pub fn routes4(&self) -> impl Iterator<Item = (Ipv4Net, NextHopId)> + '_ {
        self.fib4.routes().filter_map(|(prefix, id)| Some((net4(prefix)?, id)))
    }

    /// IPv6 routes in force, by address and length.
    pub fn routes6(&self) -> impl Iterator<Item = (Ipv6Net, NextHopId)> + '_ {
        self.fib6.routes().filter_map(|(prefix, id)| Some((net6(prefix)?, id)))
    }

    /// The route that packets to `address` take.
    #[must_use]
    pub fn longest_match4(&self, address: Ipv4Addr) -> Option<(Ipv4Net, NextHopId)> {
        let (prefix, id) = self.fib4.covering(u128::from(address.to_bits()) << 96, 33)?;
        Some((net4(prefix)?, id))
    }

    /// The route that packets to `address` take.
    #[must_use]
    pub fn longest_match6(&self, address: Ipv6Addr) -> Option<(Ipv6Net, NextHopId)> {
        let (prefix, id) = self.fib6.covering(address.to_bits(), 129)?;
        Some((net6(prefix)?, id))
    }

    fn fib(&self, family: Family) -> (&Fib, usize) {
        match family {
            Family::V4 => (&self.fib4, self.limits.routes4),
            Family::V6 => (&self.fib6, self.limits.routes6),
        }
    }

    /// Sets (`Some`) and removes IPv4 routes, in order, all together: what several changes touch is built
    /// once. A reader sees for each address what held before or what holds after all of them.
    ///
    /// # Errors
    /// As for [`TableWriter::set_route4`]: then none is made.
    pub fn change_routes4(&mut self, changes: &[(Ipv4Net, Option<NextHopId>)]) -> Result<(), TableError> {
        let changes: Vec<_> = changes.iter().map(|(prefix, id)| (key4(*prefix), *id)).collect();
        self.change_routes(Family::V4, &changes)
    }

    /// Sets and removes IPv6 routes, as [`TableWriter::change_routes4`].
    ///
    /// # Errors
    /// As for [`TableWriter::set_route4`]: then none is made.
    pub fn change_routes6(&mut self, changes: &[(Ipv6Net, Option<NextHopId>)]) -> Result<(), TableError> {
        let changes: Vec<_> = changes.iter().map(|(prefix, id)| (key6(*prefix), *id)).collect();
        self.change_routes(Family::V6, &changes)
    }

    fn set_route(&mut self, family: Family, prefix: Prefix, id: NextHopId) -> Result<(), TableError> {
        self.change_routes(family, &[(prefix, Some(id))])
    }

    fn change_routes(&mut self, family: Family, changes: &[RouteChange]) -> Result<(), TableError> {
        if changes.is_empty() {
            // What is staged would get a copy of the root page.
            return Ok(());
        }
        for id in changes.iter().filter_map(|(_, id)| *id) {
            if self.entry(id).is_none() {
                return Err(TableError::UnknownNextHop(id));
            }
        }
        let (fib, limit) = self.fib(family);
        if fib.len() + changes.len() > limit {
            // Only now is it worth while to know how many there will be.
            let set: BTreeMap<_, _> = changes.iter().copied().collect();
            let more = set.iter().filter(|(prefix, id)| id.is_some() && fib.get(**prefix).is_none()).count();
            let less = set.iter().filter(|(prefix, id)| id.is_none() && fib.get(**prefix).is_some()).count();
            if fib.len() + more > limit + less && more > less {
                return Err(TableError::RouteLimit(limit));
            }
        }
        let fib = match family {
            Family::V4 => &mut self.fib4,
            Family::V6 => &mut self.fib6,
        };
        if self.staging {
            let uses = fib.stage(&mut self.arena, changes, publish)?;
            self.count_uses(uses);
            return Ok(());
        }
        let change = fib.apply(&mut self.arena, changes)?;
        self.count_uses(change.uses);
        change.stores.into_iter().for_each(|store| publish(&self.arena, store));
        if !change.retired.is_empty() {
            change.retired.into_iter().for_each(|block| self.limbo.retire(Retired::Block(block)));
            self.limbo.publish(&self.control.token);
        }
        Ok(())
    }

    pub(super) fn count_uses(&mut self, uses: Uses) {
        for (id, more) in uses {
            if let Some(entry) = self.adjacencies.get_mut(id.0 as usize).and_then(Option::as_mut) {
                entry.routes = u32::try_from(i64::from(entry.routes) + more).unwrap_or(0);
            }
        }
    }

    /// A route led to `old` and leads to `id` now.
    pub(super) fn count_route(&mut self, old: Option<NextHopId>, id: Option<NextHopId>) {
        self.count_uses(old.map(|old| (old, -1)).into_iter().collect());
        self.count_uses(id.map(|id| (id, 1)).into_iter().collect());
    }
}

/// Makes a part of a change visible (if the root page is).
fn publish(arena: &Arena, store: Store) {
    let region = arena.region();
    match store.what {
        Stored::Value(value) => {
            let entries = region.atomic_slice::<AtomicU32>(store.at, store.count);
            entries.into_iter().flatten().for_each(|entry| entry.store(value, Ordering::Release));
        }
        Stored::Word(value) => {
            let words = region.atomic_slice::<AtomicU64>(store.at, store.count);
            words.into_iter().flatten().for_each(|word| word.store(value, Ordering::Release));
        }
    }
}

fn key4(prefix: Ipv4Net) -> Prefix {
    Prefix::new(u128::from(prefix.addr().to_bits()) << 96, prefix.prefix_len())
}

fn key6(prefix: Ipv6Net) -> Prefix {
    Prefix::new(prefix.addr().to_bits(), prefix.prefix_len())
}

fn net4(prefix: Prefix) -> Option<Ipv4Net> {
    Ipv4Net::new(Ipv4Addr::from_bits((prefix.bits >> 96) as u32), prefix.len).ok()
}

fn net6(prefix: Prefix) -> Option<Ipv6Net> {
    Ipv6Net::new(Ipv6Addr::from_bits(prefix.bits), prefix.len).ok()
}

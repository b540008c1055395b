//! Routes, as their one writer changes and reads them.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::{Retired, TableError, TableWriter};
use crate::adjacency::NextHopId;
use crate::fib::{Change, Fib, Link, Prefix};
use crate::sync::Ordering;

/// Which family's tables a change is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

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
        self.change_route(Family::V4, key4(prefix), None)
    }

    /// Removes the route of an IPv6 prefix; without one nothing happens.
    ///
    /// # Errors
    /// [`TableError::ArenaFull`]: the route stays in force.
    pub fn remove_route6(&mut self, prefix: Ipv6Net) -> Result<(), TableError> {
        self.change_route(Family::V6, key6(prefix), None)
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

    fn set_route(&mut self, family: Family, prefix: Prefix, id: NextHopId) -> Result<(), TableError> {
        if self.entry(id).is_none() {
            return Err(TableError::UnknownNextHop(id));
        }
        let (fib, limit) = self.fib(family);
        if fib.len() >= limit && fib.get(prefix).is_none() {
            return Err(TableError::RouteLimit(limit));
        }
        self.change_route(family, prefix, Some(id))
    }

    fn change_route(
        &mut self,
        family: Family,
        prefix: Prefix,
        id: Option<NextHopId>,
    ) -> Result<(), TableError> {
        let old = self.fib(family).0.get(prefix);
        let fib = match family {
            Family::V4 => &mut self.fib4,
            Family::V6 => &mut self.fib6,
        };
        if self.staging {
            if fib.stage(&mut self.arena, prefix, id)? {
                self.count_route(old, id);
            }
            return Ok(());
        }
        let Some(change) = fib.change(&mut self.arena, prefix, id)? else { return Ok(()) };
        self.count_route(old, id);
        self.publish_change(family, change);
        Ok(())
    }

    /// A route led to `old` and leads to `id` now.
    pub(super) fn count_route(&mut self, old: Option<NextHopId>, id: Option<NextHopId>) {
        for (id, one) in [(id, 1), (old, u32::MAX)] {
            if let Some(entry) =
                id.and_then(|id| self.adjacencies.get_mut(id.0 as usize)).and_then(Option::as_mut)
            {
                entry.routes = entry.routes.wrapping_add(one);
            }
        }
    }

    /// The one store that makes a FIB change visible.
    fn publish_change(&mut self, family: Family, change: Change) {
        let word = match (change.link, family) {
            (Link::Root, Family::V4) => Some(&self.root.fib4),
            (Link::Root, Family::V6) => Some(&self.root.fib6),
            (Link::Entry(at), _) => self.arena.region().atomics(at),
        };
        if let Some(word) = word {
            word.store(change.value, Ordering::Release);
        }
        if !change.retired.is_empty() {
            change.retired.into_iter().for_each(|block| self.limbo.retire(Retired::Block(block)));
            self.limbo.publish(&self.control.token);
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

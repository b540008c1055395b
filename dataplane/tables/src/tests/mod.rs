//! Tests that need to look behind the public interface, and what they share.

mod corruption;
mod crowded;
mod differential;
mod generations;
mod updates;

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::adjacency::kind;
use crate::{Adjacency, Limits, NextHopId, Settings, TableWriter, Tables};

/// A small generator of repeatable numbers (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    pub(crate) fn wide(&mut self) -> u128 {
        (u128::from(self.next()) << 64) | u128::from(self.next())
    }
}

/// Limits of one segment.
pub(crate) fn small() -> Limits {
    Limits { segments: 1, adjacencies: 1000, poison: true, ..Limits::default() }
}

pub(crate) fn writer() -> TableWriter {
    TableWriter::create(&small(), &Settings::default()).unwrap()
}

pub(crate) fn attach(writer: &TableWriter) -> Tables {
    let tables = Tables::attach(writer.segments()[0].share().unwrap()).unwrap();
    for (index, segment) in writer.segments().iter().enumerate().skip(1) {
        tables.add_segment(index as u32, segment.share().unwrap()).unwrap();
    }
    tables
}

/// An adjacency that names itself, so that a reader can tell that it got the right one.
pub(crate) fn named(number: u32) -> Adjacency {
    Adjacency { ifindex: number, flags: !(number as u16), ..Adjacency::of_kind(kind::REWRITE) }
}

/// Adds adjacencies and returns their ids.
pub(crate) fn add_named(writer: &mut TableWriter, count: u32) -> Vec<NextHopId> {
    (0..count).map(|number| writer.add_adjacency(&named(number)).unwrap()).collect()
}

pub(crate) fn net4(bits: u32, len: u8) -> Ipv4Net {
    Ipv4Net::new(Ipv4Addr::from_bits(bits), len).unwrap()
}

pub(crate) fn net6(bits: u128, len: u8) -> Ipv6Net {
    Ipv6Net::new(Ipv6Addr::from_bits(bits), len).unwrap()
}

pub(crate) fn look4(tables: &Tables, key: u32) -> NextHopId {
    let mut out = [NextHopId::CORRUPT];
    tables.enter().unwrap().lookup4_batch(&[key], &mut out);
    out[0]
}

pub(crate) fn look6(tables: &Tables, key: u128) -> NextHopId {
    let mut out = [NextHopId::CORRUPT];
    tables.enter().unwrap().lookup6_batch(&[(key >> 64) as u64], &[key as u64], &mut out);
    out[0]
}

//! From routes to intervals: which answer holds from which slot on.

use super::Value;
use crate::adjacency::NextHopId;
use crate::writer::TableError;

/// A prefix of either family, its bits left-aligned (an IPv4 prefix fills the top 32).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Prefix {
    pub(crate) bits: u128,
    pub(crate) len: u8,
}

impl Prefix {
    /// The first `len` bits of `bits`.
    pub(crate) fn new(bits: u128, len: u8) -> Self {
        Self { bits: bits & !host_mask(len), len }
    }

    /// The first prefix, in their order, that may lie in this one.
    pub(super) fn first(self) -> Self {
        Self { bits: self.bits, len: 0 }
    }

    /// The last one.
    pub(super) fn last(self) -> Self {
        Self { bits: self.bits | host_mask(self.len), len: 128 }
    }

    /// The value of the `width` bits that end at bit `end`.
    pub(super) fn slot(self, end: u8, width: u8) -> u32 {
        (self.bits >> (128 - u32::from(end))) as u32 & ((1 << width) - 1)
    }
}

fn host_mask(len: u8) -> u128 {
    u128::MAX.checked_shr(u32::from(len)).unwrap_or(0)
}

/// A route as the sweep takes it.
pub(super) type Route = (Prefix, NextHopId);

/// The answers of a node's slots: from which slot on each holds. The first begins at slot 0, no two
/// neighbours are equal.
#[derive(Debug)]
pub(super) struct Intervals(Vec<(u32, Value)>);

impl Intervals {
    pub(super) fn new(value: Value) -> Self {
        Self(vec![(0, value)])
    }

    /// From `slot` on (not before the last one said) `value` holds.
    pub(super) fn from(&mut self, slot: u32, value: Value) {
        match self.0.last_mut() {
            Some((_, last)) if *last == value => {}
            Some((start, last)) if *start == slot => {
                *last = value;
                if let [.., (_, before), (_, last)] = &self.0[..]
                    && before == last
                {
                    self.0.pop();
                }
            }
            _ => self.0.push((slot, value)),
        }
    }

    pub(super) fn as_slice(&self) -> &[(u32, Value)] {
        &self.0
    }

    /// What holds at a slot.
    pub(super) fn at(&self, slot: u32) -> Value {
        let behind = self.0.partition_point(|(start, _)| *start <= slot);
        self.0.get(behind.wrapping_sub(1)).map_or(Value(0), |(_, value)| *value)
    }

    /// The same with other answers for single slots, which are sorted, of `slots` slots.
    pub(super) fn patched(&self, patches: &[(u32, Value)], slots: u32) -> Self {
        let mut patched = Self(Vec::with_capacity(self.0.len() + 2 * patches.len()));
        let mut rest = patches.iter().peekable();
        let ends = self.0.iter().skip(1).map(|(start, _)| *start).chain([slots]);
        for ((start, value), end) in self.0.iter().zip(ends) {
            let mut at = *start;
            while let Some((slot, answer)) = rest.next_if(|(slot, _)| *slot < end) {
                if at < *slot {
                    patched.from(at, *value);
                }
                patched.from(*slot, *answer);
                at = slot + 1;
            }
            if at < end {
                patched.from(at, *value);
            }
        }
        patched
    }
}

/// Where a sweep is: bits `end - width..end` of addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) end: u8,
    pub(super) width: u8,
}

/// Sweeps over `routes` (sorted, longer than the level's begin, all in one area), whose slots otherwise
/// answer `inherited`. Routes longer than the level's end are grouped by slot: `child` makes what stands for
/// each group, from its routes and the answer that they inherit.
///
/// # Errors
/// What `child` says.
pub(super) fn sweep(
    mut routes: &[Route],
    level: Level,
    inherited: Value,
    mut child: impl FnMut(&[Route], Value) -> Result<Value, TableError>,
) -> Result<Intervals, TableError> {
    let Level { end, width } = level;
    let mut intervals = Intervals::new(inherited);
    let mut current = inherited;
    // Routes that hold at the present slot: where each ends, and what held before it.
    let mut open: Vec<(u32, Value)> = Vec::new();
    while let Some((&(prefix, id), rest)) = routes.split_first() {
        let slot = prefix.slot(end, width);
        close(&mut intervals, &mut open, &mut current, slot);
        if prefix.len <= end {
            open.push((slot + (1 << (end - prefix.len)), current));
            current = Value(id.0);
            intervals.from(slot, current);
            routes = rest;
        } else {
            let count = routes.iter().take_while(|(route, _)| route.slot(end, width) == slot).count();
            let (inside, rest) = routes.split_at(count);
            intervals.from(slot, child(inside, current)?);
            if slot + 1 < 1 << width {
                intervals.from(slot + 1, current);
            }
            routes = rest;
        }
    }
    close(&mut intervals, &mut open, &mut current, (1 << width) - 1);
    Ok(intervals)
}

/// Ends what does not reach `slot`.
fn close(intervals: &mut Intervals, open: &mut Vec<(u32, Value)>, current: &mut Value, slot: u32) {
    while let Some(&(end, before)) = open.last() {
        if end > slot {
            return;
        }
        open.pop();
        *current = before;
        intervals.from(end, before);
    }
}

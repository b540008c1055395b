//! The writer's half: routes as they were given (the RIB), and the nodes made from them.
//!
//! Changes come in groups. Each /16 that a group touches is built anew as far as it is touched, in memory
//! that no reader sees; when all of it is there, one store for each word of a root page makes it visible.
//! What that replaced is retired.

mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::encode::{Builder, Place, runs};
use super::sweep::{Intervals, Level, Prefix, Route, sweep};
use super::{CELL_WORDS, ROOT4, ROOT6, STRIDE, Value, Word, kind};
use crate::adjacency::NextHopId;
use crate::arena::{Arena, Block};
use crate::layout::{GRANULE, Offset};
use crate::writer::TableError;
use zerocopy::IntoBytes;

/// Ids that have a place in the table of identities, so that a /16 with one answer needs no cells.
const IDENTITIES: usize = 1 << 16;
/// A group with so many changes is judged to touch everything.
const MANY: usize = 4096;

/// While not more /16 than this have longer routes, memory is no matter for their nodes.
const EARLY: usize = 256;
/// After so many routes below one node it is looked whether the others can be passed over.
const JUMP: u32 = 16;

/// Which family's tables these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Equal stores that make a part of a change visible.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Store {
    /// Where in the arena the first one goes, in bytes.
    pub(crate) at: usize,
    /// How many there are, one behind the other.
    pub(crate) count: usize,
    pub(crate) what: Stored,
}

/// What is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stored {
    /// Entries of the IPv6 root page.
    Value(u32),
    /// Words of the IPv4 root page.
    Word(u64),
}

/// A group of changes that has been prepared.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// What publishes it, in any order.
    pub(crate) stores: Vec<Store>,
    /// Blocks that readers may see until they have passed the stores.
    pub(crate) retired: Vec<Block>,
    /// How many more routes use an id, or fewer.
    pub(crate) uses: Uses,
}

/// How many more routes use an id than before, or fewer.
pub(crate) type Uses = BTreeMap<NextHopId, i64>;

/// What a group of changes did, and what there was before it.
#[derive(Debug)]
struct Applied {
    /// The changed routes, as they were, in the order of the changes.
    routes: Vec<RouteChange>,
    /// The changed nodes, as they were.
    nodes: Vec<(Prefix, Option<Node>)>,
    stores: Vec<Store>,
    made: Vec<Block>,
}

/// What stands for the routes in an area that are longer than it.
#[derive(Debug)]
struct Node {
    value: Value,
    block: Option<Block>,
    /// What it says, so that single slots can change without a look at all routes.
    intervals: Intervals,
}

/// Routes and nodes of one family.
#[derive(Debug)]
pub(crate) struct Fib {
    family: Family,
    rib: BTreeMap<Prefix, NextHopId>,
    /// How many routes there are of each length.
    lengths: [u32; 129],
    /// How many routes longer than 16 bits each /16 has.
    longer: Vec<u32>,
    /// How many /16 have such routes.
    used: usize,
    root: Block,
    /// Half-words that hold their own number; IPv4 only.
    identities: Block,
    nodes: BTreeMap<Prefix, Node>,
    /// Changes that nobody sees yet; `root` is theirs meanwhile.
    stage: Option<stage::Stage>,
}

/// The prefixes that a group changes.
struct Touched {
    /// Sorted.
    prefixes: Vec<Prefix>,
    /// Whether nothing is taken over from before.
    everything: bool,
}

/// What a group has done to the nodes so far.
struct Work<'a> {
    builder: Builder<'a>,
    touched: &'a Touched,
    /// Nodes made, and areas that have none any more.
    nodes: BTreeMap<Prefix, Option<Node>>,
}

/// A change of one route: set (`Some`) or removed.
pub(crate) type RouteChange = (Prefix, Option<NextHopId>);

impl Fib {
    /// A FIB without routes, in `arena`.
    ///
    /// # Errors
    /// [`TableError::ArenaFull`].
    pub(crate) fn new(arena: &mut Arena, family: Family) -> Result<Self, TableError> {
        let (root, identities) = match family {
            Family::V4 => {
                let numbers: Vec<u16> = (0..=u16::MAX).chain([0; 2]).collect();
                let identities = arena.store(numbers.as_bytes())?;
                let nothing = uniform(identities, Value(0)).ok_or(TableError::ArenaFull)?;
                (arena.store(vec![nothing.0; ROOT4].as_bytes())?, identities)
            }
            Family::V6 => {
                let root = arena.store(vec![0u32; ROOT6].as_bytes())?;
                (root, root)
            }
        };
        let (longer, used) = (vec![0; 1 << STRIDE], 0);
        let (rib, nodes) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { family, rib, lengths: [0; 129], longer, used, root, identities, nodes, stage: None })
    }

    /// The root page, to be put into a root record.
    pub(crate) fn root(&self) -> Offset {
        self.root.offset
    }

    /// Routes in force.
    pub(crate) fn len(&self) -> usize {
        self.rib.len()
    }

    /// Routes in force, sorted by address and length.
    pub(crate) fn routes(&self) -> impl Iterator<Item = Route> + '_ {
        self.rib.iter().map(|(prefix, id)| (*prefix, *id))
    }

    /// The route of exactly this prefix.
    pub(crate) fn get(&self, prefix: Prefix) -> Option<NextHopId> {
        self.rib.get(&prefix).copied()
    }

    /// The longest route, shorter than `limit`, that covers `bits`.
    pub(crate) fn covering(&self, bits: u128, limit: u8) -> Option<Route> {
        let used = |len: &u8| self.lengths.get(usize::from(*len)).is_some_and(|routes| *routes > 0);
        (0..limit).rev().filter(used).find_map(|len| {
            let prefix = Prefix::new(bits, len);
            self.get(prefix).map(|id| (prefix, id))
        })
    }

    /// Sets and removes routes, in order, and prepares what that changes. The caller publishes it at once.
    ///
    /// # Errors
    /// [`TableError::ArenaFull`]: routes and nodes are as before.
    pub(crate) fn apply(&mut self, arena: &mut Arena, changes: &[RouteChange]) -> Result<Change, TableError> {
        let Applied { routes, nodes, stores, .. } = self.attempt(arena, changes)?;
        let retired = nodes.into_iter().filter_map(|(_, node)| node?.block).collect();
        Ok(Change { uses: self.uses(&routes), stores, retired })
    }

    /// How many more routes use an id than before, or fewer.
    fn uses(&self, before: &[RouteChange]) -> Uses {
        let mut uses = Uses::new();
        // What a route became last counts, and what it was first.
        let mut seen = BTreeSet::new();
        for &(prefix, old) in before {
            if seen.insert(prefix) {
                old.into_iter().for_each(|old| *uses.entry(old).or_default() -= 1);
                self.get(prefix).into_iter().for_each(|id| *uses.entry(id).or_default() += 1);
            }
        }
        uses
    }

    /// Changes routes and nodes, all or nothing.
    fn attempt(&mut self, arena: &mut Arena, changes: &[RouteChange]) -> Result<Applied, TableError> {
        let mut routes = Vec::with_capacity(changes.len());
        for &(prefix, id) in changes {
            let old = self.put(prefix, id);
            if old != id {
                routes.push((prefix, old));
            }
        }
        let touched = Touched::new(&routes, self.rib.len());
        let mut work = Work { builder: Builder::new(arena), touched: &touched, nodes: BTreeMap::new() };
        let mut stores = Vec::new();
        let done = self.prepare(&mut work, &mut stores);
        let Work { builder: Builder { arena, made }, nodes, .. } = work;
        if let Err(error) = done {
            made.into_iter().for_each(|block| arena.free(block));
            self.restore(routes);
            return Err(error);
        }
        let nodes = nodes.into_iter().map(|(area, node)| (area, self.put_node(area, node))).collect();
        Ok(Applied { routes, nodes, stores, made })
    }

    /// Makes routes what they were, last change first.
    fn restore(&mut self, before: Vec<RouteChange>) {
        for (prefix, old) in before.into_iter().rev() {
            self.put(prefix, old);
        }
    }

    fn put_node(&mut self, area: Prefix, node: Option<Node>) -> Option<Node> {
        match node {
            Some(node) => self.nodes.insert(area, node),
            None => self.nodes.remove(&area),
        }
    }

    fn put(&mut self, prefix: Prefix, id: Option<NextHopId>) -> Option<NextHopId> {
        let old = match id {
            Some(id) => self.rib.insert(prefix, id),
            None => self.rib.remove(&prefix),
        };
        let more = u32::from(id.is_some()).wrapping_sub(u32::from(old.is_some()));
        if let Some(count) = self.lengths.get_mut(usize::from(prefix.len)) {
            *count = count.wrapping_add(more);
        }
        if prefix.len > STRIDE
            && let Some(count) = self.longer.get_mut(prefix.slot(STRIDE, STRIDE) as usize)
        {
            let before = *count > 0;
            *count = count.wrapping_add(more);
            self.used = (self.used + usize::from(*count > 0)).saturating_sub(usize::from(before));
        }
        old
    }

    /// Builds every /16 that is touched.
    fn prepare(&self, work: &mut Work<'_>, stores: &mut Vec<Store>) -> Result<(), TableError> {
        let mut next = 0;
        for prefix in &work.touched.prefixes {
            let first = prefix.slot(STRIDE, STRIDE);
            let count = 1 << STRIDE.saturating_sub(prefix.len);
            let range = first.max(next)..first + count;
            if !range.is_empty() {
                next = range.end;
                self.slots(work, range, stores)?;
            }
        }
        self.forget(work);
        Ok(())
    }

    /// Builds a range of /16.
    fn slots(
        &self,
        work: &mut Work<'_>,
        range: Range<u32>,
        stores: &mut Vec<Store>,
    ) -> Result<(), TableError> {
        let at = |slot: u32| Prefix { bits: u128::from(slot) << 112, len: STRIDE };
        // What holds at a slot changes only where a route of at most 16 bits begins or ends.
        let (mut inherited, mut until) = (Value(0), range.start);
        let mut slot = range.start;
        while slot < range.end {
            if slot >= until {
                (inherited, until) = self.inherited(slot);
            }
            let plain = self.plain(slot, until.min(range.end));
            if plain > 0
                && let Some(what) = self.uniform(inherited)
            {
                stores.push(self.store(slot, plain, what));
                slot += plain;
                continue;
            }
            match self.family {
                Family::V6 => {
                    let value = if self.has_longer(at(slot)) {
                        self.area(work, at(slot), None, inherited)?
                    } else {
                        inherited
                    };
                    stores.push(self.store(slot, 1, Stored::Value(value.0)));
                }
                Family::V4 => self.cells(work, at(slot), inherited, stores)?,
            }
            slot += 1;
        }
        Ok(())
    }

    /// How many slots from `slot` on, before `end`, have no longer routes and no node.
    fn plain(&self, slot: u32, end: u32) -> u32 {
        let longer = self.longer.get(slot as usize..end as usize).unwrap_or_default();
        let plain = longer.iter().take_while(|count| **count == 0).count() as u32;
        let bits = u128::from(slot) << 112;
        let node = self.nodes.range(Prefix { bits, len: 0 }..).next();
        node.map_or(plain, |(area, _)| plain.min(area.slot(STRIDE, STRIDE) - slot))
    }

    /// What stands in a root page for a slot with one answer; `None` when that needs cells.
    fn uniform(&self, value: Value) -> Option<Stored> {
        match self.family {
            Family::V4 => uniform(self.identities, value).map(|word| Stored::Word(word.0)),
            Family::V6 => Some(Stored::Value(value.0)),
        }
    }

    /// The stores of `slots` slots that have the same entry.
    fn store(&self, slot: u32, slots: u32, what: Stored) -> Store {
        let root = self.root.offset.bytes();
        let (slot, slots) = (slot as usize, slots as usize);
        match what {
            Stored::Value(_) => Store { at: root + slot * 4, count: slots, what },
            Stored::Word(_) => Store { at: root + slot * CELL_WORDS * 8, count: slots * CELL_WORDS, what },
        }
    }

    /// What a /16 inherits, and the next slot at which that may be different.
    fn inherited(&self, slot: u32) -> (Value, u32) {
        let bits = u128::from(slot) << 112;
        let begin = self.next_begin(bits);
        let Some((route, id)) = self.covering(bits, STRIDE + 1) else { return (Value(0), begin) };
        let end = route.slot(STRIDE, STRIDE) + (1 << (STRIDE - route.len));
        (Value(id.0), end.min(begin))
    }

    /// The slot of the first route that begins behind the one at `bits`.
    fn next_begin(&self, bits: u128) -> u32 {
        let Some(behind) = bits.checked_add(1 << 112) else { return 1 << STRIDE };
        let next = self.rib.range(Prefix { bits: behind, len: 0 }..).next();
        next.map_or(1 << STRIDE, |(route, _)| route.slot(STRIDE, STRIDE))
    }

    /// Routes in an area that are longer than it, in order. Of the many below a node that stays as it is
    /// one is enough.
    fn inside(&self, work: &Work<'_>, area: Prefix) -> Vec<Route> {
        let mut routes: Vec<Route> = Vec::new();
        let end = area.len + self.width();
        let mut from = area.first();
        loop {
            let mut below: (u32, u32) = (0, 0);
            let mut jump = None;
            for (&route, &id) in self.rib.range(from..=area.last()) {
                if route.len <= area.len {
                    continue;
                }
                routes.push((route, id));
                let slot = route.slot(end, self.width());
                below = if route.len > end && below.0 == slot { (slot, below.1 + 1) } else { (slot, 0) };
                let child = Prefix::new(route.bits, end);
                if below.1 == JUMP && self.nodes.contains_key(&child) && !work.touched.touches(child) {
                    jump = child.last().bits.checked_add(1);
                    break;
                }
            }
            match jump {
                Some(bits) if bits <= area.last().bits && bits != 0 => from = Prefix { bits, len: 0 },
                _ => return routes,
            }
        }
    }

    /// Where a node for an area stands.
    fn place(&self, area: Prefix) -> Place {
        match area.len {
            STRIDE if self.used <= EARLY => Place::Early,
            STRIDE => Place::AtRoot,
            _ => Place::Deep,
        }
    }

    /// Bits that a node decides.
    fn width(&self) -> u8 {
        if self.family == Family::V4 { 8 } else { STRIDE }
    }

    /// What stands for an area that has longer routes: a next hop where one answer holds, else a node.
    /// `routes` are those routes, where they are at hand.
    fn area(
        &self,
        work: &mut Work<'_>,
        area: Prefix,
        routes: Option<&[Route]>,
        inherited: Value,
    ) -> Result<Value, TableError> {
        if let Some(Some(node)) = work.nodes.get(&area) {
            return Ok(node.value);
        }
        let old = self.nodes.get(&area);
        if let Some(node) = old.filter(|_| !work.touched.touches(area)) {
            return Ok(node.value);
        }
        let (intervals, patches) = match self.patches(work, area)?.zip(old) {
            Some((patches, node)) if patches.is_empty() => return Ok(node.value),
            Some((patches, node)) => (node.intervals.patched(&patches, 1 << self.width()), patches),
            None => (self.sweep(work, area, routes, inherited)?, Vec::new()),
        };
        let words = old.filter(|_| !patches.is_empty()).and_then(|node| node.own_words(work, &patches));
        let (value, block) = match words {
            Some(block) => {
                let (value, block) = work.builder.patched(block, &patches)?;
                (value, Some(block))
            }
            None => work.builder.node(&intervals, self.place(area))?,
        };
        work.nodes.insert(area, Some(Node { value, block, intervals }));
        Ok(value)
    }

    /// Where an area has a node and only single slots of it have changed: those that have another answer
    /// now. It spares a look at all routes.
    fn patches(&self, work: &mut Work<'_>, area: Prefix) -> Result<Option<Vec<(u32, Value)>>, TableError> {
        let touched = work.touched;
        let (width, end) = (self.width(), area.len + self.width());
        let Some(node) = self.nodes.get(&area) else { return Ok(None) };
        let single = |prefix: &Prefix| prefix.len >= end;
        if touched.everything || touched.covers(area) || !touched.inside(area).iter().all(single) {
            return Ok(None);
        }
        let mut slots: Vec<Prefix> = touched.inside(area).iter().map(|p| Prefix::new(p.bits, end)).collect();
        slots.dedup();
        let mut patches = Vec::with_capacity(slots.len());
        for slot in slots {
            let inherited = self.covering(slot.bits, end + 1).map_or(Value(0), |(_, id)| Value(id.0));
            let longer = self.has_longer(slot);
            let value = if longer { self.area(work, slot, None, inherited)? } else { inherited };
            let number = slot.slot(end, width);
            if node.intervals.at(number) != value {
                patches.push((number, value));
            }
        }
        Ok(Some(patches))
    }

    /// The intervals of an area, from its routes.
    fn sweep(
        &self,
        work: &mut Work<'_>,
        area: Prefix,
        routes: Option<&[Route]>,
        inherited: Value,
    ) -> Result<Intervals, TableError> {
        let level = Level { end: area.len + self.width(), width: self.width() };
        let collected = if routes.is_none() { self.inside(work, area) } else { Vec::new() };
        sweep(routes.unwrap_or(&collected), level, inherited, |inside, inherited| {
            let bits = inside.first().map_or(0, |(route, _)| route.bits);
            self.area(work, Prefix::new(bits, level.end), Some(inside), inherited)
        })
    }

    /// The words of an IPv4 /16, and its cells.
    fn cells(
        &self,
        work: &mut Work<'_>,
        area: Prefix,
        inherited: Value,
        stores: &mut Vec<Store>,
    ) -> Result<(), TableError> {
        let patches = self.patches(work, area)?;
        let intervals = match patches.zip(self.nodes.get(&area)) {
            Some((patches, _)) if patches.is_empty() && self.has_longer(area) => return Ok(()),
            Some((patches, node)) => node.intervals.patched(&patches, 1 << self.width()),
            None => self.sweep(work, area, None, inherited)?,
        };
        let slot = area.slot(STRIDE, STRIDE);
        let one = match intervals.as_slice() {
            [(_, value)] => self.uniform(*value),
            _ => None,
        };
        let mut block = None;
        if let Some(what) = one {
            stores.push(self.store(slot, 1, what));
        } else {
            let (words, cells) = work.builder.cells(&runs(intervals.as_slice(), CELL_WORDS))?;
            block = Some(cells);
            let first = self.store(slot, 1, Stored::Word(0));
            stores.extend(words.into_iter().enumerate().map(|(index, word)| Store {
                at: first.at + index * 8,
                count: 1,
                what: Stored::Word(word),
            }));
        }
        let stays = block.is_some() || self.has_longer(area);
        work.nodes.insert(area, stays.then_some(Node { value: Value::CORRUPT, block, intervals }));
        Ok(())
    }

    /// Nodes of areas whose longer routes are all gone.
    fn forget(&self, work: &mut Work<'_>) {
        let mut gone = BTreeSet::new();
        for prefix in &work.touched.prefixes {
            let mut len = STRIDE;
            while len < prefix.len {
                let area = Prefix::new(prefix.bits, len);
                let cells = self.family == Family::V4 && len == STRIDE;
                if !cells && self.nodes.contains_key(&area) && !self.has_longer(area) {
                    gone.insert(area);
                }
                len += self.width();
            }
        }
        work.nodes.extend(gone.into_iter().map(|area| (area, None)));
    }

    fn has_longer(&self, area: Prefix) -> bool {
        self.rib.range(area.first()..=area.last()).any(|(route, _)| route.len > area.len)
    }
}

impl Node {
    /// Its block, where it is a node of words in which these slots have answers of their own.
    fn own_words(&self, work: &Work<'_>, patches: &[(u32, Value)]) -> Option<Block> {
        let words = self.value.is_reference() && self.value.kind() == kind::WORDS;
        let block = self.block.filter(|_| words)?;
        let region = work.builder.arena.region();
        let own = |slot| Word::of_node(region, block, slot).is_some_and(|word| word.has_own(slot));
        patches.iter().all(|(slot, _)| own(*slot)).then_some(block)
    }
}

impl Touched {
    fn new(changes: &[RouteChange], routes: usize) -> Self {
        let mut prefixes: Vec<_> = changes.iter().map(|(prefix, _)| *prefix).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        let everything = prefixes.len() > MANY && prefixes.len() > routes / 8;
        Self { prefixes, everything }
    }

    /// Whether a change lies in an area or covers it.
    fn touches(&self, area: Prefix) -> bool {
        self.everything || !self.inside(area).is_empty() || self.covers(area)
    }

    /// Whether a change covers an area.
    fn covers(&self, area: Prefix) -> bool {
        (0..=area.len).any(|len| self.prefixes.binary_search(&Prefix::new(area.bits, len)).is_ok())
    }

    /// The changes in an area (shorter ones that begin where it does are among them).
    fn inside(&self, area: Prefix) -> &[Prefix] {
        let begin = self.prefixes.partition_point(|prefix| *prefix < area.first());
        let rest = self.prefixes.get(begin..).unwrap_or_default();
        rest.get(..rest.partition_point(|prefix| *prefix <= area.last())).unwrap_or_default()
    }
}

/// The word of 32 slots with one answer, which has its place among the identities.
fn uniform(identities: Block, value: Value) -> Option<Word> {
    let id = value.0 as usize;
    (id < IDENTITIES)
        .then(|| identities.offset.granules() as usize * (GRANULE / 2) + id)
        .and_then(|place| Word::new(1, place, false))
}

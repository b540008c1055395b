//! The writer's half of the FIB: routes as they were given (the RIB), and the trie made from them.
//!
//! A change of one prefix rebuilds the entries that the prefix covers in the node where it ends, with
//! everything below them. A single entry is stored in place; several are a copy of their node, published
//! by one store into its parent. What that replaced is retired.

mod stage;

use std::collections::BTreeMap;

use super::{CHILD, NODE_BITS, NODE_ENTRIES, ROOT_BITS, ROOT_ENTRIES, node};
use crate::adjacency::NextHopId;
use crate::arena::{Arena, Block};
use crate::layout::Offset;
use crate::sync::{AtomicU32, Ordering};
use crate::writer::TableError;
use zerocopy::IntoBytes;

const NODE_BYTES: usize = NODE_ENTRIES * 4;
const ROOT_BYTES: usize = ROOT_ENTRIES * 4;

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

    fn first(self) -> Self {
        Self { bits: self.bits, len: 0 }
    }

    fn last(self) -> Self {
        Self { bits: self.bits | host_mask(self.len), len: 128 }
    }
}

fn host_mask(len: u8) -> u128 {
    u128::MAX.checked_shr(u32::from(len)).unwrap_or(0)
}

/// Which entry of a page that decides the bits up to `end` (its last `width`) holds `bits`.
fn index(bits: u128, end: u8, width: u8) -> usize {
    (bits >> (128 - u32::from(end))) as usize & ((1 << width) - 1)
}

/// A page of the trie: where it lies and the bits it decides, `end - width..end`.
#[derive(Clone, Copy)]
struct Page {
    offset: Offset,
    end: u8,
    width: u8,
}

/// Where a change is published.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Link {
    /// The word that holds the root's offset.
    Root,
    /// An entry: its byte offset in the arena.
    Entry(usize),
}

/// A change that has been prepared: one store publishes it.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) link: Link,
    pub(crate) value: u32,
    /// Blocks that readers may see until they have passed the change.
    pub(crate) retired: Vec<Block>,
}

/// Routes and trie of one family.
#[derive(Debug)]
pub(crate) struct Fib {
    rib: BTreeMap<Prefix, NextHopId>,
    /// How many routes there are of each length.
    lengths: [u32; 129],
    root: Offset,
    /// Changes that nobody sees yet; `root` is theirs meanwhile.
    stage: Option<stage::Stage>,
}

/// Blocks made for a change that may still fail.
struct Builder<'a> {
    arena: &'a mut Arena,
    made: Vec<Block>,
}

impl Builder<'_> {
    fn store(&mut self, bytes: &[u8]) -> Result<Offset, TableError> {
        let block = self.arena.store(bytes)?;
        self.made.push(block);
        Ok(block.offset)
    }

    /// Writes `routes` (sorted, parents before children) over `entries`, a part of a page that decides the
    /// bits up to `end`, the first of which has the index `first`. Makes nodes for longer routes.
    fn fill(
        &mut self,
        entries: &mut [u32],
        first: usize,
        (end, width): (u8, u8),
        mut routes: &[(Prefix, NextHopId)],
    ) -> Result<(), TableError> {
        while let Some(((prefix, id), rest)) = routes.split_first() {
            let place = index(prefix.bits, end, width) - first;
            if prefix.len <= end {
                let span = 1 << (end - prefix.len);
                entries.iter_mut().skip(place).take(span).for_each(|entry| *entry = id.0);
                routes = rest;
                continue;
            }
            let below = routes.iter().take_while(|(p, _)| index(p.bits, end, width) - first == place).count();
            let (inside, rest) = routes.split_at(below);
            if let Some(entry) = entries.get_mut(place) {
                let mut child = [*entry; NODE_ENTRIES];
                self.fill(&mut child, 0, (end + NODE_BITS, NODE_BITS), inside)?;
                *entry = CHILD | self.store(child.as_bytes())?.granules();
            }
            routes = rest;
        }
        Ok(())
    }
}

impl Fib {
    /// A FIB without routes, in `arena`.
    pub(crate) fn new(arena: &mut Arena) -> Result<Self, TableError> {
        let root = arena.store(vec![0u32; ROOT_ENTRIES].as_bytes())?;
        Ok(Self { rib: BTreeMap::new(), lengths: [0; 129], root: root.offset, stage: None })
    }

    /// The root page, to be put into a root record.
    pub(crate) fn root(&self) -> Offset {
        self.root
    }

    /// Routes in force.
    pub(crate) fn len(&self) -> usize {
        self.rib.len()
    }

    /// Routes in force, sorted by address and length.
    pub(crate) fn routes(&self) -> impl Iterator<Item = (Prefix, NextHopId)> + '_ {
        self.rib.iter().map(|(prefix, id)| (*prefix, *id))
    }

    /// The route of exactly this prefix.
    pub(crate) fn get(&self, prefix: Prefix) -> Option<NextHopId> {
        self.rib.get(&prefix).copied()
    }

    /// The longest route, shorter than `limit`, that covers `bits`.
    pub(crate) fn covering(&self, bits: u128, limit: u8) -> Option<(Prefix, NextHopId)> {
        (0..limit).rev().filter(|len| self.lengths.get(usize::from(*len)).is_some_and(|n| *n > 0)).find_map(
            |len| {
                let prefix = Prefix::new(bits, len);
                self.get(prefix).map(|id| (prefix, id))
            },
        )
    }

    fn put(&mut self, prefix: Prefix, id: Option<NextHopId>) -> Option<NextHopId> {
        let old = match id {
            Some(id) => self.rib.insert(prefix, id),
            None => self.rib.remove(&prefix),
        };
        if let Some(count) = self.lengths.get_mut(usize::from(prefix.len)) {
            *count = *count + u32::from(id.is_some()) - u32::from(old.is_some());
        }
        old
    }

    /// Sets (`Some`) or removes (`None`) a route and prepares the trie's change. `None` when nothing
    /// changes. The caller publishes the change at once.
    ///
    /// # Errors
    /// [`TableError::ArenaFull`]: routes and trie are as before.
    pub(crate) fn change(
        &mut self,
        arena: &mut Arena,
        prefix: Prefix,
        id: Option<NextHopId>,
    ) -> Result<Option<Change>, TableError> {
        let old = self.put(prefix, id);
        if old == id {
            return Ok(None);
        }
        let mut builder = Builder { arena, made: Vec::new() };
        match self.prepare(&mut builder, prefix) {
            Ok(change) => {
                if matches!(change.link, Link::Root) {
                    self.root = Offset::new(change.value);
                }
                Ok(Some(change))
            }
            Err(error) => {
                let Builder { arena, made } = builder;
                made.into_iter().for_each(|block| arena.free(block));
                self.put(prefix, old);
                Err(error)
            }
        }
    }

    /// The page in which `prefix` is to be changed, and where its offset is stored.
    fn page_of(&self, arena: &Arena, prefix: Prefix) -> (Page, Link) {
        let mut page = Page { offset: self.root, end: ROOT_BITS, width: ROOT_BITS };
        let mut link = Link::Root;
        while let Some((at, child)) = self.page_below(arena, page, prefix) {
            link = Link::Entry(at);
            page = Page { offset: child, end: page.end + NODE_BITS, width: NODE_BITS };
        }
        (page, link)
    }

    /// The node below `page` in which `prefix` is to be changed, and where its offset is stored; `None` when
    /// `page` itself is to be changed.
    fn page_below(&self, arena: &Arena, page: Page, prefix: Prefix) -> Option<(usize, Offset)> {
        if prefix.len <= page.end {
            return None;
        }
        let at = page.offset.bytes() + index(prefix.bits, page.end, page.width) * 4;
        let entry = words(arena, at, 1).first().map_or(0, |word| word.load(Ordering::Relaxed));
        // A node without routes of its own is not changed but replaced by its parent's entry.
        let is_node = entry & CHILD != 0 && self.has_below(Prefix::new(prefix.bits, page.end));
        is_node.then(|| (at, Offset::new(entry & !CHILD)))
    }

    /// Whether there are routes longer than `prefix` inside it.
    fn has_below(&self, prefix: Prefix) -> bool {
        self.rib.range(prefix.first()..=prefix.last()).any(|(route, _)| route.len > prefix.len)
    }

    /// The entries of `page` that `prefix` covers, from the index of the first on, as the routes have them.
    fn entries(
        &self,
        builder: &mut Builder<'_>,
        page: Page,
        prefix: Prefix,
    ) -> Result<(usize, Vec<u32>), TableError> {
        let area = Prefix::new(prefix.bits, prefix.len.min(page.end));
        let first = index(area.bits, page.end, page.width);
        let routes: Vec<_> = (self.rib.range(area.first()..=area.last()))
            .filter(|(route, _)| route.len >= area.len)
            .map(|(route, id)| (*route, *id))
            .collect();
        let inherited = self.covering(area.bits, area.len).map_or(0, |(_, id)| id.0);
        let mut fresh = vec![inherited; 1 << (page.end - area.len)];
        builder.fill(&mut fresh, first, (page.end, page.width), &routes)?;
        Ok((first, fresh))
    }

    fn prepare(&self, builder: &mut Builder<'_>, prefix: Prefix) -> Result<Change, TableError> {
        let (page, link) = self.page_of(builder.arena, prefix);
        let (first, fresh) = self.entries(builder, page, prefix)?;
        let (at, count) = (page.offset.bytes() + first * 4, fresh.len());
        let mut retired = Vec::new();
        for entry in words(builder.arena, at, count) {
            nodes_below(builder.arena, entry.load(Ordering::Relaxed), &mut retired);
        }
        if let [value] = fresh[..] {
            return Ok(Change { link: Link::Entry(at), value, retired });
        }
        let old = words(builder.arena, page.offset.bytes(), 1 << page.width);
        let mut copy: Vec<u32> = old.iter().map(|entry| entry.load(Ordering::Relaxed)).collect();
        copy.iter_mut().skip(first).zip(&fresh).for_each(|(to, from)| *to = *from);
        let offset = builder.store(copy.as_bytes())?.granules();
        let is_root = matches!(link, Link::Root);
        retired.push(Block::at(page.offset, if is_root { ROOT_BYTES } else { NODE_BYTES }));
        Ok(Change { link, value: if is_root { offset } else { CHILD | offset }, retired })
    }
}

/// `count` entries from byte `at` of the arena. The writer asks only for what it wrote, so they are there.
fn words(arena: &Arena, at: usize, count: usize) -> &[AtomicU32] {
    arena.region().atomic_slice(at, count).unwrap_or_default()
}

/// Adds the node that `entry` names, and those below it.
fn nodes_below(arena: &Arena, entry: u32, blocks: &mut Vec<Block>) {
    if entry & CHILD == 0 {
        return;
    }
    blocks.push(Block::at(Offset::new(entry & !CHILD), NODE_BYTES));
    for child in node(arena.region(), entry).into_iter().flatten() {
        nodes_below(arena, child.load(Ordering::Relaxed), blocks);
    }
}

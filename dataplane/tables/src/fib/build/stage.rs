//! Many changes at once: every page that they touch is copied, and nobody sees the copies until their
//! root is published with the rest of a generation.

use std::collections::BTreeSet;

use super::{Builder, Fib, NODE_BYTES, Page, Prefix, ROOT_BYTES, nodes_below, words};
use crate::adjacency::NextHopId;
use crate::arena::{Arena, Block};
use crate::fib::{CHILD, NODE_BITS, ROOT_BITS};
use crate::layout::Offset;
use crate::sync::Ordering;
use crate::writer::TableError;
use zerocopy::IntoBytes;

/// Changes of one family that nobody sees yet.
#[derive(Debug)]
pub(super) struct Stage {
    /// The root in force.
    root: Offset,
    /// What the changed routes were, in the order of the changes.
    before: Vec<(Prefix, Option<NextHopId>)>,
    /// Pages that were made since, the root among them.
    made: BTreeSet<Offset>,
    /// Pages in force that are not part of what is staged.
    left: Vec<Block>,
}

impl Stage {
    fn new(root: Offset) -> Self {
        Self { root, before: Vec::new(), made: BTreeSet::new(), left: Vec::new() }
    }

    /// The page at `offset` to write in: itself if nobody sees it, else a copy.
    fn own(&mut self, arena: &mut Arena, offset: Offset, bytes: usize) -> Result<Offset, TableError> {
        if self.made.contains(&offset) {
            return Ok(offset);
        }
        let entries = words(arena, offset.bytes(), bytes / 4);
        let copy: Vec<u32> = entries.iter().map(|entry| entry.load(Ordering::Relaxed)).collect();
        let copy = arena.store(copy.as_bytes())?.offset;
        self.made.insert(copy);
        self.left.push(Block::at(offset, bytes));
        Ok(copy)
    }

    /// A page is not part of what is staged any more.
    fn leave(&mut self, arena: &mut Arena, block: Block) {
        if self.made.remove(&block.offset) {
            arena.free(block);
        } else {
            self.left.push(block);
        }
    }
}

impl Fib {
    /// Sets (`Some`) or removes (`None`) a route in a copy that nobody sees. The answer says
    /// whether anything changes.
    ///
    /// # Errors
    /// [`TableError::ArenaFull`]: this route is as before; what is staged is to be taken back.
    pub(crate) fn stage(
        &mut self,
        arena: &mut Arena,
        prefix: Prefix,
        id: Option<NextHopId>,
    ) -> Result<bool, TableError> {
        let old = self.put(prefix, id);
        if old == id {
            return Ok(false);
        }
        let mut stage = self.stage.take().unwrap_or_else(|| Stage::new(self.root));
        let done = self.rewrite(&mut stage, arena, prefix);
        match done {
            Ok(()) => stage.before.push((prefix, old)),
            Err(_) => drop(self.put(prefix, old)),
        }
        self.stage = Some(stage);
        done.map(|()| true)
    }

    /// What is staged is in force: the pages that it replaced are to be retired.
    pub(crate) fn keep_staged(&mut self) -> Vec<Block> {
        self.stage.take().map(|stage| stage.left).unwrap_or_default()
    }

    /// Takes back what is staged. The answer is what each route was and is again, last change first.
    pub(crate) fn take_back(&mut self, arena: &mut Arena) -> Vec<(Option<NextHopId>, Option<NextHopId>)> {
        let Some(stage) = self.stage.take() else { return Vec::new() };
        for offset in stage.made {
            let bytes = if offset == self.root { ROOT_BYTES } else { NODE_BYTES };
            arena.free(Block::at(offset, bytes));
        }
        self.root = stage.root;
        stage.before.into_iter().rev().map(|(prefix, old)| (self.put(prefix, old), old)).collect()
    }

    /// Writes what `prefix` covers anew, in pages that nobody sees.
    fn rewrite(&mut self, stage: &mut Stage, arena: &mut Arena, prefix: Prefix) -> Result<(), TableError> {
        self.root = stage.own(arena, self.root, ROOT_BYTES)?;
        let mut page = Page { offset: self.root, end: ROOT_BITS, width: ROOT_BITS };
        while let Some((at, child)) = self.page_below(arena, page, prefix) {
            let child = stage.own(arena, child, NODE_BYTES)?;
            write(arena, at, &[CHILD | child.granules()]);
            page = Page { offset: child, end: page.end + NODE_BITS, width: NODE_BITS };
        }
        let mut builder = Builder { arena, made: Vec::new() };
        let outcome = self.entries(&mut builder, page, prefix);
        let Builder { arena, made } = builder;
        let (first, fresh) = match outcome {
            Ok(entries) => entries,
            Err(error) => {
                made.into_iter().for_each(|block| arena.free(block));
                return Err(error);
            }
        };
        stage.made.extend(made.iter().map(|block| block.offset));
        let at = page.offset.bytes() + first * 4;
        let mut gone = Vec::new();
        for entry in words(arena, at, fresh.len()) {
            nodes_below(arena, entry.load(Ordering::Relaxed), &mut gone);
        }
        gone.into_iter().for_each(|block| stage.leave(arena, block));
        write(arena, at, &fresh);
        Ok(())
    }
}

/// Writes entries of a page that nobody sees: the store that publishes its root orders these.
fn write(arena: &Arena, at: usize, entries: &[u32]) {
    for (word, entry) in words(arena, at, entries.len()).iter().zip(entries) {
        word.store(*entry, Ordering::Relaxed);
    }
}

//! Many changes at once: they go into a copy of the root page, and nobody sees it until it is published
//! with the rest of a generation. Nodes that no change touches are part of both.

use std::collections::BTreeSet;

use super::{Applied, Fib, Node, Prefix, RouteChange, Store, Uses};
use crate::adjacency::NextHopId;
use crate::arena::{Arena, Block};
use crate::layout::Offset;
use crate::writer::TableError;

/// Changes of one family that nobody sees yet.
#[derive(Debug)]
pub(super) struct Stage {
    /// The root page in force.
    root: Block,
    /// What the changed routes were, in the order of the changes.
    routes: Vec<RouteChange>,
    /// What the changed nodes were, in that order.
    nodes: Vec<(Prefix, Option<Node>)>,
    /// Blocks that were made since, the root page among them.
    made: Vec<Block>,
    /// Where they are.
    fresh: BTreeSet<Offset>,
    /// Blocks in force that are not part of what is staged.
    left: Vec<Block>,
}

impl Fib {
    /// Sets and removes routes, in order, in a copy that nobody sees; `store` writes into it. The answer
    /// says which ids are used more or less.
    ///
    /// # Errors
    /// [`TableError::ArenaFull`]: these routes are as before; what is staged is to be taken back.
    pub(crate) fn stage(
        &mut self,
        arena: &mut Arena,
        changes: &[RouteChange],
        store: impl Fn(&Arena, Store),
    ) -> Result<Uses, TableError> {
        let mut stage = match self.stage.take() {
            Some(stage) => stage,
            None => self.begin(arena)?,
        };
        let done = self.attempt(arena, changes).map(|applied| {
            let Applied { routes, nodes, stores, made } = applied;
            stores.into_iter().for_each(|one| store(arena, one));
            let uses = self.uses(&routes);
            stage.routes.extend(routes);
            for block in nodes.iter().filter_map(|(_, node)| node.as_ref()?.block) {
                // What was made for an earlier change stays until the end: it may be what is taken back to.
                if !stage.fresh.contains(&block.offset) {
                    stage.left.push(block);
                }
            }
            stage.nodes.extend(nodes);
            stage.fresh.extend(made.iter().map(|block| block.offset));
            stage.made.extend(made);
            uses
        });
        self.stage = Some(stage);
        done
    }

    /// Copies the root page.
    fn begin(&mut self, arena: &mut Arena) -> Result<Stage, TableError> {
        let bytes = arena.region().records::<u8>(self.root.offset.bytes(), self.root.bytes());
        let copy = bytes.ok_or(TableError::ArenaFull)?.to_vec();
        let copy = arena.store(&copy)?;
        let root = core::mem::replace(&mut self.root, copy);
        let (routes, nodes, left) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Stage { root, routes, nodes, left, made: vec![copy], fresh: BTreeSet::from([copy.offset]) })
    }

    /// What is staged is in force: the blocks that it replaced are to be retired.
    pub(crate) fn keep_staged(&mut self) -> Vec<Block> {
        let Some(stage) = self.stage.take() else { return Vec::new() };
        let used: BTreeSet<Offset> = self
            .nodes
            .values()
            .filter_map(|node| Some(node.block?.offset))
            .chain([self.root.offset])
            .collect();
        let unused = stage.made.into_iter().filter(|block| !used.contains(&block.offset));
        unused.chain(stage.left).chain([stage.root]).collect()
    }

    /// Takes back what is staged. The answer is what each route was and is again, last change first.
    pub(crate) fn take_back(&mut self, arena: &mut Arena) -> Vec<(Option<NextHopId>, Option<NextHopId>)> {
        let Some(stage) = self.stage.take() else { return Vec::new() };
        stage.made.into_iter().for_each(|block| arena.free(block));
        self.root = stage.root;
        for (area, node) in stage.nodes.into_iter().rev() {
            self.put_node(area, node);
        }
        stage.routes.into_iter().rev().map(|(prefix, old)| (self.put(prefix, old), old)).collect()
    }
}

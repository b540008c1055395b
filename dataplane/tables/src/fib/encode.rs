//! Intervals as the bytes of a node, in memory that no reader sees yet.

use super::sweep::Intervals;
use super::{NODE_WORDS, SLOTS, Value, Word, kind};
use crate::arena::{Arena, Block};
use crate::layout::GRANULE;
use crate::writer::TableError;
use zerocopy::{FromBytes, IntoBytes};

/// Intervals of each kind of line.
const SMALL: usize = 8;
const LINE: usize = 16;
const WIDE: usize = 11;
/// Children of an inner line.
const CHILDREN: usize = 32;
/// From so many intervals on a node of words is made, which is two loads for any number of them, and costs
/// 16 KiB besides the answers: early below the root page, where nearly all look-ups come by, while there are
/// not too many such nodes; further down when a tree is no smaller.
const MANY_EARLY: usize = 96;
const MANY_AT_ROOT: usize = 512;
const MANY: usize = 8192;

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Below the root page, where memory is no matter.
    Early,
    /// Below the root page.
    AtRoot,
    /// Further down.
    Deep,
}
/// Half-words of a line.
const HALVES: usize = 32;
/// Fills the places of starts that a line does not need: no key is above it.
const NEVER: u16 = u16::MAX;

/// Blocks made for a change that may still fail.
pub(super) struct Builder<'a> {
    pub(super) arena: &'a mut Arena,
    pub(super) made: Vec<Block>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(arena: &'a mut Arena) -> Self {
        Self { arena, made: Vec::new() }
    }

    /// A block with these bytes in it, and with room for a word behind them: readers of a half-word take
    /// its neighbour too.
    pub(super) fn store(&mut self, bytes: &[u8]) -> Result<Block, TableError> {
        let block = self.arena.store(bytes)?;
        self.made.push(block);
        Ok(block)
    }

    /// A node for the intervals of 2^16 slots; no block when one answer holds for all.
    pub(super) fn node(
        &mut self,
        intervals: &Intervals,
        place: Place,
    ) -> Result<(Value, Option<Block>), TableError> {
        let many = match place {
            Place::Early => MANY_EARLY,
            Place::AtRoot => MANY_AT_ROOT,
            Place::Deep => MANY,
        };
        let intervals = intervals.as_slice();
        if let [(_, value)] = intervals {
            return Ok((*value, None));
        }
        let wide = intervals.iter().any(|(_, value)| !value.is_narrow());
        let (kind, block) = match intervals.len() {
            0..=SMALL if !wide => (kind::SMALL, self.store(small(intervals).as_bytes())?),
            0..=LINE if !wide => (kind::LINE, self.store(line(intervals).as_bytes())?),
            0..=WIDE if wide => (kind::WIDE, self.store(wide_line(intervals).as_bytes())?),
            count if count >= many => (kind::WORDS, self.words(intervals)?),
            _ => self.tree(intervals, wide)?,
        };
        let value = Value::reference(kind, block.offset).ok_or(TableError::ArenaFull)?;
        Ok((value, Some(block)))
    }

    /// Lines below up to three levels of inner lines, all in one block: the root first, level by level.
    fn tree(&mut self, intervals: &[(u32, Value)], wide: bool) -> Result<(u32, Block), TableError> {
        let leaves: Vec<_> = intervals.chunks(if wide { WIDE } else { LINE }).collect();
        let mut levels: Vec<Vec<u32>> = Vec::new();
        let mut starts: Vec<u32> = leaves.iter().map(|leaf| first(leaf)).collect();
        while starts.len() > 1 {
            let parents = starts.chunks(CHILDREN).filter_map(|children| children.first().copied()).collect();
            levels.push(core::mem::replace(&mut starts, parents));
        }
        levels.reverse();
        let mut lines: Vec<[u16; HALVES]> = Vec::new();
        let (mut begin, mut count) = (0, 1);
        for children in &levels {
            for (index, children) in children.chunks(CHILDREN).enumerate() {
                let to = begin + count + index * CHILDREN - lines.len();
                lines.push(inner(children, to));
            }
            (begin, count) = (begin + count, children.len());
        }
        lines.extend(leaves.iter().map(|leaf| if wide { wide_line(leaf) } else { line(leaf) }));
        let kind = if wide { kind::WIDE_TREE } else { kind::TREE } + levels.len() as u32;
        Ok((kind, self.store(lines.as_bytes())?))
    }

    /// A bitmap for every 32 slots, all in one block with the answers behind them.
    fn words(&mut self, intervals: &[(u32, Value)]) -> Result<Block, TableError> {
        let runs = runs(intervals, NODE_WORDS);
        let bytes = NODE_WORDS * 8 + runs.iter().map(Run::half_words).sum::<usize>() * 2;
        // Behind the last answer there is at least a half-word.
        let block = self.arena.allocate(bytes + 2)?;
        self.made.push(block);
        let (words, halves) = place(&runs, block, NODE_WORDS * 4)?;
        let mut bytes = words.as_bytes().to_vec();
        bytes.extend_from_slice(halves.as_bytes());
        self.arena.write(block, &bytes)?;
        Ok(block)
    }

    /// A copy of a node of words in which some slots answer otherwise. They had wide answers that no
    /// neighbour shared.
    ///
    /// # Errors
    /// [`TableError::ArenaFull`].
    pub(super) fn patched(
        &mut self,
        old: Block,
        patches: &[(u32, Value)],
    ) -> Result<(Value, Block), TableError> {
        let block = self.arena.allocate(old.bytes())?;
        self.made.push(block);
        let halves = |block: Block| block.offset.granules() as usize * (GRANULE / 2);
        let (from, to) = (halves(old), halves(block));
        let region = self.arena.region();
        let count = old.bytes() / 2;
        let mut copy =
            region.records::<u16>(old.offset.bytes(), count).ok_or(TableError::ArenaFull)?.to_vec();
        for (slot, value) in patches {
            let word = *slot as usize / SLOTS * 4;
            let word = copy.get(word..word + 4).ok_or(TableError::ArenaFull)?;
            let (place, _) = Word(u64::read_from_bytes(word.as_bytes()).unwrap_or(0)).place(*slot);
            let cell = place.checked_sub(from).and_then(|at| copy.get_mut(at..at + 2));
            let cell = cell.ok_or(TableError::ArenaFull)?;
            cell.copy_from_slice(&[value.0 as u16, (value.0 >> 16) as u16]);
        }
        for word in copy.chunks_exact_mut(4).take(NODE_WORDS) {
            let old = Word(u64::read_from_bytes(word.as_bytes()).unwrap_or(0));
            let moved = old.moved(from, to).ok_or(TableError::ArenaFull)?;
            word.as_mut_bytes().copy_from_slice(&moved.0.to_ne_bytes());
        }
        self.arena.write(block, copy.as_bytes())?;
        Ok((Value::reference(kind::WORDS, block.offset).ok_or(TableError::ArenaFull)?, block))
    }

    /// The answers of `runs` in a block of their own, and the words that name them.
    pub(super) fn cells(&mut self, runs: &[Run]) -> Result<(Vec<u64>, Block), TableError> {
        let bytes = runs.iter().map(Run::half_words).sum::<usize>() * 2;
        let block = self.arena.allocate(bytes + 2)?;
        self.made.push(block);
        let (words, halves) = place(runs, block, 0)?;
        self.arena.write(block, halves.as_bytes())?;
        Ok((words, block))
    }
}

fn first(intervals: &[(u32, Value)]) -> u32 {
    intervals.first().map_or(0, |(start, _)| *start)
}

/// Writes the starts but the first, each less one: the number of those below a key is its interval.
fn write_starts(intervals: &[(u32, Value)], keys: &mut [u16]) {
    keys.fill(NEVER);
    for (key, (start, _)) in keys.iter_mut().zip(intervals.iter().skip(1)) {
        *key = (start - 1) as u16;
    }
}

fn small(intervals: &[(u32, Value)]) -> [u16; HALVES / 2] {
    let mut halves = [0; HALVES / 2];
    let (keys, answers) = halves.split_at_mut(SMALL);
    write_starts(intervals, keys);
    write_narrow(intervals, answers);
    halves
}

fn line(intervals: &[(u32, Value)]) -> [u16; HALVES] {
    let mut halves = [0; HALVES];
    let (keys, answers) = halves.split_at_mut(LINE);
    write_starts(intervals, keys);
    write_narrow(intervals, answers);
    halves
}

fn write_narrow(intervals: &[(u32, Value)], answers: &mut [u16]) {
    for (answer, (_, value)) in answers.iter_mut().zip(intervals) {
        *answer = value.0 as u16;
    }
}

fn wide_line(intervals: &[(u32, Value)]) -> [u16; HALVES] {
    let mut halves = [0; HALVES];
    let (keys, answers) = halves.split_at_mut(WIDE - 1);
    write_starts(intervals, keys);
    for (answer, (_, value)) in answers.chunks_exact_mut(2).zip(intervals) {
        answer.copy_from_slice(&[value.0 as u16, (value.0 >> 16) as u16]);
    }
    halves
}

/// An inner line: its last half-word is the distance in lines to its first child.
fn inner(children: &[u32], distance: usize) -> [u16; HALVES] {
    let mut halves = [NEVER; HALVES];
    for (key, start) in halves.iter_mut().zip(children.iter().skip(1)) {
        *key = (start - 1) as u16;
    }
    // A tree has at most 65,536 / 11 + 191 lines.
    halves[HALVES - 1] = distance as u16;
    halves
}

/// The slots of one word: where answers change, and the answers.
#[derive(Debug, Default, Clone)]
pub(super) struct Run {
    starts: u32,
    answers: Vec<Value>,
}

impl Run {
    fn is_wide(&self) -> bool {
        self.answers.iter().any(|value| !value.is_narrow())
    }

    fn half_words(&self) -> usize {
        if self.is_wide() { self.answers.len() * 2 } else { self.answers.len() }
    }
}

/// The runs of `count` words.
pub(super) fn runs(intervals: &[(u32, Value)], count: usize) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::with_capacity(count);
    let mut rest = intervals.iter().peekable();
    let mut current = Value(0);
    for word in 0..count {
        let first = (word * SLOTS) as u32;
        let mut run = Run::default();
        if rest.peek().is_none_or(|(start, _)| *start > first) {
            (run.starts, run.answers) = (1, vec![current]);
        }
        while let Some((start, value)) = rest.next_if(|(start, _)| ((*start - first) as usize) < SLOTS) {
            run.starts |= 1 << (start - first);
            run.answers.push(*value);
            current = *value;
        }
        runs.push(run);
    }
    runs
}

/// Words and answers, which begin `begin` half-words into `block`.
fn place(runs: &[Run], block: Block, begin: usize) -> Result<(Vec<u64>, Vec<u16>), TableError> {
    let mut words = Vec::with_capacity(runs.len());
    let mut halves: Vec<u16> = Vec::new();
    let base = block.offset.granules() as usize * (GRANULE / 2) + begin;
    for run in runs {
        let wide = run.is_wide();
        let word = Word::new(run.starts, base + halves.len(), wide).ok_or(TableError::ArenaFull)?;
        words.push(word.0);
        for value in &run.answers {
            halves.push(value.0 as u16);
            if wide {
                halves.push((value.0 >> 16) as u16);
            }
        }
    }
    Ok((words, halves))
}

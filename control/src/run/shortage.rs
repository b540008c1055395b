//! What the tables refused, and whether it is worth trying again: bringing everything into the tables costs
//! a walk over all routes, which nobody should pay every second while nothing has changed (FAIL-16).

use sixlane_tables::{Memory, TableError};

use super::control::Parts;

/// How things stood when something was refused.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shortage {
    /// It was memory that lacked, not a limit of `[limits]`.
    arena: bool,
    /// Routes that should be in the tables.
    wanted: usize,
    /// Routes of them that are not there.
    pub(super) missing: usize,
    occupied: Memory,
}

impl Shortage {
    pub(super) fn of(parts: &Parts, error: &TableError) -> Self {
        let wanted = parts.desired.routes4.len() + parts.desired.routes6.len();
        Self {
            arena: matches!(error, TableError::ArenaFull),
            wanted,
            missing: wanted.saturating_sub(parts.publisher.route_count()),
            occupied: parts.publisher.writer().memory(),
        }
    }

    /// Whether something has been freed since, or less is wanted.
    pub(super) fn eased(&self, parts: &Parts) -> bool {
        let (then, now) = (&self.occupied, parts.publisher.writer().memory());
        let memory = now.capacity > then.capacity || now.used < then.used;
        let wanted = parts.desired.routes4.len() + parts.desired.routes6.len();
        wanted < self.wanted
            || now.routes4 < then.routes4
            || now.routes6 < then.routes6
            || now.adjacencies < then.adjacencies
            || (self.arena && memory)
            // Nothing is known of the first tables.
            || then.capacity == 0
    }
}

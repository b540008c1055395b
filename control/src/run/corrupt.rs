//! Tables that workers find damaged (FAIL-23): each such packet is dropped as `table_corrupt`, and the
//! operator is told. Nothing in the product can write them but this process, so it is not repaired in
//! silence: a fresh set of tables comes with another control.

use super::control::Control;
use crate::alarms::Alarm;

/// Without another such packet for so long the alarm is over.
const QUIET_NS: u64 = 60_000_000_000;

/// What the workers had counted.
#[derive(Debug, Default)]
pub(super) struct Corrupt {
    /// The figure of the last look; `None` before the first.
    seen: Option<u64>,
    risen_ns: u64,
}

impl Control {
    /// Every second: an alarm while workers find records that point outside the tables.
    pub(super) fn watch_tables(&mut self, now: u64) {
        let count = self.parts.workers.totals().dropped.get("table_corrupt").copied().unwrap_or(0);
        let risen = self.corrupt.seen.replace(count).is_some_and(|seen| count > seen);
        if risen {
            self.corrupt.risen_ns = now;
            self.alarm(
                Alarm::TableCorrupt,
                format!(
                    "workers have dropped {count} packets because records in the tables point outside them: \
                     kill the control process (the keeper starts another, which builds them anew) and report it"
                ),
            );
        } else if now.saturating_sub(self.corrupt.risen_ns) > QUIET_NS {
            self.parts.alarms.clear(Alarm::TableCorrupt);
        }
    }
}

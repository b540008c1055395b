//! Tables that workers find damaged (FAIL-23): each such packet is dropped as `table_corrupt`, the operator is
//! told, and a fresh set of tables takes the place of the damaged one. Nothing in the product can write them
//! but this process, so it is never done in silence; and a worker that only says so, because it is in an
//! attacker's hands, gets a fresh set ever more seldom.

use super::control::{Control, Parts};
use super::start;
use crate::alarms::Alarm;
use crate::clock::now_ns;

/// Without another such packet for so long the alarm is over.
const QUIET_NS: u64 = 60_000_000_000;
/// The pause before the second fresh set; it doubles so often.
const PAUSE_NS: u64 = 60_000_000_000;
const DOUBLED_MAX: u32 = 6;

/// What the workers had counted.
#[derive(Debug, Default)]
pub(super) struct Corrupt {
    /// The figure of the last look; `None` before the first.
    seen: Option<u64>,
    risen_ns: u64,
    /// Fresh sets since it was quiet, and when the next one may be made.
    rebuilt: u32,
    again_ns: u64,
}

impl Control {
    /// Every second: an alarm and fresh tables while workers find records that point outside the tables.
    pub(super) fn watch_tables(&mut self, now: u64) {
        let count = self.parts.workers.totals().dropped.get("table_corrupt").copied().unwrap_or(0);
        let risen = self.corrupt.seen.replace(count).is_some_and(|seen| count > seen);
        if risen {
            self.corrupt.risen_ns = now;
            let mut done = String::new();
            if now >= self.corrupt.again_ns {
                self.corrupt.again_ns = now.saturating_add(PAUSE_NS << self.corrupt.rebuilt.min(DOUBLED_MAX));
                match self.rebuild_tables() {
                    Ok(()) => self.corrupt.rebuilt = self.corrupt.rebuilt.saturating_add(1),
                    Err(sentence) => done = format!("they cannot be built anew ({sentence}); "),
                }
            }
            let times = self.corrupt.rebuilt;
            self.alarm(
                Alarm::TableCorrupt,
                format!(
                    "workers have dropped {count} packets because records in the tables point outside them; {done}\
                     the tables have been built anew {times} times: report it, and restart sixlane if it goes on"
                ),
            );
        } else if now.saturating_sub(self.corrupt.risen_ns) > QUIET_NS {
            self.parts.alarms.clear(Alarm::TableCorrupt);
            if now >= self.corrupt.again_ns {
                self.corrupt.rebuilt = 0;
            }
        }
    }

    /// Another set of tables with the same content, as another control would make it; the workers go over to
    /// it between two turns.
    fn rebuild_tables(&mut self) -> Result<(), String> {
        self.take_punts();
        self.workers_hand_over();
        let Parts { config, desired, plan, neighbours, publisher, workers, alarms, .. } = &mut self.parts;
        let mut writer = start::make_tables(config, desired)?;
        start::open_inject_rings(&mut writer, workers, plan.workers)?;
        *publisher = start::first_tables(writer, desired, neighbours, alarms)?;
        workers.read_by(publisher.writer(), now_ns());
        self.tables_are_first();
        self.hand_tables_out();
        Ok(())
    }
}

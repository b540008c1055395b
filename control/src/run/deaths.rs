//! Processes that die: how often, and the alarm while it goes on.

use super::control::Control;
use crate::alarms::Alarm;
use crate::link::{Child, ChildDeaths};

/// A process that has died so often in a minute is not getting over it by itself.
const RECENT_MAX: u32 = 3;
/// Without another death for so long it has got over it.
const QUIET_NS: u64 = 60_000_000_000;

/// What the keeper has told.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    pub(super) control: u32,
    /// When the last of too many deaths was told.
    alarmed_ns: Option<u64>,
}

impl Control {
    /// A child has died, and it may be this process's predecessor.
    pub(super) fn child_died(&mut self, deaths: &ChildDeaths, now: u64) {
        let name = match deaths.child {
            Child::Control => {
                self.deaths.control = deaths.total;
                "control"
            }
            // The living data plane's number says how often: its segments tell it.
            Child::DataPlane => "the data plane",
        };
        if deaths.recent < RECENT_MAX {
            return;
        }
        self.deaths.alarmed_ns = Some(now);
        let sentence = format!(
            "{name} has died {} times in a minute, last by {}, and is started again each time, with a pause \
             of up to a second; the log says how it ended: report it with that",
            deaths.recent, deaths.last
        );
        self.alarm(Alarm::ChildRestarting, sentence);
    }

    /// Every second: is it over?
    pub(super) fn deaths_over(&mut self, now: u64) {
        if self.deaths.alarmed_ns.is_some_and(|then| now.saturating_sub(then) > QUIET_NS) {
            self.deaths.alarmed_ns = None;
            self.parts.alarms.clear(Alarm::ChildRestarting);
        }
    }
}

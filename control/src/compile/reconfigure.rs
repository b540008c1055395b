//! Another configuration for the kernel's same state: only what follows from the configuration is made
//! anew, so the cost does not depend on the number of routes. It can be taken back.

use std::collections::BTreeSet;

use ipnet::IpNet;
use sixlane_tables::{ClassRange, Settings};

use super::{Changes, Desired, Input, Sets, Target, check_sixtofour, routes, settings};
use crate::alarms::Alarm;
use crate::kernel::Pending;

/// What [`Desired::restore`] needs.
#[derive(Debug)]
pub(crate) struct Before {
    settings: Settings,
    classes: Vec<ClassRange>,
    pub(crate) sets: Sets,
    alarms: Vec<(Alarm, String)>,
}

/// Refuses a configuration that no start would accept, as far as it is the configuration's fault. (What
/// is wrong with a port is an alarm already.)
///
/// # Errors
/// One sentence with cause and remedy.
pub(crate) fn refuse(input: Input<'_>) -> Result<(), String> {
    check_sixtofour(input)?;
    settings::router_address(input, &mut Vec::new()).map(drop)
}

impl Desired {
    /// Brings everything to another configuration, which [`refuse`] lets pass.
    pub(crate) fn reconfigure(&mut self, input: Input<'_>) -> (Changes, Before) {
        let before = Before {
            settings: self.settings,
            classes: self.classes.clone(),
            sets: self.sets.clone(),
            alarms: self.alarms.clone(),
        };
        (self.follow(input, everything_of_state()), before)
    }

    /// Takes [`Desired::reconfigure`] back: `input` has the old configuration, and the kernel has not been
    /// followed since.
    pub(crate) fn restore(&mut self, input: Input<'_>, before: Before) {
        self.follow(input, everything_of_state());
        let Before { settings, classes, sets, alarms } = before;
        (self.settings, self.classes, self.sets, self.alarms) = (settings, classes, sets, alarms);
    }

    /// The prefixes that lead to `target` by our own doing, not by a route of the kernel.
    pub(crate) fn served(&self, target: Target) -> BTreeSet<IpNet> {
        routes::overlaid(self, target).collect()
    }
}

fn everything_of_state() -> Pending {
    Pending { state: true, ..Pending::default() }
}

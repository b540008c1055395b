//! What control hears of the deaths of children, its own among them.

use std::time::Instant;

use super::Supervisor;
use crate::child::Role;
use crate::protocol::{Deaths, Message, Text};

impl Supervisor<'_> {
    /// Writes a death down and tells a living control.
    pub(super) fn record_death(&mut self, role: Role, how: &str) {
        self.post(role).deaths.note(how, Instant::now());
        if role == Role::DataPlane {
            self.tell_deaths(role);
        }
    }

    /// Tells control how often a child has died, if it has.
    pub(super) fn tell_deaths(&mut self, role: Role) {
        let (child, record) = match role {
            Role::Control => (Deaths::CONTROL, &self.control.deaths),
            Role::DataPlane => (Deaths::DATA_PLANE, &self.data_plane.deaths),
            Role::Observer => return,
        };
        if record.total == 0 {
            return;
        }
        let last = Text::new(&record.last);
        let deaths = Deaths { child, total: record.total, recent: record.recent(), last };
        self.control.send(Message::Deaths(deaths), Vec::new());
    }
}

//! The keeper dies and another one takes over.

use super::control::Control;
use crate::alarms::Alarm;
use crate::link::ToKeeper;

impl Control {
    /// Without a keeper everything goes on, and nobody restarts what dies next.
    pub(super) fn keeper_gone(&mut self) {
        self.reload_in_vain();
        let path = self.parts.path.display();
        // Control works in its runtime directory.
        let runtime = std::env::current_dir().unwrap_or_default();
        let runtime = runtime.display();
        let sentence = format!(
            "the keeper has died: forwarding goes on, but nothing that dies now is restarted; run \
             `sixlane run {path} --runtime {runtime}`, which takes over without loss"
        );
        self.alarm(Alarm::KeeperGone, sentence);
    }

    /// A new keeper hears everything that it has to hold for the next control or data plane: what was
    /// said while there was none, or last to the one before, may be unknown to it.
    pub(super) fn adopted(&mut self) {
        self.parts.alarms.clear(Alarm::KeeperGone);
        // A wish that was not heard may be wished again.
        self.restart_asked = 0;
        let dead = self.parts.workers.dead();
        match dead.seal() {
            Ok(fd) => self.parts.messages.push_back(ToKeeper::Totals { incarnation: dead.incarnation, fd }),
            Err(error) => tracing::warn!("the counters of the dead cannot be kept: {error}"),
        }
        self.tell_configuration();
        self.hand_tables_out();
    }

    /// The keeper gets the whole set of tables; the data plane goes over to it.
    pub(super) fn hand_tables_out(&mut self) {
        let writer = self.parts.publisher.writer();
        let set = writer.generation();
        for (index, segment) in (0..).zip(writer.segments()) {
            match segment.share() {
                Ok(fd) => self.parts.messages.push_back(ToKeeper::TablesSegment { set, index, fd }),
                Err(error) => tracing::warn!("a segment of tables cannot be handed out: {error}"),
            }
        }
        self.parts.messages.push_back(ToKeeper::Ready);
    }
}

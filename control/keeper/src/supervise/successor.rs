//! One keeper after the other: what this one leaves, and how it goes on where the one before was killed.

use tokio::time::Instant;

use super::{Identities, Supervisor, observer};
use crate::adopt::{self, Legacy};
use crate::backoff::Record;
use crate::child::Role;
use crate::confine;
use crate::error::KeeperError;
use crate::estate;
use crate::name::Name;
use crate::orphans;
use crate::plan::Plan;
use crate::protocol::{Estate, Link, Message, Ready};
use crate::runtime::{NotedChild, RuntimeDirectory};
use crate::store::{self, Parcel};

/// Takes over what a killed keeper left; where that cannot be, ends what is left of its children.
pub(super) fn inherit(directory: &RuntimeDirectory, noted: &[NotedChild], plan: &Plan) -> Option<Legacy> {
    if noted.is_empty() {
        return None;
    }
    match adopt::collect(directory, noted, plan) {
        Ok(legacy) => Some(legacy),
        Err(error) => {
            tracing::warn!("a keeper was killed here, and its processes are not taken over: {error}");
            orphans::end(noted);
            None
        }
    }
}

/// The name as a child gets it, only to hold it.
pub(super) fn name_parcel(name: &Name) -> Parcel {
    (Message::Link(Link { what: Link::NAME, port: 0 }), vec![name.socket()])
}

impl<'a> Supervisor<'a> {
    /// Goes on where a keeper was killed.
    ///
    /// # Errors
    /// [`KeeperError`]: the privileges could not be given up. The children run on, without a keeper.
    pub(super) fn resume(
        plan: &'a Plan,
        directory: &'a RuntimeDirectory,
        identities: Identities,
        legacy: Legacy,
    ) -> Result<Self, KeeperError> {
        // The observer ends with its keeper. Without metrics the relay goes on all the same.
        let listener = observer::listen(plan.metrics).unwrap_or_else(|error| {
            tracing::error!("{error}");
            None
        });
        confine::keeper()?;
        let Legacy { held, workers, name, control, data_plane, noted_data_plane, estate } = legacy;
        tracing::info!("control (pid {}) is taken over from a keeper that was killed", control.pid());
        if held.configuration_text().is_none_or(|text| text != plan.config_text) {
            tracing::warn!(
                "the configuration has been changed since it was put in force: `sixlane reload` puts the new one in force"
            );
        }
        let mut supervisor = Self::new(plan, directory, held, identities, name);
        supervisor.workers = workers;
        supervisor.incarnation = estate.incarnation;
        supervisor.control_incarnation = estate.control_incarnation;
        supervisor.control.child = Some(control);
        supervisor.control.at_work = true;
        supervisor.noted_data_plane = Some(noted_data_plane);
        supervisor.complete = true;
        supervisor.control.deaths = Record::of_earlier(estate.control_incarnation.saturating_sub(1));
        supervisor.data_plane.deaths = Record::of_earlier(estate.incarnation.saturating_sub(1));
        // First of all, so that control takes this connection for its channel.
        supervisor.control.send(Message::Ready(Ready::new(Ready::ADOPTED)), Vec::new());
        match data_plane {
            Some(data_plane) => {
                tracing::info!("the data plane (pid {}) is taken over", data_plane.pid());
                supervisor.data_plane.child = Some(data_plane);
                supervisor.data_plane.at_work = true;
            }
            None => {
                tracing::error!("the data plane died while there was no keeper, it is started again");
                let incarnation = supervisor.workers.bury();
                supervisor.control.send(store::down(incarnation), Vec::new());
                supervisor.record_death(Role::DataPlane, "an unknown end");
                // Control now hands its tables over, says that it is at work, and then it is started.
            }
        }
        supervisor.observer.post.due = listener.is_some().then(Instant::now);
        supervisor.observer.listener = listener;
        supervisor.note_children(Role::Control);
        supervisor.provide_for_successor();
        Ok(supervisor)
    }

    /// Brings control's copy of what is held up to date. Call it after every event.
    pub(super) fn provide_for_successor(&mut self) {
        if self.control.child.is_none() || !self.held.attached() {
            return;
        }
        let mut parcels = self.held.estate();
        parcels.extend(self.workers.estate());
        parcels.push(name_parcel(&self.name));
        if let Some(child) = &self.data_plane.child {
            let channel = Link { what: Link::CHANNEL, port: 0 };
            parcels.push((Message::Link(channel), vec![child.end()]));
        }
        let head = Estate {
            shape: estate::shape(self.plan),
            parcels: 0,
            incarnation: self.incarnation,
            control_incarnation: self.control_incarnation,
            at_work: u32::from(self.complete),
        };
        let messages = self.mirror.update(parcels, head);
        self.control.send_all(messages);
    }

    /// Writes down who the children are: those that live, and the newest data plane even when it has
    /// died, because its number tells a successor whether it knows all of it.
    pub(super) fn note_children(&mut self, started: Role) {
        let note = |role: Role, child: &crate::child::Child, number| {
            Some(NotedChild { process: child.noted()?, role: role.word().to_owned(), number })
        };
        let data_plane = self.data_plane.child.as_ref();
        if let (Role::DataPlane, Some(child)) = (started, data_plane) {
            self.noted_data_plane = note(Role::DataPlane, child, self.incarnation);
        }
        let control = self.control.child.as_ref();
        let control = control.and_then(|child| note(Role::Control, child, self.control_incarnation));
        let children: Vec<NotedChild> = control.into_iter().chain(self.noted_data_plane.clone()).collect();
        if let Err(error) = self.directory.note_children(&children) {
            tracing::warn!("the list of children cannot be written: {error}");
        }
    }
}

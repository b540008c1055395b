//! Taking over from a keeper that was killed: its children live, and control has kept everything it held.
//!
//! Who the children are is read in the runtime directory, in a list that only root can write, never
//! asked of control. What control hands over is looked at before it is used, and taken whole or not at
//! all: the fallback, a fresh start behind the fence, is always possible.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags};
use rustix::time::Timespec;

use crate::channel::{Channel, peer};
use crate::child::{Child, Role};
use crate::estate;
use crate::held::Held;
use crate::name::Name;
use crate::plan::Plan;
use crate::protocol::{Estate, Keep, Link, Message, ProtocolError, Segment};
use crate::runtime::{NotedChild, RuntimeDirectory};
use crate::store::WorkerStore;

/// How long control may take to notice that its keeper has died.
const NOTICES: Duration = Duration::from_millis(800);
/// How long control may take to hand everything over.
const HANDS_OVER: Duration = Duration::from_millis(800);
/// Pause between two attempts to reach control.
const PAUSE: Duration = Duration::from_millis(2);
/// More parcels than any plan has: a socket for each of 64 queues of 64 ports, and a few for each worker.
const PARCELS_MAX: usize = 8192;

/// Why the children cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdoptError {
    /// Nobody to ask.
    #[error("control has died too")]
    NoControl,
    /// The channel.
    #[error("control cannot be reached ({0})")]
    Unreachable(io::Error),
    /// Somebody else listens in the runtime directory.
    #[error("process {0} listens in place of control")]
    Stranger(i32),
    /// Messages of another build, or none of ours.
    #[error("control does not speak as this build does ({0})")]
    Foreign(#[from] ProtocolError),
    /// The keeper was killed before it had handed this to control.
    #[error("control has not kept {0}")]
    Lacks(&'static str),
    /// A descriptor is not what it is said to be.
    #[error("a descriptor is not what it should be ({0})")]
    Descriptor(io::Error),
    /// Another configuration.
    #[error("{0} have been changed in the configuration, which takes effect only with a fresh start")]
    Changed(&'static str),
    /// The data plane was just being started.
    #[error("the data plane was being started when the keeper died")]
    Starting,
}

/// What a killed keeper left, whole and looked at.
pub(crate) struct Legacy {
    pub(crate) held: Held,
    pub(crate) workers: WorkerStore,
    pub(crate) name: Name,
    pub(crate) control: Child,
    /// `None`: it has died meanwhile.
    pub(crate) data_plane: Option<Child>,
    /// Also of a data plane that has died.
    pub(crate) noted_data_plane: NotedChild,
    pub(crate) estate: Estate,
}

/// A parcel as it came.
pub(crate) type Found = (Message, Vec<OwnedFd>);

/// Collects everything from control.
///
/// # Errors
/// [`AdoptError`]: then nothing has been changed, and control waits for another keeper.
pub(crate) fn collect(
    directory: &RuntimeDirectory,
    noted: &[NotedChild],
    plan: &Plan,
) -> Result<Legacy, AdoptError> {
    let newest = |role: Role| noted.iter().find(|child| child.role == role.word()).cloned();
    let control = newest(Role::Control).ok_or(AdoptError::NoControl)?;
    let control_pidfd = living(&control).ok_or(AdoptError::NoControl)?;
    let channel = reach(directory, &control)?;
    let (mut parcels, estate) = ask_for_all(&channel)?;
    if let Some(part) = estate::difference(&estate.shape, &estate::shape(plan)) {
        return Err(AdoptError::Changed(part));
    }
    let noted_data_plane = newest(Role::DataPlane).ok_or(AdoptError::Starting)?;
    if estate.at_work != 1 || noted_data_plane.number != estate.incarnation {
        return Err(AdoptError::Starting);
    }
    let name = take_link(&mut parcels, Link::NAME).ok_or(AdoptError::Lacks("the name"))?;
    let door = take_link(&mut parcels, Link::CHANNEL);
    let (held, rest) = Held::adopt(&plan.ports, parcels)?;
    let segments = rest.into_iter().filter_map(|(message, fds)| match message {
        Message::Segment(segment) if [Segment::WORKER, Segment::TOTALS].contains(&segment.what) => {
            Some((segment, fds))
        }
        _ => None,
    });
    let workers = WorkerStore::adopt(segments);
    if !workers.complete(estate.incarnation, held.workers()) {
        return Err(AdoptError::Lacks("the segments of the workers"));
    }
    let data_plane = match living(&noted_data_plane) {
        None => None,
        Some(pidfd) => {
            let channel = Channel::over(door.ok_or(AdoptError::Lacks("the data plane's channel"))?);
            Some(adopted(Role::DataPlane, &noted_data_plane, pidfd, channel)?)
        }
    };
    Ok(Legacy {
        held,
        workers,
        name: Name::adopt(name).map_err(AdoptError::Descriptor)?,
        control: adopted(Role::Control, &control, control_pidfd, channel)?,
        data_plane,
        noted_data_plane,
        estate,
    })
}

fn adopted(role: Role, noted: &NotedChild, pidfd: OwnedFd, channel: Channel) -> Result<Child, AdoptError> {
    Child::adopt(role, noted.process, pidfd, channel).map_err(AdoptError::Unreachable)
}

/// A hold of the very process that was noted; `None` when it has ended.
fn living(noted: &NotedChild) -> Option<OwnedFd> {
    // The hold first, then the look at the start time: what is held is what was looked at.
    let pid = Pid::from_raw(noted.process.pid)?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&Timespec::default()));
    (noted.process.lives() && ended == Ok(0)).then_some(pidfd)
}

/// Connects to control, which may need a moment to notice that its keeper has died.
fn reach(directory: &RuntimeDirectory, control: &NotedChild) -> Result<Channel, AdoptError> {
    let deadline = Instant::now() + NOTICES;
    loop {
        match Channel::connect(&directory.keeper_socket()) {
            Ok(channel) => {
                let pid = peer(channel.as_fd()).map_err(AdoptError::Unreachable)?.pid;
                return if pid == control.process.pid { Ok(channel) } else { Err(AdoptError::Stranger(pid)) };
            }
            Err(_) if !control.process.lives() => return Err(AdoptError::NoControl),
            Err(error) if Instant::now() >= deadline => return Err(AdoptError::Unreachable(error)),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Asks for one parcel after the other, up to the last, which says how many there must be.
fn ask_for_all(channel: &Channel) -> Result<(Vec<Found>, Estate), AdoptError> {
    let deadline = Instant::now() + HANDS_OVER;
    let mut parcels: Vec<Found> = Vec::new();
    let mut after = 0;
    while parcels.len() < PARCELS_MAX {
        let ask = Message::Keep(Keep::about(Keep::ASK, after));
        channel.send(&ask, &[]).map_err(AdoptError::Unreachable)?;
        let (message, fds) = answer(channel, deadline)?;
        let Message::Keep(keep) = message else { return Err(AdoptError::Lacks("anything")) };
        let message = keep.message()?;
        if keep.what != Keep::PUT || keep.key <= after || keep.key != estate::key(&message) {
            return Err(AdoptError::Lacks("what it was told to"));
        }
        match message {
            Message::Estate(estate) if usize::try_from(estate.parcels) == Ok(parcels.len()) => {
                return Ok((parcels, estate));
            }
            Message::Estate(_) => return Err(AdoptError::Lacks("all that it was told to")),
            message => parcels.push((message, fds)),
        }
        after = keep.key;
    }
    Err(AdoptError::Lacks("a list with an end"))
}

fn answer(channel: &Channel, deadline: Instant) -> Result<Found, AdoptError> {
    let patience = deadline.saturating_duration_since(Instant::now());
    let patience = Timespec::try_from(patience).ok();
    match poll(&mut [PollFd::new(channel, PollFlags::IN)], patience.as_ref()) {
        Ok(0) => Err(AdoptError::Unreachable(io::ErrorKind::TimedOut.into())),
        Ok(_) => channel.receive().map_err(AdoptError::Unreachable),
        Err(errno) => Err(AdoptError::Unreachable(errno.into())),
    }
}

/// Takes the descriptor of a link of this kind out of the parcels.
fn take_link(parcels: &mut Vec<Found>, what: u32) -> Option<OwnedFd> {
    let at = parcels
        .iter()
        .position(|(message, _)| matches!(message, Message::Link(link) if link.what == what))?;
    parcels.remove(at).1.pop()
}

#[cfg(test)]
#[path = "adopt_tests.rs"]
mod tests;

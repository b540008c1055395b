//! The keeper's link as the event loop waits for it.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use sixlane_xsk::maps::Maps;
use tokio::io::unix::AsyncFd;

use super::wait::watch;
use crate::link::{FromKeeper, KeeperLink, PlanFacts, ToKeeper};

/// What the keeper says before the start.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) text: OwnedFd,
    pub(super) path: PathBuf,
    pub(super) plan: PlanFacts,
    pub(super) maps: Maps,
    /// The sum over the dead, of an earlier control.
    pub(super) totals: Option<OwnedFd>,
    /// The door and the kernel's number of its interface.
    pub(super) door: Option<(OwnedFd, u32)>,
    /// Everything else, in order: segments of workers, deaths.
    pub(super) rest: Vec<FromKeeper>,
}

/// The link, and the descriptor to wait on (a duplicate: the same open socket).
pub(super) struct Keeper {
    link: Box<dyn KeeperLink>,
    ready: AsyncFd<OwnedFd>,
    gone: bool,
}

/// A duplicate of the link's descriptor, non-blocking as the link itself is then, to wait on.
fn registered(link: &dyn KeeperLink) -> io::Result<AsyncFd<OwnedFd>> {
    let descriptor = link.descriptor()?.try_clone_to_owned()?;
    fcntl_setfl(&descriptor, fcntl_getfl(&descriptor)? | OFlags::NONBLOCK)?;
    watch(descriptor)
}

impl Keeper {
    pub(super) fn new(link: Box<dyn KeeperLink>) -> io::Result<Self> {
        let ready = registered(link.as_ref())?;
        Ok(Self { link, ready, gone: false })
    }

    /// Whether the keeper has died.
    pub(super) const fn gone(&self) -> bool {
        self.gone
    }

    /// The next message. After the keeper has gone (reported once as an error) it waits for another one.
    /// Nothing is lost when the wait is given up.
    pub(super) async fn receive(&mut self) -> io::Result<FromKeeper> {
        loop {
            let outcome = self.link.receive();
            if self.link.moved() {
                self.ready = registered(self.link.as_ref())?;
            }
            match outcome {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready.readable().await?.clear_ready();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nobody can come any more.
                Err(_) if self.gone => return pending().await,
                // A message of a living keeper that cannot be taken (no descriptor is free) is lost, and
                // with it what this control must know: another one hears everything.
                Err(error) => {
                    self.gone = error.kind() == io::ErrorKind::UnexpectedEof;
                    return Err(error);
                }
                Ok(message) => {
                    self.gone &= !matches!(message, FromKeeper::Adopted);
                    return Ok(message);
                }
            }
        }
    }

    /// Sends one message; waits for room first, because what does not fit would be lost.
    pub(super) async fn send(&mut self, message: ToKeeper) -> io::Result<()> {
        if self.gone {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        // Readiness is kept until a send says otherwise, and the keeper always reads: one wait is enough.
        drop(self.ready.writable().await?);
        self.link.send(message)
    }

    /// Collects what the keeper says until `Start`; `None`: it said stop.
    pub(super) async fn facts(&mut self) -> io::Result<Option<Facts>> {
        let (mut config, mut plan, mut maps, mut totals, mut door) = (None, None, None, None, None);
        let mut rest = Vec::new();
        loop {
            match self.receive().await? {
                FromKeeper::Config { text, path } => config = Some((text, path)),
                FromKeeper::Plan(facts) => plan = Some(facts),
                FromKeeper::Maps(all) => maps = Some(all),
                FromKeeper::Totals(fd) => totals = Some(fd),
                FromKeeper::Door { fd, ifindex } => door = Some((fd, ifindex)),
                FromKeeper::Start => break,
                FromKeeper::Stop => return Ok(None),
                other => rest.push(other),
            }
        }
        if let Some(plan) = &mut plan {
            plan.door = door.is_some();
        }
        let (Some((text, path)), Some(plan), Some(maps)) = (config, plan, maps) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it said start before it had said with what",
            ));
        };
        Ok(Some(Facts { text, path, plan, maps, totals, door, rest }))
    }
}

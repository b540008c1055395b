//! The control process: keeper's messages on one side, control's own types on the other.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use sixlane_control::{
    Child, ChildDeaths, FromKeeper, KeeperLink, PlanFacts, PortFact, RunError, RunOptions, ToKeeper,
};
use sixlane_keeper::protocol::{self, Deaths, Message, PortReturned, Ready, Retire, Segment, Text};
use sixlane_keeper::users::Identity;
use sixlane_keeper::{Channel, confine};
use sixlane_xsk::maps::{MAP_COUNT, Maps};

use super::estate::{self, Estate, Side};
use crate::failure::Failure;

pub(super) fn run(
    channel: Channel,
    identity: Identity,
    runtime: &Path,
    config: PathBuf,
) -> Result<(), Failure> {
    // Still as root: the way to the directory may be closed to control's user. From here on the
    // directory is `.`, which needs no way.
    std::env::set_current_dir(runtime).map_err(|error| {
        Failure::failed(format!("cannot enter {} ({error}): name another with --runtime", runtime.display()))
    })?;
    confine::control(identity).map_err(Failure::failed)?;
    super::name_process(c"sixlane-control");
    let link = Link {
        side: Some(Side::Keeper(channel)),
        estate: Estate::default(),
        moved: false,
        config,
        facts: Facts::default(),
        held: BTreeMap::new(),
    };
    let options =
        RunOptions { runtime_dir: PathBuf::from("."), version: env!("CARGO_PKG_VERSION").to_owned() };
    sixlane_control::run(Box::new(link), options).map_err(|error| match error {
        // The keeper has been told, and says it.
        RunError::Start(_) => Failure::told(),
        other => Failure::failed(other),
    })
}

/// Facts that arrive in several messages and are one to control.
#[derive(Default)]
struct Facts {
    expected: u16,
    workers: u16,
    cores: Vec<u16>,
    spin: bool,
    ports: Vec<PortFact>,
    /// All ports have been told: from now on each is news.
    complete: bool,
}

struct Link {
    /// Absent only while it changes.
    side: Option<Side>,
    /// What the keeper's successor needs.
    estate: Estate,
    /// The descriptor to wait on has become another one.
    moved: bool,
    config: PathBuf,
    facts: Facts,
    /// Links to the program, by kind and port: only held, so that it stays attached whoever else dies.
    held: BTreeMap<(u32, u32), OwnedFd>,
}

impl KeeperLink for Link {
    fn receive(&mut self) -> io::Result<FromKeeper> {
        loop {
            let channel = match &self.side {
                Some(Side::Keeper(channel)) => channel,
                Some(Side::Nobody(_)) | None => return Err(io::ErrorKind::NotConnected.into()),
                Some(_) => return self.await_successor(),
            };
            match channel.receive() {
                Ok((message, descriptors)) => {
                    if let Some(told) = self.translate(message, descriptors)? {
                        return Ok(told);
                    }
                }
                Err(error) => {
                    if error.kind() == io::ErrorKind::UnexpectedEof {
                        self.side = self.side.take().map(Side::orphaned);
                        self.moved = true;
                    }
                    return Err(error);
                }
            }
        }
    }

    fn send(&mut self, message: ToKeeper) -> io::Result<()> {
        let (message, descriptor) = encode(message);
        let descriptors: Vec<BorrowedFd<'_>> = descriptor.iter().map(AsFd::as_fd).collect();
        let Some(Side::Keeper(channel)) = &self.side else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        loop {
            match channel.send(&message, &descriptors) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(channel, PollFlags::OUT)], None)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        self.side.as_ref().map(Side::descriptor).ok_or(io::ErrorKind::NotConnected.into())
    }

    fn moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if matches!(self.side, Some(Side::Waiting(_) | Side::Handing(..))) {
            estate::forget();
        }
    }
}

impl Link {
    /// The keeper has died: has another one come and taken over?
    fn await_successor(&mut self) -> io::Result<FromKeeper> {
        let Some(before) = self.side.take() else { return Err(io::ErrorKind::NotConnected.into()) };
        let waited = matches!(before, Side::Waiting(_));
        let (side, adopted) = before.advance(&self.estate);
        self.moved |= waited != matches!(side, Side::Waiting(_));
        self.side = Some(side);
        if adopted { Ok(FromKeeper::Adopted) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    /// One message in control's words; `None` when it is not for control or not yet complete.
    fn translate(
        &mut self,
        message: Message,
        mut descriptors: Vec<OwnedFd>,
    ) -> io::Result<Option<FromKeeper>> {
        Ok(match message {
            Message::Plan(plan) => {
                let cores = plan.cores.iter().copied().take(usize::from(plan.workers)).collect();
                let (expected, workers, spin) = (plan.ports, plan.workers, plan.spin != 0);
                self.facts = Facts { expected, workers, cores, spin, ..Facts::default() };
                let text = descriptors.pop().ok_or_else(missing)?;
                Some(FromKeeper::Config { text, path: self.config.clone() })
            }
            Message::Port(port) => self.port(&port),
            Message::Link(link) => self.link(link, descriptors)?,
            Message::Segment(segment) => {
                let fd = descriptors.pop().ok_or_else(missing)?;
                match segment.what {
                    Segment::TOTALS => Some(FromKeeper::Totals(fd)),
                    Segment::CONFIGURATION => {
                        Some(FromKeeper::Reload { order: segment.set, number: segment.index, text: fd })
                    }
                    Segment::WORKER => Some(FromKeeper::WorkerSegment {
                        worker: u16::try_from(segment.worker).map_err(|_| missing())?,
                        incarnation: segment.incarnation,
                        fd,
                    }),
                    _ => None,
                }
            }
            Message::Ready(ready) => match ready.what {
                Ready::START => Some(FromKeeper::Start),
                Ready::DATA_PLANE => Some(FromKeeper::DataplaneReady { incarnation: ready.incarnation }),
                Ready::ATTACHED => Some(FromKeeper::Attached),
                Ready::PORT_REFUSED => Some(FromKeeper::PortRefused {
                    port: u8::try_from(ready.index).map_err(|_| missing())?,
                    reason: ready.text.get(),
                }),
                Ready::UNREADABLE => {
                    Some(FromKeeper::Unreadable { order: ready.set, sentence: ready.text.get() })
                }
                Ready::RELOAD_REFUSED => Some(FromKeeper::RefusedBefore(ready.text.get())),
                Ready::MAPPED => Some(FromKeeper::TablesMapped { set: ready.set, segment: ready.index }),
                _ => None,
            },
            Message::Retire(retire) => match retire.what {
                Retire::STOP => Some(FromKeeper::Stop),
                Retire::DATA_PLANE_DOWN => {
                    Some(FromKeeper::DataplaneDown { incarnation: retire.incarnation })
                }
                _ => None,
            },
            Message::Keep(keep) => {
                self.estate.note(keep, descriptors);
                None
            }
            Message::Deaths(deaths) => Some(FromKeeper::Deaths(ChildDeaths {
                child: if deaths.child == Deaths::CONTROL { Child::Control } else { Child::DataPlane },
                total: deaths.total,
                recent: deaths.recent,
                last: deaths.last.get(),
            })),
            Message::PortReturned(_) | Message::Estate(_) => None,
        })
    }

    /// What travels with a link's record.
    fn link(&mut self, link: protocol::Link, mut fds: Vec<OwnedFd>) -> io::Result<Option<FromKeeper>> {
        Ok(match link.what {
            protocol::Link::MAPS => {
                let fds: [OwnedFd; MAP_COUNT] = fds.try_into().map_err(|_| missing())?;
                Some(FromKeeper::Maps(Maps::from_fds(fds)?))
            }
            protocol::Link::OBSERVER => Some(FromKeeper::Observer(fds.pop().ok_or_else(missing)?)),
            protocol::Link::DOOR => {
                let fd = fds.pop().ok_or_else(missing)?;
                Some(FromKeeper::Door { fd, ifindex: link.port })
            }
            _ => {
                self.held.extend(fds.pop().map(|fd| ((link.what, link.port), fd)));
                None
            }
        })
    }

    fn port(&mut self, port: &protocol::Port) -> Option<FromKeeper> {
        let fact = PortFact {
            index: u8::try_from(port.port).unwrap_or(u8::MAX),
            name: port.name.get(),
            ifindex: port.ifindex,
            queues: port.queues,
            driver: port.driver.get(),
            zero_copy: port.flags & protocol::Port::ZERO_COPY != 0,
            generic: port.flags & protocol::Port::GENERIC != 0,
            no_zero_copy: port.flags & protocol::Port::NO_ZERO_COPY != 0,
        };
        if self.facts.complete {
            return Some(FromKeeper::PortBack(fact));
        }
        self.facts.ports.push(fact);
        self.facts.complete = self.facts.ports.len() == usize::from(self.facts.expected);
        self.facts.complete.then(|| {
            FromKeeper::Plan(PlanFacts {
                ports: std::mem::take(&mut self.facts.ports),
                workers: self.facts.workers,
                door: false,
                cores: std::mem::take(&mut self.facts.cores),
                spin: self.facts.spin,
            })
        })
    }
}

fn encode(message: ToKeeper) -> (Message, Option<OwnedFd>) {
    match message {
        ToKeeper::TablesSegment { set, index, fd } => {
            let segment = Segment { set, index, ..Segment::new(Segment::TABLES) };
            (Message::Segment(segment), Some(fd))
        }
        ToKeeper::Totals { incarnation, fd } => {
            let segment = Segment { incarnation, ..Segment::new(Segment::TOTALS) };
            (Message::Segment(segment), Some(fd))
        }
        ToKeeper::Fenced => (Message::Ready(Ready::new(Ready::FENCED)), None),
        ToKeeper::Ready => (Message::Ready(Ready::new(Ready::AT_WORK)), None),
        ToKeeper::Failed(sentence) => {
            let ready = Ready { text: Text::new(&sentence), ..Ready::new(Ready::FAILED) };
            (Message::Ready(ready), None)
        }
        ToKeeper::PortMissing { port } => {
            (Message::PortReturned(PortReturned { port: port.into(), queue: 0 }), None)
        }
        ToKeeper::ReloadWanted { order } => {
            (Message::Ready(Ready { set: order, ..Ready::new(Ready::RELOAD_WANTED) }), None)
        }
        ToKeeper::Configuration { text } => {
            (Message::Segment(Segment::new(Segment::CONFIGURATION)), Some(text))
        }
        ToKeeper::Accepted { number } => {
            (Message::Ready(Ready { index: number, ..Ready::new(Ready::ACCEPTED) }), None)
        }
        ToKeeper::NotAccepted { number, sentence } => {
            let text = Text::new(&sentence);
            let ready = Ready { index: number, text, ..Ready::new(Ready::RELOAD_REFUSED) };
            (Message::Ready(ready), None)
        }
        ToKeeper::RestartDataplane { reason } => {
            let retire = Retire { text: Text::new(&reason), ..Retire::new(Retire::RESTART_DATA_PLANE) };
            (Message::Retire(retire), None)
        }
    }
}

fn missing() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message without its descriptors")
}

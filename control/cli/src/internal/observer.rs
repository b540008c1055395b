//! The observer process: keeper's messages on one side, the observer's own types on the other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use sixlane_keeper::protocol::{self, Message, Ready, Retire, Segment};
use sixlane_keeper::users::Identity;
use sixlane_keeper::{Channel, confine};
use sixlane_observer::{FromKeeper, KeeperLink};

use crate::failure::Failure;

pub(super) fn run(channel: Channel, identity: Identity) -> Result<(), Failure> {
    confine::observer(identity).map_err(Failure::failed)?;
    super::name_process(c"sixlane-observe");
    let filter = || confine::observer_thread().map_err(io::Error::other);
    sixlane_observer::run(Box::new(Link { channel }), env!("CARGO_PKG_VERSION"), filter)
        .map_err(Failure::failed)
}

struct Link {
    channel: Channel,
}

impl KeeperLink for Link {
    fn receive(&mut self) -> io::Result<FromKeeper> {
        loop {
            let (message, descriptors) = self.channel.receive()?;
            if let Some(told) = translate(message, descriptors)? {
                return Ok(told);
            }
        }
    }

    fn ready(&mut self) -> io::Result<()> {
        self.channel.send(&Message::Ready(Ready::new(Ready::AT_WORK)), &[])
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// One message in the observer's words; `None` when it is not for it.
fn translate(message: Message, descriptors: Vec<OwnedFd>) -> io::Result<Option<FromKeeper>> {
    let mut descriptors = descriptors.into_iter();
    let mut next = || descriptors.next().ok_or_else(|| invalid("a message without its descriptors"));
    Ok(match message {
        Message::Plan(_) => Some(FromKeeper::Listener(next()?)),
        Message::Port(port) => Some(FromKeeper::Port {
            index: u8::try_from(port.port).map_err(|_| invalid("a port beyond all numbers"))?,
            name: port.name.get(),
        }),
        Message::Segment(segment) if segment.what == Segment::WORKER => Some(FromKeeper::WorkerSegment {
            worker: u16::try_from(segment.worker).map_err(|_| invalid("a worker beyond all numbers"))?,
            incarnation: segment.incarnation,
            fd: next()?,
        }),
        Message::Segment(segment) if segment.what == Segment::TOTALS => Some(FromKeeper::Totals(next()?)),
        Message::Retire(retire) if retire.what == Retire::DATA_PLANE_DOWN => {
            Some(FromKeeper::DataplaneDown { incarnation: retire.incarnation })
        }
        Message::Retire(retire) if retire.what == Retire::STOP => Some(FromKeeper::Stop),
        Message::Link(link) if link.what == protocol::Link::CONTROL => Some(FromKeeper::Control(next()?)),
        _ => None,
    })
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

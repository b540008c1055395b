//! The data plane's process: keeper's messages on one side, the data plane's own types on the other.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use sixlane_dataplane::{Confinement, FromKeeper, Idle, KeeperLink, RunOptions, ToKeeper};
use sixlane_keeper::protocol::{Message, Plan, PortReturned, Ready, Retire, Segment, Text};
use sixlane_keeper::users::Identity;
use sixlane_keeper::{Channel, confine};
use sixlane_xsk::RingSizes;

use crate::failure::Failure;

pub(super) fn run(channel: Channel, identity: Identity) -> Result<(), Failure> {
    confine::data_plane(identity).map_err(Failure::failed)?;
    super::name_process(c"sixlane-data");
    let lost = |error: io::Error| {
        Failure::failed(format!("the keeper sent no plan ({error}): start the relay with `sixlane run`"))
    };
    let plan = match channel.receive().map_err(lost)? {
        (Message::Plan(plan), _) => plan,
        _ => return Err(lost(io::ErrorKind::InvalidData.into())),
    };
    let keeper = channel.try_clone().map_err(lost)?;
    let outcome = sixlane_dataplane::run(Box::new(Link { channel, held: BTreeMap::new() }), &options(&plan));
    outcome.map_err(|error| {
        let text = Text::new(&format!("{error}: restart sixlane, and report it if that does not help"));
        let failed = Message::Ready(Ready { text, ..Ready::new(Ready::FAILED) });
        match keeper.send(&failed, &[]) {
            Ok(()) => Failure::told(),
            Err(_) => Failure::failed(error),
        }
    })
}

fn options(plan: &Plan) -> RunOptions {
    let workers = usize::from(plan.workers);
    RunOptions {
        cores: plan.cores.iter().take(workers).map(|core| usize::from(*core)).collect(),
        idle: if plan.spin == 0 { Idle::Sleep } else { Idle::Spin },
        confinement: Some(Confinement {
            worker: || confine::worker_thread().map_err(io::Error::other),
            attach: || confine::attach_thread().map_err(io::Error::other),
        }),
    }
}

struct Link {
    channel: Channel,
    /// Links to the program, by kind and port: only held, so that it stays attached whoever else dies.
    held: BTreeMap<(u32, u32), OwnedFd>,
}

impl KeeperLink for Link {
    fn receive(&mut self) -> io::Result<FromKeeper> {
        loop {
            let (message, descriptors) = self.channel.receive()?;
            if let Some(told) = self.translate(message, descriptors)? {
                return Ok(told);
            }
        }
    }

    fn send(&mut self, message: ToKeeper) -> io::Result<()> {
        let (message, descriptor) = encode(message);
        let descriptors: Vec<BorrowedFd<'_>> = descriptor.iter().map(AsFd::as_fd).collect();
        self.channel.send(&message, &descriptors)
    }
}

impl Link {
    /// One message in the data plane's words; `None` when there is nothing to do but to hold it.
    fn translate(&mut self, message: Message, descriptors: Vec<OwnedFd>) -> io::Result<Option<FromKeeper>> {
        let mut descriptors = descriptors.into_iter();
        let mut next = || descriptors.next().ok_or_else(|| invalid("a message without its descriptors"));
        Ok(match message {
            Message::Segment(segment) if segment.what == Segment::UMEM => Some(FromKeeper::Umem {
                worker: u16::try_from(segment.worker).map_err(|_| invalid("a worker beyond all numbers"))?,
                frames: segment.frames,
                fd: next()?,
                predecessor: next().ok(),
            }),
            Message::Segment(segment) if segment.what == Segment::TABLES => {
                let (set, more) = (segment.set, segment.more != 0);
                Some(FromKeeper::Tables { set, segment: segment.index, fd: next()?, more })
            }
            Message::Port(port) => Some(FromKeeper::Queue {
                worker: port.worker,
                port: u8::try_from(port.port).map_err(|_| invalid("a port beyond all numbers"))?,
                queue: port.queue,
                fd: next()?,
                sizes: RingSizes {
                    rx: port.rings.rx,
                    tx: port.rings.tx,
                    fill: port.rings.fill,
                    completion: port.rings.completion,
                },
                number: port.number,
            }),
            Message::Link(link) => {
                self.held.extend(descriptors.next().map(|fd| ((link.what, link.port), fd)));
                None
            }
            Message::Ready(ready) if ready.what == Ready::START => Some(FromKeeper::Start),
            Message::Retire(retire) if retire.what == Retire::STOP => Some(FromKeeper::Stop),
            _ => None,
        })
    }
}

fn encode(message: ToKeeper) -> (Message, Option<OwnedFd>) {
    match message {
        ToKeeper::WorkerSegment { worker, fd } => {
            let segment = Segment { worker: u32::from(worker), ..Segment::new(Segment::WORKER) };
            (Message::Segment(segment), Some(fd))
        }
        ToKeeper::TablesMapped { set, segment } => {
            let ready = Ready { set, index: segment, ..Ready::new(Ready::MAPPED) };
            (Message::Ready(ready), None)
        }
        ToKeeper::TablesRefused { set, segment, reason } => {
            let text = Text::new(&reason);
            let ready = Ready { set, index: segment, text, ..Ready::new(Ready::REFUSED) };
            (Message::Ready(ready), None)
        }
        ToKeeper::Ready => (Message::Ready(Ready::new(Ready::AT_WORK)), None),
        ToKeeper::SocketTaken { port, queue } => {
            (Message::PortReturned(PortReturned { port: port.into(), queue }), None)
        }
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
